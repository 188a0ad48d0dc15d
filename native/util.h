/* What the relay and the probe share: clocks, namespaces, priority. */
#ifndef ROAMBED_UTIL_H
#define ROAMBED_UTIL_H

#include <stdint.h>
#include <time.h>

typedef int64_t ns_t;

#define NS_PER_S 1000000000LL
#define NEVER INT64_MAX

static inline ns_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (ns_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static inline ns_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static inline struct timespec to_timespec(ns_t t)
{
    return (struct timespec){.tv_sec = t / NS_PER_S, .tv_nsec = t % NS_PER_S};
}

/* Join the network namespace at `path`. Returns 0 or -errno. */
int enter_netns(const char *path);

/* Real-time priority if this machine allows it, else the best nice value. Says which, in words. */
const char *raise_priority(int fifo);

#endif
