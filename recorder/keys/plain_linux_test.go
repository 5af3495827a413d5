//go:build amd64 || arm64

package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/internal/nightly"
)

// words is a PlainSink that joins pieces.
type words struct {
	mu    sync.Mutex
	calls int
	by    map[talker]*said
}

type talker struct {
	pid        uint32
	connection uint64
	sent       bool
}

type said struct {
	Plain // the last one
	all   []byte
	next  uint64 // in the call
	bad   string
}

func (w *words) Plain(p *Plain) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[talker]*said{}
	}
	k := talker{p.PID, p.Connection, p.Sent}
	s := w.by[k]
	if s == nil {
		s = &said{}
		w.by[k] = s
	}
	if p.Offset != s.next {
		s.bad = fmt.Sprintf("a piece at %d of a call, want %d", p.Offset, s.next)
	}
	if s.next = p.Offset + uint64(len(p.Data)); s.next == p.Call {
		s.next = 0
		w.calls++
	}
	s.Plain = *p
	s.all = append(s.all, p.Data...)
	return nil
}

func (w *words) Flush() error { return nil }

// of returns what processes of a program sent or received, one text for each connection, and
// how its ends were known, sorted by process and connection.
func (w *words) of(program string, sent bool) (list []said) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var keys []talker
	for k, s := range w.by {
		if filepath.Base(s.Executable) == program && k.sent == sent {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b talker) int { return int(a.pid) - int(b.pid) + int(a.connection) - int(b.connection) })
	for _, k := range keys {
		list = append(list, *w.by[k])
	}
	return list
}

// balanced checks the counters of a Tracker after closing it.
func balanced(t *testing.T, tr *Tracker) PlainCounters {
	t.Helper()
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	c, err := tr.PlainCounters()
	if err != nil || c.Seen != c.Written+c.Lost+c.Unread+c.Odd+c.Unused+c.SinkErrors {
		t.Errorf("not balanced: %+v, %v", c, err)
	}
	return c
}

// pattern is the same as in testdata/gotalk.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(7)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// roomForAll is the size of a ring buffer for everything that a test sends, even if it is
// not read for a while.
const roomForAll = 64 << 20

func TestGoPlaintextIsWhatItSent(t *testing.T) {
	s := newSpace(t)
	const size = 3_000_000
	want := sha256.Sum256(pattern(size))
	for _, build := range [][]string{nil, {"-buildmode=pie", "-ldflags=-s -w"}} {
		bin := goTalk(t, build...)
		for _, version := range []string{"1.3", "1.2"} {
			t.Run(strings.Join(append(build, version), " "), func(t *testing.T) {
				sink := &words{}
				tr := start(t, Options{Select: Selector{Executables: []string{bin}}, Plain: sink, RingBytes: roomForAll})
				var addr string
				echo := fmt.Sprintf("-echo=%d", size)
				s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve", echo, "-version="+version)
				probed(t, tr, "gotalk")
				s.runProbed(t, tr, bin, "-addr="+addr, echo, "-version="+version, "-n=2")
				full := func(sent bool) bool {
					l := sink.of("gotalk", sent)
					return len(l) == 4 && !slices.ContainsFunc(l, func(x said) bool { return len(x.all) < size })
				}
				eventually(t, "everything that was sent and received", func() bool { return full(true) && full(false) })
				for _, sent := range []bool{true, false} {
					for _, x := range sink.of("gotalk", sent) {
						if sha256.Sum256(x.all) != want || x.bad != "" || x.Library != Go {
							t.Errorf("process %d, sent %v: %d bytes differ from what was sent; %s", x.PID, sent, len(x.all), x.bad)
						}
						if tr.EndsUnknown() == nil && (x.Ends != CallSocket || x.Local.String() != addr && x.Remote.String() != addr) {
							t.Errorf("ends %v %v %v, want %s at one of them", x.Ends, x.Local, x.Remote, addr)
						}
					}
				}
				for _, p := range of(tr, "gotalk") {
					if p.State != Plaintext || p.Library != Go {
						t.Errorf("%+v", p)
					}
				}
				if c := balanced(t, tr); c.Lost+c.Unread+c.Odd+c.Unused+c.Cut != 0 || c.Bytes != 8*size || int(c.Calls) != sink.calls {
					t.Errorf("%+v; %d whole calls", c, sink.calls)
				}
			})
		}
	}
}

// request is the beginning of an HTTP request.
var request = regexp.MustCompile(`^GET /\S* HTTP/1`)

// page makes a file for a server.
func page(t *testing.T, dir string, n int) []byte {
	t.Helper()
	b := pattern(n)
	if err := os.WriteFile(filepath.Join(dir, "page"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

// asked compares what an HTTP client and server exchanged: both must have the same.
func asked(t *testing.T, tr *Tracker, sink *words, client, server string, body []byte, times int, port int, clientEnds Ends) {
	t.Helper()
	eventually(t, "all responses", func() bool {
		whole := 0
		for _, x := range sink.of(client, false) {
			if bytes.HasSuffix(x.all, body) {
				whole++
			}
		}
		return whole >= times
	})
	texts := func(list []said) (out []string) {
		for _, x := range list {
			out = append(out, string(x.all))
		}
		slices.Sort(out)
		return out
	}
	for _, way := range []bool{true, false} {
		a, b := texts(sink.of(client, way)), texts(sink.of(server, !way))
		if len(a) != times || !slices.Equal(a, b) {
			t.Errorf("sent by the client %v: %d connections, want %d; the server has %d, equal %v", way, len(a), times, len(b), slices.Equal(a, b))
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Errorf("%d bytes %.60q, %d bytes %.60q", len(a[i]), a[i], len(b[i]), b[i])
				}
			}
		}
	}
	for _, x := range sink.of(client, true) {
		if !request.Match(x.all) || x.bad != "" {
			t.Errorf("request %.40q; %s", x.all, x.bad)
		}
	}
	if tr.EndsUnknown() != nil {
		return
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	for _, x := range sink.of(client, false) {
		if x.Ends != clientEnds || clientEnds != NoEnds && x.Remote != at {
			t.Errorf("the client's ends: %v %v %v, want %v and %v", x.Ends, x.Local, x.Remote, clientEnds, at)
		}
	}
	for _, x := range sink.of(server, true) {
		if x.Ends == NoEnds || x.Local != at {
			t.Errorf("the server's ends: %v %v %v, want %v", x.Ends, x.Local, x.Remote, at)
		}
	}
}

// opened checks the states and counters of a Tracker that reads plaintext.
func opened(t *testing.T, tr *Tracker, l Library, programs ...string) {
	t.Helper()
	for _, name := range programs {
		list := of(tr, name)
		if !slices.ContainsFunc(list, func(p Process) bool { return p.State == Plaintext && p.Library == l }) {
			t.Errorf("%s: %+v", name, list)
		}
	}
	if c := balanced(t, tr); c.Lost+c.Unread+c.Odd+c.Unused+c.Cut+c.SinkErrors != 0 || c.Seen == 0 {
		t.Errorf("%+v", c)
	} else {
		t.Logf("%+v", c)
	}
}

func TestOpenSSLPlaintextIsWhatItSent(t *testing.T) {
	needTools(t, "openssl", "curl", "nginx", "ss")
	s := newSpace(t)
	pem := certificateFiles(t)
	for i, v := range []string{"TLSv1.3", "TLSv1.2"} {
		t.Run("openssl at both ends, "+v, func(t *testing.T) {
			sink := &words{}
			tr := start(t, Options{Select: s.own(), Plain: sink, RingBytes: roomForAll})
			port := 5400 + i
			body := hex.AppendEncode(nil, pattern(150_000)) // without letters that s_client reads as commands
			file := filepath.Join(t.TempDir(), "body")
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
			flag := map[string]string{"TLSv1.3": "-tls1_3", "TLSv1.2": "-tls1_2"}[v]
			s.serve(t, func(line string) bool { return strings.HasPrefix(line, "ACCEPT") }, "openssl", "s_server", "-accept", fmt.Sprint(port), "-cert", pem, "-key", pem, flag, "-naccept", "2")
			probed(t, tr, "openssl")
			for range 2 {
				s.run(t, "sh", "-c", fmt.Sprintf("(cat %s; sleep 1) | openssl s_client -quiet -no_ign_eof -connect 127.0.0.1:%d", file, port))
			}
			whole := func(sent bool) bool {
				n := 0
				for _, x := range sink.of("openssl", sent) {
					if bytes.Equal(x.all, body) && (x.Ends == CallSocket || tr.EndsUnknown() != nil) {
						n++
					}
				}
				return n == 2
			}
			eventually(t, "the same text, twice at both ends", func() bool { return whole(true) && whole(false) })
			opened(t, tr, OpenSSL, "openssl")
		})
		t.Run("nginx and curl, "+v, func(t *testing.T) {
			sink := &words{}
			tr := start(t, Options{Select: s.own(), Plain: sink, RingBytes: roomForAll})
			port := 5404 + i
			s.nginx(t, pem, port, v)
			probed(t, tr, "nginx")
			for range 4 {
				s.run(t, "curl", "-sk", "--http1.1", fmt.Sprintf("https://127.0.0.1:%d/", port))
			}
			asked(t, tr, sink, "curl", "nginx", []byte("hello from nginx"), 4, port, CallSocket)
			opened(t, tr, OpenSSL, "curl", "nginx")
		})
	}
	t.Run("nginx and Python", func(t *testing.T) {
		needTools(t, "/usr/bin/python3")
		sink := &words{}
		tr := start(t, Options{Select: s.own(), Plain: sink, RingBytes: roomForAll})
		s.nginx(t, pem, 5410, "TLSv1.2 TLSv1.3")
		probed(t, tr, "nginx")
		python, err := filepath.EvalSymlinks("/usr/bin/python3")
		if err != nil {
			t.Fatal(err)
		}
		for _, max := range []string{"TLSv1_2", "TLSv1_3"} {
			s.run(t, python, "-c", fmt.Sprintf(`import ssl,urllib.request
c=ssl._create_unverified_context(); c.maximum_version=ssl.TLSVersion.%s
urllib.request.urlopen("https://127.0.0.1:5410/", context=c).read()`, max))
		}
		asked(t, tr, sink, filepath.Base(python), "nginx", []byte("hello from nginx"), 2, 5410, CallSocket)
		opened(t, tr, OpenSSL, filepath.Base(python), "nginx")
	})
}

func TestPlaintextOfBuiltInLibrary(t *testing.T) {
	programs := nodes(t)
	s := newSpace(t)
	pem := certificateFiles(t)
	for i, node := range programs {
		t.Run(node, func(t *testing.T) {
			sink := &words{}
			tr := start(t, Options{Select: s.own(), Plain: sink, RingBytes: roomForAll})
			dir, port := t.TempDir(), 5600+i
			body := page(t, dir, 500_000)
			s.serve(t, func(l string) bool { return strings.HasPrefix(l, "up") }, node, "-e",
				fmt.Sprintf(`const fs=require('fs'),p=fs.readFileSync(%q),b=fs.readFileSync(%q);process.title='x';require('https').createServer({key:p,cert:p},(q,r)=>r.end(b)).listen(%d,'127.0.0.1',()=>console.log('up'))`, pem, dir+"/page", port))
			probed(t, tr, "node")
			for range 3 {
				s.run(t, "curl", "-sk", "--http1.1", "-o", "/dev/null", fmt.Sprintf("https://127.0.0.1:%d/", port))
			}
			asked(t, tr, sink, "curl", "node", body, 3, port, CallSocket)
			opened(t, tr, OpenSSL, "curl", "node")
		})
	}
}

func TestGnuTLSPlaintextIsWhatItSent(t *testing.T) {
	needTools(t, "gnutls-serv", "gnutls-cli", "openssl", "ss")
	s := newSpace(t)
	pem := certificateFiles(t)
	for i, v := range []string{"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"} {
		t.Run(v, func(t *testing.T) {
			sink := &words{}
			tr := start(t, Options{Select: s.own(), Plain: sink, RingBytes: roomForAll})
			port := 5700 + i
			s.serve(t, nil, "gnutls-serv", "--echo", "-p", fmt.Sprint(port), "--x509certfile", pem, "--x509keyfile", pem, "--priority", v)
			s.listening(t, port)
			probed(t, tr, "gnutls-serv")
			text := "a line that comes back\n"
			for range 3 {
				c := s.command(t, "sh", "-c", fmt.Sprintf("(echo a line that comes back; sleep 1) | gnutls-cli --insecure --priority %s -p %d 127.0.0.1", v, port))
				if b, err := c.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, b)
				}
			}
			eventually(t, "three echoes", func() bool { return len(sink.of("gnutls-cli", false)) == 3 })
			for _, x := range slices.Concat(sink.of("gnutls-cli", true), sink.of("gnutls-cli", false), sink.of("gnutls-serv", true), sink.of("gnutls-serv", false)) {
				if string(x.all) != text || tr.EndsUnknown() == nil && x.Ends != CallSocket {
					t.Errorf("%s: %q, want %q; %v", x.Executable, x.all, text, x.Ends)
				}
			}
			opened(t, tr, GnuTLS, "gnutls-cli", "gnutls-serv")
		})
	}
}

func TestPlaintextOfChosenProcessesOnly(t *testing.T) {
	s := newSpace(t)
	bin := goTalk(t)
	chosen := filepath.Join(t.TempDir(), "chosen")
	if err := os.Link(bin, chosen); err != nil {
		t.Fatal(err)
	}
	sink := &words{}
	tr := start(t, Options{Select: Selector{Executables: []string{chosen}}, Plain: sink})
	var addr string
	s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve")
	s.run(t, bin, "-addr="+addr, "-n=3")
	s.runProbed(t, tr, chosen, "-addr="+addr, "-n=3")
	s.run(t, bin, "-addr="+addr, "-n=3")
	eventually(t, "three responses", func() bool { return len(sink.of("chosen", false)) == 3 })
	time.Sleep(100 * time.Millisecond)
	if c := balanced(t, tr); c.Calls != 6 || len(sink.by) != 6 {
		t.Errorf("%+v of %d texts, want 6 calls and 6 texts", c, len(sink.by))
	}
}

func TestLostPlaintextIsCounted(t *testing.T) {
	s := newSpace(t)
	bin := goTalk(t)
	sink := &words{}
	tr := start(t, Options{Select: Selector{Executables: []string{bin}}, Plain: sink, RingBytes: 128 << 10})
	var addr string
	const echo = "-echo=3000000"
	s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve", echo)
	probed(t, tr, "gotalk")
	s.runProbed(t, tr, bin, "-addr="+addr, echo, "-n=2")
	c := balanced(t, tr)
	if c.Lost == 0 || c.Written == 0 || c.Bytes >= 4*2*3_000_000 {
		t.Errorf("%+v", c)
	}
	t.Logf("%+v", c)
}

func TestPiecesAreSortedByTime(t *testing.T) {
	record := func(time uint64, text string) []byte {
		b := make([]byte, 24+32+48, 24+32+48+len(text))
		ne := binary.NativeEndian
		ne.PutUint64(b, time)
		ne.PutUint32(b[8:], 7)
		ne.PutUint64(b[24+8:], uint64(len(text)))
		ne.PutUint32(b[24+24:], uint32(len(text)))
		return append(b, text...)
	}
	for _, tt := range []struct {
		name string
		in   string // text@time; a number without a text is the current time
		want string
	}{
		{"in order", "a@1 b@2 9", "a@1 b@2"},
		{"a request reported after its response", "answer@5 question@3 9", "question@3 answer@5"},
		{"equal times in order of arrival", "b@3 a@3 c@2 9", "c@2 b@3 a@3"},
		{"not too early", "a@5 4", ""},
		{"a late piece gets the time of the previous one", "b@5 5 a@3 9", "b@5 a@5"},
	} {
		q := queue{numbers: map[connectionID]uint64{}}
		var got []string
		for field := range strings.FieldsSeq(tt.in) {
			if text, at, is := strings.Cut(field, "@"); is {
				n, _ := strconv.ParseUint(at, 10, 64)
				q.add(record(n, text))
				q.add([]byte(text)) // not a record
				continue
			}
			now, _ := strconv.ParseUint(field, 10, 64)
			for x := q.next(now, false); x != nil; x = q.next(now, false) {
				got = append(got, fmt.Sprintf("%s@%d", x.Data, x.Time))
				q.free(x)
			}
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, text, tt.want)
		}
	}
	q := queue{numbers: map[connectionID]uint64{}}
	q.add(record(1<<62, "a"))
	if q.next(0, true) == nil || q.bytes != 0 {
		t.Error("the last piece remains at the end")
	}
	q.add(record(1<<62, "a"))
	q.bytes += maxReorder
	if q.next(0, false) == nil {
		t.Error("more bytes than the limit are waiting")
	}
}

func TestCountersBalanceWhileProgramsContinue(t *testing.T) {
	s := newSpace(t)
	bin := goTalk(t)
	c := s.command(t, bin, "-rounds=100000000")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	for range nightly.Of(1, 3) {
		tr := start(t, Options{Select: Selector{Executables: []string{bin}}, Plain: &words{}})
		eventually(t, "calls", func() bool { k, err := tr.PlainCounters(); return err == nil && k.Written > 100 })
		t.Logf("%+v", balanced(t, tr))
	}
}
