#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "gso.h"

/* A piece of a large TCP frame lasts no longer than this on the wire: bursts stay as short as the sender's own. */
static const ns_t PIECE = 500000;

/* All frames of all links together take no more memory than this; what comes on top is dropped at the queue. */
static const uint64_t MEMORY = 512u << 20;
static uint64_t in_use;

/* xorshift64*, one state a purpose and a direction: the pattern of losses does not depend on anything else. */
static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 2685821657736338717ull;
}

static uint64_t scramble(uint64_t seed) /* splitmix64; never 0, at which xorshift would stay */
{
    seed += 0x9e3779b97f4a7c15ull;
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9ull;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebull;
    seed ^= seed >> 31;
    return seed ? seed : 1;
}

static struct frame *frame_new(uint32_t length)
{
    size_t size = sizeof(struct frame) + length;
    struct frame *f = in_use + size <= MEMORY ? malloc(size) : NULL;
    if (f) {
        in_use += size;
        f->length = length;
    }
    return f;
}

static void frame_free(struct frame *f)
{
    in_use -= sizeof(struct frame) + f->length;
    free(f);
}

static void push(struct fifo *fifo, struct frame *f)
{
    f->next = NULL;
    if (fifo->tail)
        fifo->tail->next = f;
    else
        fifo->head = f;
    fifo->tail = f;
}

static struct frame *pop(struct fifo *fifo)
{
    struct frame *f = fifo->head;
    fifo->head = f->next;
    if (!fifo->head)
        fifo->tail = NULL;
    return f;
}

static ns_t on_wire(const struct direction *d, uint32_t bytes) { return (ns_t)(bytes * d->ns_per_byte + 0.5); }

/* The frame's last bit has left at `t`: it is due after the delay, and never before the one in front of it. */
static void depart(struct direction *d, struct frame *f, ns_t t)
{
    if (f->length == 0) {
        d->seen.dropl += f->segments;
        frame_free(f);
        return;
    }
    ns_t due = t + d->shape.delay;
    if (d->shape.jitter)
        due += (ns_t)(draw(&d->jitter_state) % (2 * (uint64_t)d->shape.jitter + 1)) - d->shape.jitter;
    if (due < t)
        due = t;
    if (due < d->last_due)
        due = d->last_due;
    f->at = d->last_due = due;
    push(&d->flight, f);
}

/* Let everything depart whose last bit has left by now. A frame gets its time only when it becomes the head of the
 * queue, so that a change of rate concerns all that wait. */
static void serve(struct direction *d, ns_t now)
{
    struct frame *f;
    while ((f = d->queue.head) && f->at <= now) {
        pop(&d->queue);
        d->queued -= f->wire;
        d->wire_free = f->at;
        if (d->queue.head)
            d->queue.head->at = f->at + on_wire(d, d->queue.head->wire);
        depart(d, f, f->at);
    }
}

static void enqueue(struct direction *d, struct frame *f, ns_t now)
{
    if (!d->shape.rate) {
        depart(d, f, now);
        return;
    }
    if (!d->queue.head)
        f->at = (d->wire_free > now ? d->wire_free : now) + on_wire(d, f->wire);
    push(&d->queue, f);
    d->queued += f->wire;
}

uint64_t direction_waiting(const struct direction *d)
{
    return d->queue.head ? d->queued - d->queue.head->wire : 0;
}

/* Bytes that may still join the queue. With nothing on the wire there is no queue to be full. */
static uint64_t room(const struct direction *d)
{
    uint64_t waiting = direction_waiting(d);
    if (!d->shape.queue || !d->queue.head)
        return UINT64_MAX;
    return waiting < d->shape.queue ? d->shape.queue - waiting : 0;
}

static bool lost(struct direction *d) { return d->loss_below && draw(&d->loss_state) < d->loss_below; }

/* Segments [first, first + count) of a large frame, all kept or all lost, as one frame. */
static void take_run(struct direction *d, const uint8_t *data, const struct gso *g, uint32_t first, uint32_t count,
                     bool gone, ns_t now)
{
    struct frame *f = frame_new(gone ? 0 : gso_length(g, first, count));
    if (!f) {
        d->seen.dropq += count;
        return;
    }
    f->segments = count;
    f->wire = gso_wire(g, first, count);
    if (!gone)
        gso_cut(data, g, first, count, f->data);
    enqueue(d, f, now);
}

static void take_piece(struct direction *d, const uint8_t *data, const struct gso *g, uint32_t first, uint32_t count,
                       ns_t now)
{
    uint64_t space = room(d);
    if (gso_wire(g, first, count) > space) {
        uint32_t fits = (uint32_t)(space / (g->mss + g->headers));
        d->seen.dropq += count - fits;
        count = fits;
    }
    if (count == 0)
        return;
    uint32_t end = first + count;
    bool gone = lost(d);
    for (uint32_t i = first + 1; i < end; i++) { /* neighbours that share their fate stay together */
        bool fate = lost(d);
        if (fate != gone) {
            take_run(d, data, g, first, i - first, gone, now);
            first = i;
            gone = fate;
        }
    }
    take_run(d, data, g, first, end - first, gone, now);
}

static void take_single(struct direction *d, const uint8_t *data, uint32_t length, ns_t now)
{
    uint32_t wire = length - VNET_HEADER;
    if (wire > room(d)) {
        d->seen.dropq++;
        return;
    }
    bool gone = lost(d);
    struct frame *f = frame_new(gone ? 0 : length);
    if (!f) {
        d->seen.dropq++;
        return;
    }
    f->segments = 1;
    f->wire = wire;
    if (!gone)
        memcpy(f->data, data, length);
    enqueue(d, f, now);
}

void direction_take(struct direction *d, const uint8_t *data, uint32_t length, ns_t now)
{
    struct gso g;
    serve(d, now);
    if (!gso_parse(data, length, &g)) {
        d->seen.rx_packets++;
        d->seen.rx_bytes += length - VNET_HEADER;
        take_single(d, data, length, now);
        return;
    }
    d->seen.rx_packets += g.segments;
    d->seen.rx_bytes += gso_wire(&g, 0, g.segments);
    uint32_t piece = g.segments;
    if (d->shape.rate) {
        double fit = (double)PIECE / (d->ns_per_byte * (g.mss + g.headers));
        piece = fit < 1 ? 1 : fit < g.segments ? (uint32_t)fit : g.segments;
    }
    for (uint32_t first = 0; first < g.segments; first += piece) {
        uint32_t left = g.segments - first;
        take_piece(d, data, &g, first, left < piece ? left : piece, now);
    }
}

static void deliver(struct direction *d, const struct frame *f)
{
    if (*d->out_dead) {
        d->seen.errors += f->segments;
    } else if (write(d->out, f->data, f->length) < 0) { /* the interface is down, or gone: reading will tell */
        d->seen.errors += f->segments;
    } else {
        d->seen.tx_packets += f->segments;
        d->seen.tx_bytes += f->wire;
    }
}

ns_t direction_run(struct direction *d, ns_t now)
{
    serve(d, now);
    struct frame *f;
    while ((f = d->flight.head) && f->at <= now) {
        pop(&d->flight);
        if (now - f->at > d->seen.late_max)
            d->seen.late_max = now - f->at;
        deliver(d, f);
        frame_free(f);
    }
    ns_t next = d->flight.head ? d->flight.head->at : NEVER;
    if (d->queue.head) { /* it need not be looked at when it departs, only when it may be due */
        ns_t least = d->shape.delay - d->shape.jitter;
        ns_t due = d->queue.head->at + (least > 0 ? least : 0);
        next = due < next ? due : next;
    }
    return next;
}

void direction_set(struct direction *d, const struct shape *shape)
{
    ns_t now = now_ns();
    serve(d, now);
    double ns_per_byte = shape->rate ? 8e9 / shape->rate : 0;
    struct frame *f = d->queue.head;
    if (f && d->ns_per_byte) /* what is left of the frame on the wire takes the new rate */
        f->at = now + (ns_t)((double)(f->at - now) * (ns_per_byte / d->ns_per_byte));
    d->shape = *shape;
    d->ns_per_byte = ns_per_byte;
    /* draw() is uniform over 64 bits; the ends of the scale are exact */
    d->loss_below = shape->loss >= LOSS_UNIT ? UINT64_MAX : (uint64_t)(shape->loss * (0x1p64 / LOSS_UNIT));
}

static void drop_all(struct direction *d)
{
    struct fifo *fifos[] = {&d->queue, &d->flight};
    for (int i = 0; i < 2; i++)
        while (fifos[i]->head) {
            struct frame *f = pop(fifos[i]);
            d->seen.cut += f->segments;
            frame_free(f);
        }
    d->queued = 0;
    d->wire_free = 0;
}

struct link *link_new(const char *name, const int fds[2], uint64_t seed)
{
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    snprintf(link->name, sizeof link->name, "%s", name);
    link->carrier = true;
    for (int i = 0; i < 2; i++) {
        link->ends[i] = (struct end){.link = link, .side = i, .fd = fds[i]};
        link->directions[i].out = fds[1 - i];
        link->directions[i].out_dead = &link->ends[1 - i].dead;
    }
    link_seed(link, seed);
    return link;
}

void link_seed(struct link *link, uint64_t seed)
{
    for (int i = 0; i < 2; i++) {
        link->directions[i].loss_state = scramble(seed * 4 + (uint64_t)i);
        link->directions[i].jitter_state = scramble(seed * 4 + 2 + (uint64_t)i);
    }
}

int link_carrier(struct link *link, bool up)
{
    int value = up, failed = 0;
    link->carrier = up;
    for (int i = 0; i < 2; i++) {
        if (!up)
            drop_all(&link->directions[i]);
        if (!link->ends[i].dead && ioctl(link->ends[i].fd, TUNSETCARRIER, &value) < 0)
            failed = -errno;
    }
    return failed;
}

void link_free(struct link *link)
{
    for (int i = 0; i < 2; i++) {
        drop_all(&link->directions[i]);
        close(link->ends[i].fd);
    }
    free(link);
}
