/* Small frames in both directions, far below the rate: one-way delays on one clock, and losses. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "port.h"
#include "probe.h"

enum { MOST_FRAMES = 1000000 };

/* Frames go out in bursts, to have many for the count of losses; only the first of each tells the delay, because those
 * behind it may have had to wait in order not to overtake it. */
struct way {
    uint64_t sent, received, reordered, last;
    double *delays;          /* by burst, NAN: lost */
};

struct stream {
    struct port ports[2];
    struct way ways[2];      /* [0]: a to b */
    uint64_t bursts, burst;
    atomic_bool sent_all;
    ns_t patience;
};

static void take(struct stream *s, int i, const struct arrival *a)
{
    struct way *w = &s->ways[i];
    uint64_t sequence = a->mark.sequence;
    if (sequence >= s->bursts * s->burst)
        return;
    if (w->received++ && sequence < w->last)
        w->reordered++;
    w->last = sequence;
    if (sequence % s->burst == 0)
        w->delays[sequence / s->burst] = (double)(a->at - a->mark.sent) / NS_PER_S;
}

static void *receiver(void *argument)
{
    struct stream *s = argument;
    struct arrival arrivals[64];
    ns_t deadline = NEVER;
    for (;;) {
        if (deadline == NEVER && atomic_load(&s->sent_all))
            deadline = now_ns() + s->patience;
        bool all = s->ways[0].received == s->bursts * s->burst && s->ways[1].received == s->bursts * s->burst;
        if (all || (deadline != NEVER && now_ns() > deadline))
            return NULL;
        port_wait(s->ports, 2, 50000000);
        for (int i = 0; i < 2; i++) {
            int n = port_receive(&s->ports[1 - i], arrivals, 64);
            for (int k = 0; k < n; k++)
                take(s, i, &arrivals[k]);
        }
    }
}

static void send_burst(struct stream *s, int i, uint64_t number)
{
    uint8_t frame[SMALLEST] = {0};
    uint8_t *at = frame_plain(frame, &s->ports[i], NOBODY);
    for (uint64_t k = 0; k < s->burst; k++) {
        struct mark mark = {.sequence = number * s->burst + k, .sent = clock_ns(CLOCK_REALTIME)};
        memcpy(at, &mark, sizeof mark);
        if (send(s->ports[i].out, frame, sizeof frame, 0) >= 0 || errno == ENOBUFS)
            s->ways[i].sent++;
        else
            die("send on", i ? "b" : "a");
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, uint64_t n, double q)
{
    double at = q * (double)(n - 1);
    uint64_t low = (uint64_t)at, high = low + 1 < n ? low + 1 : low;
    return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}

/* Sorts `values` in place, without those that are NAN. */
static void print_spread(double *values, uint64_t count)
{
    uint64_t n = 0;
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            sum += values[n++] = values[i];
    for (uint64_t i = 0; i < n; i++)
        squares += (values[i] - sum / (double)n) * (values[i] - sum / (double)n);
    printf("\"samples\": %llu", (unsigned long long)n);
    if (!n)
        return;
    qsort(values, n, sizeof *values, ascending);
    printf(", \"min\": %.9f, \"p10\": %.9f, \"p50\": %.9f, \"p90\": %.9f, \"p99\": %.9f, \"max\": %.9f, \"sd\": %.9f",
           values[0], quantile(values, n, 0.1), quantile(values, n, 0.5), quantile(values, n, 0.9),
           quantile(values, n, 0.99), values[n - 1], sqrt(squares / (double)n));
}

static void report(struct stream *s)
{
    double *rtt = calloc(s->bursts, sizeof *rtt);
    if (!rtt)
        die("have memory for", "results");
    for (uint64_t i = 0; i < s->bursts; i++)
        rtt[i] = s->ways[0].delays[i] + s->ways[1].delays[i]; /* NAN if either was lost */
    printf("{");
    for (int i = 0; i < 2; i++) {
        struct way *w = &s->ways[i];
        printf("\"%s\": {\"sent\": %llu, \"received\": %llu, \"reordered\": %llu, \"overruns\": %u, ", i ? "ba" : "ab",
               (unsigned long long)w->sent, (unsigned long long)w->received, (unsigned long long)w->reordered,
               port_overruns(&s->ports[1 - i]));
        print_spread(w->delays, s->bursts);
        printf("}, ");
    }
    printf("\"rtt\": {");
    print_spread(rtt, s->bursts);
    printf("}, \"frame\": %d}\n", SMALLEST);
    free(rtt);
}

int probe_stream(int argc, char **argv)
{
    static struct stream s;
    pthread_t thread;

    port_open(&s.ports[0], argument_text(argc, argv, "a"));
    port_open(&s.ports[1], argument_text(argc, argv, "b"));
    s.bursts = (uint64_t)argument(argc, argv, "count", 1, MOST_FRAMES);
    s.burst = (uint64_t)argument(argc, argv, "burst", 1, 100);
    s.patience = (ns_t)(argument(argc, argv, "patience", 0.01, 600) * NS_PER_S);
    ns_t half = (ns_t)(argument(argc, argv, "interval", 1e-5, 10) * NS_PER_S / 2);
    for (int i = 0; i < 2; i++) {
        s.ways[i].delays = malloc(s.bursts * sizeof(double));
        if (!s.ways[i].delays)
            die("have memory for", "results");
        for (uint64_t k = 0; k < s.bursts; k++)
            s.ways[i].delays[k] = NAN;
    }
    if (pthread_create(&thread, NULL, receiver, &s))
        die("start", "a thread");
    ns_t t = now_ns();
    for (uint64_t k = 0; k < s.bursts; k++)
        for (int i = 0; i < 2; i++, t += half) { /* the directions take turns, so as not to disturb each other */
            struct timespec until = to_timespec(t);
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
            send_burst(&s, i, k);
        }
    atomic_store(&s.sent_all, true);
    pthread_join(thread, NULL);
    report(&s);
    return 0;
}
