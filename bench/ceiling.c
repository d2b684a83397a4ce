// SPDX-License-Identifier: Apache-2.0
/* What two cores of this machine can pass to each other at all. One thread writes 60 bytes and a
 * 16-byte descriptor a packet into a ring of 1,024; the other reads them. There are two positions,
 * each on a line of its own and published once a burst of 32, and nothing else: no check, no
 * wake-up, no buffer management, no counters. Whatever two processes exchange through shared
 * memory is below this, or uses a trick that this does not.
 *
 * usage: ceiling WRITER_CORE READER_CORE SECONDS; prints packets a second. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1024, BURST = 32, FRAME = 60, BUFFER = 2048 };

struct descriptor {
    uint32_t flags, length;
    uint64_t offset;
};

static struct {
    _Alignas(64) uint64_t head; /* written by the writer */
    _Alignas(64) uint64_t tail; /* written by the reader */
    _Alignas(64) int stop;
    _Alignas(64) struct descriptor slots[SLOTS];
} ring;

static uint8_t *buffers;
static int cores[2];
static volatile uint64_t sink; /* so that the reader's loads are not optimised away */

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set))
        exit(1);
}

static void *writer(void *unused)
{
    uint8_t frame[FRAME] = {2};
    uint64_t head = 0;
    pin(cores[0]);
    while (!__atomic_load_n(&ring.stop, __ATOMIC_RELAXED)) {
        if (head - __atomic_load_n(&ring.tail, __ATOMIC_ACQUIRE) > SLOTS - BURST)
            continue;
        for (int i = 0; i < BURST; i++, head++) {
            uint64_t offset = head % SLOTS * BUFFER;
            memcpy(buffers + offset, frame, FRAME);
            ring.slots[head % SLOTS] = (struct descriptor){0, FRAME, offset};
        }
        __atomic_store_n(&ring.head, head, __ATOMIC_RELEASE);
    }
    return unused;
}

static uint64_t read_frame(const struct descriptor *slot)
{
    uint64_t words[8] = {0}, sum = slot->length;
    memcpy(words, buffers + slot->offset, FRAME);
    for (int i = 0; i < 8; i++)
        sum += words[i];
    return sum;
}

static void *reader(void *unused)
{
    uint64_t tail = 0, sum = 0;
    pin(cores[1]);
    while (!__atomic_load_n(&ring.stop, __ATOMIC_RELAXED)) {
        if (__atomic_load_n(&ring.head, __ATOMIC_ACQUIRE) - tail < BURST)
            continue;
        for (int i = 0; i < BURST; i++, tail++)
            sum += read_frame(&ring.slots[tail % SLOTS]);
        __atomic_store_n(&ring.tail, tail, __ATOMIC_RELEASE);
    }
    sink = sum;
    return unused;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    pthread_t threads[2];
    double start;
    if (argc != 4)
        return 2;
    cores[0] = atoi(argv[1]);
    cores[1] = atoi(argv[2]);
    buffers = mmap(NULL, SLOTS * BUFFER, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (buffers == MAP_FAILED)
        return 1;
    start = now();
    if (pthread_create(&threads[0], NULL, writer, NULL) ||
        pthread_create(&threads[1], NULL, reader, NULL))
        return 1;
    usleep((useconds_t)(atof(argv[3]) * 1e6));
    __atomic_store_n(&ring.stop, 1, __ATOMIC_RELAXED);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("%.0f\n", (double)ring.tail / (now() - start));
    return 0;
}
