package derive_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
)

// hepMessage is a HEP3 message with the key of its probe, a correlation id and the payload of a TCP conversation.
func hepMessage(answer bool, payload string) []byte {
	ends, ports := []string{"\x0a\x01\x00\x01", "\x0a\x02\x00\x02"}, []string{"\x9c\x40", "\x00\x50"}
	if answer {
		ends[0], ends[1], ports[0], ports[1] = ends[1], ends[0], ports[1], ports[0]
	}
	b := []byte("HEP3\x00\x00")
	for _, c := range []struct {
		kind  uint16
		value string
	}{{1, "\x02"}, {2, "\x06"}, {3, ends[0]}, {4, ends[1]}, {7, ports[0]}, {8, ports[1]}, {9, "\x65\x53\xf1\x00"}, {10, "\x00\x00\x00\x01"},
		{14, "key of the probe"}, {15, payload}, {17, "call-77@pbx.example"}} {
		b = binary.BigEndian.AppendUint16(b, 0)
		b = binary.BigEndian.AppendUint16(b, c.kind)
		b = append(binary.BigEndian.AppendUint16(b, uint16(6+len(c.value))), c.value...)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// A message of HEP has values around its payload that no table shows.
func TestValuesAroundThePayloadOfHEP(t *testing.T) {
	const secret = "s3cr3tKzq7Wv7abTQ9"
	s := newScene(t)
	probe, collector := [4]byte{192, 0, 2, 1}, [4]byte{192, 0, 2, 2}
	s.udp(probe, collector, 9060, 9060, hepMessage(false, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "+secret+"\r\n\r\n"))
	s.udp(probe, collector, 9060, 9060, hepMessage(true, "HTTP/1.1 204 No Content\r\n\r\n"))
	b := bundleOf(t, s.save())
	d, r := redacted(t, b, policy)
	data, err := os.ReadFile(d.Path(d.Manifest.Inputs[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{secret, "key of the probe", "call-77@pbx.example"} {
		if bytes.Contains(data, []byte(gone)) {
			t.Errorf("%q is left", gone)
		}
	}
	if r.Derived.Rules["encapsulation"] != 2 {
		t.Errorf("rules %v", r.Derived.Rules)
	}
	samePackets(t, b, d, 2)
	dec := decode.New(decode.Options{})
	for _, p := range packetsOf(t, d) {
		var f decode.Frame
		sums := 0
		dec.OnSum = func(s decode.Sum) { sums++ }
		dec.Decode(decode.Input{LinkType: p.LinkType, Data: p.Data, OrigLen: p.OrigLen}, &f)
		if sums != 1 || f.Problems != 0 || !f.PDU {
			t.Errorf("%d checksums, %v", sums, f.Problems)
		}
	}
}
