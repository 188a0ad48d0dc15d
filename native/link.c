#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct link *link_new(const char *name, const int fds[2])
{
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    snprintf(link->name, sizeof link->name, "%s", name);
    link->carrier = true;
    for (int i = 0; i < 2; i++) {
        link->ends[i] = (struct end){.link = link, .side = i, .fd = fds[i]};
        direction_init(&link->directions[i], fds[1 - i], &link->ends[1 - i].dead);
    }
    link_seed(link, 0);
    return link;
}

void link_seed(struct link *link, uint64_t seed)
{
    for (int i = 0; i < 2; i++)
        dice_seed(&link->directions[i].dice, seed * 2 + (uint64_t)i);
}

static int set_carrier(const struct end *end, bool up)
{
    int value = up;
    return end->dead || ioctl(end->fd, TUNSETCARRIER, &value) == 0 ? 0 : -errno;
}

int link_carrier(struct link *link, bool up)
{
    int failed = 0;
    link->carrier = up;
    for (int i = 0; i < 2; i++) {
        if (!up)
            direction_drop_all(&link->directions[i]);
        int this = set_carrier(&link->ends[i], up);
        failed = this ? this : failed;
    }
    return failed;
}

void link_cut_end(struct link *link, int side)
{
    struct end *end = &link->ends[side];
    if (end->fd >= 0)
        close(end->fd);
    end->fd = link->directions[1 - side].out = -1;
    end->dead = true;
}

int link_join_end(struct link *link, int side, int fd)
{
    link->ends[side].fd = link->directions[1 - side].out = fd;
    link->ends[side].dead = false;
    return set_carrier(&link->ends[side], link->carrier);
}

void link_free(struct link *link)
{
    for (int i = 0; i < 2; i++) {
        direction_drop_all(&link->directions[i]);
        link_cut_end(link, i);
    }
    free(link);
}
