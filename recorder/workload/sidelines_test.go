package workload

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

const (
	nginxLine  = `{"process":"10@1772442000000000000","pid":10,"parent_pid":1,"start":"2026-03-02T09:00:00.000000000Z","name":"nginx","exe":"/usr/sbin/nginx","args":["nginx","-g","daemon off;"],"uid":0,"user":"root","cgroup":"/web","container":"aaaa","pod_uid":"u1"}`
	workerLine = `{"process":"11@1772442000100000000","pid":11,"parent_pid":10,"name":"nginx","cgroup":"/web"}`
	socketLine = `{"socket":"81","interface":0,"cgroup":"/web","protocol":"tcp","local":"10.0.0.1:80","remote":"10.0.0.2:4000","from":"2026-03-02T09:00:01.000000000Z","to":"2026-03-02T09:00:02.000000000Z","first_packet":"a1","last_packet":"a9","packets":9,"owners":[{"pid":10,"tid":10,"kind":"listener_inherited","process":"10@1772442000000000000","from":"2026-03-02T09:00:01.000000000Z","to":"2026-03-02T09:00:01.000000000Z"},{"pid":11,"tid":11,"kind":"writer","process":"11@1772442000100000000","from":"2026-03-02T09:00:01.500000000Z","to":"2026-03-02T09:00:02.000000000Z"}],"learned":"2026-03-02T09:00:03.000000000Z"}`
	groupLine  = `{"workload":{"pod":"web-1","namespace":"shop","pod_uid":"u1","addresses":["10.0.0.1"]},"cgroup":"/web","from":"2026-03-02T09:00:00Z"}`
	peerLine   = `{"address":"10.0.0.3","workload":{"pod":"db-0","namespace":"shop","pod_uid":"u3","node":"node-b","services":["db"]},"from":"2026-03-02T09:00:00Z","to":"2026-03-02T09:01:00Z"}`
	second     = int64(1772442000) * 1e9
)

func TestOwnerLinesAreReadAndWrittenAlike(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		ok         bool
	}{
		{"a process", nginxLine, true},
		{"a socket", socketLine, true},
		{"a control group", groupLine, true},
		{"a pod at an address", peerLine, true},
		{"a service at an address", `{"address":"10.96.0.1","workload":{"kind":"service","name":"db","namespace":"shop","services":["db"]}}`, true},
		{"a database that is no pod", `{"address":"2001:db8::7","workload":{"kind":"host","name":"pg","namespace":"shop","services":["pg"]},"from":"2026-03-02T09:00:00Z"}`, true},
		{"a socket of several peers", strings.Replace(socketLine, `"remote":"10.0.0.2:4000",`, "", 1), true},
		{"a kind of the future", strings.Replace(socketLine, `"writer"`, `"oracle"`, 1), true},
		{"a group whose names are too long", `{"workload":{"pod":"` + strings.Repeat("é", 400) + `"},"cgroup":"/x"}`, true},
		{"an end without a port", strings.Replace(socketLine, "10.0.0.1:80", "10.0.0.1", 1), false},
		{"a protocol without a number", strings.Replace(socketLine, `"tcp"`, `"carrier pigeon"`, 1), false},
		{"an end before the beginning", strings.Replace(socketLine, "09:00:02", "08:00:02", 1), false},
		{"a number where text is wanted", `{"socket":81}`, false},
		{"an object of nothing", `{}`, false},
		{"a list", `[]`, false},
		{"no JSON", `{"socket":"81"`, false},
		{"an address that nobody has", `{"address":"10.0.0.3","workload":{"services":["a"]}}`, false},
		{"an address that is none", strings.Replace(peerLine, "10.0.0.3", "10.0.0.300", 1), false},
		{"an address that ends before it begins", strings.Replace(peerLine, "09:01:00", "08:01:00", 1), false},
		{"a group that nothing names", `{"workload":{"pod":"p"}}`, false},
		{"too long a line", `{"process":"p","name":"` + strings.Repeat("x", MaxSideLine) + `"}`, false},
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
			t.Errorf("%s: written and read again it is another\n%+v\n%+v\n%s", tt.name, l, again, out)
		}
	}
}

func TestParseOwnerComment(t *testing.T) {
	for _, tt := range []struct {
		text string
		want SocketOwner
		name string
		ok   bool
	}{
		{`pcapsule process="nginx: worker \"1\"" pid=7 tid=8 known=writer`, SocketOwner{PID: 7, TID: 8, Known: Writer, Word: "writer"}, `nginx: worker "1"`, true},
		{`pcapsule pid=7 tid=8 known=creator`, SocketOwner{PID: 7, TID: 8, Known: CreatorOfSocket, Word: "creator"}, "", true},
		{`pcapsule process="a pid=1 known=writer`, SocketOwner{}, "", false},
		{`pcapsule process="a" known=writer`, SocketOwner{}, "", false},
		{`pcapsule:3f9c2ab1#7`, SocketOwner{}, "", false},
		{`process="a" pid=7 known=writer`, SocketOwner{}, "", false},
	} {
		o, name, ok := ParseOwnerComment(tt.text)
		if ok != tt.ok || ok && (!reflect.DeepEqual(o, tt.want) || name != tt.name) {
			t.Errorf("%s: %+v %q %v", tt.text, o, name, ok)
		}
	}
}

func end(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestOwnersFind(t *testing.T) {
	x := NewOwners(1 << 20)
	for _, line := range []string{nginxLine, workerLine, socketLine, "nonsense"} {
		x.Add([]byte(line))
	}
	if x.Stats.Lines != 3 || x.Stats.Malformed != 1 {
		t.Errorf("stats %+v", x.Stats)
	}
	for _, tt := range []struct {
		name          string
		local, remote string
		cgroup        string
		at            int64
		pid           int64
	}{
		{"the handshake belongs to the worker that answered", "10.0.0.1:80", "10.0.0.2:4000", "/web", second + 1e9, 11},
		{"so does the end", "10.0.0.1:80", "10.0.0.2:4000", "/web", second + 2e9, 11},
		{"a packet shortly after", "10.0.0.1:80", "10.0.0.2:4000", "/web", second + 9e9, 11},
		{"a packet long after", "10.0.0.1:80", "10.0.0.2:4000", "/web", second + 60e9, 0},
		{"another control group", "10.0.0.1:80", "10.0.0.2:4000", "/db", second + 1e9, 0},
		{"the other end", "10.0.0.2:4000", "10.0.0.1:80", "/web", second + 1e9, 0},
	} {
		o, ok := x.Find(6, end(tt.local), end(tt.remote), tt.cgroup, tt.at)
		if ok != (tt.pid != 0) || o.PID != tt.pid {
			t.Errorf("%s: pid %d, want %d", tt.name, o.PID, tt.pid)
		}
		if ok && (o.Known != Writer || o.Known.Guess() || x.Process(o.Process).Name != "nginx") {
			t.Errorf("%s: %+v", tt.name, o)
		}
	}
	used := string(x.AppendUsed(nil))
	if strings.Contains(used, `"10@`) || !strings.Contains(used, `"11@`) || strings.Count(used, "\n") != 2 {
		t.Errorf("used lines: %s", used)
	}
}

func line(cookie int, from, to int64, remote string, owners ...string) []byte {
	return fmt.Appendf(nil, `{"socket":"%d","protocol":"udp","local":"10.0.0.1:53","remote":%q,"from":%q,"to":%q,"owners":[%s]}`,
		cookie, remote, formatTime(second+from), formatTime(second+to), strings.Join(owners, ","))
}

func owned(pid int, kind string, from, to int64) string {
	return fmt.Sprintf(`{"pid":%d,"kind":%q,"from":%q,"to":%q}`, pid, kind, formatTime(second+from), formatTime(second+to))
}

func TestLaterLinesOfASocket(t *testing.T) {
	const peer = "10.0.0.9:1000"
	x := NewOwners(1 << 20)
	x.Add(line(1, 0, 5, peer, owned(7, "creator", 0, 5)))
	x.Add(line(1, 0, 9e9, peer, owned(7, "creator", 0, 5), owned(8, "last_user", 6e9, 9e9))) // takes its place
	x.Add(line(1, 30e9, 40e9, peer, owned(8, "last_user", 30e9, 40e9)))                      // it goes on
	x.Add(line(2, 60e9, 70e9, peer, owned(9, "writer", 60e9, 62e9), owned(10, "writer", 65e9, 70e9)))
	for at, pid := range map[int64]int64{1: 8, 8e9: 8, 20e9: 8, 35e9: 8, 60e9: 9, 64e9: 9, 65e9: 10, 75e9: 10} {
		if o, ok := x.Find(17, end("10.0.0.1:53"), end(peer), "", second+at); !ok || o.PID != pid {
			t.Errorf("at %d: %+v, want pid %d", at, o, pid)
		}
	}
	if x.Stats.Replaced != 1 {
		t.Errorf("stats %+v", x.Stats)
	}
}

func TestOwnersKeepToTheirRoom(t *testing.T) {
	x := NewOwners(64 << 10)
	for i := range 10_000 {
		x.Add(line(i, int64(i)*1e9, int64(i)*1e9+1, fmt.Sprintf("10.1.0.9:%d", i+1), owned(7, "writer", 0, 5)))
		x.Add(fmt.Appendf(nil, `{"process":"%d@1","pid":%d,"name":"p"}`, i, i))
	}
	if x.Cost() > 65<<10 || x.Stats.Limited < 19_000 {
		t.Errorf("cost %d, %+v", x.Cost(), x.Stats)
	}
	x = NewOwners(1 << 20)
	for i := range 1000 { // as many with equal ends as somebody likes
		x.Add(line(i, int64(i)*1e9, int64(i)*1e9+1, "10.1.0.9:1", owned(7+i, "writer", 0, 5)))
	}
	if x.Stats.Limited != 1000-maxSame {
		t.Errorf("%+v", x.Stats)
	}
}

func TestHappeningsAreReadAndWrittenAlike(t *testing.T) {
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
		{"a word of Kubernetes", `{` + at + `"kind":"k8s","type":"Warning","reason":"BackOff","message":"no","object":{"kind":"Pod","namespace":"shop","name":"web-1","uid":"u"},"count":3,"source":"kubelet","node":"a"}`, true, ``},
		{"a kind of the future", `{` + at + `"kind":"comet"}`, true, ``},
		{"no time", `{"kind":"exec"}`, false, ``},
		{"no kind", `{` + at + `"pid":7}`, false, ``},
		{"an end that is none", `{` + at + `"kind":"tcp_state","local":"x"}`, false, ``},
		{"another type", `{` + at + `"kind":7}`, false, ``},
		{"half a line", `{` + at, false, ``},
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
			t.Errorf("%s: written and read again it is another\n%+v\n%+v", tt.name, h, again)
		}
	}
}

func FuzzOwners(f *testing.F) {
	f.Add([]byte(nginxLine + "\n" + workerLine + "\n" + socketLine + "\n" + groupLine))
	f.Add([]byte(socketLine + "\n{\n[]\n" + strings.Replace(socketLine, "09:00:02", "09:10:02", 1)))
	f.Add([]byte(peerLine + "\n" + strings.Replace(peerLine, `,"to":"2026-03-02T09:01:00Z"`, "", 1) + "\n" + `{"address":"10.96.0.1","workload":{"kind":"service","name":"db"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		x := NewOwners(1 << 20)
		for l := range bytes.Lines(text) {
			x.Add(bytes.TrimSuffix(l, []byte("\n")))
		}
		ask := func(x *Owners) (list []any) {
			for at := int64(0); at < 20e9; at += 5e8 {
				o, ok := x.Find(6, end("10.0.0.1:80"), end("10.0.0.2:4000"), "/web", second+at)
				var p Process
				if o.Process != 0 {
					p = *x.Process(o.Process)
				}
				if n := x.PID(11, second+at); n != 0 {
					list = append(list, *x.Process(n))
				}
				list = append(list, ok, o.PID, o.Known, p)
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
			t.Fatalf("what was used answers otherwise:\n%s", x.AppendUsed(nil))
		}
	})
}

// FuzzQuickSocket holds the quick reader to the thorough one.
func FuzzQuickSocket(f *testing.F) {
	f.Add([]byte(socketLine))
	f.Add(line(1, 0, 5, "10.0.0.9:7", owned(7, "creator", 0, 5)))
	f.Add([]byte(strings.Replace(socketLine, "2026-03-02", "2024-02-29", 1)))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, ok := quickSocket(line)
		if !ok {
			return
		}
		if l, ok := parseOwnerLine(line); !ok || !reflect.DeepEqual(l.Socket, s) {
			t.Fatalf("%+v, want %+v", s, l.Socket)
		}
	})
}

func TestQuickSocketReadsWhatRecordersWrite(t *testing.T) {
	for _, text := range []string{socketLine, strings.Replace(socketLine, `"remote":"10.0.0.2:4000",`, "", 1)} {
		if s, ok := quickSocket([]byte(text)); !ok || len(s.Owners) != 2 {
			t.Errorf("not read: %s", text)
		}
	}
	for day := int64(0); day < 366*290; day++ {
		at := day*86400e9 + 3723_000000001
		want := formatTime(at)
		q := quick{b: []byte(`"` + want + `"`)}
		if got := q.time(); !q.bad && got != at {
			t.Fatalf("%s read as %s", want, formatTime(got))
		} else if q.bad && want[8] < '2' && want < "2262" {
			t.Fatalf("%s not read", want)
		}
	}
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
			t.Fatalf("written and read again it is another\n%+v\n%+v", h, again)
		}
	})
}

func BenchmarkOwnersAdd(b *testing.B) {
	for b.Loop() {
		x := NewOwners(1 << 20)
		x.Add([]byte(socketLine))
	}
	b.SetBytes(int64(len(socketLine)))
}

func BenchmarkOwnersFind(b *testing.B) {
	x := NewOwners(64 << 20)
	for i := range 60_000 {
		x.Add(line(i, 0, 5e9, fmt.Sprintf("10.1.%d.9:%d", i>>14, i&0x3fff+1), owned(7, "writer", 0, 5)))
	}
	local, remote := end("10.0.0.1:53"), end("10.1.2.9:77")
	for b.Loop() {
		x.Find(17, local, remote, "", second+1)
	}
}
