/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What an IP packet says of itself, as far as the programs read it. The same lines run in
 * the kernel and, compiled as plain C, over captures in a test (testdata/plain).
 */
#pragma once
#include "kernel.h"

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58

struct layers {
	u8 version;    /* 4 or 6, 0 where it is no IP */
	u8 protocol;   /* behind extension headers */
	bool fragment; /* a later one, which has no transport header */
	bool cut;      /* the packet ends before transport is known */
	u32 transport; /* offset of the transport header, as far as it is known */
};

#define EXTENSIONS 6 /* that are followed */

/*
 * LAYERS makes a function that reads layers. PEEK(from, at, to, n) copies n bytes and
 * answers something else than 0 where they are not there.
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
