package dissecttest

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Step is one packet's data for one stream of a connection such as QUIC's.
type Step struct {
	Stream   int64
	Dir      dissect.Dir
	Data     []byte
	Gap      int64 // bytes lost before Data
	Fin      bool  // the stream's direction ends after Data
	Reset    bool  // Dir gives up its half, with Code
	Stop     bool  // Dir refuses the other half, with Code
	Code     int64
	Datagram bool  // Data belongs to no stream
	Wait     int64 // ns between the previous packet and this one, in addition to the usual microsecond
}

// streamDir is one direction of a stream in PlayStreams.
type streamDir struct {
	id      int64
	dir     dissect.Dir
	l       *dissect.StreamBuffer
	ended   bool
	endSeen bool // ReadStream was called with End
	dead    bool // no longer read
}

// player is the connection of PlayStreams.
type player struct {
	t       testing.TB
	r       *Result
	inner   *dissect.Conn
	streams dissect.Streams
	dirs    map[[2]int64]*streamDir
	order   []*streamDir
	p       dissect.Packet
}

// PlayStreams runs a conversation on many streams through the protocol that an ALPN name
// selects, like the connection that carries it: each step is a packet, and a stream that needs
// another one is read again after that. code is the application's error code at the end, or -1.
// Result.Conn is the inner connection, which has the byte counts.
func PlayStreams(t testing.TB, o Options, alpn string, code int64, steps ...Step) *Result {
	t.Helper()
	r := &Result{}
	e, err := dissect.NewEngine(o.Protocols, nil, r, true)
	if err != nil {
		t.Fatal(err)
	}
	outer := e.NewConn(dissect.Info{Transport: dissect.UDP, ClientPort: 40000, ServerPort: o.ServerPort,
		RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1, IPVersion: o.IPVersion})
	inner, streams := outer.NewStreams("quic", alpn)
	if streams == nil {
		t.Fatalf("no protocol has the ALPN name %q", alpn)
	}
	r.Conn = inner
	pl := &player{t: t, r: r, inner: inner, streams: streams, dirs: map[[2]int64]*streamDir{},
		p: dissect.Packet{No: -1, Time: 1_700_000_000_000_000_000}}
	for _, s := range steps {
		pl.p = dissect.Packet{No: pl.p.No + 1, Time: pl.p.Time + 1000 + s.Wait}
		pl.step(s)
	}
	pl.close(o.End, code)
	outer.Close(o.End, pl.p)
	r.Held = e.Held()
	return r
}

func (pl *player) step(s Step) {
	if s.Datagram {
		l := pl.inner.NewStreamBuffer(s.Dir)
		if l.Add(s.Data, pl.p) {
			pl.streams.ReadDatagram(l.Input())
		}
		pl.r.Bytes += int64(len(s.Data))
		pl.inner.RowBytes += int64(len(s.Data))
		l.Close()
		return
	}
	if s.Reset || s.Stop {
		pl.streams.ResetStream(s.Stream, s.Dir, s.Stop, s.Code, pl.p)
		if s.Reset { // who stops the other half need not have one
			if l := pl.streamDir(s.Stream, s.Dir); !l.ended && !l.dead {
				pl.fail(l, 0)
			}
		}
		pl.readOthers(nil)
		return
	}
	l := pl.streamDir(s.Stream, s.Dir)
	if l.ended {
		return
	}
	if s.Gap > 0 {
		if !l.dead {
			in, data := l.l.Input(), l.l.Len()
			if data == 0 {
				in = l.l.Borrow(nil, pl.p)
			}
			if pl.streams.GapStream(l.id, in, s.Gap) {
				pl.inner.RowBytes += int64(data)
			} else {
				pl.inner.AnomalyBytes += int64(data)
				l.dead = true
			}
		}
		l.l.Skip(s.Gap, false)
		pl.readOthers(l)
	}
	pl.r.Bytes += int64(len(s.Data))
	switch {
	case l.dead:
		pl.inner.AnomalyBytes += int64(len(s.Data))
	case len(s.Data) > 0 && !l.l.Add(s.Data, pl.p):
		pl.fail(l, int64(len(s.Data)))
	}
	if s.Fin {
		l.ended = true
		l.l.End(true, pl.p)
	}
	if pl.read(l) {
		pl.readOthers(l)
	}
}

func (pl *player) streamDir(id int64, dir dissect.Dir) *streamDir {
	k := [2]int64{id, int64(dir)}
	if l := pl.dirs[k]; l != nil {
		return l
	}
	l := &streamDir{id: id, dir: dir, l: pl.inner.NewStreamBuffer(dir)}
	pl.dirs[k] = l
	pl.order = append(pl.order, l)
	return l
}

// fail drops a direction with its unread bytes and n more.
func (pl *player) fail(l *streamDir, n int64) {
	pl.inner.AnomalyBytes += int64(l.l.Len()) + n
	l.l.Close()
	l.dead = true
}

// read offers the unread bytes of a direction until the reader consumes no more. It reports
// whether any were consumed.
func (pl *player) read(l *streamDir) (progress bool) {
	for !l.dead && (l.l.Len() > 0 || l.ended && !l.endSeen) {
		in := l.l.Input()
		size := len(in.Data)
		n, err := pl.streams.ReadStream(l.id, in)
		if n < 0 || n > size {
			pl.t.Fatalf("stream %d: took %d of %d bytes", l.id, n, size)
		}
		for i := range in.Data[:n] { // exposes a dissector that keeps Data
			in.Data[i] = 0xDB
		}
		l.endSeen = l.ended
		pl.inner.RowBytes += int64(n)
		l.l.Discard(n)
		if err != nil {
			pl.inner.Anomaly("malformed", err.Error(), int64(l.l.Len()))
			pl.fail(l, 0)
		}
		if n == 0 {
			return progress
		}
		progress = true
	}
	return progress
}

// readOthers offers the unread bytes of all other directions until none is consumed.
func (pl *player) readOthers(but *streamDir) {
	for more := true; more; {
		more = false
		for _, l := range pl.order {
			if l != but && l.l.Len() > 0 && pl.read(l) {
				more = true
			}
		}
		but = nil
	}
}

// close ends the connection: the unidirectional streams first, because others may wait for them.
func (pl *player) close(why dissect.End, code int64) {
	pl.p.No, pl.p.Time = pl.p.No+1, pl.p.Time+1000
	for _, oneWay := range []bool{true, false} {
		for _, l := range pl.order {
			if (l.id&2 != 0) != oneWay || l.dead || l.ended && l.endSeen && l.l.Len() == 0 {
				continue
			}
			l.ended, l.endSeen = true, false
			l.l.End(false, pl.p)
			pl.read(l)
		}
	}
	for _, l := range pl.order {
		if !l.dead && l.l.Len() > 0 {
			pl.inner.Anomaly("unfinished", "the end of the connection cut a message short", int64(l.l.Len()))
			pl.fail(l, 0)
		}
		l.l.Close()
	}
	pl.streams.Close(why, code)
	pl.inner.Close(why, pl.p)
}
