/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Programs that read TLS secrets when a process has just made them or still has them. They
 * read only user memory, only of chosen processes, and change nothing.
 */
#include "../../src/kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "events.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { MAP_LRU_HASH = 9 };

#if defined(__TARGET_ARCH_x86)
/* struct pt_regs, in words: Go's integer arguments, then the C ABI's. */
enum { GO1 = 5, GO2 = 11, GO3 = 14, GO4 = 13, GO6 = 8, GO7 = 7, ARG0 = 14, RESULT = 10 };
/*     BX       CX        DI        SI        R9       R10      DI         AX */
#elif defined(__TARGET_ARCH_arm64)
enum { GO1 = 1, GO2 = 2, GO3 = 3, GO4 = 4, GO6 = 6, GO7 = 7, ARG0 = 0, RESULT = 0 };
#else
#error registers of this machine are not known
#endif

#define REG(ctx, n) (((const u64 *)(ctx))[n])

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

/* Processes whose secrets may be read, and their descendants. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, u8);
} chosen SEC(".maps");

/* Control groups in which every process is chosen. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_GROUPS);
	__type(key, u64);
	__type(value, u8);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_TARGETS);
	__type(key, u32);
	__type(value, struct plan);
} plans SEC(".maps");

/* Objects whose handshake function is running, by thread. */
struct {
	__uint(type, MAP_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u64);
} inside SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

static __always_inline void count(u32 what)
{
	u64 *n = bpf_map_lookup_elem(&counts, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
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

/* func (c *Config) writeKeyLog(label string, clientRandom, secret []byte) error */
SEC("uprobe/go_key")
int go_key(void *ctx)
{
	u64 label = REG(ctx, GO1), label_size = REG(ctx, GO2), random = REG(ctx, GO3);
	u64 random_size = REG(ctx, GO4), secret = REG(ctx, GO6), secret_size = REG(ctx, GO7);
	u32 target = bpf_get_attach_cookie(ctx);
	struct go_event *e;

	if (!wanted())
		return 0;
	count(COUNT_SEEN);
	if (random_size != RANDOM || !label_size || label_size > MAX_LABEL || !secret_size || secret_size > MAX_SECRET) {
		count(COUNT_ODD);
		return 0;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(COUNT_LOST);
		return 0;
	}
	begin(&e->head, KIND_GO, target);
	e->label_at = label;
	e->label_size = label_size;
	e->secret_size = secret_size;
	e->label_read = 0;
	__builtin_memset(e->label, 0, sizeof(e->label));
	__builtin_memset(e->secret, 0, sizeof(e->secret));
	/* A constant string may be on a page that the process has never touched; the reader
	 * then reads it in another way. */
	if (!bpf_probe_read_user(e->label, label_size, (void *)label))
		e->label_read = 1;
	if (bpf_probe_read_user(e->random, RANDOM, (void *)random) || bpf_probe_read_user(e->secret, secret_size, (void *)secret)) {
		count(COUNT_UNREAD);
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline void dump(u64 object, u32 target, u32 at)
{
	struct dump_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		count(COUNT_LOST);
		return;
	}
	begin(&e->head, KIND_DUMP, target);
	e->object = object;
	e->at = at;
	e->size = 0;
	/* The memory after the object may not be mapped. */
#pragma unroll
	for (int i = 0; i < MAX_DUMP / DUMP_STEP; i++) {
		if (bpf_probe_read_user(e->data + i * DUMP_STEP, DUMP_STEP, (void *)(object + i * DUMP_STEP)))
			break;
		e->size = (i + 1) * DUMP_STEP;
	}
	if (!e->size) {
		count(COUNT_UNREAD);
		bpf_ringbuf_discard(e, 0);
		return;
	}
	/* The targets may be gone when the reader looks, as may the process. The count is kept
	 * in the record, whose content the verifier does not track. */
	e->hops_count = 0;
	for (u32 i = 0; i < HOP_FROM / 8; i++) {
		u64 to = ((u64 *)e->data)[i];
		u32 n = *(volatile u32 *)&e->hops_count;

		if (i * 8 >= e->size || n >= MAX_HOPS)
			break;
		if (to < 1 << 16 || to >> 47 || to & 15)
			continue;
		if (bpf_probe_read_user(e->hops[n].data, HOP_SIZE, (void *)to))
			continue;
		e->hops[n].at = i * 8;
		e->hops_count = n + 1;
	}
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void fields(const struct plan *p, u64 object, u32 target, u32 at)
{
	struct fields_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		count(COUNT_LOST);
		return;
	}
	begin(&e->head, KIND_FIELDS, target);
	e->object = object;
	e->at = at;
	e->read = 0;
	e->plan = p->number;
	for (int i = 0; i < MAX_FIELDS; i++) {
		u64 from = object;

		__builtin_memset(e->data[i], 0, MAX_SECRET);
		if (i >= p->count)
			continue;
		if (p->fields[i].hop != NO_HOP && (bpf_probe_read_user(&from, sizeof(from), (void *)(object + p->fields[i].hop)) || !from))
			continue;
		if (!bpf_probe_read_user(e->data[i], MAX_SECRET, (void *)(from + p->fields[i].at)))
			e->read |= 1 << i;
	}
	if (!e->read) {
		count(COUNT_UNREAD);
		bpf_ringbuf_discard(e, 0);
		return;
	}
	if (p->other && p->count > 1 && !*(u64 *)e->data[1]) {
		bpf_ringbuf_discard(e, 0);
		dump(object, target, at);
		return;
	}
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void tell(u64 object, u32 target, u32 at)
{
	struct plan *p = bpf_map_lookup_elem(&plans, &target);

	if (!p || !object || p->mode == MODE_OFF)
		return;
	count(COUNT_SEEN);
	if (p->mode == MODE_DUMP)
		dump(object, target, at);
	else
		fields(p, object, target, at);
}

/* int SSL_do_handshake(SSL *), int gnutls_handshake(gnutls_session_t) */
SEC("uprobe/handshake")
int handshake(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), object = REG(ctx, ARG0);

	if (wanted())
		bpf_map_update_elem(&inside, &id, &object, 0);
	return 0;
}

SEC("uprobe/handshake_done")
int handshake_done(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), *object = bpf_map_lookup_elem(&inside, &id), what;
	u32 target = bpf_get_attach_cookie(ctx);
	s32 result = REG(ctx, RESULT);
	struct plan *p;

	if (!object)
		return 0;
	what = *object;
	bpf_map_delete_elem(&inside, &id);
	p = bpf_map_lookup_elem(&plans, &target);
	if (p && result == p->success && wanted())
		tell(what, target, AT_HANDSHAKE);
	return 0;
}

/* void SSL_free(SSL *), void gnutls_deinit(gnutls_session_t) */
SEC("uprobe/release")
int release(void *ctx)
{
	u64 object = REG(ctx, ARG0);
	u32 target = bpf_get_attach_cookie(ctx);

	if (wanted())
		tell(object, target, AT_FREE);
	return 0;
}

static __always_inline void process(u32 kind, u32 tgid, u32 parent, const char *file)
{
	struct process_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	s64 n;

	if (!e) {
		count(COUNT_LOST_PROCESS);
		return;
	}
	begin(&e->head, kind, 0);
	e->head.tgid = tgid;
	e->parent = parent;
	e->size = 0;
	e->cgroup = bpf_get_current_cgroup_id();
	__builtin_memset(e->file, 0, sizeof(e->file));
	if (file) {
		n = bpf_probe_read_kernel_str(e->file, sizeof(e->file), file);
		if (n > 0)
			e->size = n - 1;
	}
	bpf_ringbuf_submit(e, 0);
}

SEC("raw_tp/sched_process_exec")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct linux_binprm *bin = (void *)ctx->args[2];
	u64 group = bpf_get_current_cgroup_id();
	u32 tgid = BPF_CORE_READ(task, tgid);
	u8 one = 1;

	/* A short process may have ended when the reader looks. */
	if (bpf_map_lookup_elem(&groups, &group))
		bpf_map_update_elem(&chosen, &tgid, &one, 0);
	process(KIND_EXEC, BPF_CORE_READ(task, tgid), BPF_CORE_READ(task, real_parent, tgid), BPF_CORE_READ(bin, filename));
	return 0;
}

SEC("raw_tp/sched_process_fork")
int process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *parent = (void *)ctx->args[0], *child = (void *)ctx->args[1];
	u32 from = BPF_CORE_READ(parent, tgid), to = BPF_CORE_READ(child, tgid);
	u8 one = 1;

	if (from == to || BPF_CORE_READ(child, pid) != to || !bpf_map_lookup_elem(&chosen, &from))
		return 0;
	bpf_map_update_elem(&chosen, &to, &one, 0);
	process(KIND_FORK, to, from, 0);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	u32 tgid = BPF_CORE_READ(task, tgid);

	if (BPF_CORE_READ(task, pid) != tgid || bpf_map_delete_elem(&chosen, &tgid))
		return 0;
	process(KIND_EXIT, tgid, 0, 0);
	return 0;
}
