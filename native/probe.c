/* probe - measures a link from outside, with raw frames between the interfaces at its two ends.
 *
 *     probe rate   a=NETNS,IF b=NETNS,IF ab=BIT/S ba=BIT/S warmup=S window=S patience=S
 *     probe stream a=NETNS,IF b=NETNS,IF count=N interval=S burst=K patience=S
 *     probe gap    a=NETNS,IF b=NETNS,IF interval=S duration=S
 *
 * `rate` saturates both directions (0 leaves one out) and says what came through, in layer-2 bit/s.
 * `stream` sends small frames far below the rate: one-way delays and what was lost.
 * `gap` sends a thin stream from a to b, across whatever is between them, until standard input closes; it says
 * `ready` when it has begun, and at the end how long the longest silence at b was.
 *
 * Results are one JSON object on standard output, in seconds, bytes and bits per second. */
#define _GNU_SOURCE
#include "probe.h"

#include <stdio.h>
#include <string.h>

#include "util.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*act)(int, char **);
    } modes[] = {{"rate", probe_rate}, {"stream", probe_stream}, {"gap", probe_gap}};

    raise_priority(40); /* below the relay's, which must never wait for us */
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(argv[1], modes[i].name) == 0)
            return modes[i].act(argc, argv);
    fprintf(stderr, "usage: probe rate|stream|gap NAME=VALUE ...\n");
    return 2;
}
