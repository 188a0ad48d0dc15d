/* One direction of a link:
 *
 *   TAP -> [queue, tail-drop by bytes or segments] -> serialiser (rate or chances) -> delay line -> TAP
 *
 * Times are nanoseconds of CLOCK_MONOTONIC. Nothing here sleeps: direction_run says when it wants to be run again. */
#ifndef ROAMBED_DIRECTION_H
#define ROAMBED_DIRECTION_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "chance.h"
#include "frame.h"
#include "lateness.h"
#include "schedule.h"

struct gso;

struct shape {
    double rate;       /* layer-2 bits per second; 0: nothing passes, INFINITY: unlimited */
    ns_t delay, jitter;
    const struct table *table;       /* how the delay varies; NULL: uniformly */
    uint32_t loss, reorder, duplicate, corrupt;  /* per segment, of CHANCE_UNIT */
    bool bursty;                     /* `bursts` besides `loss` */
    struct bursts bursts;
    uint64_t queue;    /* bytes that may wait for the wire, 0: unlimited */
    uint64_t packets;  /* segments that may, 0: unlimited */
};

struct counters {
    uint64_t rx_bytes, rx_packets;   /* taken from the sender */
    uint64_t tx_bytes, tx_packets;   /* handed to the receiver */
    uint64_t dropq, dropl;           /* dropped at the full queue; lost on purpose */
    uint64_t cut;                    /* gone because the link was cut */
    uint64_t errors;                 /* the receiving interface took it not: it is down or gone */
    uint64_t reordered, duplicated, corrupted;
    ns_t late_max;
};

struct direction {
    int out;
    const bool *out_dead;
    ns_t next;                       /* when direction_run is due, or NEVER */
    struct shape base, shape;        /* as it was set; as it is in force, with what plays */
    double ns_per_byte;
    struct player player;
    struct dice dice;
    struct fifo queue, flight;       /* the head of the queue is on the wire */
    uint64_t queued, queued_segments;/* in the queue, the frame on the wire included */
    uint32_t skipping;               /* frames in the queue that skip the delay */
    double left;                     /* bytes of the frame on the wire that were still to go ... */
    ns_t since;                      /* ... at this time */
    ns_t wire_free, last_due;
    ns_t held;                       /* until when nothing is handed over */
    struct counters seen;
};

void direction_init(struct direction *d, int out, const bool *out_dead);

/* Change a direction in place: what is on the wire goes on at the new rate, nothing is lost. */
void direction_set(struct direction *d, const struct shape *shape);

/* Have a schedule play from `begin` on in place of any other; NULL: none. */
void direction_play(struct direction *d, const struct schedule *schedule, ns_t begin);

/* Bring settings and queue to where they are at `now`. */
void direction_advance(struct direction *d, ns_t now);

/* Take a frame, as read from the sender's interface (segments.c). */
void direction_take(struct direction *d, const uint8_t *data, uint32_t length, ns_t now);

/* Hand nothing over until then; what is due meanwhile is handed over after it. */
void direction_hold(struct direction *d, ns_t until);

/* Hand over what is due by now. Sets `next`. */
void direction_run(struct direction *d, ns_t now, struct lateness *lateness);

/* For segments.c: put a frame at the queue's end; how many full segments of `wire` bytes still fit. */
void direction_enqueue(struct direction *d, struct frame *f, ns_t now);
uint32_t direction_fits(const struct direction *d, const struct gso *g, uint32_t first, uint32_t count);

uint64_t direction_waiting(const struct direction *d); /* bytes waiting for the wire */
void direction_drop_all(struct direction *d);

#endif
