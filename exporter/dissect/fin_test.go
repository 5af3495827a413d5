package dissect

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

type endProbe struct {
	Stateless
	end, fin [2]bool
}

func (p *endProbe) Read(in *Input) (int, error) {
	p.end[in.Dir], p.fin[in.Dir] = in.End, in.Fin
	return len(in.Data), nil
}
func (*endProbe) Gap(*Input, int64) bool { return true }
func (*endProbe) Close(End)              {}

type probeRow struct{ table.Call }

type noSink struct{}

func (noSink) Call(Emission)                {}
func (noSink) Anomaly(*Conn, table.Anomaly) {}

func TestReadSeesHowADirectionEnded(t *testing.T) {
	probe := &endProbe{}
	p := &Protocol{Name: "probe", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{},
		Detect: func(Dir, []byte) Verdict { return Yes }, New: func(*Conn) Dissector { return probe }}
	e, err := NewEngine([]*Protocol{p}, nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	c.Data(ToServer, []byte("x"), Packet{})
	c.Data(ToClient, []byte("y"), Packet{No: 1})
	c.End(ToServer, Packet{No: 2})
	c.Close(EndReset, Packet{No: 3})
	if probe.end != [2]bool{true, true} || probe.fin != [2]bool{true, false} {
		t.Errorf("end %v, fin %v; want both ended, the server by the reset", probe.end, probe.fin)
	}
}

// turnsProbe lists what it reads.
type turnsProbe struct {
	Stateless
	got []string
}

func (p *turnsProbe) Read(in *Input) (int, error) {
	if p.got = append(p.got, string(in.Data)); in.End {
		p.got = append(p.got, ".")
	}
	return len(in.Data), nil
}
func (*turnsProbe) Gap(*Input, int64) bool { return true }
func (*turnsProbe) Close(End)              {}

// TestBytesThatWaitUntilTheEndAreReadInOrder has a protocol that is detected only when a side ends: detection had
// waited for more of its bytes.
func TestBytesThatWaitUntilTheEndAreReadInOrder(t *testing.T) {
	for _, first := range []Dir{ToServer, ToClient} {
		probe := &turnsProbe{}
		p := &Protocol{Name: "probe", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{}, New: func(*Conn) Dissector { return probe },
			Detect: func(_ Dir, head []byte) Verdict {
				if len(head) < 70 { // examined with 64 bytes, and next with 72
					return More
				}
				return Yes
			}}
		e, err := NewEngine([]*Protocol{p}, nil, noSink{}, true)
		if err != nil {
			t.Fatal(err)
		}
		c := e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		for i := range 140 {
			c.Data(Dir(i/70), []byte("ax"[i/70:i/70+1]), Packet{No: int64(i)})
		}
		c.End(first, Packet{No: 140})
		c.Close(EndFin, Packet{No: 141})
		if got := strings.Join(probe.got, ""); got != strings.Repeat("a", 70)+strings.Repeat("x", 70)+".." {
			t.Errorf("side %d ends first: read %q, want the request before its response, and the ends after both", first, got)
		}
	}
}
