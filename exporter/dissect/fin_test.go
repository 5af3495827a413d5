package dissect

import (
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
