package join_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

const (
	clientEnd = "10.0.0.2:4000"
	serverEnd = "10.0.0.1:80"
)

const aboutServer = "select string_agg(concat_ws(' ', dst_process, dst_pid, dst_how_known, dst_owner_guess, dst_kind, dst_pod, dst_user_name, dst_exe), '; ' order by call_no) from calls where protocol = 'http1'"

func TestOwnersOfASegment(t *testing.T) {
	host := workload.InterfaceComment{Cgroup: "/web", How: "cgroup", Identity: workload.Identity{Node: "node-a"}}
	pod := workload.InterfaceComment{Cgroup: "/kubepods/pod1", How: "cgroup", Identity: workload.Identity{Node: "node-a", Namespace: "shop", Pod: "web-1", PodUID: "u1"}}
	var none pcapng.Socket
	const inPod = `,"cgroup":"/kubepods/pod1","pod_uid":"u1"`
	for _, tt := range []struct {
		name    string
		iface   workload.InterfaceComment
		owners  string
		in, out pcapng.Socket
		want    string
	}{
		{"nothing is known beside it", host, "", none, none, "segment node"},
		{"the worker that answers, not the parent that listens", host, frames.Process(10, "parent", "") + frames.Process(11, "worker", ""), frames.Had(10, frames.ByListener), frames.Had(11, frames.ByWriter),
			"worker 11 writer false process www /bin/worker"},
		{"a guess is marked as one", host, frames.Process(10, "parent", ""), frames.Had(10, frames.ByListener), frames.Had(10, frames.ByListener),
			"parent 10 listener_inherited true process www /bin/parent"},
		{"who used it last is a guess", host, frames.Process(10, "worker", ""), frames.Had(10, frames.ByLastUser), frames.Had(10, frames.ByLastUser),
			"worker 10 last_user true process www /bin/worker"},
		{"a kind of the future is a guess", host, frames.Process(10, "parent", ""), frames.Had(10, frames.ByOracle), frames.Had(10, frames.ByOracle),
			"parent 10 other true process www /bin/parent"},
		{"a process that nobody saw", host, "", frames.Had(11, frames.ByAcceptor), frames.Had(11, frames.ByAcceptor), "11 acceptor true process"},
		{"a process in its pod", pod, frames.Process(11, "nginx", inPod), frames.Had(11, frames.ByAcceptor), frames.Had(11, frames.ByWriter),
			"nginx 11 writer false pod web-1 www /bin/nginx"},
		{"an exact owner elsewhere goes before the interface", pod, frames.Process(11, "proxy", `,"cgroup":"/kubepods/pod2","pod_uid":"u2"`), none, frames.Had(11, frames.ByWriter),
			"proxy 11 writer false pod www /bin/proxy"},
		{"a guess that the interface contradicts is dropped", pod, frames.Process(11, "proxy", `,"cgroup":"/kubepods/pod2","pod_uid":"u2"`), frames.Had(11, frames.ByCreator), frames.Had(11, frames.ByCreator),
			"segment pod web-1"},
		{"a socket that nobody is known to have", host, frames.Process(11, "w", ""), pcapng.Socket{Cookie: 81}, pcapng.Socket{Cookie: 81}, "segment node"},
		{"who the control group is was learned later", host, `{"workload":{"namespace":"shop","pod":"late-1","pod_uid":"u9"},"cgroup":"/web","from":"` + frames.Stamp(-10) + `"}` + "\n", none, none,
			"segment pod late-1"},
		{"what does not hold at that time", host, `{"workload":{"pod":"late-1"},"cgroup":"/web","from":"` + frames.Stamp(1000) + `"}` + "\n", none, none, "segment node"},
		{"lines that are not", host, "{\n\x00\xff\n[]\n{\"socket\":1}\n" + strings.Repeat("x", 70_000) + "\n{}\n" + `{"process":["a"]}`, none, none, "segment node"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := frames.NewSegment(t, ring.Header{}, tt.iface)
			s.Taken, s.Sent = tt.in, tt.out
			s.Exchange(0, 0, clientEnd, serverEnd, "/x")
			sides := map[string]string{}
			if tt.owners != "" {
				sides["owners.jsonl"] = tt.owners
			}
			path := s.Write(t.TempDir(), "sockets-node-a-000000001", sides)
			m, got := exportertest.Proven(t, exporter.Options{}, []string{path}, aboutServer,
				"select concat_ws(' ', dst_process, dst_pid) from flows", "select concat_ws(' ', dst_process, dst_pid) from connections")
			if got[0] != tt.want {
				t.Errorf("calls say %q, want %q", got[0], tt.want)
			}
			if got[1] != got[2] || got[1] != "" && !strings.Contains(got[0], got[1]) {
				t.Errorf("flows say %q, connections %q", got[1], got[2])
			}
			if m.Inputs[0].Node != "node-a" || m.Inputs[0].Segment.Ring != "3f9c2ab1" || m.Inputs[0].Segment.Seal != "" {
				t.Errorf("manifest: %+v", m.Inputs[0].Segment)
			}
			if tt.owners != "" && (len(m.SideInputs) != 1 || m.SideInputs[0].Kind != "owners" || m.SideInputs[0].SizeOriginal != int64(len(tt.owners))) {
				t.Errorf("side inputs: %+v", m.SideInputs)
			}
		})
	}
}

// TestBothEndsOfALoop checks both owners of a conversation inside one machine.
func TestBothEndsOfALoop(t *testing.T) {
	s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/", Identity: workload.Identity{Node: "node-a"}})
	const a, b, ask, answer = "127.0.0.1:4000", "127.0.0.1:80", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	ms := int64(0)
	both := func(src, dst string, seq, ack uint32, flags byte, payload string) {
		s.Sent, s.Taken = frames.Had(5, frames.ByWriter), frames.Had(6, frames.ByAcceptor)
		if src == b {
			s.Sent, s.Taken = frames.Had(6, frames.ByWriter), frames.Had(5, frames.ByLastUser)
		}
		s.TCP(0, ms, true, src, dst, seq, ack, flags, payload)
		s.TCP(0, ms, false, src, dst, seq, ack, flags, payload)
		ms++
	}
	both(a, b, 100, 0, 2, "")
	both(b, a, 500, 101, 0x12, "")
	both(a, b, 101, 501, 0x10, "")
	both(a, b, 101, 501, 0x18, ask)
	both(b, a, 501, 101+uint32(len(ask)), 0x18, answer)
	path := s.Write(t.TempDir(), "loop", map[string]string{"owners.jsonl": frames.Process(5, "curl", "") + frames.Process(6, "nginx", "")})
	_, got := exportertest.Proven(t, exporter.Options{}, []string{path}, "select concat_ws(' ', src_process, src_how_known, dst_process, dst_how_known) from calls where protocol = 'http1'")
	if want := "curl writer nginx writer"; got[0] != want {
		t.Errorf("%q, want %q", got[0], want)
	}
}

// TestCallsOfASocketThatWasHandedOn checks that each call has the process that wrote it, on both
// sides, independently of the other calls on its connection.
func TestCallsOfASocketThatWasHandedOn(t *testing.T) {
	host := workload.InterfaceComment{Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}}
	const ask, answer = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	type step struct {
		pid  uint32
		kind uint8
		text string
	}
	writes := func(pid uint32, text string) step { return step{pid, frames.ByWriter, text} }
	for _, tt := range []struct {
		name  string
		out   bool // of the requests
		steps []step
		want  string
	}{
		{"server, in turn", false, []step{{text: ask}, writes(5, answer), {text: ask}, writes(5, answer), {text: ask}, writes(6, answer)}, "first false, first false, second false"},
		{"server, questions at once", false, []step{{text: ask + ask + ask}, writes(5, answer), writes(6, answer), writes(5, answer)}, "first false, second false, first false"},
		{"server, two write one answer", false, []step{{text: ask}, writes(5, answer[:9]), writes(6, answer[9:]), {text: ask}, writes(6, answer)}, "first true, second false"},
		{"server, the kernel sent it later", false, []step{{text: ask}, writes(5, answer), {text: ask}, writes(6, answer), {text: ask}, {6, frames.ByLastUser, answer}}, "first false, second false, second true"},
		{"server, nobody is named", false, []step{{text: ask}, writes(5, answer), {text: ask}, writes(6, answer), {text: ask}, {0, 0, answer}}, "first false, second false, "},
		{"client, questions of two before the first answer", true, []step{writes(5, ask), writes(6, ask), {text: answer + answer}}, "first false, second false"},
		{"client, the second gets no answer", true, []step{writes(5, ask), {text: answer}, writes(6, ask)}, "first false, second false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := frames.NewSegment(t, ring.Header{}, host)
			seq := map[bool]uint32{true: 101, false: 501} // of the client and the server
			say := func(ms int64, client bool, flags byte, text string) {
				src, dst := serverEnd, clientEnd
				if client {
					src, dst = dst, src
				}
				s.TCP(0, ms, client == tt.out, src, dst, seq[client], seq[!client], flags, text)
				seq[client] += uint32(len(text))
			}
			s.TCP(0, 0, tt.out, clientEnd, serverEnd, 100, 0, 2, "")
			s.TCP(0, 1, !tt.out, serverEnd, clientEnd, 500, 101, 0x12, "")
			for i, x := range tt.steps {
				if s.Sent = frames.Had(x.pid, x.kind); x.pid == 0 {
					s.Sent, s.Taken = pcapng.Socket{}, frames.Had(6, frames.ByLastUser)
				}
				say(int64(i)*10+10, strings.HasPrefix(x.text, "GET"), 0x18, x.text)
			}
			path := s.Write(t.TempDir(), "handed", map[string]string{"owners.jsonl": frames.Process(5, "first", "") + frames.Process(6, "second", "")})
			side := "dst"
			if tt.out {
				side = "src"
			}
			_, got := exportertest.Proven(t, exporter.Options{}, []string{path}, fmt.Sprintf("select string_agg(concat_ws(' ', %s_process, %[1]s_owner_guess), ', ' order by call_no) from calls where protocol = 'http1'", side))
			if got[0] != tt.want {
				t.Errorf("%q, want %q", got[0], tt.want)
			}
		})
	}
}

// TestOwnersOnPackets checks the owners in packets without a side file.
func TestOwnersOnPackets(t *testing.T) {
	s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}})
	s.Comment = `pcapsule process="nginx" pid=7 tid=8 known=writer`
	s.Exchange(0, 0, clientEnd, serverEnd, "/x")
	s.Comment, s.PID = "", 9
	s.Exchange(0, 1000, "10.0.0.2:4001", serverEnd, "/x")
	_, got := exportertest.Proven(t, exporter.Options{}, []string{s.Write(t.TempDir(), "a", nil)}, aboutServer)
	if want := "nginx 7 writer false process; 9 packet true process"; got[0] != want {
		t.Errorf("%q, want %q", got[0], want)
	}
}

// TestOwnerLearnedInTheNextSegment checks that a connection across a rotation gets the better
// information of the later segment.
func TestOwnerLearnedInTheNextSegment(t *testing.T) {
	dir := t.TempDir()
	host := workload.InterfaceComment{Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}}
	const ask, answer = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	one := frames.NewSegment(t, ring.Header{}, host)
	one.Taken, one.Sent = frames.Had(5, frames.ByListener), frames.Had(5, frames.ByListener)
	one.TCP(0, 0, false, clientEnd, serverEnd, 100, 0, 2, "")
	one.TCP(0, 1, true, serverEnd, clientEnd, 500, 101, 0x12, "")
	one.Write(dir, "sockets-node-a-000000001", map[string]string{"owners.jsonl": frames.Process(5, "parent", "")})
	two := frames.NewSegment(t, ring.Header{Version: 1, Ring: "3f9c2ab1", Node: "node-a", Series: "sockets", Sequence: 2}, host)
	two.Taken, two.Sent = frames.Had(5, frames.ByListener), frames.Had(6, frames.ByWriter)
	two.TCP(0, 10, false, clientEnd, serverEnd, 101, 501, 0x18, ask)
	two.TCP(0, 20, true, serverEnd, clientEnd, 501, 101+uint32(len(ask)), 0x18, answer)
	two.Write(dir, "sockets-node-a-000000002", map[string]string{"owners.jsonl": frames.Process(5, "parent", "") + frames.Process(6, "worker", "")})
	_, got := exportertest.Proven(t, exporter.Options{}, []string{dir}, "select dst_process from calls where protocol = 'http1'", "select dst_process from flows", "select dst_process from connections")
	if strings.Join(got, " ") != "worker worker worker" {
		t.Errorf("call, flow and connection belong to %v", got)
	}
}

// TestPeersByAddress: a segment alone names services and the pods of other nodes, even if two
// pods had the same address within a minute.
func TestPeersByAddress(t *testing.T) {
	dir := t.TempDir()
	host := workload.InterfaceComment{Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}}
	peer := func(addr, who string, from, to int64) string {
		ends := ""
		if to != 0 {
			ends = fmt.Sprintf(`,"to":%q`, frames.Stamp(to))
		}
		return fmt.Sprintf(`{"address":%q,"workload":{"ring":"3f9c2ab1",%s,"namespace":"shop"},"from":%q%s,"learned":%q}`+"\n", addr, who, frames.Stamp(from), ends, frames.Stamp(from+1))
	}
	s := frames.NewSegment(t, ring.Header{}, host)
	s.Exchange(0, 0, "10.0.0.2:4000", "10.0.0.1:80", "/first")
	s.Exchange(0, 30_000, "10.0.0.2:4001", "10.0.0.1:80", "/second")
	s.Exchange(0, 40_000, "10.96.0.7:4002", "10.0.0.1:80", "/service")
	s.Write(dir, "sockets-node-a-000000001", map[string]string{"owners.jsonl": peer("10.0.0.2", `"pod":"old","pod_uid":"u1","node":"node-b"`, -1000, 0) +
		peer("10.0.0.2", `"pod":"old","pod_uid":"u1","node":"node-b"`, -1000, 20_000) +
		peer("10.0.0.2", `"pod":"new","pod_uid":"u2","node":"node-b","services":["front"]`, 25_000, 0) +
		peer("10.96.0.7", `"kind":"service","name":"db","services":["db"]`, -5000, 0)})
	_, got := exportertest.Proven(t, exporter.Options{}, []string{dir},
		"select string_agg(concat_ws(' ', src_pod, src_namespace, src_service, src_how_known, src_node), '; ' order by call_no) from calls where protocol = 'http1'",
		"select string_agg(concat_ws(' ', kind, name), '; ' order by name) from endpoints where how_known = 'peer'")
	want := []string{"old shop peer node-b; new shop front peer node-b; shop db peer", "service db; pod new; pod old"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	sameBytes(t, dir)
}

// sameBytes makes bundles with one, two and seven workers.
func sameBytes(t *testing.T, input string) {
	t.Helper()
	var want []byte
	for _, jobs := range []int{1, 2, 7} {
		_, path := exportertest.Run(t, exporter.Options{Jobs: jobs}, input)
		got, err := os.ReadFile(filepath.Join(path, "manifest-sha256.txt"))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d workers write other files", jobs)
		}
	}
}

func TestSameBytesWithSideFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	ringWith(t, dir, 3, ring.Options{})
	writeFile(t, filepath.Join(dir, "sockets-node-a-000000002.events"), someEvents)
	sameBytes(t, dir)
}
