// SPDX-License-Identifier: Apache-2.0
/* The least that sends or receives by AF_XDP in copy mode: one socket on queue 0, buffers in a
 * fixed order, bursts of 32, and no more system calls than the kernel asks for. It checks nothing
 * that the kernel writes, counts one number, and knows no other port.
 *
 * usage: xdp_loop tx IFNAME         sends the same frame until it is killed
 *        xdp_loop rx IFNAME SECONDS prints packets a second, from the first one on
 * Reference: Linux Documentation/networking/af_xdp.rst; include/uapi/linux/bpf.h, if_xdp.h. */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 2048, BURST = 32, FRAME = 60, CHUNK = 2048 };

struct ring {
    uint32_t *producer, *consumer, *flags;
    void *slots;
};

static struct ring frames, buffers; /* tx and completion, or rx and fill */
static uint8_t *memory;
static int sock;

static void check(int bad, const char *what)
{
    if (bad) {
        perror(what);
        exit(1);
    }
}

static struct ring map_ring(const struct xdp_ring_offset *at, uint64_t where, size_t slot)
{
    uint8_t *base = mmap(NULL, at->desc + SLOTS * slot, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, sock, (off_t)where);
    check(base == MAP_FAILED, "mmap");
    return (struct ring){(uint32_t *)(base + at->producer), (uint32_t *)(base + at->consumer),
                         (uint32_t *)(base + at->flags), base + at->desc};
}

static void open_socket(const char *name, int sends)
{
    struct xdp_umem_reg umem = {.len = SLOTS * CHUNK, .chunk_size = CHUNK};
    struct sockaddr_xdp to = {.sxdp_family = AF_XDP,
                              .sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
                              .sxdp_ifindex = if_nametoindex(name)};
    struct xdp_mmap_offsets at;
    socklen_t length = sizeof at;
    int slots = SLOTS;
    memory = mmap(NULL, umem.len, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    check(memory == MAP_FAILED, "mmap");
    umem.addr = (uintptr_t)memory;
    sock = socket(AF_XDP, SOCK_RAW, 0);
    check(sock < 0 || setsockopt(sock, SOL_XDP, XDP_UMEM_REG, &umem, sizeof umem), "umem");
    check(setsockopt(sock, SOL_XDP, XDP_UMEM_FILL_RING, &slots, sizeof slots) ||
              setsockopt(sock, SOL_XDP, XDP_UMEM_COMPLETION_RING, &slots, sizeof slots) ||
              setsockopt(sock, SOL_XDP, sends ? XDP_TX_RING : XDP_RX_RING, &slots, sizeof slots) ||
              getsockopt(sock, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length),
          "rings");
    frames = map_ring(sends ? &at.tx : &at.rx, sends ? XDP_PGOFF_TX_RING : XDP_PGOFF_RX_RING,
                      sizeof(struct xdp_desc));
    buffers = map_ring(sends ? &at.cr : &at.fr,
                       sends ? XDP_UMEM_PGOFF_COMPLETION_RING : XDP_UMEM_PGOFF_FILL_RING,
                       sizeof(uint64_t));
    check(bind(sock, (struct sockaddr *)&to, sizeof to), "bind");
}

static int bpf(int command, union bpf_attr *attr)
{
    return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

/* Redirects each frame to the socket of its queue; without one, the kernel gets it. */
static void attach_program(const char *name)
{
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_XSKMAP,
                          .key_size = 4,
                          .value_size = 4,
                          .max_entries = 1};
    int map_fd = bpf(BPF_MAP_CREATE, &map), program_fd;
    uint32_t key = 0, value = (uint32_t)sock;
    struct bpf_insn code[] = {
        {BPF_LDX | BPF_MEM | BPF_W, 2, 1, 16, 0}, /* r2 = ctx->rx_queue_index */
        {BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map_fd},
        {0, 0, 0, 0, 0},
        {BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_PASS},
        {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
    };
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_XDP,
                           .insns = (uintptr_t)code,
                           .insn_cnt = sizeof code / sizeof *code,
                           .license = (uintptr_t)"GPL"};
    union bpf_attr element = {.map_fd = (uint32_t)map_fd,
                              .key = (uintptr_t)&key,
                              .value = (uintptr_t)&value};
    union bpf_attr link = {0};
    check(map_fd < 0 || bpf(BPF_MAP_UPDATE_ELEM, &element), "map");
    program_fd = bpf(BPF_PROG_LOAD, &load);
    link.link_create.prog_fd = (uint32_t)program_fd;
    link.link_create.target_ifindex = if_nametoindex(name);
    link.link_create.attach_type = BPF_XDP;
    link.link_create.flags = XDP_FLAGS_DRV_MODE;
    check(program_fd < 0 || bpf(BPF_LINK_CREATE, &link) < 0, "program");
}

static uint32_t load(const uint32_t *from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
static void store(uint32_t *to, uint32_t value) { __atomic_store_n(to, value, __ATOMIC_RELEASE); }

static void transmit(void)
{
    static const uint8_t frame[FRAME] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xB5};
    struct xdp_desc *slots = frames.slots;
    uint32_t sent = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        memcpy(memory + i * CHUNK, frame, FRAME);
    for (;;) {
        uint32_t done =
            load(buffers.producer); /* buffers are used again in the order of the ring */
        store(buffers.consumer, done);
        if (SLOTS - (sent - done) >= BURST) {
            for (uint32_t i = 0; i < BURST; i++, sent++)
                slots[sent % SLOTS] = (struct xdp_desc){sent % SLOTS * CHUNK, FRAME, 0};
            store(frames.producer, sent);
        }
        if (*frames.flags & XDP_RING_NEED_WAKEUP)
            (void)!sendto(sock, NULL, 0, MSG_DONTWAIT, NULL, 0);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double receive(double seconds)
{
    const struct xdp_desc *slots = frames.slots;
    uint64_t *free = buffers.slots;
    struct pollfd fd = {.fd = sock, .events = POLLIN};
    uint32_t taken = 0, first = 0;
    double start = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        free[i] = i * CHUNK;
    store(buffers.producer, SLOTS);
    while (!start || now() - start < seconds) {
        uint32_t n = load(frames.producer) - taken;
        if (!n)
            poll(&fd, 1, 1000);
        for (uint32_t i = 0; i < (n < BURST ? n : BURST); i++, taken++)
            free[taken % SLOTS] = slots[taken % SLOTS].addr & ~(uint64_t)(CHUNK - 1);
        store(frames.consumer, taken);
        store(buffers.producer, SLOTS + taken);
        if (*buffers.flags & XDP_RING_NEED_WAKEUP)
            (void)!recvfrom(sock, NULL, 0, MSG_DONTWAIT, NULL, NULL);
        if (!start && taken) {
            start = now();
            first = taken;
        }
    }
    return (taken - first) / (now() - start);
}

int main(int argc, char **argv)
{
    int sends = argc == 3 && !strcmp(argv[1], "tx");
    if (!sends && !(argc == 4 && !strcmp(argv[1], "rx")))
        return 2;
    open_socket(argv[2], sends);
    if (sends)
        transmit();
    attach_program(argv[2]);
    printf("%.0f\n", receive(atof(argv[3])));
    return 0;
}
