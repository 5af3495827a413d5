package dissect

import (
	"bytes"
	"strings"
	"testing"
)

// lineProbe reads whole lines and records them; "up" requests an upgrade.
type lineProbe struct {
	Stateless
	c      *Conn
	out    *[]string
	losses int
}

// Resync implements Dissector.
func (p *lineProbe) Resync(Dir, Loss) { p.losses++ }

func (p *lineProbe) Read(in *Input) (int, error) {
	i := bytes.IndexByte(in.Data, '\n')
	if i < 0 {
		return 0, nil
	}
	*p.out = append(*p.out, in.Dir.String()+" "+string(in.Data[:i]))
	if string(in.Data[:i]) == "YES up" {
		p.c.Upgrade("", nil)
	}
	return i + 1, nil
}
func (*lineProbe) Gap(*Input, int64) bool { return false }
func (*lineProbe) Close(End)              {}

func lineConn(t *testing.T) (c *Conn, out *[]string) {
	out = new([]string)
	p := &Protocol{Name: "line", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{},
		Detect: func(_ Dir, b []byte) Verdict {
			if bytes.HasPrefix(b, []byte("YES")) {
				return Yes
			}
			return No
		},
		New: func(c *Conn) Dissector { return &lineProbe{c: c, out: out} }}
	e, err := NewEngine([]*Protocol{p}, nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	return e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1}), out
}

func TestRequestIsReadBeforeTheResponseThatIdentifiedTheProtocol(t *testing.T) {
	c, out := lineConn(t)
	c.Data(ToServer, []byte("odd request\n"), Packet{})
	c.Data(ToClient, []byte("YES answer\n"), Packet{No: 1})
	if got, want := strings.Join(*out, ", "), "to_server odd request, to_client YES answer"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	c.Close(EndFin, Packet{No: 2})
}

// A call may begin between two gaps, before the direction is in step again.
func TestEachGapIsTold(t *testing.T) {
	c, out := lineConn(t)
	c.Data(ToClient, []byte("YES answer\n"), Packet{})
	c.Gap(ToClient, 10, Packet{No: 1})
	c.Data(ToServer, []byte("YES request\n"), Packet{No: 2})
	c.Gap(ToClient, 10, Packet{No: 3})
	if n := c.d.(*lineProbe).losses; n != 2 {
		t.Errorf("the dissector heard of %d losses after %q, want 2", n, *out)
	}
	c.Close(EndFin, Packet{No: 4})
}

// The response to a call that began after a gap may be in a segment that is skipped.
func TestSkippedSegmentIsTold(t *testing.T) {
	c, out := lineConn(t)
	c.Data(ToClient, []byte("YES answer\n"), Packet{})
	c.Gap(ToClient, 10, Packet{No: 1})
	for i, n := range []int{1, 2, 2, 3} { // no request comes before the third segment
		if i != 2 {
			c.Data(ToServer, []byte("YES request\n"), Packet{No: int64(2 + 2*i)})
		}
		c.Data(ToClient, []byte("the rest of an answer\n"), Packet{No: int64(3 + 2*i)})
		if got := c.d.(*lineProbe).losses; got != n+1 {
			t.Errorf("after segment %d the dissector heard of %d losses after %q, want %d", i, got, *out, n+1)
		}
	}
	c.Close(EndFin, Packet{No: 20})
}

func TestRestOfAnEarlierMessageDoesNotHideTheNext(t *testing.T) {
	c, out := lineConn(t)
	c.Data(ToServer, []byte("rest of a body"), Packet{})
	c.Data(ToServer, []byte("YES request\n"), Packet{No: 1})
	c.Close(EndFin, Packet{No: 2})
	if got, want := strings.Join(*out, ", "), "to_server YES request"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	if c.RowBytes != 26 || c.AnomalyBytes != 0 {
		t.Errorf("%d bytes in rows and %d in anomalies, want 26 and 0", c.RowBytes, c.AnomalyBytes)
	}
}

func TestShortGreetingDoesNotHideTheRequest(t *testing.T) {
	out := new([]string)
	p := &Protocol{Name: "line", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{},
		Detect: func(_ Dir, b []byte) Verdict {
			if bytes.HasPrefix(b, []byte("YES")) {
				return Yes
			}
			return map[bool]Verdict{true: More}[len(b) < 10]
		},
		New: func(c *Conn) Dissector { return &lineProbe{c: c, out: out} }}
	e, err := NewEngine([]*Protocol{p}, nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	c.Data(ToServer, []byte("hello"), Packet{})
	c.Data(ToClient, []byte("granted, go on"), Packet{No: 1})
	c.Data(ToServer, []byte("YES request\n"), Packet{No: 2})
	c.Data(ToClient, []byte("YES answer\n"), Packet{No: 3})
	c.Close(EndFin, Packet{No: 4})
	if got, want := strings.Join(*out, ", "), "to_server YES request, to_client YES answer"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	if got := c.RowBytes + c.AnomalyBytes; got != 42 {
		t.Errorf("%d bytes accounted for, want 42", got)
	}
}

func TestProxyGreetingDoesNotHideTheRequest(t *testing.T) {
	c, out := lineConn(t)
	c.Data(ToServer, []byte("\x04\x01greeting"), Packet{})
	c.Data(ToClient, []byte("\x00\x5agranted"), Packet{No: 1})
	c.Data(ToServer, []byte("YES request\n"), Packet{No: 2})
	c.Data(ToClient, []byte("YES answer\n"), Packet{No: 3})
	c.Close(EndFin, Packet{No: 4})
	if got, want := strings.Join(*out, ", "), "to_server YES request, to_client YES answer"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	if c.RowBytes+c.AnomalyBytes != 42 {
		t.Errorf("%d bytes accounted for, want 42", c.RowBytes+c.AnomalyBytes)
	}
}

func TestKeepAliveByteAtTheStartDoesNotHideTheRequest(t *testing.T) {
	out := new([]string)
	p := &Protocol{Name: "line", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{},
		Detect: func(_ Dir, b []byte) Verdict {
			if len(b) == 1 {
				return More
			}
			return map[bool]Verdict{true: Yes}[bytes.HasPrefix(b, []byte("YES"))]
		},
		New: func(c *Conn) Dissector { return &lineProbe{c: c, out: out} }}
	e, err := NewEngine([]*Protocol{p}, nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(Info{ConnectUs: -1})
	c.Data(ToServer, []byte("\x00"), Packet{})
	c.Data(ToServer, []byte("YES request\n"), Packet{No: 1})
	c.Data(ToClient, []byte("YES answer\n"), Packet{No: 2})
	c.Close(EndFin, Packet{No: 3})
	if got, want := strings.Join(*out, ", "), "to_server YES request, to_client YES answer"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

func TestBytesAfterALateUpgradeAreCounted(t *testing.T) {
	c, _ := lineConn(t)
	c.Data(ToClient, []byte("YES"), Packet{})
	c.Data(ToServer, []byte("half a line"), Packet{No: 1})
	c.Data(ToClient, []byte(" up\n"), Packet{No: 2})
	c.Close(EndFin, Packet{No: 3})
	if got := c.RowBytes + c.AnomalyBytes; got != 18 {
		t.Errorf("%d bytes accounted for, want 18", got)
	}
}

func TestWholeSegmentCostsNoAllocation(t *testing.T) {
	p := &Protocol{Name: "probe", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{},
		Detect: func(Dir, []byte) Verdict { return Yes }, New: func(*Conn) Dissector { return &endProbe{} }}
	e, err := NewEngine([]*Protocol{p}, nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	data := []byte("segment")
	if n := testing.AllocsPerRun(100, func() { c.Data(ToServer, data, Packet{}) }); n != 0 {
		t.Errorf("%v allocations a segment, want 0", n)
	}
}

// TestMessageInSmallSegmentsIsReadAfterALoss has messages in segments too short for Detect to accept the first one alone.
func TestMessageInSmallSegmentsIsReadAfterALoss(t *testing.T) {
	for _, tt := range []struct {
		name  string
		parts []string // segments after the loss
		want  string
	}{
		{"two segments", []string{"YE", "S a\n"}, "YES a"},
		{"one byte each", []string{"Y", "E", "S", " ", "a", "\n"}, "YES a"},
		{"after the end of a message", []string{"end\n", "Y", "ES a\n"}, "YES a"},
		{"after what may be one", []string{"YE", "llow\n", "YE", "S a\n"}, "YES a"},
		{"after what may be one, in one segment", []string{"YE", "YES a\n"}, "YES a"},
		{"a gap between them", []string{"YE", "", "S a\n", "YES b\n"}, "YES b"},
		{"more of the gap is known later", []string{"YE", "+", "S a\n", "YES b\n"}, "YES b"},
		{"the end", []string{"YE"}, ""},
	} {
		out := new([]string)
		p := &Protocol{Name: "line", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{},
			Detect: func(_ Dir, b []byte) Verdict {
				switch {
				case bytes.HasPrefix(b, []byte("YES")):
					return Yes
				case bytes.HasPrefix([]byte("YES"), b):
					return More
				}
				return No
			},
			New: func(c *Conn) Dissector { return &lineProbe{c: c, out: out} }}
		e, err := NewEngine([]*Protocol{p}, nil, noSink{}, true)
		if err != nil {
			t.Fatal(err)
		}
		c := e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		c.Data(ToServer, []byte("YES first\n"), Packet{})
		c.Gap(ToServer, 10, Packet{No: 1})
		sent := int64(len("YES first\n"))
		for i, part := range tt.parts {
			at := Packet{No: int64(2 + i)}
			switch part {
			case "":
				c.Gap(ToServer, 5, at)
			case "+":
				c.GapGrows(ToServer, 5, at)
			default:
				c.Data(ToServer, []byte(part), at)
				sent += int64(len(part))
			}
		}
		c.Close(EndFin, Packet{No: 20})
		if got := strings.TrimPrefix(strings.TrimPrefix(strings.Join(*out, ", "), "to_server YES first"), ", to_server "); got != tt.want {
			t.Errorf("%s: read %q, want %q", tt.name, got, tt.want)
		}
		if got := c.RowBytes + c.AnomalyBytes; got != sent {
			t.Errorf("%s: %d bytes accounted for, want %d", tt.name, got, sent)
		}
	}
}
