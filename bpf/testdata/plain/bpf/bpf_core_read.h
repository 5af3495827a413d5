/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Reads the kernel's structures if they are this program's own. */
#pragma once

#define CHAIN1(s, a) ((s)->a)
#define CHAIN2(s, a, b) ((s)->a->b)
#define CHAIN3(s, a, b, c) ((s)->a->b->c)
#define CHAIN4(s, a, b, c, d) ((s)->a->b->c->d)
#define CHAIN(s, a, b, c, d, NAME, ...) NAME

#define BPF_CORE_READ(s, ...) CHAIN(s, ##__VA_ARGS__, CHAIN4, CHAIN3, CHAIN2, CHAIN1)(s, ##__VA_ARGS__)
#define BPF_CORE_READ_INTO(to, s, ...) memcpy(to, &BPF_CORE_READ(s, ##__VA_ARGS__), sizeof(*(to)))

/* This program's kernel has everything. */
#define bpf_core_field_exists(field) 1
#define bpf_core_enum_value_exists(type, value) 1
#define bpf_core_enum_value(type, value) (value)
