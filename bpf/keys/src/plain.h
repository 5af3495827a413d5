/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* The records of plaintext; plain.go reads them. Every size is a multiple of 8. */
#pragma once

enum { KIND_PLAIN = 7, KIND_RELEASED };
enum { PLAIN_CALLS, PLAIN_SEEN, PLAIN_LOST, PLAIN_UNREAD, PLAIN_ODD, PLAIN_CUT, PLAIN_COUNTERS };

#define PIECE (64 << 10)  /* bytes of a call in one record */
#define MAX_PIECES 16     /* of a call; the rest is cut */
#define SMALL 256
#define MEDIUM 4096
#define LARGE (16 << 10)

/* Bits of a probe's cookie above the number of its target. It fits in 32 bits, so that a
 * constant can replace the cookie on kernels that have none. */
#define COOKIE_WRITE (1U << 30)
#define COOKIE_EX (1U << 31) /* the length is returned through a pointer, the result is 0 or 1 */
#define COOKIE_TARGET (COOKIE_WRITE - 1)

/* How the ends of a connection are known. */
enum { WAY_NONE, WAY_LAST, WAY_CALL };

/* The ends of a connection, as the process sees them. */
struct way {
	u64 born; /* CLOCK_MONOTONIC, ns; distinguishes objects at the same address */
	u8 local[16];
	u8 remote[16]; /* IPv4 as ::ffff:a.b.c.d */
	u16 local_port;
	u16 remote_port;
	u16 how;
	u16 unused;
};

struct plain_event {
	struct head head;
	u64 object;
	u64 call;   /* bytes of the call */
	u64 offset; /* of these bytes in the call */
	u32 size;
	u32 write;
	struct way way;
};
