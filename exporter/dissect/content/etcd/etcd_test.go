package etcd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// msg is a message of fields: a number, then a text, a message or a number.
func msg(list ...any) (b []byte) {
	for i := 0; i < len(list); i += 2 {
		n := protowire.Number(list[i].(int))
		switch v := list[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
		}
	}
	return b
}

func call(path string, request, answer [][]byte) (Named, *Operation, bool) {
	o := &Operation{}
	n, ok := Read(path, slices.Values(request), slices.Values(answer), false, o)
	return n, o, ok
}

func TestRead(t *testing.T) {
	one := func(b []byte) [][]byte { return [][]byte{b} }
	long := strings.Repeat("k", 300)
	var many []any
	for i := range 40 {
		many = append(many, 2, msg(1, fmt.Sprintf("/k/%02d", i), 5, "vv"))
	}
	for _, tc := range []struct {
		name, path      string
		request, answer [][]byte
		want            string
	}{
		{"a call of another service", "/shop.KV/Range", one(msg(1, "a")), nil, ""},
		{"a method that the service does not have", "/etcdserverpb.KV/Steal", one(msg(1, "a")), nil, ""},
		{"a service without a package", "/KV/Range", one(msg(1, "a")), nil, ""},
		{"a key", "/etcdserverpb.KV/Range", one(msg(1, "a")), one(msg(1, msg(3, 7), 2, msg(1, "a", 5, "xyz"), 4, 1)), "etcd range a → OK, 1 [range key] bytes 3, revision 7"},
		{"an answer that is lost", "/etcdserverpb.KV/Range", one(msg(1, "a")), nil, "etcd range a → OK [range key]"},
		{"no key", "/etcdserverpb.KV/Range", one(nil), one(nil), "etcd range → OK, 0 [range key]"},
		{"a prefix that ends with 0xff", "/etcdserverpb.KV/Range", one(msg(1, "a\xff", 2, "b")), one(nil), "etcd range a\uFFFD (prefix) → OK, 0 [range prefix]"},
		{"a prefix of 0xff only", "/etcdserverpb.KV/Range", one(msg(1, "\xff", 2, "\x00")), nil, "etcd range \uFFFD (from) → OK [range from]"},
		{"a long key", "/etcdserverpb.KV/Put", one(msg(1, long, 2, "v")), nil, "etcd put " + long[:256] + "… → OK [put key] bytes 1"},
		{"many keys", "/etcdserverpb.KV/Range", one(msg(1, "/k/", 2, "/k0")), one(msg(append(many, 4, 40)...)), "etcd range /k/ (prefix) → OK, 40 [range prefix] 32 keys, bytes 80"},
		{"a number where a key is expected", "/etcdserverpb.KV/Range", one(msg(1, 5)), one(msg(4, "text")), "etcd range → OK, 0 [range key]"},
		{"a message that is cut", "/etcdserverpb.KV/Put", one(msg(1, "a", 2, "value")[:6]), nil, "etcd put a → OK [put key]"},
		{"an unknown comparison", "/etcdserverpb.KV/Txn", one(msg(1, msg(1, 9, 2, 9, 3, "a"))), one(msg(2, 1)), "etcd txn → OK, condition true [txn ]"},
		{"transactions in transactions without end", "/etcdserverpb.KV/Txn", one(nested(200)), one(msg()), "etcd txn → OK, condition false [txn ]"},
		{"a watch that the server cancels", "/etcdserverpb.Watch/Watch", one(msg(1, msg(1, "a"))), one(msg(4, 1, 6, "etcdserver: no leader")),
			"etcd watch a → OK, 0 puts, 0 deletes, etcdserver: no leader [watch key]"},
		{"a lease without a number", "/etcdserverpb.Lease/LeaseGrant", one(msg(1, 5)), one(msg(4, "lease already exists")), "etcd lease_grant → OK, lease already exists [lease_grant ]"},
		{"a negative time to live", "/etcdserverpb.Lease/LeaseTimeToLive", one(msg(1, 255)), one(msg(2, 255, 3, -1)), "etcd lease_time_to_live ff → OK [lease_time_to_live ] lease ff, ttl -1"},
		{"a lock", "/v3lockpb.Lock/Lock", one(msg(1, "l", 2, 16)), one(msg(2, "l/10")), "etcd lock l → OK [lock key] 1 keys, lease 10"},
		{"a leader", "/v3electionpb.Election/Campaign", one(msg(1, "e", 2, 16, 3, "me")), one(msg(2, msg(1, "e", 2, "e/10", 4, 16))), "etcd campaign e → OK [campaign key] 1 keys, lease 10, bytes 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, o, ok := call(tc.path, tc.request, tc.answer)
			got := ""
			if ok {
				got = strings.TrimSpace(strings.ReplaceAll(n.What+" → OK"+n.End+" ["+o.Name.V+" "+o.Range.V+"] "+facts(o), "  ", " "))
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// nested is a transaction within others.
func nested(depth int) []byte {
	b := msg(2, msg(2, msg(1, "deep")))
	for range depth {
		b = msg(2, msg(4, b))
	}
	return b
}

func facts(o *Operation) string {
	var list []string
	add := func(ok bool, format string, v any) {
		if ok {
			list = append(list, fmt.Sprintf(format, v))
		}
	}
	add(len(o.Keys) > 0, "%d keys", len(o.Keys))
	add(o.Lease.OK, "lease %s", o.Lease.V)
	add(o.TTL.OK && o.TTL.V < 0, "ttl %d", o.TTL.V)
	add(o.ValueSize.OK, "bytes %d", o.ValueSize.V)
	add(o.Revision.OK, "revision %d", o.Revision.V)
	return strings.Join(list, ", ") + " "
}

func FuzzMessages(f *testing.F) {
	f.Add(msg(1, msg(1, 1, 2, 2, 3, "a"), 2, msg(2, msg(1, "a", 2, "v"))), nested(3))
	f.Add(msg(1, msg(1, "a", 2, "b")), msg(11, msg(1, 1, 2, msg(1, "a"))))
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		for path := range methods {
			n, o, ok := call(path, [][]byte{request, request}, [][]byte{answer, answer})
			if !ok || len(n.What) > 40*maxText || len(o.Keys) > maxKeys || len(o.Condition.V) > maxText+3 {
				t.Fatalf("%s: %d bytes of summary, %d keys", path, len(n.What), len(o.Keys))
			}
		}
	})
}
