#define _GNU_SOURCE
#include "priority.h"

#include <sched.h>
#include <sys/resource.h>

enum { FIFO = 50, NICE = -20 };
static const ns_t WINDOW = NS_PER_S, CALM = 3 * NS_PER_S;

static bool real_time(bool wanted)
{
    struct sched_param param = {.sched_priority = wanted ? FIFO : 0};
    return sched_setscheduler(0, wanted ? SCHED_FIFO : SCHED_OTHER, &param) == 0;
}

static void begin_window(struct priority *p, ns_t now)
{
    p->since = now;
    p->used = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void priority_start(struct priority *p, ns_t now)
{
    raise_priority(FIFO);
    int policy = sched_getscheduler(0);
    *p = (struct priority){.most = 0.7, .least = 0.5, .allowed = policy == SCHED_FIFO, .realtime = policy == SCHED_FIFO};
    begin_window(p, now);
}

void priority_check(struct priority *p, ns_t now)
{
    if (!p->allowed || now - p->since < WINDOW)
        return;
    ns_t window = now - p->since, used = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - p->used;
    double share = (double)used / (double)window;
    begin_window(p, now);
    p->calm = share < p->least ? p->calm + window : 0;
    if (p->realtime && share > p->most) {
        /* The nice value counts as soon as the policy is the usual one, so it comes first. */
        setpriority(PRIO_PROCESS, 0, NICE);
        p->realtime = !real_time(false);
        p->yields += !p->realtime;
        p->calm = 0;
    } else if (!p->realtime && p->calm >= CALM) {
        p->realtime = real_time(true);
    }
}

const char *priority_words(const struct priority *p)
{
    if (p->realtime)
        return "fifo:50";
    return getpriority(PRIO_PROCESS, 0) == NICE ? "nice:-20" : "normal";
}
