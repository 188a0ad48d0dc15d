#define _GNU_SOURCE
#include "commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tap.h"

enum { MOST_WORDS = 10 };

static const double MOST_RATE = 1e12;
static const double LONGEST = 600e9; /* ns */
static const double MOST_QUEUE = 256u << 20;

static struct link **find(struct relay *relay, const char *name)
{
    struct link **at = &relay->links;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static void no_link(const char *name) { printf("error no link %s\n", name); }

/* A number in [0, most], or false. */
static bool number(const char *word, double most, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(word, &end);
    return end != word && *end == '\0' && errno == 0 && *value >= 0 && *value <= most;
}

static struct direction *direction(struct relay *relay, char **words)
{
    struct link *link = *find(relay, words[1]);
    if (!link) {
        no_link(words[1]);
        return NULL;
    }
    if (strcmp(words[2], "ab") != 0 && strcmp(words[2], "ba") != 0) {
        printf("error direction must be ab or ba, not %s\n", words[2]);
        return NULL;
    }
    return &link->directions[words[2][0] == 'b'];
}

static bool parse_mac(const char *word, uint8_t mac[6])
{
    char rest;
    return sscanf(word, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5],
                  &rest) == 6;
}

static void add(struct relay *relay, char **words)
{
    struct tap_request ends[2] = {{.ifname = words[2], .netns = words[3]}, {.ifname = words[5], .netns = words[6]}};
    int fds[2] = {-1, -1};

    if (strlen(words[1]) >= LINK_NAME || *find(relay, words[1])) {
        printf("error link %s exists already, or its name is too long\n", words[1]);
        return;
    }
    if (!parse_mac(words[4], ends[0].mac) || !parse_mac(words[7], ends[1].mac)) {
        printf("error not an Ethernet address: %s or %s\n", words[4], words[7]);
        return;
    }
    for (int i = 0; i < 2; i++) {
        const char *step = "";
        fds[i] = tap_make(&ends[i], relay->home, &step);
        if (fds[i] < 0) {
            printf("error cannot %s %s (%s): %s\n", step, ends[i].netns, ends[i].ifname, strerror(-fds[i]));
            if (i == 1)
                close(fds[0]);
            return;
        }
    }
    struct link *link = link_new(words[1], fds, 0);
    if (!link) {
        close(fds[0]);
        close(fds[1]);
        printf("error out of memory\n");
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &link->ends[i]};
        if (epoll_ctl(relay->epoll, EPOLL_CTL_ADD, fds[i], &event) < 0) {
            printf("error cannot watch %s: %s\n", ends[i].ifname, strerror(errno));
            link_free(link);
            return;
        }
    }
    link->next = relay->links;
    relay->links = link;
    printf("ok\n");
}

static void set(struct relay *relay, char **words)
{
    static const char *const names[] = {"rate", "delay", "jitter", "loss", "queue"};
    const double most[] = {MOST_RATE, LONGEST, LONGEST, LOSS_UNIT, MOST_QUEUE};
    double v[5];
    struct direction *d = direction(relay, words);

    if (!d)
        return;
    for (int i = 0; i < 5; i++)
        if (!number(words[3 + i], most[i], &v[i])) {
            printf("error %s must be a number from 0 to %.0f, not %s\n", names[i], most[i], words[3 + i]);
            return;
        }
    struct shape shape = {v[0], (ns_t)v[1], (ns_t)v[2], (uint32_t)v[3], (uint64_t)v[4]};
    direction_set(d, &shape);
    printf("ok\n");
}

static void get(struct relay *relay, char **words)
{
    struct direction *d = direction(relay, words);
    if (d)
        printf("ok rate=%.3f delay=%" PRId64 " jitter=%" PRId64 " loss=%" PRIu32 " queue=%" PRIu64 "\n", d->shape.rate,
               d->shape.delay, d->shape.jitter, d->shape.loss, d->shape.queue);
}

static void stats(struct relay *relay, char **words)
{
    struct direction *d = direction(relay, words);
    if (!d)
        return;
    const struct counters *c = &d->seen;
    printf("ok rx_bytes=%" PRIu64 " rx_packets=%" PRIu64 " tx_bytes=%" PRIu64 " tx_packets=%" PRIu64 " dropq=%" PRIu64
           " dropl=%" PRIu64 " cut=%" PRIu64 " errors=%" PRIu64 " waiting=%" PRIu64 " late_max=%" PRId64 "\n",
           c->rx_bytes, c->rx_packets, c->tx_bytes, c->tx_packets, c->dropq, c->dropl, c->cut, c->errors,
           direction_waiting(d), c->late_max);
}

static void state(struct relay *relay, char **words)
{
    struct link *link = *find(relay, words[1]);
    if (!link)
        no_link(words[1]);
    else
        printf("ok carrier=%d dead_a=%d dead_b=%d\n", link->carrier, link->ends[0].dead, link->ends[1].dead);
}

static void seed(struct relay *relay, char **words)
{
    struct link *link = *find(relay, words[1]);
    char *end;
    uint64_t value = strtoull(words[2], &end, 10);
    if (!link) {
        no_link(words[1]);
    } else if (*end) {
        printf("error a seed must be a whole number, not %s\n", words[2]);
    } else {
        link_seed(link, value);
        printf("ok\n");
    }
}

static void carrier(struct relay *relay, char **words)
{
    struct link *link = *find(relay, words[1]);
    if (!link) {
        no_link(words[1]);
    } else if (strcmp(words[2], "0") != 0 && strcmp(words[2], "1") != 0) {
        printf("error carrier must be 0 or 1, not %s\n", words[2]);
    } else {
        int failed = link_carrier(link, words[2][0] == '1');
        if (failed)
            printf("error cannot set the carrier of %s: %s\n", words[1], strerror(-failed));
        else
            printf("ok\n");
    }
}

static void del(struct relay *relay, char **words)
{
    struct link **at = find(relay, words[1]), *link = *at;
    if (!link) {
        no_link(words[1]);
        return;
    }
    *at = link->next;
    link_free(link);
    printf("ok\n");
}

static const struct {
    const char *name;
    int words;
    void (*act)(struct relay *, char **);
    const char *usage;
} COMMANDS[] = {
    {"add", 8, add, "NAME IFA NETNSA MACA IFB NETNSB MACB"},
    {"set", 8, set, "NAME ab|ba RATE DELAY_NS JITTER_NS LOSS_PPB QUEUE_BYTES"},
    {"get", 3, get, "NAME ab|ba"},
    {"stats", 3, stats, "NAME ab|ba"},
    {"state", 2, state, "NAME"},
    {"seed", 3, seed, "NAME NUMBER"},
    {"carrier", 3, carrier, "NAME 0|1"},
    {"del", 2, del, "NAME"},
};

bool command(struct relay *relay, char *line)
{
    char *words[MOST_WORDS], *rest;
    int n = 0;
    for (char *word = strtok_r(line, " ", &rest); word && n < MOST_WORDS; word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    if (n == 1 && strcmp(words[0], "quit") == 0)
        return false;
    for (size_t i = 0; n && i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (strcmp(words[0], COMMANDS[i].name) == 0) {
            if (n == COMMANDS[i].words)
                COMMANDS[i].act(relay, words);
            else
                printf("error usage: %s %s\n", COMMANDS[i].name, COMMANDS[i].usage);
            return true;
        }
    printf("error unknown command %s\n", n ? words[0] : "(empty)");
    return true;
}
