#define _GNU_SOURCE
#include "direction.h"

#include <unistd.h>

#include "gso.h"

enum {
    CHANCE_BYTES = 1500, /* of IP, that a chance carries: mm-link(1) */
    ETHERNET = 14,       /* which Mahimahi does not have */
};

void direction_init(struct direction *d, int out, const bool *out_dead)
{
    *d = (struct direction){.out = out, .out_dead = out_dead, .next = NEVER};
    d->base.rate = d->shape.rate = INFINITY;
}

static ns_t after(ns_t t, double wait) { return wait < 1e17 ? t + (ns_t)(wait + 0.5) : NEVER; }

/* The frame's last bit has left at `t`: it is due after the delay, and never before the one in front of it. */
static void depart(struct direction *d, struct frame *f, ns_t t)
{
    if (f->skip) {
        f->at = t;
        fifo_insert(&d->flight, f);
        return;
    }
    ns_t due = t + d->shape.delay + dice_offset(&d->dice, d->shape.jitter, d->shape.table);
    if (due < t)
        due = t;
    if (due < d->last_due)
        due = d->last_due;
    f->at = d->last_due = due;
    fifo_push(&d->flight, f);
}

/* The head of the queue gets its time only when it becomes the head, so that a change of rate concerns all others. */
static void time_head(struct direction *d, ns_t t)
{
    d->since = t;
    d->queue.head->at = player_has_chances(&d->player) ? player_chance(&d->player) : after(t, d->left * d->ns_per_byte);
}

static void start_head(struct direction *d, ns_t t)
{
    struct frame *f = d->queue.head;
    d->left = f->wire;
    if (player_has_chances(&d->player))
        d->left -= f->wire > f->segments * ETHERNET ? f->segments * ETHERNET : 0;
    time_head(d, t);
}

static struct frame *take_head(struct direction *d, ns_t t)
{
    struct frame *f = fifo_pop(&d->queue);
    d->queued -= f->wire;
    d->queued_segments -= f->segments;
    d->skipping -= f->skip;
    if (d->queue.head)
        start_head(d, t);
    return f;
}

/* Let pass what the chances up to `now` carry. What a chance has left when the queue is empty is gone. */
static void serve_chances(struct direction *d, ns_t now)
{
    while (d->queue.head && d->queue.head->at <= now) {
        ns_t t = d->queue.head->at;
        double budget = CHANCE_BYTES;
        player_use(&d->player);
        while (d->queue.head && d->left <= budget) {
            budget -= d->left;
            depart(d, take_head(d, t), t);
        }
        if (d->queue.head) {
            d->left -= budget;
            time_head(d, t);
        }
    }
}

/* Let everything depart whose last bit has left by now. */
static void serve(struct direction *d, ns_t now)
{
    if (player_has_chances(&d->player)) {
        serve_chances(d, now);
        return;
    }
    while (d->queue.head && d->queue.head->at <= now) {
        ns_t t = d->wire_free = d->queue.head->at;
        depart(d, take_head(d, t), t);
    }
}

/* What is in force from now on: the settings, and what plays. */
static void put_in_force(struct direction *d)
{
    struct shape *s = &d->shape;
    const struct step *step = player_step(&d->player);
    *s = d->base;
    if (player_has_chances(&d->player)) {
        s->rate = d->player.schedule->mean;
    } else if (step) {
        if (!isnan(step->rate))
            s->rate = step->rate;
        if (!isnan(step->delay))
            s->delay = (ns_t)step->delay;
        if (!isnan(step->loss)) {
            s->loss = (uint32_t)step->loss;
            s->bursty = false;
        }
    }
    d->ns_per_byte = 8e9 / s->rate; /* infinite where nothing passes, 0 where nothing limits */
}

/* Between these two settings may change, at `t`: what is on the wire goes on at the new rate. */
static void before_change(struct direction *d, ns_t t)
{
    serve(d, t);
    if (d->queue.head && !player_has_chances(&d->player) && d->ns_per_byte > 0) {
        double gone = (double)(t - d->since) / d->ns_per_byte;
        d->left = gone < d->left ? d->left - gone : 0;
    }
}

static void after_change(struct direction *d, ns_t t)
{
    put_in_force(d);
    if (d->queue.head)
        time_head(d, t);
    d->next = t; /* to be looked at again */
}

void direction_advance(struct direction *d, ns_t now)
{
    ns_t t;
    while ((t = player_change(&d->player)) <= now) {
        if (!d->queue.head) /* nobody meets the steps in between */
            t = now;
        before_change(d, t);
        player_go(&d->player, t);
        after_change(d, t);
    }
    serve(d, now);
}

void direction_set(struct direction *d, const struct shape *shape)
{
    ns_t now = now_ns();
    direction_advance(d, now);
    before_change(d, now);
    d->base = *shape;
    after_change(d, now);
}

void direction_play(struct direction *d, const struct schedule *schedule, ns_t begin)
{
    ns_t now = now_ns();
    direction_advance(d, now);
    before_change(d, now);
    d->player = (struct player){.schedule = schedule, .begin = begin};
    after_change(d, now);
    direction_advance(d, now);
}

void direction_enqueue(struct direction *d, struct frame *f, ns_t now)
{
    if (!d->queue.head && d->ns_per_byte == 0) {
        depart(d, f, now);
        return;
    }
    bool first = !d->queue.head;
    fifo_push(&d->queue, f);
    d->queued += f->wire;
    d->queued_segments += f->segments;
    d->skipping += f->skip;
    if (first) {
        if (player_has_chances(&d->player))
            player_pass(&d->player, now); /* those chances found nothing to send */
        start_head(d, d->wire_free > now ? d->wire_free : now);
    }
}

uint64_t direction_waiting(const struct direction *d)
{
    return d->queue.head ? d->queued - d->queue.head->wire : 0;
}

uint32_t direction_fits(const struct direction *d, const struct gso *g, uint32_t first, uint32_t count)
{
    if (!d->queue.head) /* with nothing on the wire there is no queue to be full */
        return count;
    uint64_t waiting = direction_waiting(d), segments = d->queued_segments - d->queue.head->segments;
    uint64_t fits = count;
    if (d->shape.queue) {
        uint64_t space = waiting < d->shape.queue ? d->shape.queue - waiting : 0;
        if (gso_wire(g, first, count) > space)
            fits = space / (g->mss + g->headers + 1);
    }
    if (d->shape.packets) {
        uint64_t space = segments < d->shape.packets ? d->shape.packets - segments : 0;
        fits = space < fits ? space : fits;
    }
    return (uint32_t)fits;
}

static void deliver(struct direction *d, const struct frame *f)
{
    if (*d->out_dead || write(d->out, f->data, f->length) < 0) { /* it is down, or gone: reading will tell */
        d->seen.errors += f->segments;
    } else {
        d->seen.tx_packets += f->segments;
        d->seen.tx_bytes += f->wire;
    }
}

/* When the queue has to be looked at: not when its head departs, only when something may be due, or settings change. */
static ns_t queue_next(const struct direction *d)
{
    ns_t least = d->shape.delay + least_offset(d->shape.jitter, d->shape.table);
    ns_t change = player_change(&d->player), due = d->queue.head->at;
    if (least > 0 && !d->skipping && due != NEVER)
        due += least;
    return due < change ? due : change;
}

void direction_hold(struct direction *d, ns_t until)
{
    d->held = until;
    d->next = now_ns(); /* to be looked at again */
}

void direction_run(struct direction *d, ns_t now, struct lateness *lateness)
{
    struct frame *f;
    direction_advance(d, now);
    if (now < d->held) {
        d->next = d->held;
        return;
    }
    while ((f = d->flight.head) && f->at <= now) {
        fifo_pop(&d->flight);
        ns_t late = now - f->at;
        if (late > d->seen.late_max)
            d->seen.late_max = late;
        lateness_note(lateness, late);
        deliver(d, f);
        frame_free(f);
        if (d->flight.head && d->flight.head->at <= now)
            now = now_ns();
    }
    d->next = d->flight.head ? d->flight.head->at : NEVER;
    if (d->queue.head) {
        ns_t next = queue_next(d);
        d->next = next < d->next ? next : d->next;
    }
}

void direction_drop_all(struct direction *d)
{
    struct fifo *fifos[] = {&d->queue, &d->flight};
    for (int i = 0; i < 2; i++)
        while (fifos[i]->head) {
            struct frame *f = fifo_pop(fifos[i]);
            d->seen.cut += f->segments;
            frame_free(f);
        }
    d->queued = d->queued_segments = 0;
    d->skipping = 0;
    d->wire_free = 0;
}
