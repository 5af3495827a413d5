package all

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// binding is a message of STUN: a request for an address, or its response.
func binding(kind uint16, no int) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, 0x2112A442)
	return append(binary.BigEndian.AppendUint64(b, 1), 0, 0, byte(no>>8), byte(no))
}

// TestSTUNBesideOthers plays the recorded conversations with a request of STUN before every datagram, by
// either side, and its response behind it. The rows of the other protocol must not change, whichever of both
// comes first, and no message of STUN may be lost.
func TestSTUNBesideOthers(t *testing.T) {
	played := map[string]int{}
	for file, protocol := range samples {
		if !inDatagrams[protocol] || protocol == "stun" || protocol == "sctp" || protocol == "ntp" { // rows of ntp show times
			continue
		}
		for _, k := range datagrams(t, file) {
			if k.kind != dissect.UDP || k.group {
				continue
			}
			o := dissecttest.Options{Protocols: Protocols(nil), Transport: dissect.UDP, ServerPort: k.port, End: dissect.EndTimeout}
			want, _ := besideRows(dissecttest.Play(t, o, k.chunks...))
			for _, first := range []bool{true, false} {
				var mixed []dissecttest.Chunk
				for i, c := range k.chunks {
					asker := dissect.Dir(i % 2)
					if i > 0 || first {
						mixed = append(mixed, dissecttest.Chunk{Dir: asker, Data: binding(0x0001, i)})
					}
					mixed = append(mixed, c)
					if i > 0 || first {
						mixed = append(mixed, dissecttest.Chunk{Dir: asker.Other(), Data: binding(0x0101, i)})
					}
				}
				r := dissecttest.Play(t, o, mixed...)
				got, bindings := besideRows(r)
				if !slices.Equal(got, want) {
					t.Errorf("%s: with STUN\n%q\nwithout\n%q", k.name, got, want)
				}
				if n := (len(mixed) - len(k.chunks)) / 2; bindings != n {
					t.Errorf("%s: %d rows of STUN, want %d", k.name, bindings, n)
				}
			}
			played[protocol]++
		}
	}
	if len(played) < 8 {
		t.Errorf("conversations of only %v were played", played)
	}
}

// besideRows are the rows of other protocols, and the number of complete ones of STUN.
func besideRows(r *dissecttest.Result) (others []string, bindings int) {
	for _, row := range r.Rows() {
		switch b := row.Base(); {
		case b.Protocol != "stun":
			others = append(others, fmt.Sprintf("%s %s %s %d %d", b.Protocol, b.Summary, b.Outcome, b.RequestBytes, b.ResponseBytes))
		case b.Complete:
			bindings++
		}
	}
	slices.Sort(others)
	return others, bindings
}
