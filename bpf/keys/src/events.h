/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* The records of the programs; events.go reads them. Every size is a multiple of 8. */
#pragma once

enum { KIND_EXEC = 1, KIND_FORK, KIND_EXIT, KIND_GO, KIND_FIELDS, KIND_DUMP };
enum { AT_HANDSHAKE = 1, AT_FREE };
enum { MODE_OFF, MODE_DUMP, MODE_FIELDS };
enum { COUNT_SEEN, COUNT_LOST, COUNT_UNREAD, COUNT_ODD, COUNT_LOST_PROCESS, COUNTERS };

#define RANDOM 32
#define MAX_LABEL 40
#define MAX_SECRET 64
#define MAX_DUMP 8192
#define DUMP_STEP 512
#define HOP_FROM 4096 /* bytes of an object in which pointers are followed */
#define MAX_HOPS 128
#define HOP_SIZE 224
#define MAX_FIELDS 8
#define MAX_TARGETS 1024
#define MAX_GROUPS 65536
#define NO_HOP 0xffffffff

struct head {
	u64 time; /* CLOCK_MONOTONIC, ns */
	u32 kind;
	u32 tgid;
	u32 tid;
	u32 target; /* identifies the probed function */
};

struct process_event {
	struct head head;
	u64 cgroup;
	u32 parent;
	u32 size;
	char file[256];
};

struct go_event {
	struct head head;
	u64 label_at;
	u32 label_size;
	u32 label_read;
	u32 secret_size;
	u32 unused;
	u8 label[MAX_LABEL];
	u8 random[RANDOM];
	u8 secret[MAX_SECRET];
};

struct fields_event {
	struct head head;
	u64 object;
	u32 at;
	u32 read; /* bits */
	u32 plan;
	u32 unused;
	u8 data[MAX_FIELDS][MAX_SECRET];
};

struct hop {
	u32 at; /* offset of the pointer in the object */
	u32 unused;
	u8 data[HOP_SIZE];
};

struct dump_event {
	struct head head;
	u64 object;
	u32 at;
	u32 size;
	u32 hops_count;
	u32 unused;
	u8 data[MAX_DUMP];
	struct hop hops[MAX_HOPS];
};

/* How an object is read. */
struct plan {
	u32 mode;
	s32 success; /* result of a completed handshake */
	u32 number;
	u32 count;
	u32 other; /* read the whole object if the second field is empty */
	u32 unused;
	struct {
		u32 hop; /* offset of a pointer that is followed first */
		u32 at;
	} fields[MAX_FIELDS];
};
