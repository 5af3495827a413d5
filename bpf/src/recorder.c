/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The recorder's programs. No program changes, delays or refuses anything: every exit of
 * a program whose verdict the kernel uses returns PASS.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "packets.h"
#include "layers.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PASS 1

/* Return value of accept for packets of a never-rule; 0 means no, any other value yes. */
#define FORBIDDEN 2

#define AF_INET 2
#define AF_INET6 10
#define TCP_LISTEN 10
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define PF_KTHREAD 0x00200000

/* Set before loading. */
#ifndef SETTING
#define SETTING const volatile
#endif
SETTING u32 snap = 0xffffffff;
SETTING u8 headers_only = 0;
SETTING u8 filtering = 0;
SETTING u8 owning = 0;
u32 own_tgid = 0; /* nobody's any more once that process has ended: the number is given again */
SETTING u64 own_cgroup = 0;
SETTING u64 wake_at = 8 << 20; /* bytes waiting */
SETTING u64 wake_every = 500000; /* ns; a wake-up costs more than many packets */
SETTING u32 events_a_second = 1000; /* of one kind, for kinds that traffic drives */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 32 << 20);
} packets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2); /* incoming, outgoing */
	__type(key, u32);
	__type(value, struct counters);
} counts SEC(".maps");

/* Packets lost since the start, by cgroup. Totals only grow, so nothing must be removed
 * atomically, which kernels before 5.12 cannot do. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u64);
} losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct owner);
} owners SEC(".maps");

u64 woken = 0; /* when the reader was last woken */
u64 lossy = 0; /* while it is 0, the map of losses is empty */

/* Counters are shared with programs that interrupt this one on the same CPU. */
#define ADD(p, n) __sync_fetch_and_add(&(p), (n))

/* The Linux cooked header, version 2, of the packet as it will be in the file. */
struct cooked {
	u16 protocol;
	u16 reserved;
	u32 ifindex;
	u16 hatype;
	u8 pkt_type;
	u8 addr_len;
	u8 addr[8];
};

/*
 * accept applies the filter. Its body is replaced when a filter is loaded; until then both
 * arguments must stay in use.
 */
#ifndef ACCEPT
static __attribute__((noinline)) int accept(struct __sk_buff *skb, struct cooked *link)
{
	int yes = 1;

	asm volatile("" : "+r"(yes) : "r"(skb), "r"(link) : "memory");
	return yes;
}
#else
static int accept(struct __sk_buff *skb, struct cooked *link);
#endif

static __always_inline void remember_loss(u64 cgroup)
{
	u64 *n = bpf_map_lookup_elem(&losses, &cgroup);

	if (!n) {
		u64 none = 0;

		bpf_map_update_elem(&losses, &cgroup, &none, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&losses, &cgroup);
		if (!n)
			return; /* too many cgroups: in the counters all the same */
	}
	ADD(*n, 1);
	lossy = 1;
}

/* lost_so_far is the total of a cgroup, modulo 2^32. */
static __always_inline u32 lost_so_far(u64 cgroup)
{
	u64 *n;

	if (!lossy)
		return 0;
	n = bpf_map_lookup_elem(&losses, &cgroup);
	return n ? *n : 0;
}

LAYERS(layers_of, struct __sk_buff *, bpf_skb_load_bytes)

/* Length of the network and transport headers, for headers_only. */
static __always_inline u32 headers(struct __sk_buff *skb)
{
	struct layers l = {};
	u8 len = 0;

	layers_of(skb, &l);
	if (!l.version)
		return 128;
	if (l.cut || l.fragment)
		return l.transport;
	switch (l.protocol) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, l.transport + 12, &len, 1))
			return l.transport + 20;
		return l.transport + (len >> 4) * 4;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return l.transport + 8;
	}
	return l.transport;
}

/*
 * user is the current task, tgid << 32 | tid, or 0 for a kernel thread. The helper that
 * returns these numbers is available to packet programs only since Linux 6.10. The task
 * itself can be read directly since 5.15, and before that by copying.
 */
static __always_inline u64 user(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		struct task_struct *task = bpf_get_current_task_btf();

		if (task->flags & PF_KTHREAD)
			return 0;
		return (u64)task->tgid << 32 | (u32)task->pid;
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
			return 0;
		return (u64)BPF_CORE_READ(task, tgid) << 32 | (u32)BPF_CORE_READ(task, pid);
	}
}

/*
 * held reports whether the current task is the writer: it holds the socket's lock, and no
 * packet arrived since it took it. Before it gives the lock back, it handles those that did,
 * and they may let data go that another task wrote.
 */
static __always_inline bool held(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp;

	if (!sk)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	return tp && !((tp->inet_conn.icsk_inet.sk.sk_lock.owned ^ 1) | tp->inet_conn.icsk_inet.sk.sk_backlog.len);
}

static __always_inline void choose(struct packet *p, struct owner *o)
{
	u64 id = 0;

	if (o->cookie != p->cookie) {
		id = o->creator ? o->creator : o->acceptor ? o->acceptor : o->last ? o->last : o->holder;
		p->kind = KIND_LISTENER;
	} else if (o->last) {
		id = o->last;
		p->kind = KIND_LAST_USER;
	} else if (o->acceptor) {
		id = o->acceptor;
		p->kind = KIND_ACCEPTOR;
	} else if (o->creator) {
		id = o->creator;
		p->kind = KIND_CREATOR;
	} else if (o->holder) {
		id = o->holder;
		p->kind = o->holders > 1 ? KIND_SHARED : KIND_HOLDER;
	}
	p->tgid = id >> 32;
	p->tid = id;
	if (!id)
		p->kind = KIND_NONE;
}

/* settle resets a storage for its own socket when a task of known identity uses it. */
static __always_inline void settle(struct owner *o, u64 cookie)
{
	if (o->cookie == cookie)
		return;
	o->cookie = cookie;
	o->last = o->acceptor = o->creator = o->holder = o->sender = 0;
	o->holders = 0;
}

/*
 * written_by_us marks a socket that the recorder writes to. It has no branch: each one here
 * doubles what old verifiers walk.
 */
static __always_inline u32 written_by_us(struct owner *o, u32 tgid)
{
	u64 other = tgid ^ own_tgid;

	asm volatile("" : "+r"(other));
	other |= -other;
	asm volatile("" : "+r"(other));
	o->own |= 1 ^ (other >> 63);
	return o->own;
}

/* whose fills in the owner and answers whether the packet is the recorder's own. */
static __always_inline bool whose(struct __sk_buff *skb, struct packet *p, bool outgoing)
{
	struct bpf_sock *sk = skb->sk;
	struct owner *o;
	u64 id = 0;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 0;
	p->transport = sk->protocol;
	/*
	 * The kernel's workers hold locks too (TLS, Multipath TCP): what they send was
	 * written earlier by another task.
	 */
	if (outgoing && sk->protocol == IPPROTO_TCP && held(skb))
		id = user();
	o = bpf_sk_storage_get(&owners, sk, 0, id ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (!o)
		return 0;
	p->netns = o->netns;
	if (sk->protocol == IPPROTO_TCP && sk->state == TCP_LISTEN) {
		choose(p, o);
		if (p->kind)
			p->kind = KIND_LISTENER;
		return o->own;
	}
	/* Datagrams leave in the caller's context, all others also from timers and softirqs. */
	if (outgoing && sk->protocol != IPPROTO_TCP && (sk->type == SOCK_DGRAM || sk->type == SOCK_RAW))
		id = user();
	if (id) {
		settle(o, p->cookie);
		o->last = id;
		p->tgid = id >> 32;
		p->tid = id;
		p->kind = KIND_WRITER;
		return written_by_us(o, p->tgid);
	}
	choose(p, o);
	return o->own;
}

/* A separate load of a socket's field: the compiler must not combine two of them. */
#define TAKE(to, field)                          \
	do {                                     \
		u32 taken = (field);             \
                                                 \
		asm volatile("" : "+r"(taken));  \
		(to) = taken;                    \
	} while (0)

/* sent_to records the receiver that the sender of a datagram named. */
static __always_inline void sent_to(struct packet *r, struct bpf_sock *sk, u64 id)
{
	struct owner *o = bpf_sk_storage_get(&owners, sk, 0, 0);
	u32 *remote = (u32 *)r->remote;

	if (!o || !id || o->sender != id)
		return;
	o->sender = 0;
	r->remote_port = o->sent_port;
	__builtin_memcpy(r->remote, o->sent, 16);
	r->family = sk->family == AF_INET6 ? 6 : 4;
	if (r->family == 6 && o->sent_family == 4) { /* as the kernel maps it, RFC 4291 section 2.5.5.2 */
		remote[3] = remote[0];
		remote[2] = 0xffff0000;
		remote[1] = 0;
		remote[0] = 0;
	}
}

/*
 * ends records the socket's own ends. Outgoing packets show others if an address is
 * translated on the way; incoming ones have been translated back. It writes only to the
 * record, of which the verifier tracks no values: on the stack each branch here would
 * double the paths that it walks.
 */
static __attribute__((noinline)) int ends(struct __sk_buff *skb, struct packet *r)
{
	u32 *local = (u32 *)r->local, *remote = (u32 *)r->remote;
	struct bpf_sock *sk = skb->sk;
	u32 port;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 0;
	TAKE(port, sk->dst_port); /* or it is a load of two bytes */
	r->local_port = sk->src_port;
	r->remote_port = __builtin_bswap16(port);
	if (sk->family == AF_INET6) {
		TAKE(local[0], sk->src_ip6[0]);
		TAKE(local[1], sk->src_ip6[1]);
		TAKE(local[2], sk->src_ip6[2]);
		TAKE(local[3], sk->src_ip6[3]);
		TAKE(remote[0], sk->dst_ip6[0]);
		TAKE(remote[1], sk->dst_ip6[1]);
		TAKE(remote[2], sk->dst_ip6[2]);
		TAKE(remote[3], sk->dst_ip6[3]);
	} else {
		TAKE(local[0], sk->src_ip4);
		TAKE(remote[0], sk->dst_ip4);
	}
	if ((u16)port)
		r->family = sk->family == AF_INET6 ? 6 : 4;
	else
		sent_to(r, sk, (u64)r->tgid << 32 | r->tid);
	return 0;
}

#define ROOM(class) ((class) - sizeof(struct packet))

/*
 * The kernel's ring buffer needs the length of a record in advance, so there are classes of
 * lengths; the smallest class that is long enough wastes the least.
 *
 * The copied length must be at least 1, but verifiers before Linux 6.8 learn nothing from
 * "not 0". So the bound is tested on the length minus 1, in 64 bits, and adding 1 then gives
 * the verifier both bounds.
 */
#define TRY(class)                                                                    \
	if (p.cap <= ROOM(class)) {                                                   \
		u8 *r = bpf_ringbuf_reserve(&packets, class, 0);                      \
		u64 less = (u64)p.cap - 1;                                            \
                                                                                      \
		if (!r)                                                               \
			goto failed;                                                  \
		asm volatile("" : "+r"(less));                                        \
		if (less < ROOM(class) &&                                             \
		    !bpf_skb_load_bytes(skb, 0, r + sizeof(struct packet), less + 1)) { \
			p.lost = lost_so_far(p.cgroup);                               \
			*(struct packet *)r = p;                                      \
			if (owning && p.outgoing)                                     \
				ends(skb, (struct packet *)r);                        \
			bpf_ringbuf_submit(r, wakeup(p.time));                              \
			goto delivered;                                               \
		}                                                                     \
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);                             \
		goto unread;                                                          \
	}

/* The reader polls every few milliseconds; it is woken if that may be too late. */
static __always_inline u64 wakeup(u64 now)
{
	if (now - woken < wake_every || bpf_ringbuf_query(&packets, BPF_RB_AVAIL_DATA) < wake_at)
		return BPF_RB_NO_WAKEUP;
	woken = now;
	return BPF_RB_FORCE_WAKEUP;
}

/*
 * FORGET makes the verifier forget what it knows of a value, which stays the same. Otherwise it
 * would walk the rest of the program again for each way in which the owner can be found.
 */
#ifdef __bpf__
#define FORGET(value, by)                                                      \
	do {                                                                   \
		u64 same = (value);                                            \
                                                                               \
		asm volatile("%0 ^= %1\n%0 ^= %1" : "+r"(same) : "r"(by));     \
		(value) = same;                                                \
	} while (0)
#else
#define FORGET(value, by)
#endif

#define LARGEST 65464

static __always_inline int record(struct __sk_buff *skb, bool outgoing)
{
	u32 direction = outgoing, want;
	struct packet p = {};
	bool own = 0;
	struct counters *c = bpf_map_lookup_elem(&counts, &direction);

	if (!c)
		return PASS;
	ADD(c->seen, 1);
	p.time = bpf_ktime_get_ns();
	p.cookie = bpf_get_socket_cookie(skb);
	p.cgroup = bpf_skb_cgroup_id(skb);
	p.len = skb->len;
	p.ifindex = skb->ifindex;
	p.gso_size = skb->gso_size;
	p.gso_segs = skb->gso_segs;
	p.protocol = __builtin_bswap16(skb->protocol);
	p.outgoing = outgoing;
	p.pkt_type = outgoing ? 4 : skb->pkt_type;
	if (owning) {
		own = whose(skb, &p, outgoing);
		FORGET(p.netns, p.time);
		FORGET(p.tgid, p.time);
		FORGET(p.tid, p.time);
		FORGET(p.kind, p.time);
		FORGET(p.transport, p.time);
	}
	if (own || (own_cgroup && p.cgroup == own_cgroup)) {
		ADD(c->excluded, 1);
		return PASS;
	}
	if (filtering) {
		struct cooked link = {};

		link.protocol = skb->protocol;
		link.ifindex = __builtin_bswap32(p.ifindex);
		link.hatype = 0xfeff; /* ARPHRD_NONE */
		link.pkt_type = p.pkt_type;
		switch (accept(skb, &link)) {
		case 0:
			ADD(c->filtered, 1);
			return PASS;
		case FORBIDDEN:
			ADD(c->forbidden, 1);
			return PASS;
		}
	}
	want = p.len < snap ? p.len : snap;
	if (headers_only) {
		u32 h = headers(skb);

		want = h < want ? h : want;
	}
	p.cap = want < ROOM(LARGEST) ? want : ROOM(LARGEST);

	TRY(256)
	TRY(512)
	TRY(1024)
	TRY(2048)
	TRY(9216)
	TRY(32768)
	TRY(LARGEST)
unread:
	ADD(c->unread, 1);
	remember_loss(p.cgroup);
	return PASS;
failed:
	ADD(c->failed, 1);
	remember_loss(p.cgroup);
	return PASS;
delivered:
	ADD(c->delivered, 1);
	if (p.cap < want)
		ADD(c->capped, 1);
	else if (want < p.len)
		ADD(c->truncated, 1);
	return PASS;
}

SEC("cgroup_skb/ingress")
int packet_in(struct __sk_buff *skb)
{
	return record(skb, 0);
}

SEC("cgroup_skb/egress")
int packet_out(struct __sk_buff *skb)
{
	return record(skb, 1);
}

#include "owners.h"
#include "events.h"
