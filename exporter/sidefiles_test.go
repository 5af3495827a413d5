package exporter

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// segmentBegin is the time of the first packet of the segments in these tests.
const segmentBegin = int64(1_772_442_000) * 1e9

// stampOf is a time in side files, given in milliseconds since segmentBegin.
func stampOf(ms int64) string {
	return time.Unix(0, segmentBegin+ms*1e6).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// segmentFile makes a segment like a recorder: cooked packets of sockets, with an interface per
// control group.
type segmentFile struct {
	t    *testing.T
	w    *pcapng.Writer
	out  bytes.Buffer
	opts pcapng.OptionList

	comment     string        // on each packet
	pid         uint32        // on each packet
	taken, sent pcapng.Socket // on each packet that came in, and that went out
}

// Kinds of knowledge, as packets have them (docs/format/owners.md).
const (
	byWriter   = 1
	byLastUser = 2
	byAcceptor = 3
	byCreator  = 4
	byListener = 5
	byOracle   = 99 // of a future release
)

// had is the socket of a process.
func had(pid uint32, kind uint8) pcapng.Socket {
	return pcapng.Socket{Cookie: 81, PID: pid, Kind: kind}
}

func newSegment(t *testing.T, h ring.Header, interfaces ...workload.InterfaceComment) *segmentFile {
	t.Helper()
	if h.Ring == "" {
		h.Version, h.Ring, h.Node, h.Series, h.Sequence = 1, "3f9c2ab1", "node-a", "sockets", 1
	}
	comment, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	s := &segmentFile{t: t}
	if s.w, err = pcapng.NewWriter(&s.out, pcapng.Section{Comments: []string{string(comment)}}, pcapng.WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range interfaces {
		c.Ring = h.Ring
		_, err := s.w.AddInterface(pcapng.Interface{Name: "node-a/-/" + c.Cgroup, LinkType: 276, SnapLen: 261000, TsResol: 9, FCSLen: -1,
			Comments: []string{workload.FormatInterfaceComment(c)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// cookedIP is the packet of a socket with its cooked header.
func cookedIP(proto byte, src, dst netip.AddrPort, l4 []byte, out bool) []byte {
	b := make([]byte, 20, 64)
	binary.BigEndian.PutUint16(b, 0x0800)
	binary.BigEndian.PutUint16(b[8:], 0xfffe)
	if out {
		b[10] = 4
	}
	frame := ip4(nil, proto, 0, 0, 1, 0, len(l4))
	frame = append(append(frame[:len(frame)-8], src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	return append(append(b, frame[14:]...), l4...)
}

func (s *segmentFile) packet(face int32, ms int64, out bool, data []byte) {
	s.t.Helper()
	s.opts.Reset()
	s.opts.Flags(pcapng.Flags(pcapng.DirectionInbound))
	if out {
		s.opts.Reset()
		s.opts.Flags(pcapng.Flags(pcapng.DirectionOutbound))
	}
	if s.comment != "" {
		s.opts.Comment(s.comment)
	}
	if s.pid != 0 {
		s.opts.ProcessThread(s.pid, s.pid)
	}
	sock := s.taken
	if out {
		sock = s.sent
	}
	if sock.Kind == byWriter { // as recorders write it
		s.opts.ProcessThread(sock.PID, sock.TID)
		sock.PID, sock.TID = 0, 0
	}
	if sock.Cookie != 0 {
		s.opts.Socket(&sock)
	}
	p := pcapng.Packet{Interface: face, Kind: pcapng.KindEnhanced, Time: segmentBegin + ms*1e6, TimeOK: true, Data: data, OrigLen: uint32(len(data))}
	if err := s.w.WritePacket(&p, &s.opts); err != nil {
		s.t.Fatal(err)
	}
}

func (s *segmentFile) tcp(face int32, ms int64, out bool, src, dst string, seq, ack uint32, flags byte, payload string) {
	a, b := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	l4 := tcp4(nil, 0, 0, a.Port(), b.Port(), seq, ack, flags, 1, []byte(payload))[34:]
	s.packet(face, ms, out, cookedIP(6, a, b, l4, out))
}

// exchange writes an HTTP exchange as seen by the server's machine, from ms on: handshake,
// request after 10 ms, answer after 20 ms.
func (s *segmentFile) exchange(face int32, ms int64, client, server, path string) {
	s.answered(face, ms, client, server, path, s.sent)
}

// answered is an exchange whose answer another process may have written, to which the socket was passed.
func (s *segmentFile) answered(face int32, ms int64, client, server, path string, by pcapng.Socket) {
	ask := "GET " + path + " HTTP/1.1\r\nHost: svc\r\n\r\n"
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	n, m := uint32(len(ask)), uint32(len(answer))
	i := uint32(100 + ms)
	s.tcp(face, ms, false, client, server, i, 0, 2, "")
	s.tcp(face, ms+1, true, server, client, 500, i+1, 0x12, "")
	s.tcp(face, ms+2, false, client, server, i+1, 501, 0x10, "")
	s.tcp(face, ms+10, false, client, server, i+1, 501, 0x18, ask)
	was := s.sent
	s.sent = by
	s.tcp(face, ms+20, true, server, client, 501, i+1+n, 0x18, answer)
	s.sent = was
	s.tcp(face, ms+21, false, client, server, i+1+n, 501+m, 0x11, "")
	s.tcp(face, ms+22, true, server, client, 501+m, i+2+n, 0x11, "")
}

func (s *segmentFile) bytes() []byte {
	s.t.Helper()
	if err := s.w.Flush(); err != nil {
		s.t.Fatal(err)
	}
	return s.out.Bytes()
}

// write puts the segment and its side files into a folder.
func (s *segmentFile) write(dir, name string, sides map[string]string) string {
	s.t.Helper()
	path := filepath.Join(dir, name+".pcapng")
	if err := os.WriteFile(path, s.bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
	for ending, text := range sides {
		if err := os.WriteFile(filepath.Join(dir, name+"."+ending), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	return path
}

// bundleOf makes a bundle, rederives and compares its tables, and answers questions.
func bundleOf(t *testing.T, o Options, inputs []string, questions ...string) (*bundle.Manifest, []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcapsule")
	o.Release, o.Repanic = "test", true
	m, err := Run(context.Background(), inputs, path, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Rederive(context.Background(), b, Options{Release: "test", Repanic: true, Keys: o.Keys})
	if err != nil {
		t.Fatal(err)
	}
	if !again.OK() {
		t.Errorf("made again it is another: %+v", again.Differences)
	}
	return m, ask(t, path, questions...)
}

func ask(t *testing.T, path string, questions ...string) (out []string) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	views, err := os.ReadFile(filepath.Join(path, "data", "open.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(strings.ReplaceAll(string(views), "'tables/", "'"+filepath.Join(path, "data", "tables")+"/")); err != nil {
		t.Fatal(err)
	}
	for _, q := range questions {
		var s sql.NullString
		if err := db.QueryRow(q).Scan(&s); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		out = append(out, s.String)
	}
	return out
}

const (
	clientEnd = "10.0.0.2:4000"
	serverEnd = "10.0.0.1:80"
)

// proc is a line about a process.
func proc(pid int, name, more string) string {
	return fmt.Sprintf(`{"process":"%d@7","pid":%d,"parent_pid":1,"start":%q,"name":%q,"exe":"/bin/%s","args":[%q,"--x"],"uid":33,"user":"www"%s}`+"\n",
		pid, pid, stampOf(-5000), name, name, name, more)
}

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
		{"the worker that answers, not the parent that listens", host, proc(10, "parent", "") + proc(11, "worker", ""), had(10, byListener), had(11, byWriter),
			"worker 11 writer false process www /bin/worker"},
		{"a guess is marked as one", host, proc(10, "parent", ""), had(10, byListener), had(10, byListener),
			"parent 10 listener_inherited true process www /bin/parent"},
		{"who used it last is a guess", host, proc(10, "worker", ""), had(10, byLastUser), had(10, byLastUser),
			"worker 10 last_user true process www /bin/worker"},
		{"a kind of the future is a guess", host, proc(10, "parent", ""), had(10, byOracle), had(10, byOracle),
			"parent 10 other true process www /bin/parent"},
		{"a process that nobody saw", host, "", had(11, byAcceptor), had(11, byAcceptor), "11 acceptor true process"},
		{"a process in its pod", pod, proc(11, "nginx", inPod), had(11, byAcceptor), had(11, byWriter),
			"nginx 11 writer false pod web-1 www /bin/nginx"},
		{"an exact owner elsewhere goes before the interface", pod, proc(11, "proxy", `,"cgroup":"/kubepods/pod2","pod_uid":"u2"`), none, had(11, byWriter),
			"proxy 11 writer false pod www /bin/proxy"},
		{"a guess that the interface contradicts is dropped", pod, proc(11, "proxy", `,"cgroup":"/kubepods/pod2","pod_uid":"u2"`), had(11, byCreator), had(11, byCreator),
			"segment pod web-1"},
		{"a socket that nobody is known to have", host, proc(11, "w", ""), pcapng.Socket{Cookie: 81}, pcapng.Socket{Cookie: 81}, "segment node"},
		{"who the control group is was learned later", host, `{"workload":{"namespace":"shop","pod":"late-1","pod_uid":"u9"},"cgroup":"/web","from":"` + stampOf(-10) + `"}` + "\n", none, none,
			"segment pod late-1"},
		{"what does not hold at that time", host, `{"workload":{"pod":"late-1"},"cgroup":"/web","from":"` + stampOf(1000) + `"}` + "\n", none, none, "segment node"},
		{"lines that are not", host, "{\n\x00\xff\n[]\n{\"socket\":1}\n" + strings.Repeat("x", 70_000) + "\n{}\n" + `{"process":["a"]}`, none, none, "segment node"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSegment(t, ring.Header{}, tt.iface)
			s.taken, s.sent = tt.in, tt.out
			s.exchange(0, 0, clientEnd, serverEnd, "/x")
			sides := map[string]string{}
			if tt.owners != "" {
				sides["owners.jsonl"] = tt.owners
			}
			path := s.write(t.TempDir(), "sockets-node-a-000000001", sides)
			m, got := bundleOf(t, Options{}, []string{path}, aboutServer,
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
	s := newSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/", Identity: workload.Identity{Node: "node-a"}})
	const a, b, ask, answer = "127.0.0.1:4000", "127.0.0.1:80", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	ms := int64(0)
	both := func(src, dst string, seq, ack uint32, flags byte, payload string) {
		s.sent, s.taken = had(5, byWriter), had(6, byAcceptor)
		if src == b {
			s.sent, s.taken = had(6, byWriter), had(5, byLastUser)
		}
		s.tcp(0, ms, true, src, dst, seq, ack, flags, payload)
		s.tcp(0, ms, false, src, dst, seq, ack, flags, payload)
		ms++
	}
	both(a, b, 100, 0, 2, "")
	both(b, a, 500, 101, 0x12, "")
	both(a, b, 101, 501, 0x10, "")
	both(a, b, 101, 501, 0x18, ask)
	both(b, a, 501, 101+uint32(len(ask)), 0x18, answer)
	path := s.write(t.TempDir(), "loop", map[string]string{"owners.jsonl": proc(5, "curl", "") + proc(6, "nginx", "")})
	_, got := bundleOf(t, Options{}, []string{path}, "select concat_ws(' ', src_process, src_how_known, dst_process, dst_how_known) from calls where protocol = 'http1'")
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
	writes := func(pid uint32, text string) step { return step{pid, byWriter, text} }
	for _, tt := range []struct {
		name  string
		out   bool // of the requests
		steps []step
		want  string
	}{
		{"server, in turn", false, []step{{text: ask}, writes(5, answer), {text: ask}, writes(5, answer), {text: ask}, writes(6, answer)}, "first false, first false, second false"},
		{"server, questions at once", false, []step{{text: ask + ask + ask}, writes(5, answer), writes(6, answer), writes(5, answer)}, "first false, second false, first false"},
		{"server, two write one answer", false, []step{{text: ask}, writes(5, answer[:9]), writes(6, answer[9:]), {text: ask}, writes(6, answer)}, "first true, second false"},
		{"server, the kernel sent it later", false, []step{{text: ask}, writes(5, answer), {text: ask}, writes(6, answer), {text: ask}, {6, byLastUser, answer}}, "first false, second false, second true"},
		{"server, nobody is named", false, []step{{text: ask}, writes(5, answer), {text: ask}, writes(6, answer), {text: ask}, {0, 0, answer}}, "first false, second false, "},
		{"client, questions of two before the first answer", true, []step{writes(5, ask), writes(6, ask), {text: answer + answer}}, "first false, second false"},
		{"client, the second gets no answer", true, []step{writes(5, ask), {text: answer}, writes(6, ask)}, "first false, second false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSegment(t, ring.Header{}, host)
			seq := map[bool]uint32{true: 101, false: 501} // of the client and the server
			say := func(ms int64, client bool, flags byte, text string) {
				src, dst := serverEnd, clientEnd
				if client {
					src, dst = dst, src
				}
				s.tcp(0, ms, client == tt.out, src, dst, seq[client], seq[!client], flags, text)
				seq[client] += uint32(len(text))
			}
			s.tcp(0, 0, tt.out, clientEnd, serverEnd, 100, 0, 2, "")
			s.tcp(0, 1, !tt.out, serverEnd, clientEnd, 500, 101, 0x12, "")
			for i, x := range tt.steps {
				if s.sent = had(x.pid, x.kind); x.pid == 0 {
					s.sent, s.taken = pcapng.Socket{}, had(6, byLastUser)
				}
				say(int64(i)*10+10, strings.HasPrefix(x.text, "GET"), 0x18, x.text)
			}
			path := s.write(t.TempDir(), "handed", map[string]string{"owners.jsonl": proc(5, "first", "") + proc(6, "second", "")})
			side := "dst"
			if tt.out {
				side = "src"
			}
			_, got := bundleOf(t, Options{}, []string{path}, fmt.Sprintf("select string_agg(concat_ws(' ', %s_process, %[1]s_owner_guess), ', ' order by call_no) from calls where protocol = 'http1'", side))
			if got[0] != tt.want {
				t.Errorf("%q, want %q", got[0], tt.want)
			}
		})
	}
}

// TestOwnersOnPackets checks the owners in packets without a side file.
func TestOwnersOnPackets(t *testing.T) {
	s := newSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}})
	s.comment = `pcapsule process="nginx" pid=7 tid=8 known=writer`
	s.exchange(0, 0, clientEnd, serverEnd, "/x")
	s.comment, s.pid = "", 9
	s.exchange(0, 1000, "10.0.0.2:4001", serverEnd, "/x")
	_, got := bundleOf(t, Options{}, []string{s.write(t.TempDir(), "a", nil)}, aboutServer)
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
	one := newSegment(t, ring.Header{}, host)
	one.taken, one.sent = had(5, byListener), had(5, byListener)
	one.tcp(0, 0, false, clientEnd, serverEnd, 100, 0, 2, "")
	one.tcp(0, 1, true, serverEnd, clientEnd, 500, 101, 0x12, "")
	one.write(dir, "sockets-node-a-000000001", map[string]string{"owners.jsonl": proc(5, "parent", "")})
	two := newSegment(t, ring.Header{Version: 1, Ring: "3f9c2ab1", Node: "node-a", Series: "sockets", Sequence: 2}, host)
	two.taken, two.sent = had(5, byListener), had(6, byWriter)
	two.tcp(0, 10, false, clientEnd, serverEnd, 101, 501, 0x18, ask)
	two.tcp(0, 20, true, serverEnd, clientEnd, 501, 101+uint32(len(ask)), 0x18, answer)
	two.write(dir, "sockets-node-a-000000002", map[string]string{"owners.jsonl": proc(5, "parent", "") + proc(6, "worker", "")})
	_, got := bundleOf(t, Options{}, []string{dir}, "select dst_process from calls where protocol = 'http1'", "select dst_process from flows", "select dst_process from connections")
	if strings.Join(got, " ") != "worker worker worker" {
		t.Errorf("call, flow and connection belong to %v", got)
	}
}

func TestSameBytesWithSideFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	ringWith(t, dir, 3, ring.Options{})
	writeFile(t, filepath.Join(dir, "sockets-node-a-000000002.events"), someEvents)
	sameBytes(t, []string{dir})
}

// TestPeersByAddress: a segment alone names services and the pods of other nodes, even if two
// pods had the same address within a minute.
func TestPeersByAddress(t *testing.T) {
	dir := t.TempDir()
	host := workload.InterfaceComment{Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}}
	peer := func(addr, who string, from, to int64) string {
		ends := ""
		if to != 0 {
			ends = fmt.Sprintf(`,"to":%q`, stampOf(to))
		}
		return fmt.Sprintf(`{"address":%q,"workload":{"ring":"3f9c2ab1",%s,"namespace":"shop"},"from":%q%s,"learned":%q}`+"\n", addr, who, stampOf(from), ends, stampOf(from+1))
	}
	s := newSegment(t, ring.Header{}, host)
	s.exchange(0, 0, "10.0.0.2:4000", "10.0.0.1:80", "/first")
	s.exchange(0, 30_000, "10.0.0.2:4001", "10.0.0.1:80", "/second")
	s.exchange(0, 40_000, "10.96.0.7:4002", "10.0.0.1:80", "/service")
	s.write(dir, "sockets-node-a-000000001", map[string]string{"owners.jsonl": peer("10.0.0.2", `"pod":"old","pod_uid":"u1","node":"node-b"`, -1000, 0) +
		peer("10.0.0.2", `"pod":"old","pod_uid":"u1","node":"node-b"`, -1000, 20_000) +
		peer("10.0.0.2", `"pod":"new","pod_uid":"u2","node":"node-b","services":["front"]`, 25_000, 0) +
		peer("10.96.0.7", `"kind":"service","name":"db","services":["db"]`, -5000, 0)})
	_, got := bundleOf(t, Options{}, []string{dir},
		"select string_agg(concat_ws(' ', src_pod, src_namespace, src_service, src_how_known, src_node), '; ' order by call_no) from calls where protocol = 'http1'",
		"select string_agg(concat_ws(' ', kind, name), '; ' order by name) from endpoints where how_known = 'peer'")
	want := []string{"old shop peer node-b; new shop front peer node-b; shop db peer", "service db; pod new; pod old"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	sameBytes(t, []string{dir})
}
