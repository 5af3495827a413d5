/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The kernel's helpers for a program that runs by itself. Reading memory that a program
 * must not read has the same result as in the kernel: an error, and zeros.
 */
#pragma once

#define SEC(name)
#define __uint(name, value) int (*name)[value]
#define __type(name, value) __typeof__(value) *name
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

void *memcpy(void *, const void *, unsigned long);
void *memset(void *, int, unsigned long);

/* The current packet. */
extern unsigned char *the_packet;
extern u32 the_packet_len;

static inline long bpf_skb_load_bytes(const void *skb, u32 at, void *to, u32 n)
{
	if (n > the_packet_len || at > the_packet_len - n) {
		memset(to, 0, n);
		return -14;
	}
	memcpy(to, the_packet + at, n);
	return 0;
}

static inline long bpf_probe_read_kernel(void *to, u32 n, const void *from)
{
	unsigned long at = (unsigned char *)from - the_packet;

	return bpf_skb_load_bytes(0, at > 0xffffffff ? 0xffffffff : at, to, n);
}

static inline long bpf_probe_read_kernel_str(void *to, u32 n, const void *from) { return -14; }
static inline long bpf_probe_read_user(void *to, u32 n, const void *from) { return -14; }

/* Maps are distinguished by their address. */
void *bpf_map_lookup_elem(void *map, const void *key);
static inline long bpf_map_update_elem(void *map, const void *key, const void *value, u64 flags) { return 0; }

void *bpf_ringbuf_reserve(void *ring, u64 size, u64 flags);
void bpf_ringbuf_submit(void *record, u64 flags);
void bpf_ringbuf_discard(void *record, u64 flags);
static inline u64 bpf_ringbuf_query(void *ring, u64 what) { return 0; }

static inline u64 bpf_ktime_get_ns(void) { return 1; }
static inline u64 bpf_get_current_pid_tgid(void) { return (u64)7 << 32 | 7; }
static inline u64 bpf_get_socket_cookie(void *from) { return 0; }
static inline u64 bpf_get_netns_cookie(void *ctx) { return 0; }
static inline u64 bpf_skb_cgroup_id(void *skb) { return 1; }
static inline void *bpf_sk_storage_get(void *map, void *sk, void *value, u64 flags) { return 0; }

struct bpf_sock;
struct tcp_sock;
struct task_struct;
struct socket;
static inline struct bpf_sock *bpf_sk_fullsock(struct bpf_sock *sk) { return sk; }
static inline struct tcp_sock *bpf_skc_to_tcp_sock(void *sk) { return 0; }
static inline struct socket *bpf_sock_from_file(void *file) { return 0; }
extern struct task_struct *the_task;
static inline struct task_struct *bpf_get_current_task_btf(void) { return the_task; }
static inline u64 bpf_get_current_task(void) { return (unsigned long)the_task; }
