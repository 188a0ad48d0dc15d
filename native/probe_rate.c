/* Saturates a link and measures what comes through.
 *
 * The rate is the slope of a line fitted through (bytes so far, receive time) of all frames in the window: exact also
 * for few frames, and a frame that was seen late hardly matters. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "port.h"
#include "probe.h"

static const double OFFERED = 1.2;       /* times the rate asked for */
static const double PIECE_S = 0.0005;    /* a large frame lasts no longer than this */
static const double FRAMES_PER_S = 100;  /* at least, so that slow links have something to measure */
static const ns_t TICK = 500000;
static const ns_t MOST_BEHIND = 20000000;

struct flow {
    struct port *from, *to;
    double rate;
    ns_t warmup, window, patience;
    atomic_bool done;
    /* sender */
    uint64_t offered, refused;
    double offering_s;
    /* receiver */
    uint64_t bytes, frames;
    ns_t first, begin, end;
    double sum_b, sum_t, sum_bb, sum_bt;
};

/* Layer-2 bytes of a received frame, the headers of all its segments included. */
static uint32_t wire_bytes(uint32_t length)
{
    if (length <= MTU_FRAME)
        return length;
    uint32_t payload = length - TCP_HEADERS;
    return payload + (payload + MSS - 1) / MSS * TCP_HEADERS;
}

static unsigned segments_for(double rate)
{
    double fit = rate / 8 * PIECE_S / MTU_FRAME;
    return fit < 2 ? 1 : fit > MOST_SEGMENTS ? MOST_SEGMENTS : (unsigned)fit;
}

static void *sender(void *argument)
{
    struct flow *f = argument;
    static const int one = 1;
    uint8_t *frame = calloc(1, sizeof(struct virtio_net_hdr) + LARGEST);
    unsigned segments = segments_for(f->rate);
    size_t length;
    uint32_t wire;

    if (!frame)
        die("have memory for", "a frame");
    if (segments > 1) {
        if (setsockopt(f->from->out, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0)
            die("send large frames on", "an end");
        length = frame_large(frame, f->from, NOBODY, segments);
        wire = segments * MTU_FRAME;
    } else {
        double size = f->rate / 8 / FRAMES_PER_S;
        length = size < SMALLEST ? SMALLEST : size > MTU_FRAME ? MTU_FRAME : (size_t)size;
        frame_plain(frame, f->from, NOBODY);
        wire = (uint32_t)length;
    }

    ns_t begin = now_ns(), t = begin, gap = (ns_t)(wire * 8e9 / (f->rate * OFFERED)), due = begin;
    while (!atomic_load(&f->done)) {
        ns_t now = now_ns();
        if (due < now - MOST_BEHIND)
            due = now - MOST_BEHIND;
        for (; due <= now && !atomic_load(&f->done); due += gap) {
            /* ENOBUFS: the link's own queue was full, so it was offered. EAGAIN: it never got there. */
            if (send(f->from->out, frame, length, MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
                f->offered += wire;
            else if (errno == EAGAIN)
                f->refused++;
            else
                die("send on", "an end");
        }
        t = due > now + TICK ? due : now + TICK;
        struct timespec until = to_timespec(t);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    f->offering_s = (double)(now_ns() - begin) / NS_PER_S;
    free(frame);
    return NULL;
}

static void count(struct flow *f, const struct arrival *a)
{
    if (!f->first)
        f->first = a->at;
    if (a->at < f->first + f->warmup)
        return;
    if (!f->begin) {
        f->begin = f->end = a->at; /* the window begins as this frame ends: its own bytes are not in it */
        return;
    }
    f->bytes += wire_bytes(a->length);
    f->frames++;
    f->end = a->at;
    double b = (double)f->bytes, t = (double)(f->end - f->begin) / NS_PER_S;
    f->sum_b += b;
    f->sum_t += t;
    f->sum_bb += b * b;
    f->sum_bt += b * t;
    if (f->end - f->begin >= f->window)
        atomic_store(&f->done, true);
}

static void *receiver(void *argument)
{
    struct flow *f = argument;
    ns_t deadline = now_ns() + f->patience;
    struct arrival arrivals[64];
    while (!atomic_load(&f->done)) {
        ns_t left = deadline - now_ns();
        if (left <= 0)
            break;
        port_wait(f->to, 1, left);
        int n = port_receive(f->to, arrivals, 64);
        for (int i = 0; i < n && !atomic_load(&f->done); i++)
            count(f, &arrivals[i]);
    }
    atomic_store(&f->done, true);
    return NULL;
}

static double fitted_rate(const struct flow *f)
{
    double n = (double)f->frames + 1; /* the frame with which the window began is the point (0, 0) */
    double spread = n * f->sum_bb - f->sum_b * f->sum_b, along = n * f->sum_bt - f->sum_b * f->sum_t;
    return f->frames > 1 && along > 0 ? 8 * spread / along : 0;
}

static void report(const char *name, const struct flow *f, uint32_t overruns)
{
    double span = (double)(f->end - f->begin) / NS_PER_S;
    printf("\"%s\": {\"rate\": %.1f, \"offered\": %.1f, \"frames\": %llu, \"bytes\": %llu, \"window\": %.6f, "
           "\"refused\": %llu, \"overruns\": %u}",
           name, fitted_rate(f),
           f->offering_s > 0 ? (double)f->offered * 8 / f->offering_s : 0.0, (unsigned long long)f->frames,
           (unsigned long long)f->bytes, span, (unsigned long long)f->refused, overruns);
}

int probe_rate(int argc, char **argv)
{
    static const char *const names[] = {"ab", "ba"};
    struct port ports[2];
    struct flow flows[2] = {0};
    pthread_t threads[2][2];
    const char *comma = "";

    port_open(&ports[0], argument_text(argc, argv, "a"));
    port_open(&ports[1], argument_text(argc, argv, "b"));
    for (int i = 0; i < 2; i++) {
        flows[i].from = &ports[i];
        flows[i].to = &ports[1 - i];
        flows[i].rate = argument(argc, argv, names[i], 0, 1e11);
        flows[i].warmup = (ns_t)(argument(argc, argv, "warmup", 0, 60) * NS_PER_S);
        flows[i].window = (ns_t)(argument(argc, argv, "window", 0.01, 60) * NS_PER_S);
        flows[i].patience = (ns_t)(argument(argc, argv, "patience", 0.01, 600) * NS_PER_S);
    }
    for (int i = 0; i < 2; i++)
        if (flows[i].rate > 0 && (pthread_create(&threads[i][0], NULL, receiver, &flows[i]) ||
                                  pthread_create(&threads[i][1], NULL, sender, &flows[i])))
            die("start a thread for", names[i]);
    printf("{");
    for (int i = 0; i < 2; i++) {
        if (flows[i].rate <= 0)
            continue;
        pthread_join(threads[i][0], NULL);
        pthread_join(threads[i][1], NULL);
        fputs(comma, stdout);
        report(names[i], &flows[i], port_overruns(flows[i].to));
        comma = ", ";
    }
    printf("}\n");
    return 0;
}
