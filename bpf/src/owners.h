/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Who made, accepted and used a socket, recorded in the context of that task. */
#pragma once

static __always_inline struct owner *touch(void *ctx, struct bpf_sock *sk, u64 cookie)
{
	struct owner *o;

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!o)
		return 0;
	settle(o, cookie);
	if (!o->netns)
		o->netns = bpf_get_netns_cookie(ctx);
	return o;
}

static __always_inline void mark_own(struct owner *o, u64 id)
{
	if (own_tgid && id >> 32 == own_tgid)
		o->own = 1;
}

SEC("cgroup/sock_create")
int socket_created(struct bpf_sock *ctx)
{
	struct owner *o = touch(ctx, ctx, bpf_get_socket_cookie(ctx));

	if (o) {
		o->creator = bpf_get_current_pid_tgid();
		mark_own(o, o->creator);
	}
	return PASS;
}

static __always_inline int bound(struct bpf_sock *ctx)
{
	struct owner *o = touch(ctx, ctx, bpf_get_socket_cookie(ctx));

	if (o && !o->creator)
		o->creator = bpf_get_current_pid_tgid();
	return PASS;
}

SEC("cgroup/post_bind4")
int socket_bound4(struct bpf_sock *ctx)
{
	return bound(ctx);
}

SEC("cgroup/post_bind6")
int socket_bound6(struct bpf_sock *ctx)
{
	return bound(ctx);
}

static __always_inline int used(struct bpf_sock_addr *ctx)
{
	struct owner *o = touch(ctx, ctx->sk, bpf_get_socket_cookie(ctx));

	if (o)
		o->last = bpf_get_current_pid_tgid();
	return PASS;
}

SEC("cgroup/connect4")
int socket_connect4(struct bpf_sock_addr *ctx)
{
	return used(ctx);
}

SEC("cgroup/connect6")
int socket_connect6(struct bpf_sock_addr *ctx)
{
	return used(ctx);
}

/* The task that names the receiver of a datagram: a translator may send the packet elsewhere. */
SEC("cgroup/sendmsg4")
int socket_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct owner *o = touch(ctx, ctx->sk, bpf_get_socket_cookie(ctx));

	if (o) {
		o->last = bpf_get_current_pid_tgid();
		*(u32 *)o->sent = ctx->user_ip4;
		o->sent_port = __builtin_bswap16(ctx->user_port);
		o->sent_family = 4;
		o->sender = o->last;
	}
	return PASS;
}

SEC("cgroup/sendmsg6")
int socket_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct owner *o = touch(ctx, ctx->sk, bpf_get_socket_cookie(ctx));

	if (o) {
		u32 *to = (u32 *)o->sent;

		o->last = bpf_get_current_pid_tgid();
		to[0] = ctx->user_ip6[0];
		to[1] = ctx->user_ip6[1];
		to[2] = ctx->user_ip6[2];
		to[3] = ctx->user_ip6[3];
		o->sent_port = __builtin_bswap16(ctx->user_port);
		o->sent_family = 6;
		o->sender = o->last;
	}
	return PASS;
}

SEC("cgroup/recvmsg4")
int socket_recvmsg4(struct bpf_sock_addr *ctx)
{
	return used(ctx);
}

SEC("cgroup/recvmsg6")
int socket_recvmsg6(struct bpf_sock_addr *ctx)
{
	return used(ctx);
}

/* accept with an address asks for the peer's name of the new socket, in the acceptor. */
static __always_inline int named(struct bpf_sock_addr *ctx)
{
	struct owner *o = touch(ctx, ctx->sk, bpf_get_socket_cookie(ctx));

	if (o && !o->acceptor && !o->creator && !o->holder)
		o->acceptor = bpf_get_current_pid_tgid();
	return PASS;
}

SEC("cgroup/getpeername4")
int socket_named4(struct bpf_sock_addr *ctx)
{
	return named(ctx);
}

SEC("cgroup/getpeername6")
int socket_named6(struct bpf_sock_addr *ctx)
{
	return named(ctx);
}

u64 sockets_found = 0;

/* The processes that have sockets open that are older than the recorder. */
SEC("iter/task_file")
int open_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *sock;
	struct owner *o;
	struct sock *sk;
	struct net *net;
	u64 id, cookie;
	u16 family;

	if (!task || !file)
		return 0;
	sock = bpf_sock_from_file(file);
	if (!sock)
		return 0;
	sk = sock->sk;
	if (!sk)
		return 0;
	family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6)
		return 0;
	cookie = bpf_get_socket_cookie(sk);
	o = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!o)
		return 0;
	settle(o, cookie);
	net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	if (bpf_core_field_exists(net->net_cookie)) /* from Linux 5.12 */
		o->netns = BPF_CORE_READ(net, net_cookie);
	id = (u64)task->tgid << 32 | (u32)task->tgid;
	if (o->holder != id) {
		o->holder = id;
		o->holders++;
	}
	if (o->holders > 1)
		o->own = 0; /* another program's, which the recorder inherited */
	else
		mark_own(o, id);
	ADD(sockets_found, 1);
	return 0;
}
