package ring

import (
	"encoding/json"
	"testing"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name string
		want ID
		kind string
		open bool
	}{
		{"sockets-worker-3-000000042.pcapng", ID{"sockets", "worker-3", 42}, "pcapng", false},
		{".sockets-worker-3-000000042.pcapng", ID{"sockets", "worker-3", 42}, "pcapng", true},
		{"sockets-ip-10-0-0-1.eu.internal-1234567890.owners.jsonl", ID{"sockets", "ip-10-0-0-1.eu.internal", 1234567890}, "owners.jsonl", false},
		{"plaintext-n-000000001-000000002.keys", ID{"plaintext", "n-000000001", 2}, "keys", false},
	} {
		id, kind, hidden, ok := ParseName(c.name)
		if !ok || id != c.want || kind != c.kind || hidden != c.open {
			t.Errorf("%s: %+v %q %v %v", c.name, id, kind, hidden, ok)
		}
		if back := id.Side(kind); back != c.name && "."+back != c.name {
			t.Errorf("%s is written as %s", c.name, back)
		}
	}
	for _, name := range []string{"", ".", "-", "seals.jsonl", ".lock", "sockets-n-42.pcapng", "Sockets-n-000000001.pcapng", "sockets-000000001.pcapng",
		"sockets-n-000000001", "sockets-n-000000001.", "sockets-n-+00000001.pcapng", "sockets-n-0000000001.pcapng", "sockets-n-99999999999999999999.pcapng",
		"so/ckets-n-000000001.pcapng", ".sockets-n-000000001.pcapng.x7"} {
		if id, kind, hidden, ok := ParseName(name); ok && (kind != "pcapng.x7" || !hidden) {
			t.Errorf("%q is accepted as %+v %q", name, id, kind)
		}
	}
}

func TestNodeNamesAreSafeInFileNames(t *testing.T) {
	for in, want := range map[string]string{"": "node", "worker-3": "worker-3", "../../etc": "_.._etc", "a b\x1b[31m": "a_b__31m", "...": "node", "ü": "__"} {
		if got := nodeName(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestTimesKeepTheirNanoseconds(t *testing.T) {
	for ns, want := range map[Time]string{0: `null`, 1: `"1970-01-01T00:00:00.000000001Z"`, epoch: `"2026-02-02T02:40:00.000000000Z"`, -1: `"1969-12-31T23:59:59.999999999Z"`} {
		text, err := json.Marshal(ns)
		var back Time
		if err != nil || string(text) != want || json.Unmarshal(text, &back) != nil || back != ns {
			t.Errorf("%d: %s, %d, %v", ns, text, back, err)
		}
	}
	for _, bad := range []string{`"yesterday"`, `7`, `"0001-01-01T00:00:00Z"`, `"9999-01-01T00:00:00Z"`} {
		var v Time
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s is accepted as %s", bad, v)
		}
	}
}

func TestCountersBalance(t *testing.T) {
	for _, c := range []struct {
		what string
		c    Counters
		want bool
	}{
		{"nothing", Counters{}, true},
		{"all accounted for", Counters{Seen: 10, Filtered: 2, Delivered: 5, Dropped: 3, Truncated: 4}, true},
		{"reasons add up", Counters{Seen: 3, Dropped: 3, Drops: []Drop{{"a", 1}, {"b", 2}}}, true},
		{"one packet too few", Counters{Seen: 10, Filtered: 2, Delivered: 5, Dropped: 2}, false},
		{"reasons do not add up", Counters{Seen: 3, Dropped: 3, Drops: []Drop{{"a", 1}}}, false},
	} {
		if got := c.c.Balanced(); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
