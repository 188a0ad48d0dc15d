/* Packet sockets on an interface in some namespace, and the frames that the probe sends through them.
 *
 * No address, bridge or route is needed: a receiving socket sees every frame that comes in, before a bridge or the IP
 * stack does. Our frames carry an experimental Ethernet type and a token of this very process. */
#ifndef ROAMBED_PORT_H
#define ROAMBED_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

enum {
    ETHERNET = 14,
    SMALLEST = 60,           /* bytes of the smallest frame, without its checksum */
    MTU_FRAME = 1514,
    TCP_HEADERS = 54,        /* Ethernet, IPv4 and TCP header of a large frame */
    MSS = MTU_FRAME - TCP_HEADERS,
    MOST_SEGMENTS = 44,      /* of one large frame: an IPv4 packet holds no more */
    LARGEST = TCP_HEADERS + MSS * MOST_SEGMENTS,
};

struct port {
    int in, out;
    uint8_t mac[6];
};

struct mark { /* what every plain frame carries behind its token */
    uint64_t sequence;
    ns_t sent;           /* CLOCK_REALTIME, as the kernel's receive times */
};

struct arrival {
    ns_t at;             /* CLOCK_REALTIME */
    uint32_t length;
    struct mark mark;    /* plain frames only */
};

/* Open both sockets on `netns,ifname`. Exits with a message if it cannot be done. */
void port_open(struct port *port, const char *where);

/* A frame of `length` bytes from `from` to the address `to`; returns where its mark goes. */
uint8_t *frame_plain(uint8_t *frame, const struct port *from, const uint8_t to[6]);

/* A large TCP frame of so many segments; returns its length, the virtio header at its front included. */
size_t frame_large(uint8_t *frame, const struct port *from, const uint8_t to[6], unsigned segments);

/* Take up to `most` frames that have come in, without waiting. Returns how many. */
int port_receive(struct port *port, struct arrival *arrivals, int most);

bool port_wait(struct port *ports, int count, ns_t patience); /* false if nothing came within `patience` */
uint32_t port_overruns(struct port *port); /* frames that were lost here, because we were too slow */

extern const uint8_t NOBODY[6]; /* an address that no bridge knows: frames to it end where they arrive */

/* A number given as `name=value`; exits with a message if it is not in [least, most]. */
double argument(int argc, char **argv, const char *name, double least, double most);
const char *argument_text(int argc, char **argv, const char *name);
void die(const char *what, const char *which) __attribute__((noreturn));

#endif
