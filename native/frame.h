/* Frames on their way through a link, and lists of them. */
#ifndef ROAMBED_FRAME_H
#define ROAMBED_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

struct frame {
    struct frame *next;
    ns_t at;           /* head of the queue: when the link is next done with it; in flight: when it is due */
    uint32_t wire;     /* layer-2 bytes on the wire, all its segments with their headers */
    uint32_t segments;
    uint32_t length;   /* of data */
    bool skip;         /* it skips the delay, and so may overtake others */
    uint8_t data[];
};

struct fifo {
    struct frame *head, *tail;
};

/* NULL if there is no memory, or all frames of all links together hold as much as they may. */
struct frame *frame_new(uint32_t length);
void frame_free(struct frame *f);

void fifo_push(struct fifo *fifo, struct frame *f);
struct frame *fifo_pop(struct fifo *fifo);
void fifo_insert(struct fifo *fifo, struct frame *f); /* behind those that are due no later, looked for from the head */

#endif
