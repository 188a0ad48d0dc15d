/* What happens to the segments of a frame is drawn for each; neighbours that share their fate stay together. */
#include <string.h>

#include "direction.h"
#include "gso.h"

/* A piece of a large TCP frame lasts no longer than this on the wire: bursts stay as short as the sender's own. */
static const ns_t PIECE = 500000;

struct fate {
    bool lost, corrupt, skip, twice;
};

/* In the kernel's netem a segment that is both doubled and lost goes on once, and a copy draws anew. */
static struct fate draw_fate(struct direction *d, bool copy)
{
    const struct shape *s = &d->shape;
    struct fate fate = {.twice = !copy && dice_happens(&d->dice, DUPLICATE, s->duplicate)};
    fate.lost = dice_happens(&d->dice, LOSS, s->loss);
    if (s->bursty && dice_burst(&d->dice, &s->bursts))
        fate.lost = true;
    if (fate.twice && fate.lost)
        fate.twice = fate.lost = false;
    fate.corrupt = dice_happens(&d->dice, CORRUPT, s->corrupt);
    fate.skip = dice_happens(&d->dice, REORDER, s->reorder);
    return fate;
}

static void corrupt(struct direction *d, struct frame *f)
{
    checksum_complete(f->data, f->length); /* or the receiver would not look at it */
    uint64_t bit = dice_draw(&d->dice, CORRUPT_BIT) % ((uint64_t)(f->length - VNET_HEADER) * 8);
    f->data[VNET_HEADER + bit / 8] ^= (uint8_t)(1u << bit % 8);
    d->seen.corrupted++;
}

/* Segments [first, first + count), all of one fate, join the queue as one frame, as far as they fit. */
static void put(struct direction *d, const uint8_t *data, const struct gso *g, uint32_t first, uint32_t count,
                struct fate fate, ns_t now)
{
    if (fate.lost) { /* before the queue, as in the kernel: what is lost uses nothing of the rate */
        d->seen.dropl += count;
        return;
    }
    uint32_t fits = direction_fits(d, g, first, count);
    d->seen.dropq += count - fits;
    if (fits == 0)
        return;
    struct frame *f = frame_new(gso_length(g, first, fits));
    if (!f) {
        d->seen.dropq += fits;
        return;
    }
    f->segments = fits;
    f->wire = gso_wire(g, first, fits);
    f->skip = fate.skip;
    d->seen.reordered += f->skip;
    gso_cut(data, g, first, fits, f->data);
    if (fate.corrupt)
        corrupt(d, f);
    direction_enqueue(d, f, now);
}

static bool uncertain(const struct shape *s) { return s->loss || s->bursty || s->reorder || s->duplicate || s->corrupt; }

static void take_piece(struct direction *d, const uint8_t *data, const struct gso *g, uint32_t first, uint32_t count,
                       ns_t now)
{
    uint32_t run = first, end = first + count; /* segments [run, i) are to be put, lost or not */
    struct fate shared = {0};
    for (uint32_t i = first; uncertain(&d->shape) && i < end; i++) {
        struct fate fate = draw_fate(d, false);
        bool alone = !fate.lost && (fate.corrupt || fate.skip || fate.twice);
        if (run < i && (alone || fate.lost != shared.lost)) {
            put(d, data, g, run, i - run, shared, now);
            run = i;
        }
        shared.lost = fate.lost;
        if (!alone)
            continue;
        put(d, data, g, i, 1, fate, now);
        if (fate.twice) {
            d->seen.duplicated++;
            put(d, data, g, i, 1, draw_fate(d, true), now);
        }
        run = i + 1;
    }
    if (run < end)
        put(d, data, g, run, end - run, shared, now);
}

void direction_take(struct direction *d, const uint8_t *data, uint32_t length, ns_t now)
{
    struct gso g;
    direction_advance(d, now);
    d->next = now;
    gso_parse(data, length, &g);
    d->seen.rx_packets += g.segments;
    d->seen.rx_bytes += gso_wire(&g, 0, g.segments);
    uint32_t piece = g.segments;
    if (player_has_chances(&d->player)) {
        piece = 1;
    } else if (d->ns_per_byte > 0) {
        double fit = (double)PIECE / (d->ns_per_byte * (g.mss + g.headers));
        piece = fit < 1 ? 1 : fit < g.segments ? (uint32_t)fit : g.segments;
    }
    for (uint32_t first = 0; first < g.segments; first += piece) {
        uint32_t left = g.segments - first;
        take_piece(d, data, &g, first, left < piece ? left : piece, now);
    }
}
