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
// must be a call of the whole conversation, with the same request and the same response. Most calls of a
// conversation of which only the handshake is missing are complete. A row of RTP counts what was captured of
// a stream, which has no mark of its beginning.
func TestMidwayCallsAreTrue(t *testing.T) {
	for file, protocol := range samples {
		t.Run(file, func(t *testing.T) {
			i := slices.IndexFunc(Protocols(nil), func(p *dissect.Protocol) bool { return p.Name == protocol })
			ports, seen, kept := append([]uint16{50001}, Protocols(nil)[i].Ports...), 0, 0
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
						got := complete(dissecttest.Play(t, o, rest...), from)
						if from == 0 {
							kept += len(got)
						}
						for call, summary := range got {
							if whole[call] == "" {
								t.Errorf("%s port %d from packet %d of %d: %s: %s", k.name, port, from, len(chunks), call, summary)
							}
						}
					}
				}
			}
			if seen == 0 || kept < seen*3/4 {
				t.Errorf("%d complete calls, %d of them without the handshake", seen, kept)
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

// Whoever sends the first datagram of a conversation does not decide how all others are read: the protocol
// of the port replaces another one that cannot read them.
func TestFirstDatagramDoesNotDecide(t *testing.T) {
	const (
		snmp = "\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x04\x00\x00\x00\x01\x02\x01\x00\x02\x01\x00\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00"
		ask  = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"
		tell = "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x0a\x00\x00\x01"
	)
	play := func(port uint16) string {
		return dissecttest.Lines(dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), Transport: dissect.UDP, ServerPort: port},
			dissecttest.Client(snmp), dissecttest.Client(ask), dissecttest.Server(tell)))
	}
	if got := play(53); !strings.Contains(got, "A a → 10.0.0.1 complete") || !strings.Contains(got, "SNMPv2c GetRequest") {
		t.Errorf("on DNS's port:\n%s", got)
	}
	if got := play(161); strings.Contains(got, "A a") {
		t.Errorf("on SNMP's own port, its claim was withdrawn:\n%s", got)
	}
}
