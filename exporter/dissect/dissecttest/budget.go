package dissecttest

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// noted is a Sink that only counts.
type noted struct{ calls, evicted int }

func (s *noted) Call(e dissect.Emission) {
	s.calls++
	for _, b := range [...]*dissect.Body{e.ReqBody, e.RespBody} {
		if b != nil {
			b.Release()
		}
	}
}

func (s *noted) Anomaly(_ *dissect.Conn, a table.Anomaly) {
	if a.Kind == "evicted" {
		s.evicted++
	}
}

// heap is the memory in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Flood is the traffic of each of many connections. Part returns piece i of connection c; an
// empty piece ends the conversation, but not the connection.
type Flood struct {
	Name  string
	Kind  dissect.Transport
	Port  uint16
	Conns int
	Parts int
	Part  func(c, i int) Chunk
}

// StayInBudget sends a flood to an engine. The connections' memory must be charged, within the
// accuracy of an estimate, and must stay within the engine's budget.
func StayInBudget(t *testing.T, protocols []*dissect.Protocol, f Flood) {
	t.Helper()
	const budget, idle = 4 << 20, 4 << 10
	sink := &noted{}
	e, err := dissect.NewEngine(protocols, nil, sink, true)
	if err != nil {
		t.Fatal(err)
	}
	e.SetBudget(budget)
	// heap collects itself. Between its calls, the collector need not look at the same state often.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	before := heap()
	conns := make([]*dissect.Conn, f.Conns)
	for i := range conns {
		conns[i] = e.NewConn(dissect.Info{Transport: f.Kind, ClientPort: uint16(20000 + i), ServerPort: f.Port, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1, IPVersion: 4})
	}
	most, no, sent := int64(0), int64(0), int64(0)
	var acks = make([][2]uint32, f.Conns)
	for i := range f.Parts {
		for c := range conns {
			p := f.Part(c, i)
			if len(p.Data) == 0 {
				continue
			}
			no += 2 // so that no two packets of a connection are adjacent
			at := dissect.Packet{No: no, Time: no * 1000, Seq: acks[c][p.Dir], Ack: acks[c][p.Dir.Other()]}
			acks[c][p.Dir] += uint32(len(p.Data))
			sent += int64(len(p.Data))
			if f.Kind == dissect.TCP {
				conns[c].Data(p.Dir, p.Data, at)
			} else {
				conns[c].Datagram(p.Dir, p.Data, at)
			}
			if e.Held() > budget {
				t.Fatalf("%d bytes held after piece %d, the budget is %d", e.Held(), i, budget)
			}
		}
		if i == f.Parts/2 || i == f.Parts-1 {
			used, held := heap()-before, int64(e.Held())
			if most = max(most, used); used > held*3/2+int64(f.Conns*idle)+256<<10 {
				t.Errorf("%d bytes of memory in use after piece %d of %d, %d are charged", used, i, f.Parts, held)
				break
			}
		}
	}
	for _, c := range conns {
		c.Close(dissect.EndCapture, dissect.Packet{No: no, Time: no * 1000})
	}
	settled := int64(0)
	for _, c := range conns {
		settled += c.RowBytes + c.AnomalyBytes
	}
	if settled != sent {
		t.Errorf("%d bytes sent, %d are in rows or anomalies", sent, settled)
	}
	if e.Held() != 0 {
		t.Errorf("%d bytes held after the end", e.Held())
	}
	t.Logf("%d KiB sent, at most %d KiB in use; %d rows, %d connections gave something up", sent>>10, most>>10, sink.calls, sink.evicted)
}
