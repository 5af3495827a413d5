/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* The records that the programs write and user space reads. bpf/layout.go has the same in Go. */
#pragma once
#include "kernel.h"

/* How the owner of a packet is known. */
enum kind {
	KIND_NONE,
	KIND_WRITER,    /* the current task held the socket when the packet left */
	KIND_LAST_USER, /* the task that last wrote, read or connected */
	KIND_ACCEPTOR,  /* the task that accepted the connection */
	KIND_CREATOR,   /* the task that made the socket */
	KIND_LISTENER,  /* owner of the listener that the socket came from */
	KIND_HOLDER,    /* the only process that had it open when recording began */
	KIND_SHARED,    /* one of several that had it open when recording began */
};

/* Precedes the bytes of a packet in the ring buffer. */
struct packet {
	u64 time; /* CLOCK_MONOTONIC, ns */
	u64 cookie;
	u64 cgroup; /* of the socket */
	u64 netns;  /* cookie of the socket's network namespace; 0 if unknown */
	u32 len;    /* true length */
	u32 cap;    /* bytes that follow */
	u32 ifindex;
	u32 tgid;
	u32 tid;
	u32 lost; /* packets of the cgroup lost so far, modulo 2^32 */
	u16 gso_size;
	u16 gso_segs;
	u16 protocol; /* EtherType */
	u8 outgoing;
	u8 pkt_type;
	u8 kind;
	u8 transport; /* protocol number of the socket */
	u8 family;    /* 4 or 6 if the socket's ends follow: for outgoing packets, which may have different ones */
	u8 pad;
	u16 local_port;
	u16 remote_port;
	u8 local[16]; /* IPv4 in the first four bytes; all 0 if the socket has no address of its own */
	u8 remote[16];
};

_Static_assert(sizeof(struct packet) == 104, "layout.go relies on it");

/* Per CPU and direction: seen = excluded + filtered + forbidden + delivered + failed + unread. */
struct counters {
	u64 seen;
	u64 excluded;  /* the recorder's own */
	u64 filtered;  /* refused by the filter */
	u64 delivered; /* passed to user space */
	u64 failed;    /* lost: no room in the ring buffer */
	u64 unread;    /* lost: the kernel could not read the packet's bytes */
	u64 truncated; /* of those delivered, shortened by the snap length */
	u64 capped;    /* of those delivered, shortened to the longest record */
	u64 forbidden; /* refused by a never-rule */
};

/* Owners of a socket, recorded in process context for the packet path. One for each socket. */
struct owner {
	u64 cookie; /* of the socket it belongs to: a clone still has the listener's */
	u64 last;   /* tgid << 32 | tid, as in all of these */
	u64 acceptor;
	u64 creator;
	u64 holder;
	u32 holders;
	u32 own; /* the recorder's */
	u64 netns;
	u64 sender; /* task whose next datagram is sent to sent; 0 if none */
	u8 sent[16];
	u16 sent_port;
	u16 sent_family; /* 4 or 6 */
	u32 pad;
};

enum event_kind {
	EVENT_EXEC = 1,
	EVENT_FORK,
	EVENT_EXIT,
	EVENT_OOM,
	EVENT_CGROUP_MAKE,
	EVENT_CGROUP_REMOVE,
	EVENT_STATE,
	EVENT_RETRANSMIT,
	EVENT_RESET_SENT,
	EVENT_RESET_RECEIVED,
	EVENT_DROP,
	EVENT_MOVE,
	EVENT_KINDS,
};

struct event {
	u64 time;
	u64 cgroup;
	u32 kind;
	u32 tgid;
	u32 tid;
	u32 limited; /* events of the kind omitted so far, modulo 2^32 */
};

struct process_event {
	struct event e;
	u64 start; /* CLOCK_BOOTTIME, ns */
	u32 parent;
	u32 uid;
	s32 code;
	u32 args_len; /* true length; at most sizeof(args) bytes are included */
	char comm[16];
};

struct exec_event {
	struct process_event p;
	char file[256]; /* as it was called */
	char args[1024];
	u32 exe_len;
	u32 cwd_len;
	char exe[512]; /* of the file that runs: the components of its path, the last first, each with a zero byte */
	char cwd[512]; /* likewise, where a script was called by a relative path */
	u32 script;    /* file is one: another program runs it */
	u32 pad;
};

struct cgroup_event {
	struct event e;
	char path[512];
};

struct net_event {
	struct event e;
	u64 cookie;
	u8 local[16]; /* IPv4 in the first four bytes */
	u8 remote[16];
	u16 local_port;
	u16 remote_port;
	u16 family;
	u16 protocol;
	u32 before; /* TCP state, or reason */
	u32 after;
	u32 len;
	u32 pad;
};

_Static_assert(sizeof(struct event) == 32, "layout.go relies on it");
_Static_assert(sizeof(struct process_event) == 72, "layout.go relies on it");
_Static_assert(sizeof(struct exec_event) == 72 + 256 + 1024 + 8 + 512 + 512 + 8, "layout.go relies on it");
_Static_assert(sizeof(struct cgroup_event) == 32 + 512, "layout.go relies on it");
_Static_assert(sizeof(struct net_event) == 32 + 64, "layout.go relies on it");
