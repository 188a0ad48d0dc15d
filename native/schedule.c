#include "schedule.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

enum { FULL_FRAME = 1514, MOST_ENTRIES = 1 << 20 };
static const double NS_PER_MS = 1e6, LONGEST = 1e17; /* ns; 3 years */

static ns_t entry_at(const struct schedule *s, size_t i)
{
    return s->chances ? s->at_ms[i] * (ns_t)NS_PER_MS : (ns_t)s->steps[i].at;
}

static const char *fault(const struct schedule *s)
{
    if (s->count == 0)
        return "it is empty";
    for (size_t i = 0; i < s->count; i++) {
        double at = s->chances ? (double)s->at_ms[i] * NS_PER_MS : s->steps[i].at;
        if (!(at >= 0 && at <= LONGEST))
            return "a time is out of range";
        if (i && entry_at(s, i) < entry_at(s, i - 1))
            return "time runs backwards";
        if (s->chances)
            continue;
        const struct step *step = &s->steps[i];
        if (i == 0 && at != 0)
            return "it does not begin at 0";
        if (step->rate < 0 || step->delay < 0 || step->loss < 0 || isinf(step->rate) || step->delay > 600e9 ||
            step->loss > 1e9)
            return "a value is out of range";
    }
    return s->loop && s->length <= 0 ? "a loop takes no time" : NULL;
}

struct schedule *schedule_load(const char *id, const char *path, bool chances, bool loop, ns_t length,
                               const char **problem)
{
    size_t size, entry = chances ? sizeof(int64_t) : sizeof(struct step);
    struct schedule *s = load_file(path, offsetof(struct schedule, steps), MOST_ENTRIES * entry, &size, problem);
    if (!s)
        return NULL;
    snprintf(s->id, sizeof s->id, "%s", id);
    s->chances = chances;
    s->loop = loop;
    s->count = size / entry;
    s->length = length;
    if (s->count && entry_at(s, s->count - 1) > length)
        s->length = entry_at(s, s->count - 1);
    *problem = size % entry ? "its last entry is cut off" : fault(s);
    if (*problem) {
        free(s);
        return NULL;
    }
    if (chances && s->length > 0)
        s->mean = (double)s->count * FULL_FRAME * 8 * NS_PER_S / (double)s->length;
    return s;
}

/* First entry of the round that comes at `t` or later (or, `after`, only later). */
static void seek(struct player *p, ns_t t, bool after)
{
    const struct schedule *s = p->schedule;
    if (s->loop && t - p->begin >= s->length)
        p->begin += (t - p->begin) / s->length * s->length;
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        ns_t at = p->begin + entry_at(s, middle);
        if (at < t || (after && at == t))
            low = middle + 1;
        else
            high = middle;
    }
    p->index = low;
    if (low == s->count && s->loop) {
        p->begin += s->length;
        p->index = 0;
    }
}

ns_t player_change(const struct player *p)
{
    if (!p->schedule)
        return NEVER;
    if (!p->started)
        return p->begin;
    if (p->schedule->chances || p->index >= p->schedule->count)
        return NEVER;
    return p->begin + entry_at(p->schedule, p->index);
}

void player_go(struct player *p, ns_t t)
{
    p->started = true;
    seek(p, t, !p->schedule->chances); /* a chance at this very moment is still to come, a step is in force */
}

const struct step *player_step(const struct player *p)
{
    if (!p->schedule || !p->started || p->schedule->chances)
        return NULL;
    return &p->schedule->steps[(p->index ? p->index : p->schedule->count) - 1];
}

ns_t player_chance(const struct player *p)
{
    return p->index < p->schedule->count ? p->begin + entry_at(p->schedule, p->index) : NEVER;
}

void player_use(struct player *p)
{
    if (++p->index == p->schedule->count && p->schedule->loop) {
        p->begin += p->schedule->length;
        p->index = 0;
    }
}

void player_pass(struct player *p, ns_t t)
{
    if (player_chance(p) <= t)
        seek(p, t, true);
}
