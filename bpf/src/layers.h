/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The fields of an IP packet that the programs read. The same lines run in the kernel and,
 * compiled as plain C, on captures in a test (testdata/plain).
 */
#pragma once
#include "kernel.h"

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58

struct layers {
	u8 version;    /* 4 or 6; 0 if it is not IP */
	u8 protocol;   /* after extension headers */
	bool fragment; /* not the first one, so without a transport header */
	bool cut;      /* the packet ends before transport is known */
	u32 transport; /* offset of the transport header, as far as it is known */
};

#define EXTENSIONS 6 /* maximum that is followed */

/*
 * LAYERS defines a function that reads layers. PEEK(from, at, to, n) copies n bytes and
 * returns a value other than 0 if the packet does not have them.
 */
#define LAYERS(NAME, FROM, PEEK)                                                              \
	static __always_inline void NAME(FROM from, struct layers *l)                         \
	{                                                                                     \
		u8 first = 0, next = 0, two[2] = {};                                          \
                                                                                              \
		l->cut = 1;                                                                   \
		if (PEEK(from, 0, &first, 1))                                                 \
			return;                                                               \
		if (first >> 4 == 4) {                                                        \
			l->version = 4;                                                       \
			l->transport = (first & 15) * 4;                                      \
			if (PEEK(from, 6, two, 2) || PEEK(from, 9, &next, 1))                 \
				return;                                                       \
			l->fragment = (two[0] & 0x1f) || two[1];                              \
		} else if (first >> 4 == 6) {                                                 \
			l->version = 6;                                                       \
			l->transport = 40;                                                    \
			if (PEEK(from, 6, &next, 1))                                          \
				return;                                                       \
			_Pragma("unroll") for (int i = 0; i < EXTENSIONS; i++)                \
			{                                                                     \
				/* hop-by-hop, routing, fragment, destination, authentication */ \
				if (l->fragment || (next != 0 && next != 43 && next != 44 &&  \
						    next != 60 && next != 51))                \
					break;                                                \
				if (next == 44) {                                             \
					if (PEEK(from, l->transport + 2, two, 2))             \
						return;                                       \
					l->fragment = two[0] || (two[1] & 0xf8);              \
				}                                                             \
				if (PEEK(from, l->transport, two, 2))                         \
					return;                                               \
				l->transport += next == 44 ? 8 : next == 51 ? (two[1] + 2) * 4 : (two[1] + 1) * 8; \
				next = two[0];                                                \
			}                                                                     \
		} else {                                                                      \
			return;                                                               \
		}                                                                             \
		l->protocol = next;                                                           \
		l->cut = 0;                                                                   \
	}
