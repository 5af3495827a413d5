package all

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestMidwayOnAnyPort begins each recorded conversation at every packet, on the port that its
// protocol hints at and on another one, for which the first sender is assumed to be the client.
// The rows must be the same. Encrypted TLS records and SSH do not show their sender, so only the
// number of their rows must be the same. Encrypted messages of SMB, the watchdogs of Diameter, BGP and AMQP 1.0,
// whose two sides say the same, do not show it either. Nor does PUBLISH of MQTT show its sender or version: only other complete calls
// must be the same.
func TestMidwayOnAnyPort(t *testing.T) {
	const unknownPort = 50001
	for file, protocol := range samples {
		t.Run(file, func(t *testing.T) {
			protocols := Protocols(nil)
			i := slices.IndexFunc(protocols, func(p *dissect.Protocol) bool { return p.Name == protocol })
			hint := uint16(unknownPort)
			if ports := protocols[i].Ports; len(ports) > 0 {
				hint = ports[0]
			}
			for _, k := range talks(t, file) {
				chunks := k.inClear(protocol)
				for from := range chunks {
					rest := chunks[from:]
					o := dissecttest.Options{Protocols: Protocols(nil), ServerPort: hint, End: dissect.EndFin}
					want := dissecttest.Play(t, o, rest...)
					turned := rest[0].Dir == dissect.ToClient
					if turned {
						rest = turn(rest)
					}
					o.Protocols, o.ServerPort = Protocols(nil), unknownPort
					got := dissecttest.Play(t, o, rest...)
					a, b := knownRows(got), knownRows(want)
					if protocol == "mqtt" {
						a, b = slices.DeleteFunc(a, incomplete), slices.DeleteFunc(b, incomplete)
					}
					if !slices.Equal(a, b) && (protocol != "tls" && protocol != "ssh" || len(a) != len(b)) {
						t.Fatalf("%s from packet %d of %d:\n got %v\nwant %v", k.name, from, len(chunks), a, b)
					}
					if p := got.Conn.Protocol(); p != nil && !slices.Contains([]string{"tls", "ssh", "diameter", "bgp", "amqp1"}, p.Name) && !encryptedSMB(rest[0]) && got.Conn.Flipped() != turned {
						t.Errorf("%s from packet %d: flipped %v, want %v", k.name, from, got.Conn.Flipped(), turned)
					}
				}
			}
		})
	}
}

// encryptedSMB reports whether c begins with an encrypted message of SMB 3.
func encryptedSMB(c dissecttest.Chunk) bool {
	return len(c.Data) >= 8 && string(c.Data[4:8]) == "\xfdSMB"
}

func incomplete(row string) bool {
	return strings.Contains(row, "complete=false") || strings.HasPrefix(row, "mqtt PUBLISH")
}

func turn(in []dissecttest.Chunk) (out []dissecttest.Chunk) {
	for _, c := range in {
		c.Dir = c.Dir.Other()
		out = append(out, c)
	}
	return out
}

// knownRows renders the rows of a protocol from the first request on, without those of unknown
// payloads. They are sorted: of bytes that waited for detection, nothing says which side's came first.
func knownRows(r *dissecttest.Result) (out []string) {
	for _, e := range r.Emissions {
		b := e.Row.Base()
		if _, unknown := e.Row.(*dissect.Unknown); !unknown && b.Error.V != "no_request" {
			out = append(out, fmt.Sprintf("%s %s %s complete=%v cites=%v\n", b.Protocol, b.Summary, b.Error.V, b.Complete, b.Cites))
		}
	}
	slices.Sort(out)
	return out
}

// TestMidwayCallsAreTrue begins each recorded conversation at every packet, on the port that its protocol
// hints at and on another one, for which the first sender is assumed to be the client. Each complete call
// must be a call of the whole conversation, with the same request and the same response. A row of RTP
// counts what was captured of a stream, which has no mark of its beginning.
func TestMidwayCallsAreTrue(t *testing.T) {
	for file, protocol := range samples {
		t.Run(file, func(t *testing.T) {
			i := slices.IndexFunc(Protocols(nil), func(p *dissect.Protocol) bool { return p.Name == protocol })
			ports, seen := append([]uint16{50001}, Protocols(nil)[i].Ports...), 0
			for _, k := range conversations(t, file) {
				if k.kind == dissect.ICMP {
					continue
				}
				chunks := k.inClear(protocol)
				o := dissecttest.Options{Transport: k.kind, IPVersion: 4, Multicast: k.group, End: dissect.EndFin}
				for _, port := range ports[:min(2, len(ports))] {
					o.ServerPort, o.Protocols, o.Roles = port, Protocols(nil), k.kind == dissect.TCP
					whole := complete(dissecttest.Play(t, o, chunks...), 0)
					seen += len(whole)
					for from := range chunks {
						rest := chunks[from:]
						if o.Protocols, o.Roles = Protocols(nil), false; port == 50001 && rest[0].Dir == dissect.ToClient {
							rest = turn(rest)
						}
						for call, summary := range complete(dissecttest.Play(t, o, rest...), from) {
							if whole[call] == "" {
								t.Errorf("%s port %d from packet %d of %d: %s: %s", k.name, port, from, len(chunks), call, summary)
							}
						}
					}
				}
			}
			if seen == 0 {
				t.Error("no complete calls")
			}
		})
	}
}

// complete has the summaries of complete calls by their packets. The conversation has others before those
// that were played.
func complete(r *dissecttest.Result, before int) map[string]string {
	list := map[string]string{}
	for _, e := range r.Emissions {
		b := e.Row.Base()
		if _, unknown := e.Row.(*dissect.Unknown); unknown || !b.Complete || b.Protocol == "rtp" {
			continue
		}
		call := b.Protocol
		for _, x := range []dissect.Span{e.Request, e.Response} {
			switch {
			case !x.Seen:
			case b.Transport == "sctp" && b.Protocol != "sctp": // it may be a retransmission
				call += fmt.Sprint(" TSN ", x.Seq)
			default:
				call += fmt.Sprint(" ", x.First+int64(before))
			}
		}
		list[call] = b.Summary
	}
	return list
}
