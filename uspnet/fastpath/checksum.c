// SPDX-License-Identifier: Apache-2.0
/* Checksums that the sender left to its NIC (offload.h), and parsing of the headers they cover. The
 * input is untrusted: every offset is checked against the frame's length. */
#include "rings/offload.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>

enum {
    TYPE = 12, /* offset of the Ethernet type */
    TAG = 4,
    TAGS_MAX = 3,
    IPV4_LEAST = 20,
    IPV6_BYTES = 40,
    EXTENSIONS_MAX = 8,
    FRAGMENT = 0x3FFF, /* more fragments, or an offset (RFC 791) */
    CHECKSUM_IN_UDP = 6,
    CHECKSUM_IN_SCTP = 8,
    CRC32C = (int)0x82F63B78, /* Castagnoli's polynomial, bits reversed (RFC 9260, appendix A) */
};

static int is_tag(uint32_t type)
{
    return type == ETH_P_8021Q || type == ETH_P_8021AD || type == ETH_P_QINQ1;
}

static int find_ipv4(const uint8_t *frame, uint32_t length, struct layers *l)
{
    const uint8_t *ip = frame + l->network;
    uint32_t here = length - l->network, header, total;
    if (here < IPV4_LEAST || ip[0] >> 4 != 4)
        return 0;
    header = (ip[0] & 15u) * 4;
    total = get16(ip + 2);
    if (!total) /* more than the field can hold: "BIG TCP" of Linux */
        total = here;
    if (header < IPV4_LEAST || total < header || total > here || get16(ip + 6) & FRAGMENT)
        return 0;
    l->protocol = ip[9];
    l->transport = l->network + header;
    l->end = l->network + total;
    return 1;
}

/* Extension headers may stand before the transport header (RFC 8200, §4). */
static int find_ipv6(const uint8_t *frame, uint32_t length, struct layers *l)
{
    const uint8_t *ip = frame + l->network;
    uint32_t here = length - l->network, payload, at = IPV6_BYTES, next;
    if (here < IPV6_BYTES || ip[0] >> 4 != 6)
        return 0;
    payload = get16(ip + 4);
    if (!payload) /* more than the field can hold */
        payload = here - IPV6_BYTES;
    if (payload > here - IPV6_BYTES)
        return 0;
    next = ip[6];
    for (uint32_t i = 0;
         next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS; i++) {
        if (i == EXTENSIONS_MAX || at + 8 > IPV6_BYTES + payload)
            return 0;
        if (next == IPPROTO_HOPOPTS && !get16(ip + 4))
            return 0; /* which has a jumbogram's length (RFC 2675) */
        l->routed |= next == IPPROTO_ROUTING;
        next = ip[at];
        at += (ip[at + 1] + 1u) * 8;
    }
    if (at > IPV6_BYTES + payload || next == IPPROTO_FRAGMENT)
        return 0;
    l->protocol = (uint8_t)next;
    l->transport = l->network + at;
    l->end = l->network + IPV6_BYTES + payload;
    return 1;
}

int layers_find(const uint8_t *frame, uint32_t length, struct layers *l)
{
    uint32_t at = TYPE, type;
    if (length < ETH_HLEN)
        return 0;
    *l = (struct layers){0};
    type = get16(frame + at);
    for (uint32_t tags = 0; is_tag(type); tags++) {
        at += TAG;
        if (tags == TAGS_MAX || at + 2 > length)
            return 0;
        type = get16(frame + at);
    }
    l->network = at + 2;
    l->version = type == ETH_P_IP ? 4 : 6;
    if (type == ETH_P_IP)
        return find_ipv4(frame, length, l);
    return type == ETH_P_IPV6 ? find_ipv6(frame, length, l) : 0;
}

uint32_t checksum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint32_t)sum;
}

/* The sum doesn't depend on byte order (RFC 1071, §2): added in host order, then swapped. */
uint32_t checksum_sum(const uint8_t *from, uint32_t bytes)
{
    uint64_t sum = 0, eight;
    uint16_t word = 0;
    for (; bytes >= sizeof eight; from += sizeof eight, bytes -= sizeof eight) {
        memcpy(&eight, from, sizeof eight);
        sum += (eight & 0xFFFFFFFF) + (eight >> 32);
    }
    for (; bytes >= sizeof word; from += sizeof word, bytes -= sizeof word) {
        memcpy(&word, from, sizeof word);
        sum += word;
    }
    if (bytes) {
        word = 0;
        memcpy(&word, from, 1);
        sum += word;
    }
    return ntohs((uint16_t)checksum_fold(sum));
}

/* SCTP: CRC32c of the packet with a zero checksum field, stored least significant byte first. */
static void complete_sctp(uint8_t *sctp, uint32_t bytes)
{
    uint8_t *field = sctp + CHECKSUM_IN_SCTP;
    uint32_t crc = ~0u;
    memset(field, 0, sizeof crc);
    for (uint32_t i = 0; i < bytes; i++) {
        crc ^= sctp[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((uint32_t)CRC32C & (0u - (crc & 1)));
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++)
        field[i] = (uint8_t)(crc >> 8 * i);
}

/* The field holds the sum of the pseudo-header, so it is included in the sum. */
int checksum_complete(uint8_t *frame, uint32_t length, const struct virtio_net_hdr *v)
{
    uint32_t start = v->csum_start, offset = v->csum_offset, sum;
    struct layers l;
    uint16_t word;
    if (offset == CHECKSUM_IN_SCTP && layers_find(frame, length, &l) &&
        l.protocol == IPPROTO_SCTP && l.transport == start && start + offset + 4 <= l.end) {
        complete_sctp(frame + start, l.end - start);
        return 1;
    }
    if (start + offset + sizeof word > length)
        return 0;
    sum = checksum_sum(frame + start, length - start);
    word = sum == 0xFFFF && offset == CHECKSUM_IN_UDP ? 0xFFFF : (uint16_t)~sum; /* 0: none */
    word = htons(word);
    memcpy(frame + start + offset, &word, sizeof word);
    return 1;
}
