/* Commands that tell what has been seen. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"

static const char *const SIDES[] = {"ab", "ba"};

void command_stats(struct relay *relay, char **words)
{
    struct direction *d = parse_direction(relay, words);
    if (!d)
        return;
    direction_advance(d, now_ns());
    const struct counters *c = &d->seen;
    printf("ok rx_bytes=%" PRIu64 " rx_packets=%" PRIu64 " tx_bytes=%" PRIu64 " tx_packets=%" PRIu64 " dropq=%" PRIu64
           " dropl=%" PRIu64 " cut=%" PRIu64 " errors=%" PRIu64 " reordered=%" PRIu64 " duplicated=%" PRIu64
           " corrupted=%" PRIu64 " waiting=%" PRIu64 " late_max=%" PRId64 "\n",
           c->rx_bytes, c->rx_packets, c->tx_bytes, c->tx_packets, c->dropq, c->dropl, c->cut, c->errors, c->reordered,
           c->duplicated, c->corrupted, direction_waiting(d), c->late_max);
}

void command_statsall(struct relay *relay, char **words)
{
    (void)words;
    ns_t now = now_ns();
    printf("ok");
    for (struct link *link = relay->links; link; link = link->next)
        for (int i = 0; i < 2; i++) {
            struct direction *d = &link->directions[i];
            const struct counters *c = &d->seen;
            direction_advance(d, now);
            printf(" %s,%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRId64,
                   link->name, SIDES[i], c->tx_bytes, c->tx_packets, c->dropq, c->dropl, c->errors,
                   direction_waiting(d), c->late_max);
        }
    printf("\n");
}

void command_health(struct relay *relay, char **words)
{
    struct lateness *l = &relay->lateness;
    (void)words;
    printf("ok priority=%s yields=%u cpu=%" PRId64 " frames=%" PRIu64 " p50=%" PRId64 " p99=%" PRId64 " p999=%" PRId64
           " max=%" PRId64 "\n",
           priority_words(&relay->priority), relay->priority.yields, clock_ns(CLOCK_PROCESS_CPUTIME_ID), l->count,
           lateness_within(l, 500), lateness_within(l, 990), lateness_within(l, 999), l->most);
    memset(l, 0, sizeof *l);
}
