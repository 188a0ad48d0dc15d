/* A thin stream from one interface to another, across all that is between them: how long was it silent? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "port.h"
#include "probe.h"

static const ns_t DRAIN = 300000000; /* for the frames under way at the end */

struct gap {
    struct port ports[2];
    uint64_t sent, received, next; /* next: sequence number that has not arrived yet */
    ns_t started, last, longest, begin, end; /* CLOCK_REALTIME */
};

static void send_next(struct gap *g)
{
    uint8_t frame[SMALLEST] = {0};
    uint8_t *at = frame_plain(frame, &g->ports[0], g->ports[1].mac);
    struct mark mark = {.sequence = g->sent, .sent = clock_ns(CLOCK_REALTIME)};
    memcpy(at, &mark, sizeof mark);
    /* A frame that cannot even be sent (no carrier, full queue) is one that does not arrive. */
    if (send(g->ports[0].out, frame, sizeof frame, MSG_DONTWAIT) < 0 && (errno == ENODEV || errno == ENXIO))
        die("send on", "a");
    g->sent++;
}

static void silence(struct gap *g, ns_t until)
{
    if (g->last && until - g->last > g->longest) {
        g->longest = until - g->last;
        g->begin = g->last;
        g->end = until;
    }
}

static void receive(struct gap *g)
{
    struct arrival arrivals[64];
    int n;
    while ((n = port_receive(&g->ports[1], arrivals, 64)) > 0)
        for (int i = 0; i < n; i++) {
            if (!g->received) /* before the first arrival, what counts is how long frames were lost */
                g->last = g->started;
            silence(g, g->received ? arrivals[i].at : arrivals[i].mark.sent);
            g->last = arrivals[i].at;
            g->received++;
            if (arrivals[i].mark.sequence >= g->next)
                g->next = arrivals[i].mark.sequence + 1;
        }
}

int probe_gap(int argc, char **argv)
{
    static struct gap g;

    port_open(&g.ports[0], argument_text(argc, argv, "a"));
    port_open(&g.ports[1], argument_text(argc, argv, "b"));
    double interval = argument(argc, argv, "interval", 1e-4, 10);
    ns_t stop = now_ns() + (ns_t)(argument(argc, argv, "duration", 0.01, 86400) * NS_PER_S);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct timespec every = to_timespec((ns_t)(interval * NS_PER_S));
    struct itimerspec setting = {.it_interval = every, .it_value = every};
    if (timer < 0 || timerfd_settime(timer, 0, &setting, NULL) < 0)
        die("set", "a timer");

    struct pollfd polled[] = {
        {.fd = timer, .events = POLLIN}, {.fd = g.ports[1].in, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    g.started = clock_ns(CLOCK_REALTIME);
    send_next(&g);
    printf("ready\n");
    fflush(stdout);
    while (now_ns() < stop) {
        poll(polled, 3, -1);
        uint64_t due;
        char bin[64];
        if ((polled[0].revents & POLLIN) && read(timer, &due, sizeof due) == sizeof due)
            send_next(&g); /* frames that were due while we could not run are not made up for: they were never sent */
        receive(&g);
        if (polled[2].revents && read(STDIN_FILENO, bin, sizeof bin) <= 0)
            break;
    }
    ns_t stopped = clock_ns(CLOCK_REALTIME), deadline = now_ns() + DRAIN;
    while (g.next < g.sent && now_ns() < deadline && port_wait(&g.ports[1], 1, deadline - now_ns()))
        receive(&g);
    if (!g.received)
        g.last = g.started;
    silence(&g, stopped);
    bool open = g.end == stopped; /* it was silent to the end */

    ns_t offset = now_ns() - clock_ns(CLOCK_REALTIME); /* results are told in CLOCK_MONOTONIC, as all events are */
    printf("{\"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"gap\": %.9f, \"begin\": %.9f, \"end\": %.9f, "
           "\"open\": %s, \"interval\": %.6f}\n",
           (unsigned long long)g.sent, (unsigned long long)g.received, (unsigned long long)(g.sent - g.received),
           (double)g.longest / NS_PER_S, (double)(g.begin + offset) / NS_PER_S, (double)(g.end + offset) / NS_PER_S,
           open ? "true" : "false", interval);
    return 0;
}
