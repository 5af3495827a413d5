/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The recorder's programs as a plain program: the same source, applied to packets from
 * standard input. It prints the results of the programs for each packet.
 *
 *	in   u32 instructions of a classic filter (u16 code, u8 jt, u8 jf, u32 k), then packets:
 *	     u32 length, u16 EtherType, the bytes from the IP header on
 *	out  one line for each packet, as printed by say()
 */
#include <stdio.h>
#include <stdlib.h>

/* Clang relocates the offset of a field; here it is that of this compiler. */
#define __builtin_preserve_field_info(field, info) ((unsigned long)&(field))
#define SETTING volatile
#define ACCEPT
#include "../../src/recorder.c"

unsigned char *the_packet;
u32 the_packet_len;
struct task_struct *the_task;

static struct counters counted_in, counted_out;
static struct event_counters events_counted;
static struct budget plenty;
static unsigned char record_of[1 << 17] __attribute__((aligned(64))), event_of[4096] __attribute__((aligned(64)));
static u64 size_of;
static int submitted;

void *bpf_map_lookup_elem(void *map, const void *key)
{
	if (map == &counts)
		return *(u32 *)key ? &counted_out : &counted_in;
	if (map == &event_counts)
		return &events_counted;
	if (map == &budgets) {
		plenty.spent = 0;
		return &plenty;
	}
	return 0;
}

void *bpf_ringbuf_reserve(void *ring, u64 size, u64 flags)
{
	if (ring == &events)
		return event_of;
	size_of = size;
	/* Access beyond the record is found by the address sanitizer. */
	return record_of + sizeof(record_of) - size;
}

void bpf_ringbuf_submit(void *record, u64 flags) { submitted++; }
void bpf_ringbuf_discard(void *record, u64 flags) {}

struct classic {
	u16 code;
	u8 jt, jf;
	u32 k;
};

static struct classic *filter;
static u32 filter_len;

/* byte_at is a byte of the packet as in the file, with the link header in front. */
static int byte_at(struct cooked *link, u64 at, u32 *to)
{
	if (at < sizeof(*link)) {
		*to = *to << 8 | ((unsigned char *)link)[at];
		return 0;
	}
	if (at - sizeof(*link) >= the_packet_len)
		return -1;
	*to = *to << 8 | the_packet[at - sizeof(*link)];
	return 0;
}

static int load(struct cooked *link, u64 at, u32 n, u32 *to)
{
	*to = 0;
	while (n--)
		if (byte_at(link, at++, to))
			return -1;
	return 0;
}

static u32 alu(u32 op, u32 a, u32 b, int *no)
{
	switch (op) {
	case 0x00: return a + b;
	case 0x10: return a - b;
	case 0x20: return a * b;
	case 0x30: *no |= !b; return b ? a / b : 0;
	case 0x40: return a | b;
	case 0x50: return a & b;
	case 0x60: return b > 31 ? 0 : a << b;
	case 0x70: return b > 31 ? 0 : a >> b;
	case 0x80: return -a;
	case 0x90: *no |= !b; return b ? a % b : 0;
	case 0xa0: return a ^ b;
	}
	*no = 1;
	return 0;
}

static int accept(struct __sk_buff *skb, struct cooked *link)
{
	u32 a = 0, x = 0, m[16] = {};

	for (u32 i = 0; i < filter_len; i++) {
		struct classic *f = &filter[i];
		u32 k = f->k, n = (f->code & 0x18) == 0 ? 4 : (f->code & 0x18) == 8 ? 2 : 1, b = f->code & 8 ? x : k;
		int yes, no = 0;

		switch (f->code & 7) {
		case 0: /* to A */
			switch (f->code & 0xe0) {
			case 0x00: a = k; break;
			case 0x20: no = load(link, k, n, &a); break;
			case 0x40: no = load(link, (u64)x + k, n, &a); break;
			case 0x60: a = m[k & 15]; break;
			case 0x80: a = skb->len + sizeof(*link); break;
			default: no = 1;
			}
			break;
		case 1: /* to X */
			switch (f->code & 0xe0) {
			case 0x00: x = k; break;
			case 0x60: x = m[k & 15]; break;
			case 0x80: x = skb->len + sizeof(*link); break;
			case 0xa0: no = load(link, k, 1, &x); x = (x & 15) * 4; break;
			default: no = 1;
			}
			break;
		case 2: m[k & 15] = a; break;
		case 3: m[k & 15] = x; break;
		case 4: a = alu(f->code & 0xf0, a, b, &no); break;
		case 5:
			if ((f->code & 0xf0) == 0) {
				i += k;
				break;
			}
			yes = (f->code & 0xf0) == 0x10 ? a == b : (f->code & 0xf0) == 0x20 ? a > b : (f->code & 0xf0) == 0x30 ? a >= b : (a & b) != 0;
			i += yes ? f->jt : f->jf;
			break;
		case 6: return (f->code & 0x18) == 0x10 ? a != 0 : k != 0;
		case 7: if (f->code & 0x80) a = x; else x = a; break;
		}
		if (no)
			return 0;
	}
	return 0;
}

/* run passes a packet to a program and returns the resulting record. */
static struct packet *run(int (*program)(struct __sk_buff *), u16 protocol)
{
	struct __sk_buff skb = {};

	skb.len = the_packet_len;
	skb.protocol = __builtin_bswap16(protocol);
	skb.ifindex = 3;
	submitted = 0;
	if (program(&skb) != PASS) {
		printf("not passed\n");
		exit(1);
	}
	return submitted ? (struct packet *)(record_of + sizeof(record_of) - size_of) : 0;
}

static int same(struct packet *p)
{
	unsigned char *bytes = (unsigned char *)(p + 1);

	for (u32 i = 0; i < p->cap; i++)
		if (bytes[i] != the_packet[i])
			return 0;
	return p->cap <= the_packet_len && size_of >= sizeof(*p) + p->cap;
}

static void address(u16 family, u8 *a)
{
	for (int i = 0; i < (family == AF_INET ? 4 : 16); i++)
		printf("%02x", a[i]);
}

static void say(u16 protocol)
{
	struct packet *p;
	struct sk_buff copy = {};
	u64 args[3] = {(u64)&copy, 0, 3};
	struct net_event *x = (void *)event_of;

	filtering = headers_only = 0;
	p = run(packet_in, protocol);
	printf("%u %u %d", p ? p->len : 0, p ? p->cap : 0, p && same(p) && p->protocol == protocol && !p->outgoing);
	headers_only = 1;
	p = run(packet_out, protocol);
	printf(" %u %d", p ? p->cap : 0, p && same(p) && p->outgoing);
	headers_only = 0;
	filtering = 1;
	printf(" %d", run(packet_in, protocol) != 0);
	printf(" %d", run(packet_out, protocol) != 0);

	copy.head = copy.data = the_packet;
	copy.len = the_packet_len;
	copy.protocol = __builtin_bswap16(protocol);
	submitted = 0;
	memset(x, 0, sizeof(*x));
	packet_dropped((void *)args);
	printf(" %d %u %u %u %u ", submitted, x->family, x->protocol, x->remote_port, x->local_port);
	address(x->family, x->remote);
	printf(" ");
	address(x->family, x->local);
	printf("\n");
}

static void need(void *to, unsigned long n)
{
	if (n && fread(to, n, 1, stdin) != 1)
		exit(2);
}

int main(void)
{
	struct {
		u32 len;
		u16 protocol;
	} __attribute__((packed)) head;

	need(&filter_len, 4);
	if (filter_len > 4096)
		return 2;
	filter = calloc(filter_len + 1, sizeof(*filter));
	need(filter, filter_len * sizeof(*filter));
	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		/* In memory of its exact size, so that the sanitizer sees the end. */
		the_packet = malloc(head.len ? head.len : 1);
		the_packet_len = head.len;
		need(the_packet, head.len);
		say(head.protocol);
		free(the_packet);
	}
	fprintf(stderr, "in %llu = %llu + %llu, out %llu = %llu + %llu\n", counted_in.seen, counted_in.filtered, counted_in.delivered, counted_out.seen, counted_out.filtered, counted_out.delivered);
	return counted_in.seen != counted_in.filtered + counted_in.delivered || counted_out.seen != counted_out.filtered + counted_out.delivered;
}
