/* How late deliveries were: a histogram of eight steps an octave, so a figure is right within an eighth. */
#ifndef ROAMBED_LATENESS_H
#define ROAMBED_LATENESS_H

#include <stdint.h>

#include "util.h"

enum { LATE_STEPS = 8, LATE_SLOTS = 64 * LATE_STEPS };

struct lateness {
    uint64_t count;
    ns_t most;
    uint32_t slots[LATE_SLOTS];
};

static inline void lateness_note(struct lateness *l, ns_t late)
{
    uint64_t value = late > LATE_STEPS ? (uint64_t)late : LATE_STEPS;
    unsigned octave = 63u - (unsigned)__builtin_clzll(value);
    l->slots[octave * LATE_STEPS + (value >> (octave - 3) & 7)]++;
    l->count++;
    if (late > l->most)
        l->most = late;
}

/* What so many of a thousand deliveries were not later than. */
static inline ns_t lateness_within(const struct lateness *l, unsigned per_mille)
{
    uint64_t wanted = (l->count * per_mille + 999) / 1000, seen = 0;
    if (l->count == 0)
        return 0;
    for (unsigned i = 0; i < LATE_SLOTS; i++)
        if ((seen += l->slots[i]) >= wanted) {
            ns_t above = (ns_t)((uint64_t)(LATE_STEPS + i % LATE_STEPS + 1) << (i / LATE_STEPS - 3));
            return above < l->most ? above : l->most;
        }
    return l->most;
}

#endif
