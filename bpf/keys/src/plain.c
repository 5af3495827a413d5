/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Programs that read plaintext when a process passes it to a TLS library or has received it
 * from one. They read only user memory, only of chosen processes, and change nothing.
 */
#include "../../src/kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "events.h"
#include "plain.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { MAP_LRU_HASH = 9, INET4 = 2, INET6 = 10, TCP = 6 };

#if defined(__TARGET_ARCH_x86)
/* struct pt_regs, in words: the C ABI's arguments and result, Go's, its goroutine. */
enum { ARG0 = 14, ARG1 = 13, ARG2 = 12, ARG3 = 11, RESULT = 10, STACK = 19, GO0 = 10, GO1 = 5, GO2 = 11, GOROUTINE = 1 };
/*     DI         SI         DX         CX         AX           SP          AX        BX       CX        R14 */
#define POPPED 8 /* by the return */
#elif defined(__TARGET_ARCH_arm64)
enum { ARG0 = 0, ARG1 = 1, ARG2 = 2, ARG3 = 3, RESULT = 0, STACK = 31, GO0 = 0, GO1 = 1, GO2 = 2, GOROUTINE = 28 };
#define POPPED 0
#else
#error registers of this machine are not known
#endif

#define REG(ctx, n) (((const u64 *)(ctx))[n])

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} plaintext SEC(".maps");

/* Replaced by the map of the programs that follow processes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, u8);
} chosen SEC(".maps");

/* A running call, identified by its caller and the place of its frame, because a library
 * may call itself for the enclosing connection. */
struct frame {
	u64 who; /* process and thread; in Go the goroutine */
	u64 place;
};

struct call {
	u64 object;
	u64 buffer; /* in Go on its own stack: distance from the top of the stack */
	u64 done;   /* address of the length */
	u64 on_stack;
	u64 time;   /* when it began */
};

struct {
	__uint(type, MAP_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct frame);
	__type(value, struct call);
} calls SEC(".maps");

/* The object that a thread or goroutine is using. */
struct busy {
	u64 who;
	u32 tgid;
	u32 unused;
};

struct {
	__uint(type, MAP_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct busy);
	__type(value, u64);
} doing SEC(".maps");

struct owner {
	u64 object;
	u32 tgid;
	u32 unused;
};

struct {
	__uint(type, MAP_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct owner);
	__type(value, struct way);
} ways SEC(".maps");

/* The socket from which a thread received last. */
struct {
	__uint(type, MAP_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct way);
} received SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PLAIN_COUNTERS);
	__type(key, u32);
	__type(value, u64);
} plain_counts SEC(".maps");

/* Not 0: nothing more is read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} ended SEC(".maps");

static __always_inline void add(u32 what, u64 many)
{
	u64 *n = bpf_map_lookup_elem(&plain_counts, &what);

	if (n)
		__sync_fetch_and_add(n, many);
}

static __always_inline bool wanted(void)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return bpf_map_lookup_elem(&chosen, &tgid) != 0;
}

static __always_inline void begin(struct head *h, u32 kind, u32 target)
{
	u64 id = bpf_get_current_pid_tgid();

	h->time = bpf_ktime_get_ns();
	h->kind = kind;
	h->tgid = id >> 32;
	h->tid = (u32)id;
	h->target = target;
}

/* The data that all pieces of a call share. */
struct told {
	u64 object;
	u64 call;
	u64 cookie;
	u64 from;
	u64 time;
	struct way way;
};

#define TELL(LIMIT)                                                                             \
	{                                                                                       \
		struct {                                                                        \
			struct plain_event e;                                                   \
			u8 data[LIMIT];                                                         \
		} *r = bpf_ringbuf_reserve(&plaintext, sizeof(*r), 0);                          \
		if (!r) {                                                                       \
			add(PLAIN_LOST, 1);                                                     \
			return 0;                                                               \
		}                                                                               \
		begin(&r->e.head, KIND_PLAIN, t->cookie & COOKIE_TARGET);                                \
		r->e.head.time = t->time;                                                       \
		r->e.object = t->object;                                                        \
		r->e.call = t->call;                                                            \
		r->e.offset = offset;                                                           \
		r->e.size = size;                                                               \
		r->e.write = (t->cookie & COOKIE_WRITE) != 0;                                   \
		r->e.way = t->way;                                                              \
		asm volatile("" : "+r"(size));                                                  \
		if (size > LIMIT || bpf_probe_read_user(r->data, size, (void *)(t->from + offset))) { \
			add(PLAIN_UNREAD, 1);                                                   \
			bpf_ringbuf_discard(r, 0);                                              \
			return 0;                                                               \
		}                                                                               \
		bpf_ringbuf_submit(r, 0);                                                       \
		return 0;                                                                       \
	}

/* piece reports a part of a call, in a record that is not much larger. */
static __noinline int piece(const struct told *t, u64 offset, u32 size)
{
	if (!t)
		return 0;
	add(PLAIN_SEEN, 1);
	if (size <= SMALL)
		TELL(SMALL)
	if (size <= MEDIUM)
		TELL(MEDIUM)
	if (size <= LARGE)
		TELL(LARGE)
	TELL(PIECE)
}

static __always_inline void tell(struct told *t)
{
	u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	struct owner key = { .object = t->object, .tgid = id >> 32 };
	struct way *w = bpf_map_lookup_elem(&ways, &key), *last;
	u32 zero = 0, *end = bpf_map_lookup_elem(&ended, &zero);

	if (!end || *end)
		return;
	add(PLAIN_CALLS, 1);
	/* A response may arrive before the call that sent the request returns. */
	if (!(t->cookie & COOKIE_WRITE))
		t->time = now;
	/* If the library has no socket of its own, what it returned has just come from the
	 * socket from which the thread received last. */
	if (!(t->cookie & COOKIE_WRITE) && (!w || w->how != WAY_CALL) && (last = bpf_map_lookup_elem(&received, &id))) {
		struct way x = *last;

		x.how = WAY_LAST;
		x.born = w ? w->born : now;
		bpf_map_update_elem(&ways, &key, &x, 0);
		t->way = x;
	} else if (w) {
		t->way = *w;
	} else {
		struct way x = { .born = now };

		bpf_map_update_elem(&ways, &key, &x, 0);
		t->way = x;
	}
	for (u32 i = 0; i < MAX_PIECES; i++) {
		u64 offset = (u64)i * PIECE, left;

		if (offset >= t->call)
			return;
		left = t->call - offset;
		piece(t, offset, left > PIECE ? PIECE : left);
	}
	if (t->call > (u64)MAX_PIECES * PIECE)
		add(PLAIN_CUT, t->call - (u64)MAX_PIECES * PIECE);
}

static __always_inline void now_doing(u64 who, u64 object)
{
	struct busy b = { .who = who, .tgid = bpf_get_current_pid_tgid() >> 32 };

	bpf_map_update_elem(&doing, &b, &object, 0);
}

static __always_inline void done_doing(u64 who)
{
	struct busy b = { .who = who, .tgid = bpf_get_current_pid_tgid() >> 32 };

	bpf_map_delete_elem(&doing, &b);
}

/* int SSL_read(SSL *, void *, int), int SSL_read_ex(SSL *, void *, size_t, size_t *), and so
 * on; ssize_t gnutls_record_recv(gnutls_session_t, void *, size_t) */
SEC("uprobe/plain_enter")
int plain_enter(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	struct frame f = { .who = id, .place = REG(ctx, STACK) };
	struct call c = { .object = REG(ctx, ARG0), .buffer = REG(ctx, ARG1), .done = REG(ctx, ARG3), .time = bpf_ktime_get_ns() };

	if (!wanted() || !c.object)
		return 0;
	bpf_map_update_elem(&calls, &f, &c, 0);
	now_doing(id, c.object);
	return 0;
}

SEC("uprobe/plain_leave")
int plain_leave(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), cookie = bpf_get_attach_cookie(ctx), size;
	struct frame f = { .who = id, .place = REG(ctx, STACK) - POPPED };
	struct call *c = bpf_map_lookup_elem(&calls, &f);
	s64 result = REG(ctx, RESULT);
	struct told t = {};

	if (!c)
		return 0;
	t.object = c->object;
	t.from = c->buffer;
	t.time = c->time;
	size = c->done;
	bpf_map_delete_elem(&calls, &f);
	done_doing(id);
	if (!wanted())
		return 0;
	if (cookie & COOKIE_EX) {
		if ((s32)result != 1)
			return 0;
		if (bpf_probe_read_user(&t.call, sizeof(t.call), (void *)size)) {
			add(PLAIN_CALLS, 1);
			add(PLAIN_SEEN, 1);
			add(PLAIN_UNREAD, 1);
			return 0;
		}
	} else {
		/* OpenSSL's results are int. GnuTLS's have 64 bits, but its errors are as small. */
		if ((s32)result <= 0)
			return 0;
		t.call = (u32)result;
	}
	if (!t.call)
		return 0;
	if (t.call >> 31) {
		add(PLAIN_CALLS, 1);
		add(PLAIN_SEEN, 1);
		add(PLAIN_ODD, 1);
		return 0;
	}
	t.cookie = cookie;
	tell(&t);
	return 0;
}

/* The stack of a goroutine may move; distances from its top do not change. */
static __always_inline bool stack_of(u64 g, u64 *low, u64 *high)
{
	u64 both[2];

	if (bpf_probe_read_user(both, sizeof(both), (void *)g) || both[0] >= both[1])
		return 0;
	*low = both[0];
	*high = both[1];
	return 1;
}

/* func (c *Conn) Read(b []byte) (int, error), and Write */
SEC("uprobe/plain_go_enter")
int plain_go_enter(void *ctx)
{
	u64 g = REG(ctx, GOROUTINE), low, high;
	struct call c = { .object = REG(ctx, GO0), .buffer = REG(ctx, GO1), .time = bpf_ktime_get_ns() };
	struct frame f = { .who = g };

	if (!wanted() || !c.object || !stack_of(g, &low, &high))
		return 0;
	f.place = high - REG(ctx, STACK);
	if (c.buffer >= low && c.buffer < high) {
		c.on_stack = 1;
		c.buffer = high - c.buffer;
	}
	/* Goroutines of two processes may have the same address. */
	c.done = bpf_get_current_pid_tgid() >> 32;
	f.who ^= c.done << 48;
	bpf_map_update_elem(&calls, &f, &c, 0);
	now_doing(g, c.object);
	return 0;
}

SEC("uprobe/plain_go_leave")
int plain_go_leave(void *ctx)
{
	u64 g = REG(ctx, GOROUTINE), low, high, tgid = bpf_get_current_pid_tgid() >> 32;
	struct frame f = { .who = g ^ tgid << 48 };
	s64 result = REG(ctx, GO0);
	struct told t = {};
	struct call *c;

	if (!wanted() || !stack_of(g, &low, &high))
		return 0;
	f.place = high - REG(ctx, STACK);
	c = bpf_map_lookup_elem(&calls, &f);
	if (!c || c->done != tgid)
		return 0;
	t.object = c->object;
	t.time = c->time;
	t.from = c->on_stack ? high - c->buffer : c->buffer;
	bpf_map_delete_elem(&calls, &f);
	done_doing(g);
	if (result <= 0)
		return 0;
	if (result >> 31) {
		add(PLAIN_CALLS, 1);
		add(PLAIN_SEEN, 1);
		add(PLAIN_ODD, 1);
		return 0;
	}
	t.call = result;
	t.cookie = bpf_get_attach_cookie(ctx);
	tell(&t);
	return 0;
}

/* void SSL_free(SSL *), void gnutls_deinit(gnutls_session_t) */
SEC("uprobe/plain_release")
int plain_release(void *ctx)
{
	struct owner key = { .object = REG(ctx, ARG0), .tgid = bpf_get_current_pid_tgid() >> 32 };

	if (wanted())
		bpf_map_delete_elem(&ways, &key);
	return 0;
}

/* goroutine is the goroutine of a Go thread, according to its registers in user mode. */
static __always_inline u64 goroutine(void)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	const u64 *regs = (const u64 *)bpf_task_pt_regs(task);
	u64 g = 0;

	if (bpf_probe_read_kernel(&g, sizeof(g), regs + GOROUTINE))
		return 0;
	return g;
}

static __always_inline bool way_of(struct sock *sk, struct way *w)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	u32 v4;

	if (family == INET4) {
		w->local[10] = w->local[11] = w->remote[10] = w->remote[11] = 0xff;
		v4 = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		__builtin_memcpy(w->local + 12, &v4, 4);
		v4 = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		__builtin_memcpy(w->remote + 12, &v4, 4);
	} else if (family == INET6) {
		BPF_CORE_READ_INTO(&w->local, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&w->remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		return 0;
	}
	w->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	w->remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	return w->remote_port != 0;
}

static __always_inline bool same(const struct way *a, const struct way *b)
{
	const u64 *x = (const u64 *)a->local, *y = (const u64 *)b->local;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && a->local_port == b->local_port && a->remote_port == b->remote_port;
}

static __always_inline int moved(struct sock *sk, s32 result, bool in)
{
	u64 id = bpf_get_current_pid_tgid(), *object;
	struct busy b = { .who = id, .tgid = id >> 32 };
	struct way w = {}, *old;

	if (!wanted() || !way_of(sk, &w))
		return 0;
	object = bpf_map_lookup_elem(&doing, &b);
	if (!object && (b.who = goroutine()))
		object = bpf_map_lookup_elem(&doing, &b);
	w.born = bpf_ktime_get_ns();
	if (object) {
		struct owner key = { .object = *object, .tgid = id >> 32 };

		w.how = WAY_CALL;
		old = bpf_map_lookup_elem(&ways, &key);
		/* The first socket used with an object is its own, and earlier reports were about
		 * this object; a different socket means a different object at the same address. */
		if (old && (old->how == WAY_NONE || same(old, &w)))
			w.born = old->born;
		bpf_map_update_elem(&ways, &key, &w, 0);
	} else if (in && result > 0) {
		bpf_map_update_elem(&received, &id, &w, 0);
	}
	return 0;
}

/* TP_PROTO(struct sock *sk, int ret, int flags), since Linux 6.3 */
SEC("raw_tp/sock_send_length")
int socket_sent(struct bpf_raw_tracepoint_args *ctx)
{
	return moved((struct sock *)ctx->args[0], (s32)ctx->args[1], 0);
}

SEC("raw_tp/sock_recv_length")
int socket_received(struct bpf_raw_tracepoint_args *ctx)
{
	return moved((struct sock *)ctx->args[0], (s32)ctx->args[1], 1);
}
