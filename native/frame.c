#include "frame.h"

#include <stdlib.h>

/* All frames of all links together take no more memory than this; what comes on top is dropped at the queue. */
static const uint64_t MEMORY = 512u << 20;
static uint64_t in_use;

struct frame *frame_new(uint32_t length)
{
    size_t size = sizeof(struct frame) + length;
    struct frame *f = in_use + size <= MEMORY ? malloc(size) : NULL;
    if (f) {
        in_use += size;
        f->length = length;
        f->skip = false;
    }
    return f;
}

void frame_free(struct frame *f)
{
    in_use -= sizeof(struct frame) + f->length;
    free(f);
}

void fifo_push(struct fifo *fifo, struct frame *f)
{
    f->next = NULL;
    if (fifo->tail)
        fifo->tail->next = f;
    else
        fifo->head = f;
    fifo->tail = f;
}

struct frame *fifo_pop(struct fifo *fifo)
{
    struct frame *f = fifo->head;
    fifo->head = f->next;
    if (!fifo->head)
        fifo->tail = NULL;
    return f;
}

void fifo_insert(struct fifo *fifo, struct frame *f)
{
    struct frame **at = &fifo->head;
    while (*at && (*at)->at <= f->at)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
    if (!f->next)
        fifo->tail = f;
}
