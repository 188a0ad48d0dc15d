#define _GNU_SOURCE
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int enter_netns(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int failed = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
    close(fd);
    return failed;
}

const char *raise_priority(int fifo)
{
    static char words[32];
    struct sched_param param = {.sched_priority = fifo};

    prctl(PR_SET_TIMERSLACK, 1); /* only tells where the priority below is not real-time */
    if (sched_setscheduler(0, SCHED_FIFO, &param) == 0) {
        snprintf(words, sizeof words, "fifo:%d", fifo);
        return words;
    }
    if (setpriority(PRIO_PROCESS, 0, -20) == 0)
        return "nice:-20";
    return "normal";
}
