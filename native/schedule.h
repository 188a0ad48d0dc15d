/* How a direction varies over time, handed over ahead: steps of its settings, or Mahimahi's chances to send. */
#ifndef ROAMBED_SCHEDULE_H
#define ROAMBED_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct step { /* as it is in the file; NAN: as the link's own settings say */
    double at;      /* ns since the beginning */
    double rate;    /* bit/s, 0: nothing passes */
    double delay;   /* ns */
    double loss;    /* parts per billion */
};

struct schedule {
    struct schedule *next;
    char id[32];
    bool chances;   /* of the two arrays the second */
    bool loop;
    ns_t length;
    double mean;    /* of chances: layer-2 bit/s of full frames */
    size_t count;
    union {
        struct step steps[0];
        int64_t at_ms[0];
    };
};

/* One direction's place in a schedule. `index` is what comes next; times are CLOCK_MONOTONIC. */
struct player {
    const struct schedule *schedule; /* NULL: nothing plays */
    ns_t begin;                      /* of the round that it is in */
    size_t index;
    bool started;
};

/* The schedule in a file of steps, or of chances as 64-bit numbers of ms; NULL with `*problem` saying why not. */
struct schedule *schedule_load(const char *id, const char *path, bool chances, bool loop, ns_t length,
                               const char **problem);

static inline bool player_has_chances(const struct player *p) { return p->started && p->schedule->chances; }

/* When settings change next, or NEVER. For chances there is one change: the beginning. */
ns_t player_change(const struct player *p);

/* Go to what is in force at `t`, over all changes before. */
void player_go(struct player *p, ns_t t);

/* The step in force, or NULL. */
const struct step *player_step(const struct player *p);

/* When the next chance comes, or NEVER; use it; let pass all that have come by `t`. */
ns_t player_chance(const struct player *p);
void player_use(struct player *p);
void player_pass(struct player *p, ns_t t);

#endif
