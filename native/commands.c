#define _GNU_SOURCE
#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tap.h"

enum { MOST_WORDS = 20, ANY = -1 };

struct link **find_link(struct relay *relay, const char *name)
{
    struct link **at = &relay->links;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

bool parse_number(const char *word, double most, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(word, &end);
    return end != word && *end == '\0' && errno == 0 && *value >= 0 && *value <= most;
}

/* The link that word 1 names. Prints it if there is none. */
static struct link *named(struct relay *relay, char **words)
{
    struct link *link = *find_link(relay, words[1]);
    if (!link)
        printf("error no link %s\n", words[1]);
    return link;
}

/* 0 for the first of two names, 1 for the second; -1, and prints it, if it is neither. */
static int which(const char *word, const char *first, const char *second)
{
    if (strcmp(word, first) == 0)
        return 0;
    if (strcmp(word, second) == 0)
        return 1;
    printf("error it must be %s or %s, not %s\n", first, second, word);
    return -1;
}

struct direction *parse_direction(struct relay *relay, char **words)
{
    struct link *link = named(relay, words);
    int side = link ? which(words[2], "ab", "ba") : -1;
    return side < 0 ? NULL : &link->directions[side];
}

static bool parse_mac(const char *word, uint8_t mac[6])
{
    char rest;
    bool good = sscanf(word, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                       &mac[5], &rest) == 6;
    if (!good)
        printf("error not an Ethernet address: %s\n", word);
    return good;
}

/* Make an interface of three words: name, namespace, address. Prints what is wrong. */
static int make_end(struct relay *relay, char **words)
{
    struct tap_request request = {.ifname = words[0], .netns = words[1]};
    const char *step = "";
    if (!parse_mac(words[2], request.mac))
        return -1;
    int fd = tap_make(&request, relay->home, &step);
    if (fd < 0)
        printf("error cannot %s %s (%s): %s\n", step, request.netns, request.ifname, strerror(-fd));
    return fd;
}

static bool watch(struct relay *relay, struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    if (epoll_ctl(relay->epoll, EPOLL_CTL_ADD, end->fd, &event) == 0)
        return true;
    printf("error cannot watch an interface: %s\n", strerror(errno));
    return false;
}

static void add(struct relay *relay, char **words)
{
    int fds[2];
    if (strlen(words[1]) >= LINK_NAME || *find_link(relay, words[1])) {
        printf("error link %s exists already, or its name is too long\n", words[1]);
        return;
    }
    if ((fds[0] = make_end(relay, words + 2)) < 0)
        return;
    if ((fds[1] = make_end(relay, words + 5)) < 0) {
        close(fds[0]);
        return;
    }
    struct link *link = link_new(words[1], fds);
    if (!link) {
        close(fds[0]);
        close(fds[1]);
        printf("error out of memory\n");
        return;
    }
    if (!watch(relay, &link->ends[0]) || !watch(relay, &link->ends[1])) {
        link_free(link);
        return;
    }
    link->next = relay->links;
    relay->links = link;
    printf("ok\n");
}

static void end(struct relay *relay, char **words)
{
    struct link *link = named(relay, words);
    int side = link ? which(words[2], "a", "b") : -1;
    if (side < 0)
        return;
    link_cut_end(link, side); /* first, for the new one may have its name */
    int fd = make_end(relay, words + 3);
    if (fd < 0)
        return;
    int failed = link_join_end(link, side, fd);
    if (failed)
        printf("error cannot set the carrier of %s: %s\n", words[1], strerror(-failed));
    else if (watch(relay, &link->ends[side]))
        printf("ok\n");
}

static void state(struct relay *relay, char **words)
{
    struct link *link = named(relay, words);
    if (link)
        printf("ok carrier=%d dead_a=%d dead_b=%d\n", link->carrier, link->ends[0].dead, link->ends[1].dead);
}

static void seed(struct relay *relay, char **words)
{
    struct link *link = named(relay, words);
    char *rest;
    uint64_t value = strtoull(words[2], &rest, 10);
    if (!link)
        return;
    if (*rest) {
        printf("error a seed must be a whole number, not %s\n", words[2]);
        return;
    }
    link_seed(link, value);
    printf("ok\n");
}

static void carrier(struct relay *relay, char **words)
{
    struct link *link = named(relay, words);
    int up = link ? which(words[2], "0", "1") : -1;
    if (up < 0)
        return;
    int failed = link_carrier(link, up);
    if (failed)
        printf("error cannot set the carrier of %s: %s\n", words[1], strerror(-failed));
    else
        printf("ok\n");
}

static void hold(struct relay *relay, char **words)
{
    double longest;
    struct direction *d = parse_direction(relay, words);
    if (!d)
        return;
    if (!parse_number(words[3], 1e9, &longest)) {
        printf("error at most a second can be waited, not %s ns\n", words[3]);
        return;
    }
    direction_hold(d, longest > 0 ? now_ns() + (ns_t)longest : 0);
    printf("ok\n");
}

static void del(struct relay *relay, char **words)
{
    struct link *link = named(relay, words);
    if (!link)
        return;
    *find_link(relay, words[1]) = link->next;
    link_free(link);
    printf("ok\n");
}

static void budget(struct relay *relay, char **words)
{
    double most, least;
    if (!parse_number(words[1], 1000, &most) || !parse_number(words[2], most, &least)) {
        printf("error shares are percentages, the second not above the first: %s %s\n", words[1], words[2]);
        return;
    }
    relay->priority.most = most / 100;
    relay->priority.least = least / 100;
    printf("ok\n");
}

static const struct {
    const char *name;
    int words;
    void (*act)(struct relay *, char **);
    const char *usage;
} COMMANDS[] = {
    {"add", 8, add, "NAME IFA NETNSA MACA IFB NETNSB MACB"},
    {"end", 6, end, "NAME a|b IF NETNS MAC"},
    {"set", ANY, command_set, "NAME ab|ba [SETTING=VALUE]..."},
    {"get", 4, command_get, "NAME ab|ba set|now"},
    {"table", 3, command_table, "ID FILE"},
    {"schedule", 6, command_schedule, "ID steps|chances LENGTH_NS loop|hold FILE"},
    {"play", 5, command_play, "NAME ab|ba ID BEGIN_NS"},
    {"rest", 3, command_rest, "NAME ab|ba"},
    {"stats", 3, command_stats, "NAME ab|ba"},
    {"statsall", 1, command_statsall, ""},
    {"health", 1, command_health, ""},
    {"budget", 3, budget, "MOST_PERCENT LEAST_PERCENT"},
    {"state", 2, state, "NAME"},
    {"seed", 3, seed, "NAME NUMBER"},
    {"carrier", 3, carrier, "NAME 0|1"},
    {"hold", 4, hold, "NAME ab|ba NS"},
    {"del", 2, del, "NAME"},
};

bool command(struct relay *relay, char *line)
{
    char *words[MOST_WORDS + 1], *rest;
    int n = 0;
    for (char *word = strtok_r(line, " ", &rest); word && n < MOST_WORDS; word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    words[n] = NULL;
    if (n == 1 && strcmp(words[0], "quit") == 0)
        return false;
    for (size_t i = 0; n && i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (strcmp(words[0], COMMANDS[i].name) == 0) {
            if (n == COMMANDS[i].words || (COMMANDS[i].words == ANY && n >= 3))
                COMMANDS[i].act(relay, words);
            else
                printf("error usage: %s %s\n", COMMANDS[i].name, COMMANDS[i].usage);
            return true;
        }
    printf("error unknown command %s\n", n ? words[0] : "(empty)");
    return true;
}

void relay_clear(struct relay *relay)
{
    for (struct link *next, *link = relay->links; link; link = next) {
        next = link->next;
        link_free(link);
    }
    for (struct table *next, *table = relay->tables; table; table = next) {
        next = table->next;
        free(table);
    }
    for (struct schedule *next, *schedule = relay->schedules; schedule; schedule = next) {
        next = schedule->next;
        free(schedule);
    }
}
