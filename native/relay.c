/* relay - links between network namespaces, shaped in user space.
 *
 * For kernels without sch_netem. One process serves all links of a run. Each link is a pair of TAP interfaces, one in
 * either namespace; what goes on between them is in direction.h, and is changed in place.
 *
 * Commands come as lines on standard input, each is answered by one line on standard output, `ok ...` or `error ...`:
 *
 *     add NAME IFA NETNSA MACA IFB NETNSB MACB     make a link; both interfaces are down and without address
 *     end NAME a|b IF NETNS MAC                    give it a new interface at one end, in place of what was there
 *     set NAME ab|ba [SETTING=VALUE]...            change what it does; what is not named is as on a plain wire
 *     get NAME ab|ba set|now                       what was set; what is in force, with what plays
 *     table ID FILE                                a distribution of delays, for `set ... table=ID`: 16-bit integers
 *     schedule ID steps|chances LENGTH loop|hold FILE     what can be played (schedule.h), its length in ns
 *     play NAME ab|ba ID BEGIN                     have it vary from BEGIN on, ns of CLOCK_MONOTONIC
 *     rest NAME ab|ba                              no more
 *     stats NAME ab|ba                             counters since the link was made
 *     statsall                                     of all: NAME,ab|ba,BYTES,PACKETS,DROPPED,LOST,REFUSED,WAITING,LATE_NS ...
 *     health                                       priority, CPU time, and lateness of deliveries since last asked
 *     budget MOST LEAST                            % of a core above which real-time priority is given up, and below
 *                                                  which it is taken again
 *     state NAME                                   carrier, and whether an end is gone
 *     seed NAME NUMBER                             begin all patterns of chance anew
 *     carrier NAME 0|1                             cut the link or bring it back
 *     hold NAME ab|ba NS                           hand nothing over for so long at most; 0: go on
 *     del NAME                                     remove it with its interfaces
 *     quit
 *
 * Settings: rate (bit/s, or inf), delay and jitter (ns), table (of the jitter), queue (bytes, 0: unlimited), packets
 * (segments, 0: unlimited); in parts per 10^9 loss, reorder, duplicate, corrupt, and, of Gilbert-Elliott's model,
 * enter and leave (the bad state), bad and good (loss in either).
 *
 * It ends, and all interfaces with it, when standard input closes: its controller is gone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "commands.h"

enum {
    EVENTS = 64,
    BATCH = 32,         /* frames taken from one interface before the others have their turn */
    LARGEST = 1 << 17,  /* a frame with TSO is at most 64 KiB and its headers */
    LONGEST_LINE = 1024,
};

static uint8_t scratch[LARGEST];

/* Take the frames that an interface has for us. */
static void drain(struct relay *relay, struct end *end)
{
    struct direction *d = &end->link->directions[end->side];
    for (int i = 0; i < BATCH; i++) {
        ssize_t n = read(end->fd, scratch, sizeof scratch);
        if (n > 0) {
            if (end->link->carrier)
                direction_take(d, scratch, (uint32_t)n, now_ns());
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        /* Its namespace is gone. Other links go on; this one stays until it is deleted. */
        end->dead = true;
        epoll_ctl(relay->epoll, EPOLL_CTL_DEL, end->fd, NULL);
        return;
    }
}

/* Carry out the commands that have come in. False at the last one, or if nobody is left to send any. */
static bool obey(struct relay *relay)
{
    static char buffer[LONGEST_LINE];
    static size_t held;

    ssize_t n = read(STDIN_FILENO, buffer + held, sizeof buffer - held);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    held += (size_t)n;
    char *begin = buffer, *end;
    while ((end = memchr(begin, '\n', held - (size_t)(begin - buffer)))) {
        *end = '\0';
        bool more = command(relay, begin);
        if (fflush(stdout) != 0 || !more)
            return false;
        begin = end + 1;
    }
    held -= (size_t)(begin - buffer);
    memmove(buffer, begin, held);
    return held < sizeof buffer; /* a line without end is no controller of ours */
}

/* Hand over all that is due. Returns when there will be something to do next. */
static ns_t run_links(struct relay *relay)
{
    ns_t now = now_ns(), next = NEVER;
    priority_check(&relay->priority, now);
    for (struct link *link = relay->links; link; link = link->next)
        for (int i = 0; i < 2; i++) {
            struct direction *d = &link->directions[i];
            if (d->next <= now)
                direction_run(d, now, &relay->lateness);
            next = d->next < next ? d->next : next;
        }
    return next;
}

static int fail(const char *what)
{
    printf("error cannot %s: %s\n", what, strerror(errno));
    return 1;
}

static int serve(struct relay *relay)
{
    for (;;) {
        struct epoll_event events[EVENTS];
        bool commands = false;
        ns_t next = run_links(relay), left = next == NEVER ? 0 : next - now_ns();
        struct timespec timeout = to_timespec(left > 0 ? left : 0);

        int n = epoll_pwait2(relay->epoll, events, EVENTS, next == NEVER ? NULL : &timeout, NULL);
        if (n < 0 && errno != EINTR)
            return fail("wait for frames (epoll_pwait2, Linux 5.11)");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                drain(relay, events[i].data.ptr);
            else
                commands = true;
        }
        /* Last, because a command may take away a link whose event is in this batch. */
        if (commands && !obey(relay))
            return 0;
    }
}

int main(void)
{
    struct relay relay = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};

    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the controller, which ends us in good time */
    relay.home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (relay.epoll < 0 || relay.home < 0)
        return fail("start");
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(relay.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0)
        return fail("read commands from standard input (it must be a pipe)");

    /* Memory comes back often and in all sizes: keep it, and never wait for a page. */
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_MMAP_THRESHOLD, 256 << 20);
    mallopt(M_TOP_PAD, 1 << 20);
    const char *memory = mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? "locked" : "not-locked";
    priority_start(&relay.priority, now_ns());
    printf("ready priority=%s memory=%s\n", priority_words(&relay.priority), memory);
    if (fflush(stdout) != 0)
        return 1;
    int status = serve(&relay);
    relay_clear(&relay);
    return status;
}
