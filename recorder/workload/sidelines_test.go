package workload

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const (
	nginxLine  = `{"process":"10@1772442000000000000","pid":10,"parent_pid":1,"start":"2026-03-02T09:00:00.000000000Z","name":"nginx","exe":"/usr/sbin/nginx","args":["nginx","-g","daemon off;"],"uid":0,"user":"root","cgroup":"/web","container":"aaaa","pod_uid":"u1"}`
	workerLine = `{"process":"11@1772442000100000000","pid":11,"parent_pid":10,"name":"nginx","cgroup":"/web"}`
	groupLine  = `{"workload":{"pod":"web-1","namespace":"shop","pod_uid":"u1","addresses":["10.0.0.1"]},"cgroup":"/web","from":"2026-03-02T09:00:00Z"}`
	peerLine   = `{"address":"10.0.0.3","workload":{"pod":"db-0","namespace":"shop","pod_uid":"u3","node":"node-b","services":["db"]},"from":"2026-03-02T09:00:00Z","to":"2026-03-02T09:01:00Z"}`
	second     = int64(1772442000) * 1e9
)

func TestOwnerLineRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		ok         bool
	}{
		{"a process", nginxLine, true},
		{"a control group", groupLine, true},
		{"a pod at an address", peerLine, true},
		{"a service at an address", `{"address":"10.96.0.1","workload":{"kind":"service","name":"db","namespace":"shop","services":["db"]}}`, true},
		{"a database outside the cluster", `{"address":"2001:db8::7","workload":{"kind":"host","name":"pg","namespace":"shop","services":["pg"]},"from":"2026-03-02T09:00:00Z"}`, true},
		{"a group whose names are too long", `{"workload":{"pod":"` + strings.Repeat("é", 400) + `"},"cgroup":"/x"}`, true},
		{"a line of another kind", `{"socket":"81"}`, false},
		{"a number instead of a string", `{"process":81}`, false},
		{"an empty object", `{}`, false},
		{"a list", `[]`, false},
		{"incomplete JSON", `{"process":"81"`, false},
		{"an address without an owner", `{"address":"10.0.0.3","workload":{"services":["a"]}}`, false},
		{"an invalid address", strings.Replace(peerLine, "10.0.0.3", "10.0.0.300", 1), false},
		{"an address that ends before it begins", strings.Replace(peerLine, "09:01:00", "08:01:00", 1), false},
		{"a group without a path", `{"workload":{"pod":"p"}}`, false},
		{"a line that is too long", `{"process":"p","name":"` + strings.Repeat("x", MaxSideLine) + `"}`, false},
	} {
		l, ok := ParseOwnerLine([]byte(tt.line))
		if ok != tt.ok {
			t.Errorf("%s: %v, want %v", tt.name, ok, tt.ok)
		}
		if !ok {
			continue
		}
		out := AppendOwnerLine(nil, l)
		again, ok := ParseOwnerLine(bytes.TrimSuffix(out, []byte("\n")))
		if !ok || !reflect.DeepEqual(again, l) {
			t.Errorf("%s: changed by writing and reading\n%+v\n%+v\n%s", tt.name, l, again, out)
		}
	}
}

func TestParseOwnerComment(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Owned
		name string
		ok   bool
	}{
		{`pcapsule process="nginx: worker \"1\"" pid=7 tid=8 known=writer`, Owned{PID: 7, Known: Writer}, `nginx: worker "1"`, true},
		{`pcapsule pid=7 tid=8 known=creator`, Owned{PID: 7, Known: CreatorOfSocket}, "", true},
		{`pcapsule process="a pid=1 known=writer`, Owned{}, "", false},
		{`pcapsule process="a" known=writer`, Owned{}, "", false},
		{`pcapsule:3f9c2ab1#7`, Owned{}, "", false},
		{`process="a" pid=7 known=writer`, Owned{}, "", false},
	} {
		o, name, ok := ParseOwnerComment(tt.text)
		if ok != tt.ok || ok && (!reflect.DeepEqual(o, tt.want) || name != tt.name) {
			t.Errorf("%s: %+v %q %v", tt.text, o, name, ok)
		}
	}
}

// TestProcessNumbers: numbers are reused, a process can execute another program, and the
// kernel continues to send for a process that has ended.
func TestProcessNumbers(t *testing.T) {
	x := NewOwners(1 << 20)
	program := func(pid int, name string, start, from, to int64) {
		line := fmt.Sprintf(`{"process":"%d@%d","pid":%d,"name":%q,"start":%q,"from":%q`, pid, start, pid, name, formatTime(second+start), formatTime(second+from))
		if to != 0 {
			line += fmt.Sprintf(`,"to":%q`, formatTime(second+to))
		}
		x.Add([]byte(line + "}"))
	}
	program(7, "sh", 0, 0, 0)
	program(7, "curl", 0, 2e9, 3e9)
	program(7, "later", 60e9, 60e9, 0)
	x.Add([]byte("nonsense"))
	if x.Stats.Lines != 3 || x.Stats.Malformed != 1 {
		t.Errorf("stats %+v", x.Stats)
	}
	for _, tt := range []struct {
		name string
		at   int64
		want string
	}{
		{"shortly before it was seen", -5e9, "sh"},
		{"long before it was seen", -15e9, ""},
		{"the first program", 1e9, "sh"},
		{"the second", 2e9, "curl"},
		{"after its end", 20e9, "curl"},
		{"the next process with the number", 61e9, "later"},
	} {
		got := ""
		if n := x.PID(7, second+tt.at); n != 0 {
			got = x.Process(n).Name
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if x.PID(8, second) != 0 {
		t.Error("number 8 has a process")
	}
	if used := string(x.AppendUsed(nil)); strings.Count(used, "\n") != 3 || strings.Contains(used, "nonsense") {
		t.Errorf("used lines: %s", used)
	}
}

func TestOwnersStayWithinLimit(t *testing.T) {
	x := NewOwners(64 << 10)
	for i := range 10_000 {
		x.Add(fmt.Appendf(nil, `{"process":"%d@1","pid":%d,"name":"p"}`, i, i))
	}
	if x.Cost() > 65<<10 || x.Stats.Limited < 9_000 {
		t.Errorf("cost %d, %+v", x.Cost(), x.Stats)
	}
	x = NewOwners(1 << 20)
	for i := range 1000 { // more processes with one number than the limit
		x.Add(fmt.Appendf(nil, `{"process":"7@%d","pid":7,"name":"p"}`, i))
	}
	if x.Stats.Limited != 1000-maxSame {
		t.Errorf("%+v", x.Stats)
	}
}

func TestHappeningRoundTrip(t *testing.T) {
	const at = `"time":"2026-03-02T09:00:01.000000001Z",`
	for _, tt := range []struct {
		name, line string
		ok         bool
		detail     string
	}{
		{"an exec", `{` + at + `"kind":"exec","process":"7@1","pid":7,"name":"curl","args":["curl","x"]}`, true, `{"process":"7@1","args":["curl","x"]}`},
		{"an exit", `{` + at + `"kind":"exit","pid":7,"name":"curl","exit_code":22}`, true, ``},
		{"a kill", `{` + at + `"kind":"exit","pid":7,"name":"curl","signal":9}`, true, ``},
		{"a state", `{` + at + `"kind":"tcp_state","protocol":"tcp","local":"[::1]:80","remote":"[::1]:4000","socket":"77","before":"syn_recv","after":"established"}`, true, `{"socket":"77"}`},
		{"a drop", `{` + at + `"kind":"packet_drop","reason":"NO_SOCKET","length":40,"limited":3}`, true, `{"length":40}`},
		{"a clock that was set", `{` + at + `"kind":"clock_set","at":"2026-03-02T09:00:01Z","by_ns":-5000,"within_ns":10,"monotonic_ns":1}`, true, `{"by_ns":-5000,"within_ns":10}`},
		{"an event of Kubernetes", `{` + at + `"kind":"k8s","type":"Warning","reason":"BackOff","message":"no","object":{"kind":"Pod","namespace":"shop","name":"web-1","uid":"u"},"count":3,"source":"kubelet","node":"a"}`, true, ``},
		{"no time", `{"kind":"exec"}`, false, ``},
		{"no kind", `{` + at + `"pid":7}`, false, ``},
		{"an invalid address", `{` + at + `"kind":"tcp_state","local":"x"}`, false, ``},
		{"a kind that is a number", `{` + at + `"kind":7}`, false, ``},
		{"an incomplete line", `{` + at, false, ``},
	} {
		h, ok := ParseHappening([]byte(tt.line))
		if ok != tt.ok {
			t.Errorf("%s: %v, want %v", tt.name, ok, tt.ok)
		}
		if !ok {
			continue
		}
		if d := h.Detail(); d != tt.detail {
			t.Errorf("%s: detail %s, want %s", tt.name, d, tt.detail)
		}
		out := AppendHappening(nil, &h)
		if again, ok := ParseHappening(bytes.TrimSuffix(out, []byte("\n"))); !ok || !reflect.DeepEqual(again, h) {
			t.Errorf("%s: changed by writing and reading\n%+v\n%+v", tt.name, h, again)
		}
	}
}

func FuzzOwners(f *testing.F) {
	f.Add([]byte(nginxLine + "\n" + workerLine + "\n" + groupLine))
	f.Add([]byte(workerLine + "\n{\n[]\n" + strings.Replace(workerLine, "nginx", "other", 1)))
	f.Add([]byte(peerLine + "\n" + strings.Replace(peerLine, `,"to":"2026-03-02T09:01:00Z"`, "", 1) + "\n" + `{"address":"10.96.0.1","workload":{"kind":"service","name":"db"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		x := NewOwners(1 << 20)
		for l := range bytes.Lines(text) {
			x.Add(bytes.TrimSuffix(l, []byte("\n")))
		}
		ask := func(x *Owners) (list []any) {
			for at := int64(0); at < 20e9; at += 5e8 {
				for _, pid := range []int64{10, 11} {
					if n := x.PID(pid, second+at); n != 0 {
						list = append(list, *x.Process(n))
					}
				}
			}
			return list
		}
		want := ask(x)
		for i := range x.Groups() {
			x.UseGroup(i)
		}
		again := NewOwners(1 << 20)
		for l := range bytes.Lines(x.AppendUsed(nil)) {
			again.Add(bytes.TrimSuffix(l, []byte("\n")))
		}
		if !reflect.DeepEqual(ask(again), want) || !reflect.DeepEqual(again.Groups(), x.Groups()) || !reflect.DeepEqual(again.Addresses(), x.Addresses()) {
			t.Fatalf("the used lines give different answers:\n%s", x.AppendUsed(nil))
		}
	})
}

func FuzzHappening(f *testing.F) {
	f.Add([]byte(`{"time":"2026-03-02T09:00:01Z","kind":"k8s","object":{"kind":"Pod"},"message":"` + "\xff" + `"}`))
	f.Add([]byte(`{"time":"2026-03-02T09:00:01Z","kind":"exit","exit_code":-7,"uid":3,"args":["a"],"local":"1.2.3.4:5"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, ok := ParseHappening(line)
		if !ok {
			return
		}
		if len(h.Detail()) > maxDetail+4096 {
			t.Fatalf("a detail of %d bytes", len(h.Detail()))
		}
		if again, ok := ParseHappening(bytes.TrimSuffix(AppendHappening(nil, &h), []byte("\n"))); !ok || !reflect.DeepEqual(again, h) {
			t.Fatalf("changed by writing and reading\n%+v\n%+v", h, again)
		}
	})
}

func BenchmarkOwnersAdd(b *testing.B) {
	for b.Loop() {
		x := NewOwners(1 << 20)
		x.Add([]byte(nginxLine))
	}
	b.SetBytes(int64(len(nginxLine)))
}

func BenchmarkOwnersPID(b *testing.B) {
	x := NewOwners(64 << 20)
	for i := range 60_000 {
		x.Add(fmt.Appendf(nil, `{"process":"%d@1","pid":%d,"name":"p"}`, i, i))
	}
	for b.Loop() {
		x.PID(1234, second+1)
	}
}
