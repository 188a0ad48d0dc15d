#include "chance.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

static uint64_t scramble(uint64_t seed) /* splitmix64; never 0, at which xorshift would stay */
{
    seed += 0x9e3779b97f4a7c15ull;
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9ull;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebull;
    seed ^= seed >> 31;
    return seed ? seed : 1;
}

void dice_seed(struct dice *dice, uint64_t seed)
{
    for (int i = 0; i < PURPOSES; i++)
        dice->states[i] = scramble(seed * PURPOSES + (uint64_t)i);
    dice->bad = false;
}

uint64_t dice_draw(struct dice *dice, enum purpose purpose) /* xorshift64* */
{
    uint64_t x = dice->states[purpose];
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    dice->states[purpose] = x;
    return x * 2685821657736338717ull;
}

bool dice_happens(struct dice *dice, enum purpose purpose, uint32_t ppb)
{
    if (ppb == 0 || ppb >= CHANCE_UNIT) /* the ends of the scale are exact */
        return ppb != 0;
    return dice_draw(dice, purpose) < (uint64_t)(ppb * (0x1p64 / CHANCE_UNIT));
}

bool dice_burst(struct dice *dice, const struct bursts *bursts)
{
    bool lost = dice_happens(dice, LOSS, dice->bad ? bursts->bad : bursts->good);
    if (dice_happens(dice, BURST, dice->bad ? bursts->leave : bursts->enter))
        dice->bad = !dice->bad;
    return lost;
}

ns_t dice_offset(struct dice *dice, ns_t jitter, const struct table *table)
{
    uint64_t drawn;
    if (!jitter)
        return 0;
    drawn = dice_draw(dice, JITTER);
    if (!table)
        return (ns_t)(drawn % (2 * (uint64_t)jitter + 1)) - jitter;
    return jitter * table->values[drawn % table->count] / TABLE_SCALE;
}

ns_t least_offset(ns_t jitter, const struct table *table)
{
    return table ? jitter * table->least / TABLE_SCALE : -jitter;
}

struct table *table_load(const char *id, const char *path, const char **problem)
{
    size_t size;
    struct table *t = load_file(path, offsetof(struct table, values), TABLE_MOST * sizeof *t->values, &size, problem);
    if (!t)
        return NULL;
    snprintf(t->id, sizeof t->id, "%s", id);
    t->count = (uint32_t)(size / sizeof *t->values);
    if (t->count == 0 || size % sizeof *t->values) {
        *problem = "a table is 1 to 16384 integers of 16 bits";
        free(t);
        return NULL;
    }
    t->least = t->values[0];
    for (uint32_t i = 1; i < t->count; i++)
        if (t->values[i] < t->least)
            t->least = t->values[i];
    return t;
}
