/* Real-time priority, but not for a relay that would take the machine's time from all others. */
#ifndef ROAMBED_PRIORITY_H
#define ROAMBED_PRIORITY_H

#include <stdbool.h>

#include "util.h"

struct priority {
    bool allowed, realtime; /* this machine lets us; we are */
    double most, least;     /* shares of a core: above the first we give it up, below the second we come back */
    ns_t since, used;       /* the window that is being looked at: its begin, and our CPU time then */
    ns_t calm;              /* for so long it has been below `least` */
    unsigned yields;        /* how often it was given up */
};

void priority_start(struct priority *p, ns_t now);

/* To be called whenever we are awake: looks at the time used once a second. */
void priority_check(struct priority *p, ns_t now);

const char *priority_words(const struct priority *p);

#endif
