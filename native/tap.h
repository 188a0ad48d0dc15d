/* Ends of links: TAP interfaces that come into being inside the namespace they are for. */
#ifndef ROAMBED_TAP_H
#define ROAMBED_TAP_H

#include <stdint.h>

struct tap_request {
    const char *netns, *ifname;
    uint8_t mac[6];
};

/* Make the interface, down and without address. Returns its file descriptor, or -errno with `*step` saying at what.
 * The caller's own namespace, `home`, is joined again in any case. */
int tap_make(const struct tap_request *request, int home, const char **step);

#endif
