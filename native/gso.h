/* TCP segments that the kernel hands over in one piece (TSO), how to cut such a piece, and its checksums. */
#ifndef ROAMBED_GSO_H
#define ROAMBED_GSO_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#define VNET_HEADER ((uint32_t)sizeof(struct virtio_net_hdr))

/* Where things are in a frame that stands for many segments. Offsets count from the Ethernet header.
 * Any other frame is one segment, all of it payload. */
struct gso {
    uint32_t l3, l4;     /* IP and TCP headers */
    uint32_t headers;    /* bytes of Ethernet, IP and TCP header together; 0 where nothing is to be cut */
    uint32_t mss;        /* payload of every segment but the last */
    uint32_t payload;
    uint32_t segments;
    bool v4;
};

/* `data` starts with the virtio header. */
void gso_parse(const uint8_t *data, uint32_t length, struct gso *g);

/* Layer-2 bytes on the wire of segments `first` .. `first + count - 1`, each with its own headers. */
uint32_t gso_wire(const struct gso *g, uint32_t first, uint32_t count);

/* Length of the frame that gso_cut writes for these segments. */
uint32_t gso_length(const struct gso *g, uint32_t first, uint32_t count);

/* Write those segments to `out` as a frame of its own, as the sender would have sent it. */
void gso_cut(const uint8_t *data, const struct gso *g, uint32_t first, uint32_t count, uint8_t *out);

/* Put in the checksum that was left to be completed by the network card, if it was. Not for many segments. */
void checksum_complete(uint8_t *data, uint32_t length);

#endif
