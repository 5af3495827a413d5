package media

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

func TestFind(t *testing.T) {
	all := dissect.NewIDNames(10)
	Put(all, Offer{"2001:DB8:0::1", 4000, 96, "opus/48000/2", "call"})
	Put(all, Offer{"192.0.2.1", 0, 8, "PCMA/8000", "refused"})
	for _, c := range []struct {
		address string
		port    int32
		kind    int64
		want    string
	}{{"2001:db8::1", 4000, 96, "call"}, {"", 4000, 96, "call"}, {"2001:db8::2", 4000, 96, ""}, {"", 4000, 97, ""}, {"192.0.2.1", 0, 8, ""}} {
		if o, ok := Find(all, c.address, c.port, c.kind); o.Call != c.want || ok != (c.want != "") {
			t.Errorf("%s:%d %d: %+v", c.address, c.port, c.kind, o)
		}
	}
}

func TestRate(t *testing.T) {
	for format, want := range map[string]int64{"opus/48000/2": 48000, Format(8): 8000, "x": 0, "a/b": 0, "a/99999999999": 0, "": 0} {
		if got := Rate(format); got != want {
			t.Errorf("%q: %d, want %d", format, got, want)
		}
	}
}
