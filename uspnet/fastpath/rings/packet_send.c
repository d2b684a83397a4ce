// SPDX-License-Identifier: Apache-2.0
/* packet, transmit: one sendmmsg() a burst, straight from the pool. MEASURED: 10 % faster on small
 * frames than any TPACKET version's transmit ring, whose pages the kernel attaches to each
 * packet. */
#define _GNU_SOURCE
#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

// [python]
uint32_t packet_tx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t packet_ip_tx(struct queue *q, struct packet *packets, uint32_t n);
/* Binds a packet socket to an interface by its index: a name may hold bytes that Python can't pass.
 * Returns 0 or an errno. */
int packet_bind(int32_t fd, int32_t index, uint16_t protocol);
/* The index of the interface that it is bound to; 0 or less: none. */
int packet_bound(int32_t fd);
// [c]

int packet_bind(int32_t fd, int32_t index, uint16_t protocol)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(protocol),
                             .sll_ifindex = index};
    return bind(fd, (struct sockaddr *)&to, sizeof to) ? errno : 0;
}

int packet_bound(int32_t fd)
{
    struct sockaddr_ll to = {0};
    socklen_t length = sizeof to;
    return getsockname(fd, (struct sockaddr *)&to, &length) ? 0 : to.sll_ifindex;
}

/* What a failed send means: 1 no room now or a fault, so that nothing more can be sent; 0 the
 * frame itself was refused. */
static int send_ends(struct queue *q, int error)
{
    switch (error) {
    case EAGAIN:
    case ENOBUFS: /* the interface's own ring is full, or it has no carrier */
    case ENOMEM:
    case EINTR:
        return 1;
    case ENETDOWN: /* until Python sees it up again */
        store_release(&q->closed, 1);
        return 1;
    case EMSGSIZE: /* longer than the MTU allows */
    case EINVAL:   /* shorter than an Ethernet header, say */
        return 0;
    case ENXIO:
    case ENODEV:
        queue_fault(q, FAULT_GONE);
        return 1;
    default:
        q->sys_errno = error;
        queue_fault(q, FAULT_IO);
        return 1;
    }
}

/* Why the kernel refused a frame. */
static enum drop_reason refusal(int error, uint32_t length)
{
    if (error == EMSGSIZE)
        return DROP_TOO_LONG;
    return length < FRAME_SHORTEST ? DROP_TOO_SHORT : DROP_REFUSED;
}

/* Sends what follows an Ethernet header; the kernel must be told what it is. */
static int send_ip(const struct packet_queue *pq, struct packet p)
{
    uint8_t *frame = packet_data(pq->q.pool, p);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)pq->ifindex};
    memcpy(&to.sll_protocol, frame + MACS, sizeof to.sll_protocol);
    return sendto(pq->fd, frame + ETH_HLEN, p.length - ETH_HLEN, MSG_DONTWAIT,
                  (const struct sockaddr *)&to, sizeof to) < 0
               ? errno
               : 0;
}

static int is_ip(const struct packet_queue *pq, struct packet p)
{
    uint16_t type;
    if (p.length <= ETH_HLEN)
        return 0;
    memcpy(&type, packet_data(pq->q.pool, p) + MACS, sizeof type);
    return type == htons(ETH_P_IP) || type == htons(ETH_P_IPV6);
}

/* Why a frame that is_ip() refuses is dropped. */
static enum drop_reason not_ip(uint32_t length)
{
    return length < FRAME_SHORTEST ? DROP_TOO_SHORT : DROP_NOT_IP;
}

/* For interfaces whose packets begin with IP: a system call each. */
uint32_t packet_ip_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    const struct packet_queue *pq = (struct packet_queue *)q;
    uint32_t done, sent = 0;
    uint64_t bytes = 0;
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        int error = is_ip(pq, p) ? send_ip(pq, p) : -1;
        if (error > 0 && send_ends(q, error))
            break;
        if (error) {
            queue_drop(q, error < 0 ? not_ip(p.length) : refusal(error, p.length), 1);
            continue;
        }
        sent++;
        bytes += p.length;
    }
    stack_give_packets(q->stack, packets, done);
    q->counters->doorbells += sent;
    queue_count(q, sent, bytes);
    return done;
}

uint32_t packet_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    const struct packet_queue *pq = (struct packet_queue *)q;
    struct mmsghdr messages[BURST_MAX];
    struct iovec frames[BURST_MAX];
    uint64_t bytes = 0;
    uint32_t done = 0, refused = 0;
    for (uint32_t i = 0; i < n; i++) {
        frames[i] = (struct iovec){packet_data(q->pool, packets[i]), packets[i].length};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &frames[i], .msg_iovlen = 1};
    }
    while (done < n) {
        int sent = sendmmsg(pq->fd, messages + done, n - done, MSG_DONTWAIT), error = errno;
        q->counters->doorbells++;
        if (likely(sent > 0)) {
            for (int i = 0; i < sent; i++)
                bytes += frames[done++].iov_len;
        } else if (send_ends(q, error)) {
            break;
        } else {
            queue_drop(q, refusal(error, packets[done].length), 1);
            refused++;
            done++;
        }
    }
    stack_give_packets(q->stack, packets, done);
    queue_count(q, done - refused, bytes);
    return done;
}
