package all

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestOneForgedDatagramHidesNoOthers plays each recorded conversation after the first datagram of another protocol: of
// each that is recorded, and of QUIC, whose headers anyone can write. All rows are there, or an anomaly says what is not.
func TestOneForgedDatagramHidesNoOthers(t *testing.T) {
	forged := map[string][]byte{"quic": slices.Concat([]byte("\xc3\x00\x00\x00\x01\x08forged!!\x00\x00\x44\x00"), bytes.Repeat([]byte("no hello"), 128))}
	all := map[string][]*talk{}
	for _, file := range slices.Sorted(maps.Keys(samples)) {
		for _, k := range datagrams(t, file) {
			if p := samples[file]; k.kind == dissect.UDP && !k.group && inDatagrams[p] && len(k.chunks) > 0 {
				if p != "ntp" { // its rows show times of capture
					all[p] = append(all[p], k)
				}
				if forged[p] == nil {
					forged[p] = k.chunks[0].Data
				}
			}
		}
	}
	if len(all) < 8 {
		t.Errorf("conversations of only %d protocols were played", len(all))
	}
	for protocol, list := range all {
		for _, k := range list[:min(len(list), 4)] {
			for _, ports := range [][2]uint16{{0, k.port}, {0, 40_000}, {443, k.port}, {443, 40_000}, {0, 443}, {1194, k.port}} {
				o := dissecttest.Options{Protocols: Protocols(nil), Transport: dissect.UDP, ClientPort: ports[0], ServerPort: ports[1], End: dissect.EndTimeout}
				want := rowsOfProtocol(dissecttest.Play(t, o, k.chunks...), protocol)
				for by, first := range forged {
					if by == protocol {
						continue
					}
					r := dissecttest.Play(t, o, append([]dissecttest.Chunk{{Data: first}}, k.chunks...)...)
					if got := rowsOfProtocol(r, protocol); !contains(got, want) && (doubtful[by] || len(r.Anomalies) == 0) {
						t.Errorf("%s on ports %d after a datagram of %s: rows %q, want %q", k.name, ports, by, got, want)
					}
				}
			}
		}
	}
}

// doubtful are the protocols whose datagrams may be anything, and that doubt until a server answered.
var doubtful = map[string]bool{"quic": true, "openvpn": true}

// rowsOfProtocol are the rows of a protocol.
func rowsOfProtocol(r *dissecttest.Result, protocol string) (list []string) {
	for _, row := range r.Rows() {
		if b := row.Base(); b.Protocol == protocol {
			list = append(list, fmt.Sprintf("%s %s %d %d", strings.TrimSpace(b.Summary), b.Outcome, b.RequestBytes, b.ResponseBytes))
		}
	}
	slices.Sort(list)
	return list
}

// contains reports whether all rows are among others.
func contains(others, rows []string) bool {
	return !slices.ContainsFunc(rows, func(row string) bool { return !slices.Contains(others, row) })
}
