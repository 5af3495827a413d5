package dns

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestBinaryNames reads names with any bytes in a label, as DNS tunnels send them (RFC 2181
// section 11). In unicast DNS, two bytes that happen to be UTF-8 are not text.
func TestBinaryNames(t *testing.T) {
	label := "a.\xc3\xa4\xff\x00\\ Z"
	question := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + string(rune(len(label))) + label + "\x01t\x00\x00\x0a\x00\x01"
	answer := "\x12\x34\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + question[12:] + "\xc0\x0c\x00\x0a\x00\x01\x00\x00\x00\x00\x00\x03\x01\x02\xff"
	for _, tc := range []struct {
		port uint16
		want string
	}{
		{53, `a\.\195\164\255\000\\ Z.t`},
		{4444, `a\.\195\164\255\000\\ Z.t`},
		{portLLMNR, `a\.ä\255\000\\ Z.t`},
	} {
		r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.UDP, ServerPort: tc.port, Protocols: []*dissect.Protocol{Protocol()}, End: dissect.EndTimeout},
			dissecttest.Client(question), dissecttest.Server(answer))
		row := r.Rows()[0].(*Row)
		if row.Questions[0] != tc.want || len(r.Anomalies) > 0 {
			t.Errorf("port %d: %s, want %s; %v", tc.port, row.Questions[0], tc.want, r.Anomalies)
		}
	}
}

// TestPaddingOfTypeZero reads a query on a port that DNS does not use, whose options have type and class 0 instead of
// those of OPT.
func TestPaddingOfTypeZero(t *testing.T) {
	question := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" + "\x01t\x00\x00\x10\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x0c\x00\x02\x00\x00"
	answer := "\x12\x34\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00" + "\x01t\x00\x00\x10\x00\x01" + "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x00\x00\x02\x01x"
	r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.UDP, ServerPort: 443, Protocols: []*dissect.Protocol{Protocol()}, End: dissect.EndTimeout},
		dissecttest.Client(question), dissecttest.Server(answer))
	if rows := r.Rows(); len(rows) != 1 || !rows[0].Base().Complete || rows[0].(*Row).Questions[0] != "t" {
		t.Errorf("%d rows, want one complete call that asks for t", len(rows))
	}
}
