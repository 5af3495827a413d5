package dissecttest

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Step is what one packet says of one stream of a connection such as QUIC's.
type Step struct {
	Stream   int64
	Dir      dissect.Dir
	Data     []byte
	Gap      int64 // bytes lost before Data
	Fin      bool  // the stream's direction ends after Data
	Reset    bool  // Dir gives its half up, with Code
	Stop     bool  // Dir does not want the other half, with Code
	Code     int64
	Datagram bool  // Data belongs to no stream
	Wait     int64 // ns between the packet before and this one, beside the usual microsecond
}

// lane is a direction of a stream in PlayStreams.
type lane struct {
	id    int64
	dir   dissect.Dir
	l     *dissect.StreamBuffer
	ended bool
	told  bool // was asked with End
	dead  bool // not read any more
}

// player is the connection that PlayStreams makes.
type player struct {
	t       testing.TB
	r       *Result
	inner   *dissect.Conn
	streams dissect.Streams
	lanes   map[[2]int64]*lane
	order   []*lane
	p       dissect.Packet
}

// PlayStreams runs a conversation on many streams through the protocol that an ALPN name
// chooses, as the connection that carries it would: each step is a packet; a stream that
// needs another one is asked again after that was read. code is the application's error
// code of the end, or -1. Result.Conn is the inner connection, which has the account.
func PlayStreams(t testing.TB, o Options, alpn string, code int64, steps ...Step) *Result {
	t.Helper()
	r := &Result{}
	e, err := dissect.NewEngine(o.Protocols, nil, r, true)
	if err != nil {
		t.Fatal(err)
	}
	outer := e.NewConn(dissect.Info{Transport: dissect.UDP, ClientPort: 40000, ServerPort: o.ServerPort,
		RolesKnown: true, ConnectUs: -1, IPVersion: o.IPVersion})
	inner, streams := outer.NewStreams("quic", alpn)
	if streams == nil {
		t.Fatalf("no protocol has the ALPN name %q", alpn)
	}
	r.Conn = inner
	pl := &player{t: t, r: r, inner: inner, streams: streams, lanes: map[[2]int64]*lane{},
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
	l := pl.lane(s.Stream, s.Dir)
	if s.Reset || s.Stop {
		pl.streams.ResetStream(s.Stream, s.Dir, s.Stop, s.Code, pl.p)
		if s.Reset && !l.ended && !l.dead {
			pl.fail(l, 0)
		}
		pl.again(nil)
		return
	}
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
		l.l.Skip(s.Gap)
		pl.again(l)
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
		pl.again(l)
	}
}

func (pl *player) lane(id int64, dir dissect.Dir) *lane {
	k := [2]int64{id, int64(dir)}
	if l := pl.lanes[k]; l != nil {
		return l
	}
	l := &lane{id: id, dir: dir, l: pl.inner.NewStreamBuffer(dir)}
	pl.lanes[k] = l
	pl.order = append(pl.order, l)
	return l
}

// fail gives a lane up with what it holds and n bytes more.
func (pl *player) fail(l *lane, n int64) {
	pl.inner.AnomalyBytes += int64(l.l.Len()) + n
	l.l.Close()
	l.dead = true
}

// read asks for what a lane holds until nothing more is taken; it reports whether
// anything was.
func (pl *player) read(l *lane) (took bool) {
	for !l.dead && (l.l.Len() > 0 || l.ended && !l.told) {
		in := l.l.Input()
		size := len(in.Data)
		n, err := pl.streams.ReadStream(l.id, in)
		if n < 0 || n > size {
			pl.t.Fatalf("stream %d: took %d of %d bytes", l.id, n, size)
		}
		for i := range in.Data[:n] { // a dissector that keeps Data is found out
			in.Data[i] = 0xDB
		}
		l.told = l.ended
		pl.inner.RowBytes += int64(n)
		l.l.Discard(n)
		if err != nil {
			pl.inner.Anomaly("malformed", err.Error(), int64(l.l.Len()))
			pl.fail(l, 0)
		}
		if n == 0 {
			return took
		}
		took = true
	}
	return took
}

// again asks all other lanes until none of them takes anything.
func (pl *player) again(but *lane) {
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

// close ends the connection: the one-way streams first, since others may wait for them.
func (pl *player) close(why dissect.End, code int64) {
	pl.p.No, pl.p.Time = pl.p.No+1, pl.p.Time+1000
	for _, oneWay := range []bool{true, false} {
		for _, l := range pl.order {
			if (l.id&2 != 0) != oneWay || l.dead || l.ended && l.told && l.l.Len() == 0 {
				continue
			}
			l.ended, l.told = true, false
			l.l.End(false, pl.p)
			pl.read(l)
		}
	}
	for _, l := range pl.order {
		if !l.dead && l.l.Len() > 0 {
			pl.inner.Anomaly("unfinished", "bytes that the connection's end cut short", int64(l.l.Len()))
			pl.fail(l, 0)
		}
		l.l.Close()
	}
	pl.streams.Close(why, code)
	pl.inner.Close(why, pl.p)
}
