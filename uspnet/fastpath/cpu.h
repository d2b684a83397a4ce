/* SPDX-License-Identifier: Apache-2.0
 *
 * What depends on the compiler and the CPU: branch hints, atomic accesses, spinning and clocks.
 * <immintrin.h> has them for x86, too, and takes longer to read than all of a source file. */
#ifndef USPNET_CPU_H
#define USPNET_CPU_H
#include <stdint.h>
#include <time.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The common path is inlined into one function; rare cases are calls. */
#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

/* For a loop of a few instructions that the compiler can't vectorize. */
#ifdef __clang__
#define UNROLL _Pragma("unroll(8)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Barriers against a device, which may be hardware (VIRTIO_F_ORDER_PLATFORM) or another CPU: on Arm
 * the outer shareable domain covers both. x86 keeps loads in order, and stores; there, only the
 * compiler must not reorder them. */
static inline void device_write_barrier(void)
{
#if defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dmb oshst" ::: "memory");
#else
    __sync_synchronize();
#endif
}

static inline void device_read_barrier(void)
{
#if defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dmb oshld" ::: "memory");
#else
    __sync_synchronize();
#endif
}

static inline void device_full_barrier(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb osh" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* The process may be killed between any two instructions, and another one goes on with what it has
 * stored: stores before this are made before those after it. Costs no instruction, since a CPU
 * completes in program order what a killed process did. */
static inline void keep_order(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Has a cache line come here from another core before it is written: without that, a packet's few
 * stores wait for it one after another. Processors that don't know the instruction ignore it. */
static inline void prefetch_to_write(const void *at)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)at));
#else
    __builtin_prefetch(at, 1);
#endif
}

/* The cycle counter: constant rate on every CPU of the last decade, about 10 ns to read. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t); /* in the vDSO: no system call */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
