/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Events of the machine other than packets. Only tracepoints, which cannot refuse anything. */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

struct event_counters {
	u64 seen;
	u64 limited;
	u64 failed;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_KINDS);
	__type(key, u32);
	__type(value, struct event_counters);
} event_counts SEC(".maps");

struct budget {
	u64 second;
	u64 spent;
	u64 limited;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EVENT_KINDS);
	__type(key, u32);
	__type(value, struct budget);
} budgets SEC(".maps");

static __always_inline struct event_counters *counted(u32 kind)
{
	struct event_counters *c = bpf_map_lookup_elem(&event_counts, &kind);

	if (c)
		ADD(c->seen, 1);
	return c;
}

/* affordable limits the kinds of events that depend on traffic, so they cost less than packets. */
static __always_inline bool affordable(u32 kind, struct event_counters *c, u64 now)
{
	struct budget *b = bpf_map_lookup_elem(&budgets, &kind);
	u64 second = now >> 30;

	if (!b)
		return 0;
	if (b->second != second) {
		b->second = second;
		b->spent = 0;
	}
	if (b->spent >= events_a_second) {
		ADD(b->limited, 1);
		if (c)
			ADD(c->limited, 1);
		return 0;
	}
	ADD(b->spent, 1);
	return 1;
}

static __always_inline u32 limited_so_far(u32 kind)
{
	struct budget *b = bpf_map_lookup_elem(&budgets, &kind);

	return b ? b->limited : 0;
}

static __always_inline u64 cgroup_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

static __always_inline void describe(struct process_event *p, struct task_struct *task, u32 kind)
{
	p->e.time = bpf_ktime_get_ns();
	p->e.kind = kind;
	p->e.cgroup = cgroup_of(task);
	p->e.tgid = BPF_CORE_READ(task, tgid);
	p->e.tid = BPF_CORE_READ(task, pid);
	p->e.limited = 0;
	p->start = BPF_CORE_READ(task, group_leader, start_boottime);
	p->parent = BPF_CORE_READ(task, real_parent, tgid);
	p->uid = BPF_CORE_READ(task, cred, uid.val);
	p->code = 0;
	p->args_len = 0;
	bpf_probe_read_kernel(p->comm, sizeof(p->comm), &task->comm);
}

#define COMPONENTS 24 /* of a path, and mounts on its way */
#define HALF 256      /* a component has at most 255 bytes */

/*
 * path_of writes the components of a path, up to the root of the process or, for a file outside
 * it, of the mount namespace, and their length; 0 if it is longer than can be followed. bpf_d_path
 * is not for tracepoints.
 *
 * Verifiers before Linux 6.8 forget what they know of a loop after a few turns, and walk each
 * combination of branches. So the turns are written out, and the length is read back in each:
 * the verifier knows nothing of it then, and finds both branches alike.
 */
static __always_inline void path_of(char *to, volatile u32 *length, struct fs_struct *fs, struct vfsmount *mnt, struct dentry *at)
{
	struct vfsmount *root_mnt = BPF_CORE_READ(fs, root.mnt);
	struct dentry *root = BPF_CORE_READ(fs, root.dentry);

	*length = 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < COMPONENTS; i++) {
		struct dentry *parent = BPF_CORE_READ(at, d_parent);
		u64 len = *length;
		long n;

		asm volatile("" : "+r"(len));
		if (len >= HALF)
			break;
		if (at == root && mnt == root_mnt)
			return;
		if (at == BPF_CORE_READ(mnt, mnt_root)) {
			struct mount *m = (void *)mnt - __builtin_preserve_field_info(((struct mount *)0)->mnt, 0);
			struct mount *below = BPF_CORE_READ(m, mnt_parent);

			if (below == m)
				return;
			at = BPF_CORE_READ(m, mnt_mountpoint);
			mnt = (void *)below + __builtin_preserve_field_info(((struct mount *)0)->mnt, 0);
			continue;
		}
		if (parent == at)
			return; /* a file that no folder has */
		n = bpf_probe_read_kernel_str(to + len, HALF, BPF_CORE_READ(at, d_name.name));
		if (n <= 0)
			break;
		*length = len + n;
		at = parent;
	}
	*length = 0;
}

/* resolve fills in which file runs, whatever name it was called by. */
static __always_inline void resolve(struct exec_event *x, struct task_struct *task, struct linux_binprm *binprm)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	x->cwd_len = 0;
	path_of(x->exe, &x->exe_len, fs, BPF_CORE_READ(exe, f_path.mnt), BPF_CORE_READ(exe, f_path.dentry));
	x->script = BPF_CORE_READ(binprm, interp) != BPF_CORE_READ(binprm, filename);
	if (x->script && x->file[0] != '/')
		path_of(x->cwd, &x->cwd_len, fs, BPF_CORE_READ(fs, pwd.mnt), BPF_CORE_READ(fs, pwd.dentry));
}

SEC("raw_tp/sched_process_exec")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct linux_binprm *binprm = (void *)ctx->args[2];
	struct event_counters *c = counted(EVENT_EXEC);
	u64 from, to, n;
	struct exec_event *x = bpf_ringbuf_reserve(&events, sizeof(*x), 0);

	if (!x) {
		if (c)
			ADD(c->failed, 1);
		return 0;
	}
	describe(&x->p, task, EVENT_EXEC);
	x->file[0] = 0;
	bpf_probe_read_kernel_str(x->file, sizeof(x->file), BPF_CORE_READ(binprm, filename));
	from = BPF_CORE_READ(task, mm, arg_start);
	to = BPF_CORE_READ(task, mm, arg_end);
	n = to > from ? to - from : 0;
	x->p.args_len = n;
	if (n > sizeof(x->args))
		n = sizeof(x->args);
	asm volatile("" : "+r"(n));
	if (n > sizeof(x->args) || bpf_probe_read_user(x->args, n, (void *)from))
		x->p.args_len = 0;
	resolve(x, task, binprm);
	bpf_ringbuf_submit(x, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline int process(struct task_struct *task, u32 kind, s32 code)
{
	struct event_counters *c = counted(kind);
	struct process_event *p = bpf_ringbuf_reserve(&events, sizeof(*p), 0);

	if (!p) {
		if (c)
			ADD(c->failed, 1);
		return 0;
	}
	describe(p, task, kind);
	p->code = code;
	bpf_ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("raw_tp/sched_process_fork")
int process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[1];

	if (BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0; /* a thread */
	return process(task, EVENT_FORK, 0);
}

/* From the kernel's include/linux/sched/signal.h, since Linux 2.6. */
#define SIGNAL_GROUP_EXIT 4

/* exit_code is the status that wait(2) returns for a process. */
static __always_inline s32 exit_code(struct task_struct *leader)
{
	if (BPF_CORE_READ(leader, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(leader, signal, group_exit_code);
	return BPF_CORE_READ(leader, exit_code);
}

/*
 * A process ends with its last thread, which need not be its first. If the last two end at
 * the same time, each may find that it is the last one; the reader drops the second event.
 */
SEC("raw_tp/sched_process_exit")
int process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	if (BPF_CORE_READ(task, signal, live.counter))
		return 0; /* other threads go on */
	if (BPF_CORE_READ(leader, tgid) == own_tgid)
		own_tgid = 0;
	return process(leader, EVENT_EXIT, exit_code(leader));
}

SEC("raw_tp/mark_victim")
int process_oom(struct bpf_raw_tracepoint_args *ctx)
{
	struct event_counters *c = counted(EVENT_OOM);
	struct process_event *p = bpf_ringbuf_reserve(&events, sizeof(*p), 0);
	u64 arg = ctx->args[0];

	if (!p) {
		if (c)
			ADD(c->failed, 1);
		return 0;
	}
	__builtin_memset(p, 0, sizeof(*p));
	if (arg > 0xffffffff) { /* Linux 6.8 and later give the task, older ones its number */
		describe(p, (void *)arg, EVENT_OOM);
	} else {
		p->e.time = bpf_ktime_get_ns();
		p->e.kind = EVENT_OOM;
		p->e.tgid = p->e.tid = arg;
	}
	bpf_ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("raw_tp/cgroup_attach_task")
int process_moved(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup *to = (void *)ctx->args[0];
	struct task_struct *task = (void *)ctx->args[2];
	struct event_counters *c;
	struct process_event *p;

	if (BPF_CORE_READ(to, root, hierarchy_id) || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0; /* version 1, or a thread */
	c = counted(EVENT_MOVE);
	p = bpf_ringbuf_reserve(&events, sizeof(*p), 0);
	if (!p) {
		if (c)
			ADD(c->failed, 1);
		return 0;
	}
	describe(p, task, EVENT_MOVE);
	p->e.cgroup = BPF_CORE_READ(to, kn, id);
	bpf_ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline int cgroup_changed(struct bpf_raw_tracepoint_args *ctx, u32 kind)
{
	struct cgroup *cgroup = (void *)ctx->args[0];
	struct event_counters *c;
	struct cgroup_event *x;

	if (BPF_CORE_READ(cgroup, root, hierarchy_id))
		return 0; /* version 1 */
	c = counted(kind);
	x = bpf_ringbuf_reserve(&events, sizeof(*x), 0);
	if (!x) {
		if (c)
			ADD(c->failed, 1);
		return 0;
	}
	__builtin_memset(&x->e, 0, sizeof(x->e));
	x->e.time = bpf_ktime_get_ns();
	x->e.kind = kind;
	x->e.cgroup = BPF_CORE_READ(cgroup, kn, id);
	x->path[0] = 0;
	bpf_probe_read_kernel_str(x->path, sizeof(x->path), (void *)ctx->args[1]);
	bpf_ringbuf_submit(x, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("raw_tp/cgroup_mkdir")
int cgroup_made(struct bpf_raw_tracepoint_args *ctx)
{
	return cgroup_changed(ctx, EVENT_CGROUP_MAKE);
}

SEC("raw_tp/cgroup_rmdir")
int cgroup_removed(struct bpf_raw_tracepoint_args *ctx)
{
	return cgroup_changed(ctx, EVENT_CGROUP_REMOVE);
}

/* full distinguishes sockets from the small stand-ins of half-open and closed connections. */
static __always_inline bool full(const struct sock *sk)
{
	u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	return state != 6 && state != 12; /* TIME_WAIT, NEW_SYN_RECV */
}

#define ROOT_CGROUP 1

static __always_inline u64 cgroup_of_socket(const struct sock *sk)
{
	u64 v;

	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup))
		return BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	v = BPF_CORE_READ(sk, sk_cgrp_data.val);
	if (!v || v & 3) /* marks of version 1: the kernel takes such a socket for the root's */
		return ROOT_CGROUP;
	return BPF_CORE_READ((struct cgroup *)v, kn, id);
}

static __always_inline void endpoints(struct net_event *x, const struct sock *sk)
{
	x->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	x->protocol = BPF_CORE_READ(sk, sk_protocol);
	x->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!x->local_port && full(sk)) /* it was given back before the socket was told to be closed */
		x->local_port = __builtin_bswap16(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
	x->remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	x->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	if (x->family == AF_INET6) {
		BPF_CORE_READ_INTO(&x->local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&x->remote, sk, __sk_common.skc_v6_daddr);
	} else {
		*(u32 *)x->local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(u32 *)x->remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
}

static __always_inline struct net_event *network(u32 kind)
{
	struct event_counters *c = counted(kind);
	u64 now = bpf_ktime_get_ns();
	struct net_event *x;

	if (!affordable(kind, c, now))
		return 0;
	x = bpf_ringbuf_reserve(&events, sizeof(*x), 0);
	if (!x) {
		if (c)
			ADD(c->failed, 1);
		return 0;
	}
	__builtin_memset(x, 0, sizeof(*x));
	x->e.time = now;
	x->e.kind = kind;
	x->e.limited = limited_so_far(kind);
	return x;
}

SEC("raw_tp/inet_sock_set_state")
int tcp_state(struct bpf_raw_tracepoint_args *ctx)
{
	const struct sock *sk = (void *)ctx->args[0];
	struct net_event *x;
	u32 after = ctx->args[2];

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (after != 1 && after != 7 && after != TCP_LISTEN)
		return 0; /* the rest is in the packets */
	x = network(EVENT_STATE);
	if (!x)
		return 0;
	endpoints(x, sk);
	x->e.cgroup = cgroup_of_socket(sk);
	x->before = ctx->args[1];
	x->after = after;
	bpf_ringbuf_submit(x, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline int tcp_event(const struct sock *sk, u32 kind, u32 reason)
{
	struct net_event *x = network(kind);

	if (!x)
		return 0;
	if (sk) {
		endpoints(x, sk);
		if (full(sk))
			x->e.cgroup = cgroup_of_socket(sk);
		x->protocol = IPPROTO_TCP;
	}
	x->before = reason;
	bpf_ringbuf_submit(x, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("raw_tp/tcp_retransmit_skb")
int tcp_retransmit(struct bpf_raw_tracepoint_args *ctx)
{
	return tcp_event((void *)ctx->args[0], EVENT_RETRANSMIT, 0);
}

SEC("raw_tp/tcp_receive_reset")
int tcp_reset_received(struct bpf_raw_tracepoint_args *ctx)
{
	return tcp_event((void *)ctx->args[0], EVENT_RESET_RECEIVED, 0);
}

/* The kernel's own copy of a packet. */
struct copied {
	unsigned char *ip;
	u32 len;
};

static __always_inline int peek(struct copied *from, u32 at, void *to, u32 n)
{
	if (at + n > from->len)
		return -1;
	return bpf_probe_read_kernel(to, n, from->ip + at);
}

LAYERS(layers_of_copy, struct copied *, peek)

/* addresses reads both ends from a packet that the machine received. */
static __always_inline void addresses(struct net_event *x, struct sk_buff *skb)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	u32 network = BPF_CORE_READ(skb, network_header);
	u32 data = BPF_CORE_READ(skb, data) - head;
	struct copied packet = {};
	struct layers l = {};
	u16 ports[2] = {};

	x->len = BPF_CORE_READ(skb, len);
	packet.ip = head + network;
	/* A program that handles the transport layer has moved the beginning of the packet. */
	packet.len = x->len + (data > network ? data - network : 0);
	layers_of_copy(&packet, &l);
	if (l.version == 4) {
		x->family = AF_INET;
		peek(&packet, 12, x->remote, 4);
		peek(&packet, 16, x->local, 4);
	} else if (l.version == 6) {
		x->family = AF_INET6;
		peek(&packet, 8, x->remote, 16);
		peek(&packet, 24, x->local, 16);
	} else {
		return;
	}
	if (l.cut)
		return;
	x->protocol = l.protocol;
	if (l.fragment || (l.protocol != IPPROTO_TCP && l.protocol != IPPROTO_UDP) || peek(&packet, l.transport, ports, 4))
		return;
	x->remote_port = __builtin_bswap16(ports[0]);
	x->local_port = __builtin_bswap16(ports[1]);
}

SEC("raw_tp/tcp_send_reset")
int tcp_reset_sent(struct bpf_raw_tracepoint_args *ctx)
{
	const struct sock *sk = (void *)ctx->args[0];
	struct sk_buff *skb = (void *)ctx->args[1];
	struct net_event *x;

	if (sk || !skb)
		return tcp_event(sk, EVENT_RESET_SENT, 0);
	x = network(EVENT_RESET_SENT); /* nobody listens: the packet it answers tells where */
	if (!x)
		return 0;
	addresses(x, skb);
	x->len = 0;
	bpf_ringbuf_submit(x, BPF_RB_NO_WAKEUP);
	return 0;
}

/* whose_drop adds the socket of a packet, if it already has or still has one. */
static __always_inline void whose_drop(struct net_event *x, const struct sock *sk)
{
	u16 family, port;
	u8 both[16];

	if (!sk || !full(sk))
		return;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return;
	x->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	x->e.cgroup = cgroup_of_socket(sk);
	port = BPF_CORE_READ(sk, __sk_common.skc_num);
	/* The source of an outgoing packet is this machine's end. */
	if (x->remote_port != port || x->local_port == port)
		return;
	__builtin_memcpy(both, x->remote, 16);
	__builtin_memcpy(x->remote, x->local, 16);
	__builtin_memcpy(x->local, both, 16);
	x->remote_port = x->local_port;
	x->local_port = port;
}

#define IS_REASON(reason, name) \
	(bpf_core_enum_value_exists(enum skb_drop_reason, name) && reason == bpf_core_enum_value(enum skb_drop_reason, name))

/* dropped reports whether a reason means more than that the packet is no longer needed. */
static __always_inline bool dropped(u32 reason)
{
	return !IS_REASON(reason, SKB_NOT_DROPPED_YET) && !IS_REASON(reason, SKB_CONSUMED) && !IS_REASON(reason, SKB_DROP_REASON_NOT_SPECIFIED);
}

/* The third argument was added in Linux 5.17, together with the enumeration. */
SEC("raw_tp/kfree_skb")
int packet_dropped(struct bpf_raw_tracepoint_args *ctx)
{
	struct sk_buff *skb = (void *)ctx->args[0];
	u32 reason = ctx->args[2];
	u16 protocol;
	struct net_event *x;

	if (!dropped(reason))
		return 0;
	protocol = __builtin_bswap16(BPF_CORE_READ(skb, protocol));
	if (protocol != 0x0800 && protocol != 0x86dd)
		return 0;
	x = network(EVENT_DROP);
	if (!x)
		return 0;
	addresses(x, skb);
	x->before = reason;
	whose_drop(x, BPF_CORE_READ(skb, sk));
	bpf_ringbuf_submit(x, BPF_RB_NO_WAKEUP);
	return 0;
}

u32 caller_tgid = 0;

/* caller reports a process's number in the initial namespace, whatever its own namespace is. */
SEC("raw_tp/caller")
int caller(struct bpf_raw_tracepoint_args *ctx)
{
	caller_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}
