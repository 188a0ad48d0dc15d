#define _GNU_SOURCE
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

/* The kernel drops silently what does not fit into the ring between it and us. */
enum { RING = 10000 };

static int set_address_and_ring(const struct tap_request *request, const char **step)
{
    struct ifreq ifr = {0};
    int failed = 0, s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    *step = "open a socket in";
    if (s < 0)
        return -errno;
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", request->ifname);
    ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(ifr.ifr_hwaddr.sa_data, request->mac, sizeof request->mac);
    *step = "set the address in";
    if (ioctl(s, SIOCSIFHWADDR, &ifr) < 0)
        failed = -errno;
    if (!failed) {
        ifr.ifr_qlen = RING;
        *step = "set the queue length in";
        if (ioctl(s, SIOCSIFTXQLEN, &ifr) < 0)
            failed = -errno;
    }
    close(s);
    return failed;
}

static int make_here(const struct tap_request *request, const char **step)
{
    struct ifreq ifr = {0};
    int header = sizeof(struct virtio_net_hdr);

    *step = "open /dev/net/tun for";
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", request->ifname);
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL;
    *step = "make the interface in";
    int failed = ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
    if (!failed) {
        *step = "switch offloads on in";
        if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
            ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) < 0)
            failed = -errno;
    }
    if (!failed)
        failed = set_address_and_ring(request, step);
    if (failed) {
        close(fd);
        return failed;
    }
    return fd;
}

int tap_make(const struct tap_request *request, int home, const char **step)
{
    /* A TAP belongs to the namespace in which /dev/net/tun was opened, so nothing ever shows up in ours. */
    *step = "enter";
    int failed = enter_netns(request->netns);
    if (failed)
        return failed;
    int fd = make_here(request, step);
    if (setns(home, CLONE_NEWNET) < 0)
        abort(); /* every later namespace path would mean something else */
    return fd;
}
