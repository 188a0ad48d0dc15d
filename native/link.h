/* A link and its two directions:
 *
 *   TAP -> [queue, tail-drop by bytes] -> serialiser (rate) -> delay line (delay +- jitter) -> TAP
 *
 * Times are nanoseconds of CLOCK_MONOTONIC. Nothing here sleeps: direction_run says when it wants to be run again. */
#ifndef ROAMBED_LINK_H
#define ROAMBED_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define LINK_NAME 48
#define LOSS_UNIT 1000000000u /* loss is told in parts per billion */

struct frame {
    struct frame *next;
    ns_t at;           /* head of the queue: when its last bit is on the wire; in flight: when it is due */
    uint32_t wire;     /* layer-2 bytes on the wire, all its segments with their headers */
    uint32_t segments;
    uint32_t length;   /* of data; 0: lost, it only takes its time on the wire */
    uint8_t data[];
};

struct fifo {
    struct frame *head, *tail;
};

struct shape {
    double rate;       /* layer-2 bits per second, 0: unlimited */
    ns_t delay, jitter;
    uint32_t loss;     /* of LOSS_UNIT */
    uint64_t queue;    /* bytes that may wait for the wire, 0: unlimited */
};

struct counters {
    uint64_t rx_bytes, rx_packets;   /* taken from the sender */
    uint64_t tx_bytes, tx_packets;   /* handed to the receiver */
    uint64_t dropq, dropl;           /* dropped at the full queue; lost on purpose */
    uint64_t cut;                    /* gone because the link was cut */
    uint64_t errors;                 /* the receiving interface took it not: it is down or gone */
    ns_t late_max;
};

struct direction {
    int out;
    bool *out_dead;
    struct shape shape;
    double ns_per_byte;
    uint64_t loss_below, loss_state, jitter_state;
    struct fifo queue, flight;
    uint64_t queued;                 /* bytes in the queue, the frame on the wire included */
    ns_t wire_free, last_due;
    struct counters seen;
};

struct end {
    struct link *link;
    int side;
    int fd;
    bool dead;                       /* its interface is gone, with its namespace */
};

struct link {
    struct link *next;
    char name[LINK_NAME];
    bool carrier;
    struct end ends[2];
    struct direction directions[2];  /* [0] from end 0 to end 1 */
};

struct link *link_new(const char *name, const int fds[2], uint64_t seed);
void link_free(struct link *link); /* closes its file descriptors, which removes the interfaces */
void link_seed(struct link *link, uint64_t seed);
int link_carrier(struct link *link, bool up);

/* Change a direction in place: what is on the wire goes on at the new rate, nothing is lost. */
void direction_set(struct direction *d, const struct shape *shape);

/* Take a frame, as read from the sender's interface. */
void direction_take(struct direction *d, const uint8_t *data, uint32_t length, ns_t now);

/* Hand over what is due by now. Returns when there will be something to do next, or NEVER. */
ns_t direction_run(struct direction *d, ns_t now);

uint64_t direction_waiting(const struct direction *d); /* bytes waiting for the wire */

#endif
