package exporter

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// seen is a packet of a capture, without its link layer.
type seen struct {
	src, dst netip.AddrPort
	proto    uint8
	flags    byte
	seq, ack uint32
	payload  string
	ttl      byte // 0: the usual
}

// packetsOf is readPackets.
func packetsOf(t *testing.T, path string) []seen {
	t.Helper()
	list, err := readPackets(path)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// eachFrame decodes the packets of a capture.
func eachFrame(path string, each func(p *pcapng.Packet, f *decode.Frame)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := pcapng.NewReader(file, pcapng.Options{})
	if err != nil {
		return err
	}
	d := decode.New(decode.Options{})
	var b pcapng.Batch
	for err == nil {
		err = r.Next(&b)
		for i := range b.Packets {
			p := &b.Packets[i]
			var f decode.Frame
			d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &f)
			each(p, &f)
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// readPackets reads the TCP segments and datagrams of a capture. Addresses become IPv4.
func readPackets(path string) (list []seen, err error) {
	hosts := map[netip.Addr]netip.Addr{}
	end := func(a decode.Addr, port uint16) netip.AddrPort {
		if _, ok := hosts[a.Netip()]; !ok {
			hosts[a.Netip()] = netip.AddrFrom4([4]byte{10, 0, 0, byte(len(hosts) + 1)})
		}
		return netip.AddrPortFrom(hosts[a.Netip()], port)
	}
	err = eachFrame(path, func(_ *pcapng.Packet, f *decode.Frame) {
		if f.L4 && (f.Proto == 6 || f.Proto == 17) {
			list = append(list, seen{end(f.Src, f.SrcPort), end(f.Dst, f.DstPort), f.Proto, byte(f.Flags), f.Seq, f.Ack, string(f.Payload), 0})
		}
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// opened writes packets as a capture and decrypts it.
func opened(t *testing.T, list []seen, keys string) []*stackConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, captureOf(list), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Repanic: true, Jobs: 1}
	if keys != "" {
		o.Keys = []string{keys}
	}
	conns, err := openCapture(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return conns
}

// quicForgery is a change of a capture that no receiver of QUIC falls for, because what it adds
// fails its authentication, or repeats what has arrived (RFC 9000 sections 5.2, 6.2, 12.3, 17.2.5).
type quicForgery struct {
	name  string
	forge func(list []seen) []seen
}

// amid adds forged packets after each of the first packets of a connection.
func amid(forge func(first, p seen) []seen) func([]seen) []seen {
	return func(list []seen) (out []seen) {
		for i, p := range list {
			out = append(out, p)
			if i < 12 {
				out = append(out, forge(list[0], p)...)
			}
		}
		return out
	}
}

// back is a packet to the sender of p.
func back(p seen, payload string) seen {
	return seen{src: p.dst, dst: p.src, proto: 17, payload: payload}
}

// as is p with another payload.
func as(p seen, payload string) seen {
	p.payload = payload
	return p
}

var stranger = netip.MustParseAddrPort("203.0.113.9:4444")

// longHeader reads the version, and the destination's and the source's connection ID.
func longHeader(b string) (version, dcid, scid string) {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return "", "", ""
	}
	d := int(b[5])
	s := int(b[6+d])
	return b[1:5], b[6 : 6+d], b[7+d : 7+d+s]
}

func withID(first byte, version, dcid, scid, rest string) string {
	b := append(append([]byte{first}, version...), byte(len(dcid)))
	return string(append(append(b, dcid...), byte(len(scid)))) + scid + rest
}

func garbage(n int) string { return string(bytes.Repeat([]byte{0x5a, 0xc3, 0x17}, n/3+1)[:n]) }

var quicForgeries = []quicForgery{
	{"every datagram twice", func(list []seen) (out []seen) {
		for _, p := range list {
			out = append(out, p, p)
		}
		return out
	}},
	{"every datagram again at the end", func(list []seen) []seen { return append(slices.Clone(list), list...) }},
	{"copies that were damaged", amid(func(_, p seen) []seen {
		b := []byte(p.payload)
		b[len(b)-1] ^= 1
		return []seen{as(p, string(b))}
	})},
	{"copies that were cut", amid(func(_, p seen) []seen { return []seen{as(p, p.payload[:len(p.payload)/2])} })},
	{"short headers of noise", amid(func(_, p seen) []seen { return []seen{as(p, "\x41"+garbage(60)), back(p, "\x41"+garbage(60))} })},
	{"long headers of noise", amid(func(first, p seen) []seen {
		version, dcid, scid := longHeader(first.payload)
		return []seen{as(first, "\xc3"+garbage(400)), as(first, withID(0xe0, version, dcid, scid, "\x44\x00"+garbage(1024))),
			back(first, withID(0xe0, version, scid, dcid, "\x44\x00"+garbage(1024)))}
	})},
	{"lengths that lie", amid(func(first, p seen) []seen {
		version, dcid, scid := longHeader(first.payload)
		var out []seen
		for _, size := range []string{"\x00", "\x7f\xff", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x40\x10", "\x40"} {
			out = append(out, as(first, withID(0xc3, version, dcid, scid, "\x00"+size+garbage(200))), back(first, withID(0xe3, version, scid, dcid, size+garbage(200))))
		}
		return out
	})},
	{"connection IDs whose lengths lie", amid(func(first, p seen) []seen {
		version, dcid, _ := longHeader(first.payload)
		return []seen{as(first, "\xc3"+version+"\xff"+dcid), as(first, "\xc3"+version+"\x14"+dcid), as(first, "\xc3"+version)}
	})},
	{"a Version Negotiation after the answer", amid(func(first, p seen) []seen {
		_, dcid, scid := longHeader(first.payload)
		if p.src == first.src {
			return nil
		}
		return []seen{back(first, withID(0xca, "\x00\x00\x00\x00", scid, dcid, "\x1a\x2a\x3a\x4a"))}
	})},
	{"a Retry whose tag is wrong", amid(func(first, p seen) []seen {
		version, _, scid := longHeader(first.payload)
		return []seen{back(first, withID(0xf0, version, scid, "attacker", "token"+garbage(16)))}
	})},
	{"an Initial with the server's connection ID and another ClientHello, from another host", amid(func(first, p seen) []seen {
		forged := sealedInitial(first.payload, 7, cryptoOf(0, garbage(200)))
		return []seen{{src: stranger, dst: first.dst, proto: 17, payload: forged}}
	})},
	{"the first datagram from another host", amid(func(first, p seen) []seen {
		return []seen{{src: stranger, dst: first.dst, proto: 17, payload: first.payload}}
	})},
	{"other bytes for the ClientHello after it", amid(func(first, p seen) []seen {
		return []seen{as(first, sealedInitial(first.payload, 9, cryptoOf(0, garbage(300)))), as(first, sealedInitial(first.payload, 11, cryptoOf(5, garbage(30))+cryptoOf(1<<20, garbage(9))))}
	})},
	{"neighbours in another order", func(list []seen) []seen {
		out := slices.Clone(list)
		for i := 6; i+1 < len(out); i += 2 {
			if short := out[i].payload != "" && out[i].payload[0]&0x80 == 0; short && out[i].src == out[i+1].src && out[i+1].payload[0]&0x80 == 0 {
				out[i], out[i+1] = out[i+1], out[i]
			}
		}
		return out
	}},
}

// TestForgedPacketsBesideQUIC adds forged packets to captured QUIC connections, whose plaintext
// must stay as it was: other connections may appear, but none of the captured ones may change.
func TestForgedPacketsBesideQUIC(t *testing.T) {
	for _, name := range []string{"quicgo-v1-aes-128-gcm-sha256-http3", "quicgo-v1-aes-128-gcm-sha256-key_update", "netquic-v1-aes-128-gcm-sha256-key_update",
		"quicgo-v1-aes-128-gcm-sha256-retry", "quicgo-v1-aes-128-gcm-sha256-migration", "quicgo-v1-aes-128-gcm-sha256-empty_id", "quicgo-v1-aes-128-gcm-sha256-early_data"} {
		list := packetsOf(t, filepath.Join(stacksFolder, name+".pcap"))
		for _, keys := range []string{filepath.Join(stacksFolder, name+".keylog"), ""} {
			want := opened(t, list, keys)
			if len(want) == 0 || keys != "" && len(want[0].streams) == 0 || want[0].shakes == "" {
				t.Fatalf("%s: nothing was decrypted", name)
			}
			for _, f := range quicForgeries {
				t.Run(name+"/"+f.name, func(t *testing.T) {
					got := opened(t, f.forge(list), keys)
					for i, w := range want {
						if !slices.ContainsFunc(got, func(g *stackConn) bool { return g.ends == w.ends && sameStreams(g, w) }) {
							t.Errorf("connection %d of %v, with keys %q: %s became %s", i, w.ends, keys, describe([]*stackConn{w}, w), describe(got, w))
						}
					}
				})
			}
		}
	}
}

// sameStreams compares the plaintexts and the handshakes. A handshake may say that it is malformed.
func sameStreams(a, b *stackConn) bool {
	if a.state != b.state || len(a.streams) != len(b.streams) || strings.ReplaceAll(a.shakes, ", malformed", "") != b.shakes {
		return false
	}
	for id, s := range b.streams {
		x := a.streams[id]
		if x == nil || !bytes.Equal(x[0], s[0]) || !bytes.Equal(x[1], s[1]) {
			return false
		}
	}
	return true
}

// describe lists the connections of the same ends.
func describe(list []*stackConn, like *stackConn) (text string) {
	for _, c := range list {
		if c.ends != like.ends {
			continue
		}
		text += fmt.Sprintf("%s (%s) %q", c.state, c.reason, c.shakes)
		for _, id := range slices.Sorted(maps.Keys(c.streams)) {
			text += fmt.Sprintf(" %d:%d/%d", id, len(c.streams[id][0]), len(c.streams[id][1]))
		}
		text += "; "
	}
	return text
}

// cryptoOf is a CRYPTO frame, RFC 9000 section 19.6.
func cryptoOf(off uint32, data string) string {
	b := binary.BigEndian.AppendUint32([]byte{6}, 2<<30|off)
	return string(binary.BigEndian.AppendUint16(b, 1<<14|uint16(len(data)))) + data
}

// sealedInitial is an Initial of the client with the version and the connection IDs of another
// one, which is all that an attacker on the path needs (RFC 9001 section 5.2).
func sealedInitial(of string, number uint16, frames string) string {
	version, dcid, scid := longHeader(of)
	salt, _ := hex.DecodeString("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
	start, err := hkdf.Extract(sha256.New, []byte(dcid), salt)
	if err != nil {
		panic(err)
	}
	label := func(secret []byte, name string, n int) []byte {
		info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), byte(6+len(name)))
		out, err := hkdf.Expand(sha256.New, secret, string(info)+"tls13 "+name+"\x00", n)
		if err != nil {
			panic(err)
		}
		return out
	}
	secret := label(start, "client in", 32)
	if len(frames) < 1162 {
		frames += string(make([]byte, 1162-len(frames))) // PADDING
	}
	size := binary.BigEndian.AppendUint16(nil, 1<<14|uint16(2+len(frames)+16))
	header := []byte(withID(0xc1, version, dcid, scid, "\x00"+string(size)+string(binary.BigEndian.AppendUint16(nil, number))))
	block, _ := aes.NewCipher(label(secret, "quic key", 16))
	gcm, _ := cipher.NewGCM(block)
	nonce := label(secret, "quic iv", 12)
	nonce[10] ^= byte(number >> 8)
	nonce[11] ^= byte(number)
	packet := gcm.Seal(header, nonce, []byte(frames), header)
	hp, _ := aes.NewCipher(label(secret, "quic hp", 16))
	var mask [16]byte
	at := len(header) - 2
	hp.Encrypt(mask[:], packet[at+4:at+20])
	packet[0] ^= mask[0] & 0x0f
	packet[at] ^= mask[1]
	packet[at+1] ^= mask[2]
	return string(packet)
}
