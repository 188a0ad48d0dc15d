#include "gso.h"

#include <string.h>

enum { ETHERNET = 14, VLAN_TAG = 4, IPV4_HEADER = 20, IPV6_HEADER = 40, TCP_HEADER = 20 };
enum { TCP_SEQ = 4, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_CHECKSUM = 16 };
enum { FIN = 0x01, PSH = 0x08, CWR = 0x80 };

/* Frames start 10 bytes into a buffer, so nothing in them is aligned. */
static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static bool parse_large(const uint8_t *data, uint32_t length, struct gso *g)
{
    struct virtio_net_hdr h;
    if (length < VNET_HEADER + ETHERNET)
        return false;
    memcpy(&h, data, sizeof h);
    uint8_t type = h.gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
    if ((type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6) || h.gso_size == 0)
        return false;

    const uint8_t *frame = data + VNET_HEADER;
    uint32_t size = length - VNET_HEADER;
    g->v4 = type == VIRTIO_NET_HDR_GSO_TCPV4;
    g->l3 = ETHERNET + (get16(frame + 12) == 0x8100 ? VLAN_TAG : 0);
    g->l4 = h.csum_start; /* a TSO frame's checksum is always left to be completed, from the TCP header on */
    if (g->l4 < g->l3 + (g->v4 ? IPV4_HEADER : IPV6_HEADER) || g->l4 + TCP_HEADER > size)
        return false;
    g->headers = g->l4 + (uint32_t)(frame[g->l4 + TCP_OFFSET] >> 4) * 4;
    if (g->headers < g->l4 + TCP_HEADER || g->headers >= size)
        return false;
    g->mss = h.gso_size;
    g->payload = size - g->headers;
    g->segments = (g->payload + g->mss - 1) / g->mss;
    return g->segments > 1;
}

void gso_parse(const uint8_t *data, uint32_t length, struct gso *g)
{
    if (!parse_large(data, length, g)) {
        uint32_t size = length > VNET_HEADER ? length - VNET_HEADER : 0;
        *g = (struct gso){.mss = size, .payload = size, .segments = 1};
    }
}

static uint32_t payload_of(const struct gso *g, uint32_t first, uint32_t count)
{
    uint32_t begin = first * g->mss, end = (first + count) * g->mss;
    return (end < g->payload ? end : g->payload) - begin;
}

uint32_t gso_wire(const struct gso *g, uint32_t first, uint32_t count)
{
    return payload_of(g, first, count) + count * g->headers;
}

uint32_t gso_length(const struct gso *g, uint32_t first, uint32_t count)
{
    return VNET_HEADER + g->headers + payload_of(g, first, count);
}

static void fix_ipv4(uint8_t *ip, uint32_t total, uint32_t segment)
{
    uint32_t sum = 0, header = (uint32_t)(ip[0] & 15) * 4;
    put16(ip + 2, total);
    put16(ip + 4, get16(ip + 4) + segment); /* identifications count on, segment by segment */
    put16(ip + 10, 0);
    for (uint32_t i = 0; i < header; i += 2)
        sum += get16(ip + i);
    put16(ip + 10, (uint16_t)~fold(sum));
}

void gso_cut(const uint8_t *data, const struct gso *g, uint32_t first, uint32_t count, uint8_t *out)
{
    if (count == g->segments) { /* all of it: as it came */
        memcpy(out, data, VNET_HEADER + g->headers + g->payload);
        return;
    }
    uint32_t payload = payload_of(g, first, count), offset = first * g->mss;
    const uint8_t *frame = data + VNET_HEADER;
    uint8_t *to = out + VNET_HEADER, *tcp = to + g->l4;

    memcpy(out, data, VNET_HEADER + g->headers);
    memcpy(to + g->headers, frame + g->headers + offset, payload);
    struct virtio_net_hdr h;
    memcpy(&h, out, sizeof h);
    h.hdr_len = (uint16_t)g->headers; /* it may have been more, and TAP refuses a frame shorter than that */
    if (count == 1) {
        h.gso_type = VIRTIO_NET_HDR_GSO_NONE;
        h.gso_size = h.hdr_len = 0;
    }
    memcpy(out, &h, sizeof h);

    put32(tcp + TCP_SEQ, get32(tcp + TCP_SEQ) + offset);
    if (offset + payload < g->payload)
        tcp[TCP_FLAGS] &= (uint8_t)~(FIN | PSH); /* they belong to the last segment */
    if (first > 0)
        tcp[TCP_FLAGS] &= (uint8_t)~CWR; /* and this to the first */

    /* The checksum field holds the sum over the pseudo header, with the length of all segments: put in ours. */
    uint32_t whole = g->headers - g->l4 + g->payload, ours = g->headers - g->l4 + payload;
    put16(tcp + TCP_CHECKSUM, fold(get16(tcp + TCP_CHECKSUM) + (0xffff - fold(whole)) + fold(ours)));

    if (g->v4)
        fix_ipv4(to + g->l3, g->headers - g->l3 + payload, first);
    else
        put16(to + g->l3 + 4, g->headers - g->l3 - IPV6_HEADER + payload);
}

void checksum_complete(uint8_t *data, uint32_t length)
{
    struct virtio_net_hdr h;
    memcpy(&h, data, sizeof h);
    uint8_t *frame = data + VNET_HEADER;
    uint32_t size = length - VNET_HEADER, sum = 0, field = (uint32_t)h.csum_start + h.csum_offset;
    if ((h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && field + 2 <= size) {
        for (uint32_t i = h.csum_start; i + 1 < size; i += 2)
            sum += get16(frame + i);
        if ((size - h.csum_start) % 2)
            sum += (uint32_t)frame[size - 1] << 8;
        uint16_t checksum = (uint16_t)~fold(sum);
        put16(frame + field, checksum ? checksum : 0xffff); /* 0 would say to UDP that there is none */
    }
    h.flags = 0; /* let the receiver see for itself */
    h.csum_start = h.csum_offset = 0;
    memcpy(data, &h, sizeof h);
}
