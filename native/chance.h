/* What is left to chance: one stream of random numbers a purpose, so that no pattern depends on another setting. */
#ifndef ROAMBED_CHANCE_H
#define ROAMBED_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define CHANCE_UNIT 1000000000u /* probabilities are told in parts per billion */

enum purpose { LOSS, JITTER, BURST, REORDER, DUPLICATE, CORRUPT, CORRUPT_BIT, PURPOSES };

struct dice {
    uint64_t states[PURPOSES];
    bool bad;                /* state of the Gilbert-Elliott model */
};

/* How delays vary: values of the inverse distribution function, in 1/TABLE_SCALE of the jitter. */
#define TABLE_SCALE 8192
#define TABLE_MOST 16384

struct table {
    struct table *next;
    char id[32];
    uint32_t count;
    int16_t least;
    int16_t values[];
};

struct bursts { /* Gilbert-Elliott, as the kernel's netem has it */
    uint32_t enter, leave;   /* good to bad, bad to good */
    uint32_t bad, good;      /* loss in either state */
};

void dice_seed(struct dice *dice, uint64_t seed);
uint64_t dice_draw(struct dice *dice, enum purpose purpose);
bool dice_happens(struct dice *dice, enum purpose purpose, uint32_t ppb);

/* One segment meets the model: is it lost? Of the state that it finds depends whether; then the state may change. */
bool dice_burst(struct dice *dice, const struct bursts *bursts);

/* By how much a delay differs from its mean; uniform within +-jitter without a table. */
ns_t dice_offset(struct dice *dice, ns_t jitter, const struct table *table);
ns_t least_offset(ns_t jitter, const struct table *table);

/* The table in a file of 16-bit integers, or NULL with `*problem` saying why not. */
struct table *table_load(const char *id, const char *path, const char **problem);

#endif
