/* player - changes what the kernel's link emulation does, step by step, at the right times.
 *
 * For links through netem and HTB. A schedule comes ready made: messages for rtnetlink, and when each is due. So that
 * timing hangs on nobody else, this process does nothing but send them, each on a socket in the right namespace.
 *
 * Commands come as lines on standard input, each is answered by one line on standard output, `ok ...` or `error ...`:
 *
 *     play KEY NETNS BEGIN LENGTH LOOP FILE  CLOCK_MONOTONIC ns, ns, 0|1; replaces what KEY plays
 *     rest KEY                               end it; what was last in force stays
 *     state KEY                              `ok played=N late_max=NS fault=0`, or errno and when of a step that failed
 *     quit
 *
 * FILE holds steps, in order of time: int64 ns since BEGIN, uint64 length, so many bytes of messages, zeros up to a
 * multiple of 8. It is read whole before the answer. A step that is late already is made good by the last one that would be in force.
 *
 * It ends when standard input closes: its controller is gone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

enum { PRIORITY = 50, MOST_WORDS = 8, LONGEST_LINE = 4096, LONGEST_KEY = 32, LONGEST_STEP = 1 << 16, MOST_BYTES = 256 << 20 };

struct step {
    int64_t at;
    uint64_t length;
    uint8_t messages[];
};

struct track {
    struct track *next;
    char key[LONGEST_KEY];
    int socket;
    uint8_t *data;
    size_t size, place;         /* of all steps; of the next one */
    ns_t begin, length;         /* of the present round */
    bool loop, over;
    uint64_t played;
    ns_t late_max;
    int fault;                  /* errno of the first step that the kernel refused */
    double fault_at;            /* s since the beginning of its round */
};

static struct track *tracks;
static int home = -1;

static const struct step *step_at(const struct track *t, size_t place) { return (const struct step *)(t->data + place); }

static size_t size_of(const struct step *step) { return sizeof *step + ((step->length + 7) & ~(size_t)7); }

static ns_t due(const struct track *t) { return t->over ? NEVER : t->begin + step_at(t, t->place)->at; }

/* On to the next step; after the last one to the first of the next round, or to the end. */
static void advance(struct track *t)
{
    t->place += size_of(step_at(t, t->place));
    if (t->place < t->size)
        return;
    t->place = 0;
    t->begin += t->length;
    t->over = !t->loop;
}

/* Have the kernel do what a step says. Returns 0 or the errno of the first message that was refused. */
static int carry_out(const struct track *t, const struct step *step)
{
    static uint8_t answer[1 << 16];
    int failed = 0;

    if (send(t->socket, step->messages, step->length, 0) < 0)
        return errno;
    /* The kernel has done it all by now: its answers are there. */
    for (;;) {
        ssize_t n = recv(t->socket, answer, sizeof answer, MSG_DONTWAIT);
        if (n <= 0)
            return failed ? failed : errno == EAGAIN ? 0 : errno;
        unsigned left = (unsigned)n;
        for (struct nlmsghdr *m = (struct nlmsghdr *)answer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left))
            if (m->nlmsg_type == NLMSG_ERROR && !failed)
                failed = -((struct nlmsgerr *)NLMSG_DATA(m))->error;
    }
}

static void play_due(struct track *t, ns_t now)
{
    const struct step *last = NULL;
    ns_t at = 0;

    if (due(t) > now)
        return;
    if (t->loop && now - t->begin >= 2 * t->length) /* whole rounds that nobody has seen */
        t->begin += ((now - t->begin) / t->length - 1) * t->length;
    while (due(t) <= now) {
        last = step_at(t, t->place);
        at = due(t);
        advance(t);
    }
    int failed = carry_out(t, last);
    t->played++;
    if (t->played > 1 && now_ns() - at > t->late_max) /* the first may have been late when it was handed over */
        t->late_max = now_ns() - at;
    if (failed && !t->fault) {
        t->fault = failed;
        t->fault_at = (double)last->at / NS_PER_S;
    }
}

static struct track **find(const char *key)
{
    struct track **at = &tracks;
    while (*at && strcmp((*at)->key, key) != 0)
        at = &(*at)->next;
    return at;
}

static void drop(const char *key)
{
    struct track **at = find(key), *track = *at;
    if (!track)
        return;
    *at = track->next;
    if (track->socket >= 0)
        close(track->socket);
    free(track->data);
    free(track);
}

static bool whole(const struct track *t)
{
    size_t place = 0;
    ns_t before = 0;
    while (place < t->size) {
        const struct step *step = step_at(t, place);
        if (t->size - place < sizeof *step || step->length == 0 || step->length > LONGEST_STEP ||
            size_of(step) > t->size - place || step->at < before)
            return false;
        before = step->at;
        place += size_of(step);
    }
    return place > 0 && t->length > 0 && before <= t->length;
}

static int read_file(struct track *t, const char *path)
{
    struct stat seen;
    int fd = open(path, O_RDONLY | O_CLOEXEC), failed = 0;

    if (fd < 0)
        return errno;
    if (fstat(fd, &seen) < 0 || seen.st_size <= 0 || seen.st_size > MOST_BYTES || !(t->data = malloc((size_t)seen.st_size)))
        failed = EINVAL;
    while (!failed && t->size < (size_t)seen.st_size) {
        ssize_t n = read(fd, t->data + t->size, (size_t)seen.st_size - t->size);
        if (n > 0)
            t->size += (size_t)n;
        else
            failed = n < 0 ? errno : EINVAL;
    }
    close(fd);
    return failed;
}

static int socket_in(const char *netns)
{
    int failed = enter_netns(netns), made = -1;
    if (failed == 0 && (made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) < 0)
        failed = -errno;
    if (setns(home, 0) < 0)
        exit(1); /* nothing may be done in the wrong namespace */
    int one = 1;
    if (made >= 0)
        setsockopt(made, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
    return failed ? failed : made;
}

static void play(char **words)
{
    struct track *t = calloc(1, sizeof *t);
    const char *what = "read the steps";
    int failed = ENOMEM;

    if (t && strlen(words[1]) < sizeof t->key) {
        strcpy(t->key, words[1]);
        t->begin = strtoll(words[3], NULL, 10);
        t->length = strtoll(words[4], NULL, 10);
        t->loop = words[5][0] == '1';
        t->socket = -1;
        failed = read_file(t, words[6]);
        if (!failed && !whole(t))
            failed = EINVAL;
        if (!failed) {
            what = "enter the namespace";
            t->socket = socket_in(words[2]);
            failed = t->socket < 0 ? -t->socket : 0;
        }
    }
    if (failed) {
        printf("error cannot %s: %s\n", what, strerror(failed));
        if (t)
            free(t->data);
        free(t);
        return;
    }
    drop(t->key);
    t->next = tracks;
    tracks = t;
    play_due(t, now_ns()); /* what is in force by now is so before the answer */
    printf("ok\n");
}

static void rest(char **words)
{
    drop(words[1]);
    printf("ok\n");
}

static void state(char **words)
{
    const struct track *t = *find(words[1]);
    if (t)
        printf("ok played=%" PRIu64 " late_max=%" PRId64 " fault=%d fault_at=%.3f\n", t->played, t->late_max, t->fault,
               t->fault_at);
    else
        printf("ok played=0 late_max=0 fault=0 fault_at=0\n");
}

static const struct {
    const char *name;
    int words;
    void (*act)(char **);
} COMMANDS[] = {{"play", 7, play}, {"rest", 2, rest}, {"state", 2, state}};

/* Carry out a command. False at the last one. */
static bool command(char *line)
{
    char *words[MOST_WORDS], *left;
    int n = 0;
    for (char *word = strtok_r(line, " ", &left); word && n < MOST_WORDS; word = strtok_r(NULL, " ", &left))
        words[n++] = word;
    if (n == 1 && strcmp(words[0], "quit") == 0)
        return false;
    for (size_t i = 0; n && i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (strcmp(words[0], COMMANDS[i].name) == 0 && n == COMMANDS[i].words) {
            COMMANDS[i].act(words);
            return true;
        }
    printf("error not a command: %s\n", n ? words[0] : "(empty)");
    return true;
}

/* Carry out the commands that have come in. False at the last one, or if nobody is left to send any. */
static bool obey(void)
{
    static char buffer[LONGEST_LINE];
    static size_t held;
    char *begin = buffer, *end;

    ssize_t n = read(STDIN_FILENO, buffer + held, sizeof buffer - held);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    held += (size_t)n;
    while ((end = memchr(begin, '\n', held - (size_t)(begin - buffer)))) {
        *end = '\0';
        bool more = command(begin);
        if (fflush(stdout) != 0 || !more)
            return false;
        begin = end + 1;
    }
    held -= (size_t)(begin - buffer);
    memmove(buffer, begin, held);
    return held < sizeof buffer; /* a line without end is no controller of ours */
}

int main(void)
{
    home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0) {
        printf("error cannot open the network namespace: %s\n", strerror(errno));
        return 1;
    }
    printf("ready priority=%s\n", raise_priority(PRIORITY));
    fflush(stdout);
    for (;;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        ns_t now = now_ns(), next = NEVER;

        for (struct track *t = tracks; t; t = t->next) {
            play_due(t, now);
            next = due(t) < next ? due(t) : next;
        }
        ns_t left = next == NEVER ? 0 : next - now_ns();
        struct timespec timeout = to_timespec(left > 0 ? left : 0);
        if (ppoll(&input, 1, next == NEVER ? NULL : &timeout, NULL) > 0 && !obey())
            return 0;
    }
}
