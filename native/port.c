#define _GNU_SOURCE
#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TYPE = 0x88b5, BUFFER = 32 << 20, BATCH = 64, HEAD = 64 };
enum { TOKEN_PLAIN = ETHERNET, TOKEN_LARGE = ETHERNET + 12, MARK = TOKEN_PLAIN + 4 };

const uint8_t NOBODY[6] = {0x02, 0x52, 0x42, 0xfd, 0x00, 0x01};

void die(const char *what, const char *which)
{
    fprintf(stderr, "cannot %s %s: %s\n", what, which, errno ? strerror(errno) : "not usable");
    exit(2);
}

const char *argument_text(int argc, char **argv, const char *name)
{
    size_t n = strlen(name);
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
            return argv[i] + n + 1;
    errno = 0;
    die("find the argument", name);
}

double argument(int argc, char **argv, const char *name, double least, double most)
{
    const char *text = argument_text(argc, argv, name);
    char *end;
    double value = strtod(text, &end);
    errno = 0;
    if (end == text || *end || !(value >= least && value <= most))
        die("use the argument", name);
    return value;
}

static uint32_t token(void) /* tells our frames from those of any other probe */
{
    static uint32_t value;
    if (!value)
        value = (uint32_t)now_ns() * 2654435761u ^ (uint32_t)getpid();
    return value;
}

/* Only frames with our token: plain ones, or large ones, which have it in place of the IPv4 source address. */
static void filter(int fd, const char *where)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, TOKEN_PLAIN),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, token(), 3, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IP, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, TOKEN_LARGE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, token(), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        die("filter on", where);
}

static int open_socket(int index, int protocol, const char *where)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol), .sll_ifindex = index};
    int size = BUFFER;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: nothing arrives before the filter is set */
    if (fd < 0)
        die("open a packet socket on", where);
    if (protocol)
        filter(fd, where);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind to", where);
    return fd;
}

void port_open(struct port *port, const char *where)
{
    char netns[256], ifname[IFNAMSIZ], rest;
    struct ifreq ifr = {0};
    int one = 1;

    errno = 0;
    if (sscanf(where, "%255[^,],%15[^,]%c", netns, ifname, &rest) != 2)
        die("use (want NETNS,INTERFACE)", where);
    int failed = enter_netns(netns);
    if (failed) {
        errno = -failed;
        die("enter", netns);
    }
    int index = (int)if_nametoindex(ifname);
    if (!index)
        die("find the interface", where);
    /* Every protocol: a bridge takes frames away before sockets of one protocol see them. */
    port->in = open_socket(index, ETH_P_ALL, where);
    port->out = open_socket(index, 0, where);
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", ifname);
    if (ioctl(port->out, SIOCGIFHWADDR, &ifr) < 0)
        die("ask for the address of", where);
    memcpy(port->mac, ifr.ifr_hwaddr.sa_data, sizeof port->mac);
    if (setsockopt(port->in, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) < 0)
        die("leave out outgoing frames (Linux 4.20) on", where);
    if (setsockopt(port->in, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) < 0)
        die("have receive times on", where);
}

static uint8_t *ethernet(uint8_t *frame, const struct port *from, const uint8_t to[6], uint16_t type)
{
    uint16_t wire = htons(type);
    memcpy(frame, to, 6);
    memcpy(frame + 6, from->mac, 6);
    memcpy(frame + 12, &wire, sizeof wire);
    return frame + ETHERNET;
}

uint8_t *frame_plain(uint8_t *frame, const struct port *from, const uint8_t to[6])
{
    uint32_t ours = htonl(token());
    ethernet(frame, from, to, TYPE);
    memcpy(frame + TOKEN_PLAIN, &ours, sizeof ours);
    return frame + MARK;
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

size_t frame_large(uint8_t *frame, const struct port *from, const uint8_t to[6], unsigned segments)
{
    struct virtio_net_hdr h = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = TCP_HEADERS,
        .gso_size = MSS,
        .csum_start = ETHERNET + 20,
        .csum_offset = 16,
    };
    uint32_t ours = htonl(token()), length = TCP_HEADERS + segments * MSS, sum = 0;
    memcpy(frame, &h, sizeof h);
    frame += sizeof h;
    uint8_t *ip = ethernet(frame, from, to, ETHERTYPE_IP), *tcp = ip + 20;
    memset(ip, 0, length - ETHERNET);
    ip[0] = 0x45;
    put16(ip + 2, length - ETHERNET);
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    memcpy(ip + 12, &ours, sizeof ours);
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
    tcp[12] = 5 << 4;
    tcp[13] = 0x10; /* ACK */
    return sizeof h + length;
}

static ns_t stamp_of(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            return (ns_t)t.tv_sec * NS_PER_S + t.tv_nsec;
        }
    return clock_ns(CLOCK_REALTIME);
}

int port_receive(struct port *port, struct arrival *arrivals, int most)
{
    uint8_t heads[BATCH][HEAD]; /* what follows is not even copied: MSG_TRUNC tells the whole length */
    union {
        char room[CMSG_SPACE(sizeof(struct timespec))];
        struct cmsghdr align;
    } controls[BATCH];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH];

    if (most > BATCH)
        most = BATCH;
    for (int i = 0; i < most; i++) {
        vectors[i] = (struct iovec){heads[i], HEAD};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i],
                                              .msg_iovlen = 1,
                                              .msg_control = &controls[i],
                                              .msg_controllen = sizeof controls[i]};
    }
    int n = recvmmsg(port->in, messages, (unsigned)most, MSG_DONTWAIT | MSG_TRUNC, NULL);
    for (int i = 0; i < n; i++) {
        arrivals[i].at = stamp_of(&messages[i].msg_hdr);
        arrivals[i].length = messages[i].msg_len;
        memcpy(&arrivals[i].mark, heads[i] + MARK, sizeof(struct mark));
    }
    return n > 0 ? n : 0;
}

bool port_wait(struct port *ports, int count, ns_t patience)
{
    struct pollfd polled[2] = {{.fd = ports[0].in, .events = POLLIN}};
    if (count > 1)
        polled[1] = (struct pollfd){.fd = ports[1].in, .events = POLLIN};
    struct timespec timeout = to_timespec(patience > 0 ? patience : 0);
    return ppoll(polled, (nfds_t)count, &timeout, NULL) > 0;
}

uint32_t port_overruns(struct port *port)
{
    struct tpacket_stats stats = {0};
    socklen_t size = sizeof stats;
    getsockopt(port->in, SOL_PACKET, PACKET_STATISTICS, &stats, &size);
    return stats.tp_drops;
}
