package exporter

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// growing is a ring that is written while it is followed.
type growing struct {
	t     *testing.T
	dir   string
	w     *ring.Writer
	s     *ring.Series
	iface ring.InterfaceID
	at    time.Time // of the next frame; zero: now
}

func grow(t *testing.T, segment int64) *growing {
	t.Helper()
	g := &growing{t: t, dir: filepath.Join(t.TempDir(), "ring")}
	g.begin(segment)
	t.Cleanup(func() { g.w.Close(context.Background()) })
	return g
}

// begin begins to record.
func (g *growing) begin(segment int64) {
	g.t.Helper()
	var err error
	if g.w, err = ring.Create(ring.Options{Dir: g.dir, Node: "n", SegmentBytes: segment, FlushEvery: 10 * time.Millisecond}); err == nil {
		if g.s, err = g.w.Series(ring.SeriesOptions{Name: "eth", LinkType: 1}); err == nil {
			g.iface, err = g.s.Interface(pcapng.Interface{Name: "eth0"})
		}
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// add records a frame, with the right checksums.
func (g *growing) add(frame []byte) {
	g.t.Helper()
	ip := frame[14:34]
	binary.BigEndian.PutUint16(ip[10:], ^frames.Sum(ip))
	src, _ := netip.AddrFromSlice(ip[12:16])
	dst, _ := netip.AddrFromSlice(ip[16:20])
	binary.BigEndian.PutUint16(frame[50:], frames.Checksum(src, dst, 6, frame[34:]))
	at := g.at
	if at.IsZero() {
		at = time.Now()
	}
	if err := g.s.Append(&ring.Packet{Interface: g.iface, Time: at.UnixNano(), Data: frame, OrigLen: uint32(len(frame))}); err != nil {
		g.t.Fatal(err)
	}
}

// call records a handshake and a request, or the response to it.
func (g *growing) call(port uint16, response bool) {
	g.say(1, port, request, response)
	g.s.Flush()
}

func (g *growing) say(conn int, port uint16, text []byte, response bool) {
	a, p := client(conn)
	seq := 100 + uint32(len(text))
	if response {
		g.add(frames.AppendTCP(nil, server, a, port, p, 500, seq, 24, 0, answer))
		g.add(frames.AppendTCP(nil, a, server, p, port, seq, 500+uint32(len(answer)), 16, 0, nil))
		return
	}
	g.add(frames.AppendTCP(nil, a, server, p, port, 99, 0, 2, 0, nil))
	g.add(frames.AppendTCP(nil, server, a, port, p, 499, 100, 18, 0, nil))
	g.add(frames.AppendTCP(nil, a, server, p, port, 100, 500, 24, 0, text))
	g.add(frames.AppendTCP(nil, server, a, port, p, 500, seq, 16, 0, nil))
}

var answer = []byte("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")

var request = []byte("GET /wait HTTP/1.1\r\nHost: shop\r\n\r\n")

func (g *growing) follow(o FollowOptions) *Live {
	g.t.Helper()
	if o.Every == 0 {
		o.Every = 50 * time.Millisecond
	}
	if o.Temp == "" {
		o.Temp = g.t.TempDir()
	}
	o.repanic, o.OnError = true, func(err error) { g.t.Error(err) }
	l, err := Follow(g.t.Context(), g.dir, o)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return l
}

// until waits until the rows of a table of the last minute satisfy a condition.
func until(t *testing.T, l *Live, table string, ok func(rows []string) bool) {
	t.Helper()
	var rows []string
	cut := int64(0)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		c, err := l.Wait(t.Context(), cut)
		if err != nil {
			t.Fatal(err)
		}
		cut = c.No
		v, err := l.View(t.Context(), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows = nil
		for name, list := range rowsOf(t, v.Bundle) {
			if folder, _, _ := strings.Cut(name, "/"); folder == table {
				rows = append(rows, list...)
			}
		}
		if ok(rows) {
			return
		}
	}
	t.Fatalf("table %s stays at %d rows: %.2000s", table, len(rows), strings.Join(rows, "\n"))
}

func has(rows []string, n int, parts ...string) bool {
	if len(rows) != n {
		return false
	}
	for _, p := range parts {
		if !strings.Contains(strings.Join(rows, "\n"), p) {
			return false
		}
	}
	return true
}

// TestACallThatWaitsIsInEachViewOnce: first as one that waits, later with its response.
func TestACallThatWaitsIsInEachViewOnce(t *testing.T) {
	g := grow(t, 1<<20)
	l := g.follow(FollowOptions{})
	g.call(80, false)
	until(t, l, "calls", func(rows []string) bool {
		return has(rows, 1, " protocol=http1", " path=/wait", " error=cut", " outcome=cut")
	})
	until(t, l, "flows", func(rows []string) bool { return has(rows, 1, "close_reason=end_of_capture") })
	g.call(80, true)
	until(t, l, "calls", func(rows []string) bool { return has(rows, 1, " status_code=503", " error=<nil>") })
	until(t, l, "flows", func(rows []string) bool { return has(rows, 1) })
}

// TestAViewHasItsRange: a call is in a view if its request is in the range, however the cuts and the large sets lie, and
// also if its response came much later. Nothing else in it is older, and its counts are those of its rows.
func TestAViewHasItsRange(t *testing.T) {
	g := grow(t, 64<<10)
	const calls, apart, slow = 240, 500 * time.Millisecond, 25 * time.Second
	now := time.Now().Round(0) // the clock of the packets, which may drift from the monotonic one
	type event struct {
		at       time.Time
		conn     int
		response bool
	}
	var events []event
	begun := map[string]time.Time{} // by path
	for i := range calls {
		at, took := now.Add(time.Duration(i-calls)*apart), 2*time.Millisecond
		if i%7 == 0 {
			took = slow
		}
		begun[fmt.Sprintf("/call/%03d", i)] = at
		if events = append(events, event{at, i, false}); at.Add(took).Before(now) {
			events = append(events, event{at.Add(took), i, true})
		}
	}
	slices.SortFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for _, e := range events {
		g.at = e.at
		g.say(e.conn, 80, fmt.Appendf(nil, "GET /call/%03d HTTP/1.1\r\nHost: shop\r\n\r\n", e.conn), e.response)
	}
	if err := g.w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := follows(t, g.dir, 23)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	for _, last := range []time.Duration{time.Second, 20 * time.Second, 30 * time.Second, 59 * time.Second, 75 * time.Second, 100 * time.Second, time.Hour} {
		last += l.Last().At.Sub(now) // what this machine took
		v, err := l.View(t.Context(), last, nil)
		if err != nil {
			t.Fatal(last, err)
		}
		from := l.Last().At.Add(-last)
		rows := rowsOf(t, v.Bundle)
		counted := map[string]int64{}
		for _, x := range v.Bundle.Manifest.Tables {
			counted[x.Name] += x.Rows
		}
		all := map[string]int64{}
		for name, list := range rows {
			table, _, _ := strings.Cut(name, "/")
			all[table] += int64(len(list))
			column := map[string]string{"calls": " ts_ns=", "packets": " ts_ns=", "tcp_events": " ts_ns=", "flows": " last_ns=", "connections": " last_ns="}[table]
			for _, row := range list {
				if column == "" {
					break
				}
				_, rest, _ := strings.Cut(" "+row, column)
				text, _, _ := strings.Cut(rest, " ")
				if ns, err := strconv.ParseInt(text, 10, 64); err != nil || ns < from.UnixNano() {
					t.Errorf("%s: %s has a row %s before the range: %.300s", last, table, from.Sub(time.Unix(0, ns)), row)
				}
			}
		}
		for table, n := range all {
			if table != "bodies" && counted[table] != n { // equal bodies of several sets are one
				t.Errorf("%s: %s has %d rows, the manifest says %d", last, table, n, counted[table])
			}
		}
		text := strings.Join(slices.Concat(slices.Collect(maps.Values(rows))...), "\n")
		for path, at := range begun {
			if n := strings.Count(text, " path="+path+" "); (n == 1) != !at.Before(from) || n > 1 {
				t.Errorf("%s: %s, %s after the begin of the range, is there %d times", last, path, at.Sub(from), n)
			}
		}
		m := v.Bundle.Manifest
		if m.Accounts.Packets != all["packets"] || m.Calls["http1"] != all["calls"] || m.Window.FirstNs == nil || int64(*m.Window.FirstNs) < from.UnixNano() && last < time.Hour {
			t.Errorf("%s: %d packets, %v calls, window %v; there are %d and %d", last, m.Accounts.Packets, m.Calls, m.Window, all["packets"], all["calls"])
		}
	}
}

// TestALiveRunIsBuiltAgain checks that another run has what the ring has, that the folder vanishes, and
// that a run removes the folder of one that was killed.
func TestALiveRunIsBuiltAgain(t *testing.T) {
	g := grow(t, 1<<20)
	temp := t.TempDir()
	killed := filepath.Join(temp, livePrefix+"killed")
	if err := os.MkdirAll(filepath.Join(killed, "sets"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := g.follow(FollowOptions{Temp: temp})
	if runtime.GOOS == "linux" {
		if _, err := os.Stat(killed); err == nil {
			t.Error("the folder of a killed program stays")
		}
	}
	g.call(80, false)
	g.call(80, true)
	done := func(rows []string) bool { return has(rows, 1, " status_code=503") }
	until(t, l, "calls", done)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(temp); err != nil || runtime.GOOS == "linux" && len(list) > 0 {
		t.Errorf("%v is left, %v", list, err)
	}
	until(t, g.follow(FollowOptions{}), "calls", done)
}

// TestSegmentsRemovedBeforeTheyWereRead checks that they are a coverage gap.
func TestSegmentsRemovedBeforeTheyWereRead(t *testing.T) {
	dir := ringOf(t, "http1.pcapng", "", 40)
	list, err := filepath.Glob(filepath.Join(dir, "*.pcapng"))
	if err != nil || len(list) < 4 {
		t.Fatal(list, err)
	}
	if err := os.Remove(list[1]); err != nil {
		t.Fatal(err)
	}
	v, err := follows(t, dir, 10).View(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Join(rowsOf(t, v.Bundle)["coverage/coverage"], "\n")
	if !strings.Contains(rows, "reason=retention") || !strings.Contains(rows, "1 segment was removed by retention before the live run read them") {
		t.Error(rows)
	}
}

// TestALiveBundleIsBounded sends much more than a bundle may keep.
func TestALiveBundleIsBounded(t *testing.T) {
	const most = 1 << 20
	g := grow(t, 8<<20)
	temp := t.TempDir()
	l := g.follow(FollowOptions{Temp: temp, Most: most, Every: 20 * time.Millisecond})
	noise := make([]byte, 1000)
	chance := rand.New(rand.NewPCG(1, 2))
	var heap uint64
	for i := range 6_000 {
		for k := range noise {
			noise[k] = byte(chance.Uint32())
		}
		text := fmt.Appendf(nil, "POST /x HTTP/1.1\r\nHost: shop\r\nX-Number: %d\r\nContent-Length: %d\r\n\r\n%s", i*7919, len(noise), noise)
		g.say(i, 80, text[:len(text)&^1], false)
		g.say(i, 80, text[:len(text)&^1], true)
		if i%500 == 0 {
			g.s.Flush()
			time.Sleep(100 * time.Millisecond)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = max(heap, m.HeapAlloc)
		}
	}
	idle := func() {
		g.s.Flush()
		for c := l.Last(); !c.Idle; c = l.Last() {
			if _, err := l.Wait(t.Context(), c.No); err != nil {
				t.Fatal(err)
			}
		}
	}
	idle()
	time.Sleep(100 * time.Millisecond)
	g.say(6_000, 80, []byte("GET /x HTTP/1.1\r\nHost: shop\r\n\r\n"), false) // the newest set stays, and a busy machine makes a large one
	idle()
	size := int64(0)
	err := filepath.WalkDir(filepath.Join(l.dir, "sets"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil // removed meanwhile
	})
	if err != nil || size > 4*most {
		t.Errorf("%d bytes are kept, the limit is %d; %v", size, most, err)
	}
	if heap > 400<<20 {
		t.Errorf("%d MiB of heap", heap>>20)
	}
	until(t, l, "coverage", func(rows []string) bool {
		return strings.Contains(strings.Join(rows, "\n"), "the live bundle keeps at most 1 MiB")
	})
}

// TestLagOfALiveRun: at a modest rate a call is shown within 3 seconds.
func TestLagOfALiveRun(t *testing.T) {
	g := grow(t, 1<<20)
	l := g.follow(FollowOptions{Every: time.Second})
	for i := range 3 {
		begin := time.Now()
		g.call(uint16(80+i), false)
		g.call(uint16(80+i), true)
		until(t, l, "calls", func(rows []string) bool { return len(rows) == i+1 })
		if lag := time.Since(begin); lag > 3*time.Second {
			t.Errorf("call %d is shown after %s", i, lag)
		}
	}
}

// TestPacketsOfALiveRun reads the packets of a view from the ring, while it is written and after
// segments were sealed, and says so when one is gone.
func TestPacketsOfALiveRun(t *testing.T) {
	g := grow(t, 1<<20)
	l := g.follow(FollowOptions{})
	g.call(80, false)
	until(t, l, "packets", func(rows []string) bool { return len(rows) == 4 })
	v, err := l.View(t.Context(), time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		in := &v.Bundle.Manifest.Inputs[0]
		f, err := v.Bundle.OpenInput(in)
		if err != nil {
			return err
		}
		defer f.Close()
		b := make([]byte, in.Size)
		if _, err := f.ReadAt(b, 0); err != nil {
			return err
		}
		if !bytes.Contains(b, request) {
			t.Error("another segment")
		}
		return nil
	}
	if err := read(); err != nil {
		t.Error(err)
	}
	if err := g.w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(g.dir, v.Bundle.Manifest.Inputs[0].Name)); err != nil {
		t.Fatal(err)
	}
	if err := read(); err == nil || !strings.Contains(err.Error(), "the ring has removed it") {
		t.Errorf("a segment that is gone: %v", err)
	}
	if _, err := bundle.Open(v.Path); err == nil {
		t.Error("a view opens as a finished bundle")
	}
}
