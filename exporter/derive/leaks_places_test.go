package derive_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// place is where a text is planted. Those for texts alone take no bytes.
type place struct {
	name string
	text bool
	line bool // without ends of lines
	put  func(s *scene, text string)
}

var client, server = [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}

// raw adds a frame as it is.
func (s *scene) raw(frame []byte, options *pcapng.OptionList) {
	s.at += 1_000_003
	if err := s.w.WritePacket(&pcapng.Packet{Kind: pcapng.KindEnhanced, Time: s.at, TimeOK: true, OrigLen: uint32(len(frame)), Data: frame}, options); err != nil {
		s.t.Fatal(err)
	}
}

// link is an Ethernet frame.
func link(kind uint16, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01"), kind), data...)
}

// ipv4 is a packet with options and the bits of fragments.
func ipv4(proto byte, id, frag uint16, options, data []byte) []byte {
	for len(options)%4 > 0 {
		options = append(options, 0)
	}
	h := make([]byte, 20, 20+len(options)+len(data))
	h[0], h[8], h[9] = byte(0x45+len(options)/4), 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(options)+len(data)))
	binary.BigEndian.PutUint16(h[4:], id)
	binary.BigEndian.PutUint16(h[6:], frag)
	copy(h[12:], client[:])
	copy(h[16:], server[:])
	h = append(h, options...)
	binary.BigEndian.PutUint16(h[10:], sum(h, 0))
	return append(h, data...)
}

// datagram is a UDP datagram without its IP header.
func datagram(sp, dp uint16, data []byte) []byte {
	h := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(h, sp)
	binary.BigEndian.PutUint16(h[2:], dp)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(data)))
	h = append(h, data...)
	binary.BigEndian.PutUint16(h[6:], sum(h, pseudo(client, server, 17, len(h))))
	return h
}

// segment is a TCP segment with options, without its IP header.
func (s *scene) segment(options, data []byte) []byte {
	for len(options)%4 > 0 {
		options = append(options, 0)
	}
	s.port++
	h := make([]byte, 20, 20+len(options)+len(data))
	binary.BigEndian.PutUint16(h, s.port)
	binary.BigEndian.PutUint16(h[2:], 9999)
	h[7], h[12], h[13] = 1, byte(5+len(options)/4)<<4, 0x18
	h = append(append(h, options...), data...)
	binary.BigEndian.PutUint16(h[16:], sum(h, pseudo(client, server, 6, len(h))))
	return h
}

// ipv6 is a packet without payload behind a header of options.
func ipv6(next byte, option []byte) []byte {
	ext := append([]byte{59, 0, 0x1e, byte(len(option))}, option...)
	for len(ext)%8 > 0 {
		ext = append(ext, 0)
	}
	ext[1] = byte(len(ext)/8 - 1)
	h := append([]byte{0x60, 0, 0, 0, 0, byte(len(ext)), next, 64}, make([]byte, 32)...)
	h[8], h[23], h[24], h[39] = 0xfd, 1, 0xfd, 2
	return append(h, ext...)
}

func icmp(kind byte, data []byte) []byte {
	h := append([]byte{kind, 0, 0, 0, 0, 1, 0, 2}, data...)
	binary.BigEndian.PutUint16(h[2:], sum(h, 0))
	return h
}

// dataFrames is an HTTP/2 request with a body in small frames.
func dataFrames(body string, size int) []say {
	var c, s, block bytes.Buffer
	c.WriteString(http2.ClientPreface)
	cf, sf := http2.NewFramer(&c, nil), http2.NewFramer(&s, nil)
	cf.WriteSettings()
	sf.WriteSettings()
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/h2"}, {":authority", "shop.example"}, {"content-type", "text/plain"}} {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	cf.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	for len(body) > size {
		cf.WriteData(1, false, []byte(body[:size]))
		body = body[size:]
	}
	cf.WriteData(1, true, []byte(body))
	block.Reset()
	hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	sf.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	return []say{{data: c.Bytes()}, {server: true, data: s.Bytes()}}
}

// places are where the same texts are planted in every encoding that they can have there.
func places() []place {
	ok := answer("Content-Type: text/plain\r\n", "ok")
	body := func(head string) func(s *scene, text string) {
		return func(s *scene, text string) { s.talk(80, say{data: request(head, text)}, ok) }
	}
	tcp := func(m say, size int) func(s *scene, text string) {
		return func(s *scene, text string) {
			m.data, m.mss = []byte("\x01\x02 "+text+" \x03"), size
			s.talk(9999, m)
		}
	}
	return []place{
		{"body", false, false, body("Content-Type: application/octet-stream\r\n")},
		{"TCP of a protocol that nothing reads", false, false, tcp(say{}, 0)},
		{"TCP in segments of 7 bytes", false, false, tcp(say{}, 7)},
		{"TCP sent again", false, false, tcp(say{again: true}, 11)},
		{"UDP of a protocol that nothing reads", false, false, func(s *scene, text string) {
			s.port++
			s.udp(client, server, s.port, 7778, []byte("\x05\x06="+text+"\x07"))
		}},
		{"fragments", false, false, func(s *scene, text string) {
			s.port++
			d := datagram(s.port, 7778, []byte("\x05\x06="+text+"\x07"))
			for at := 0; at < len(d); at += 16 {
				more := uint16(0x2000)
				if at+16 >= len(d) {
					more = 0
				}
				s.raw(link(0x0800, ipv4(17, s.port, uint16(at/8)|more, nil, d[at:min(len(d), at+16)])), nil)
			}
		}},
		{"trailer", false, false, func(s *scene, text string) {
			s.port++
			s.raw(append(link(0x0800, ipv4(17, 1, 0, nil, datagram(s.port, 7778, []byte("\x05\x06\x07")))), "\x00\x00\x00"+text...), nil)
		}},
		{"echo", false, false, func(s *scene, text string) { s.raw(link(0x0800, ipv4(1, 1, 0, nil, icmp(8, []byte(text)))), nil) }},
		{"frame that is not IP", false, false, func(s *scene, text string) { s.raw(link(0x88b5, []byte("\x01"+text)), nil) }},
		{"query", true, true, func(s *scene, text string) {
			s.talk(80, say{data: []byte("GET /find?a=1&q=" + strings.NewReplacer("\r", "", "\n", "", "+", "%2B", " ", "+").Replace(text) + " HTTP/1.1\r\nHost: shop.example\r\n\r\n")}, ok)
		}},
		{"header", true, true, func(s *scene, text string) {
			s.talk(80, say{data: request("X-Note: "+strings.NewReplacer("\r", "", "\n", "").Replace(text)+"\r\n", "x")}, ok)
		}},
		{"JSON", true, true, func(s *scene, text string) {
			body("Content-Type: application/json\r\n")(s, `{"note":"`+strings.NewReplacer("\r", `\r`, "\n", `\n`, `\u`, `\u`, `\x`, `\\x`, `\0`, `\\0`, `\1`, `\\1`, `"`, `\"`).Replace(text)+`"}`)
		}},
		{"upload", false, false, func(s *scene, text string) {
			body("Content-Type: multipart/form-data; boundary=xYz\r\n")(s, "--xYz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"+text+"\r\n--xYz--\r\n")
		}},
		{"chunks", true, false, func(s *scene, text string) {
			s.talk(80, say{data: request("", "x")}, chunked("Content-Type: text/plain\r\n", text, 7))
		}},
		{"WebSocket", true, false, func(s *scene, text string) {
			s.talk(80, websocket(false, say{data: frame(true, false, text)}, say{server: true, data: frame(false, false, "ok")})...)
		}},
		{"HTTP/2 in frames of 9 bytes", true, false, func(s *scene, text string) { s.talk(80, dataFrames(text, 9)...) }},
		{"HTTP/2 header", true, true, func(s *scene, text string) {
			s.talk(80, http2Talk([][2]string{{"x-note", strings.NewReplacer("\r", "", "\n", "").Replace(text)}}, "x")...)
		}},
		{"Redis", true, false, func(s *scene, text string) {
			s.talk(6379, say{data: resp("SET", "note", text)}, say{server: true, data: []byte("+OK\r\n")})
		}},
	}
}

// corner is a place that holds few bytes, or no frame at all.
type corner struct {
	name string
	put  func(s *scene, text string)
}

func corners() []corner {
	option := func(code uint16) func(s *scene, text string) {
		return func(s *scene, text string) {
			var o pcapng.OptionList
			switch code {
			case pcapng.OptCustomText, pcapng.OptCustomBytes:
				o.Custom(code, 32473, []byte(text))
			default:
				o.Add(code, []byte(text))
			}
			s.raw(link(0x0800, ipv4(1, 1, 0, nil, icmp(8, []byte("hello")))), &o)
		}
	}
	block := func(typ uint32, body func(text string) string) func(s *scene, text string) {
		return func(s *scene, text string) {
			b := body(text)
			for len(b)%4 > 0 {
				b += "\x00"
			}
			n := binary.LittleEndian.AppendUint32(nil, uint32(12+len(b)))
			if err := s.w.Flush(); err != nil {
				s.t.Fatal(err)
			}
			s.buf.Write(append(binary.LittleEndian.AppendUint32(nil, typ), n...))
			s.buf.WriteString(b)
			s.buf.Write(n)
		}
	}
	opt := func(code uint16, text string) string {
		b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, code), uint16(len(text)))
		return string(b) + text + strings.Repeat("\x00", (4-len(text)%4)%4)
	}
	iface := func(code uint16) func(s *scene, text string) {
		return func(s *scene, text string) {
			block(1, func(string) string { return "\x01\x00\x00\x00\x00\x00\x04\x00" + opt(code, text) + opt(0, "") })(s, text)
		}
	}
	two := func(text string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(text)))) + text }
	return []corner{
		{"IPv4 option", func(s *scene, text string) {
			s.port++
			s.raw(link(0x0800, ipv4(17, 1, 0, append([]byte{0x9e, byte(2 + len(text))}, text...), datagram(s.port, 7778, []byte("hello")))), nil)
		}},
		{"IPv4 option of a fragment", func(s *scene, text string) {
			s.port++
			s.raw(link(0x0800, ipv4(17, 900+s.port, 0x2000, append([]byte{0x9e, byte(2 + len(text))}, text...), datagram(s.port, 7778, []byte("12345678")))), nil)
		}},
		{"TCP option", func(s *scene, text string) {
			s.raw(link(0x0800, ipv4(6, 1, 0, nil, s.segment(append([]byte{253, byte(2 + len(text))}, text...), []byte("hello")))), nil)
		}},
		{"hop-by-hop option", func(s *scene, text string) { s.raw(link(0x86dd, ipv6(0, []byte(text))), nil) }},
		{"destination option", func(s *scene, text string) { s.raw(link(0x86dd, ipv6(60, []byte(text))), nil) }},
		{"trailer of TCP", func(s *scene, text string) {
			s.raw(append(link(0x0800, ipv4(6, 1, 0, nil, s.segment(nil, []byte("hello")))), text...), nil)
		}},
		{"trailer of ARP", func(s *scene, text string) {
			s.raw(append(link(0x0806, []byte("\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x01\x0a\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x02")), text...), nil)
		}},
		{"padding of SNAP", func(s *scene, text string) {
			s.raw(append(link(8, []byte("\xaa\xaa\x03\x00\x00\x00\x88\xb5")), text...), nil)
		}},
		{"SNAP", func(s *scene, text string) {
			s.raw(link(uint16(8+len(text)), append([]byte("\xaa\xaa\x03\x00\x00\x0c\x20\x00"), text...)), nil)
		}},
		{"LLDP", func(s *scene, text string) {
			s.raw(link(0x88cc, append([]byte{0xfe, byte(4 + len(text)), 0, 0x80, 0xc2, 9}, text...)), nil)
		}},
		{"quote of ICMP", func(s *scene, text string) {
			s.port++
			s.raw(link(0x0800, ipv4(1, 1, 0, nil, icmp(3, ipv4(17, 1, 0, nil, datagram(s.port, 7778, []byte(text)))))), nil)
		}},
		{"options in a quote of ICMP", func(s *scene, text string) {
			s.port++
			s.raw(link(0x0800, ipv4(1, 1, 0, nil, icmp(3, ipv4(17, 1, 0, append([]byte{0x9e, byte(2 + len(text))}, text...), datagram(s.port, 7778, nil))))), nil)
		}},
		{"GRE", func(s *scene, text string) {
			s.port++
			s.raw(link(0x0800, ipv4(47, 1, 0, nil, append([]byte{0, 0, 8, 0}, ipv4(17, 1, 0, nil, datagram(s.port, 7778, []byte(text)))...))), nil)
		}},
		{"trailer in VXLAN", func(s *scene, text string) {
			s.port++
			inner := append(link(0x0800, ipv4(17, 1, 0, nil, datagram(s.port, 7778, []byte("hello")))), text...)
			s.udp(client, server, 50000+s.port%1000, 4789, append([]byte("\x08\x00\x00\x00\x00\x00\x01\x00"), inner...))
		}},
		{"IPv4 option in VXLAN", func(s *scene, text string) {
			s.port++
			inner := link(0x0800, ipv4(17, 1, 0, append([]byte{0x9e, byte(2 + len(text))}, text...), datagram(s.port, 7778, []byte("hello"))))
			s.udp(client, server, 50000+s.port%1000, 4789, append([]byte("\x08\x00\x00\x00\x00\x00\x01\x00"), inner...))
		}},
		{"unknown protocol of IP", func(s *scene, text string) { s.raw(link(0x0800, ipv4(253, 1, 0, nil, []byte(text))), nil) }},
		{"SYN with data", func(s *scene, text string) {
			d := s.segment(nil, []byte(text))
			d[13] = 2
			d[16], d[17] = 0, 0
			binary.BigEndian.PutUint16(d[16:], sum(d, pseudo(client, server, 6, len(d))))
			s.raw(link(0x0800, ipv4(6, 1, 0, nil, d)), nil)
		}},
		{"comment of a packet", option(1)},
		{"custom text of a packet", option(pcapng.OptCustomText)},
		{"custom bytes of a packet", option(pcapng.OptCustomBytes)},
		{"unknown option of a packet", option(4711)},
		{"verdict of a packet", option(pcapng.EPBVerdict)},
		{"name of an interface", iface(2)},
		{"description of an interface", iface(3)},
		{"filter of an interface", func(s *scene, text string) { iface(11)(s, "\x00"+text) }},
		{"hardware of an interface", iface(15)},
		{"comment of an interface", iface(1)},
		{"custom text of an interface", func(s *scene, text string) { iface(2988)(s, "\xd9\x7e\x00\x00"+text) }},
		{"unknown option of an interface", iface(4711)},
		{"name of an address", block(4, func(text string) string {
			return "\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, uint16(5+len(text)))) + "\x0a\x00\x00\x63" + text + "\x00" + strings.Repeat("\x00", (3+4-len(text)%4)%4) + "\x00\x00\x00\x00"
		})},
		{"server of names", block(4, func(text string) string { return "\x00\x00\x00\x00" + opt(2, text) + opt(0, "") })},
		{"keys", block(10, func(text string) string {
			return "\x4b\x53\x4c\x54" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)))) + text
		})},
		{"custom block", block(0xbad, func(text string) string { return "\xd9\x7e\x00\x00" + text })},
		{"custom block that stays", block(0x40000bad, func(text string) string { return "\xd9\x7e\x00\x00" + text })},
		{"unknown block", block(0x0a0a, func(text string) string { return text })},
		{"journal", block(9, func(text string) string { return "MESSAGE=" + text + "\n" })},
		{"comment of statistics", block(5, func(text string) string { return strings.Repeat("\x00", 12) + opt(1, text) + opt(0, "") })},
		{"Kafka client", func(s *scene, text string) {
			req := "\x00\x12\x00\x00\x00\x00\x00\x09" + two(text)
			s.talk(9092, say{data: append(binary.BigEndian.AppendUint32(nil, uint32(len(req))), req...)})
		}},
		{"DNS", func(s *scene, text string) {
			text = strings.Map(func(r rune) rune {
				if r < 128 {
					return r
				}
				return 'a'
			}, text)
			s.datagrams(53, say{data: []byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + string(rune(len(text))) + text + "\x07example\x00\x00\x10\x00\x01")})
		}},
	}
}

// digest is a way to name a body by a digest of it. It plants one, and lists the texts that confirm a guess of it.
type digest struct {
	name string
	head func(body string) (head string, confirms []string)
}

func digests() []digest {
	sums := map[string]func(b string) []byte{
		"md5":     func(b string) []byte { x := md5.Sum([]byte(b)); return x[:] },
		"sha":     func(b string) []byte { x := sha1.Sum([]byte(b)); return x[:] },
		"sha-256": func(b string) []byte { x := sha256.Sum256([]byte(b)); return x[:] },
		"sha-384": func(b string) []byte { x := sha512.Sum384([]byte(b)); return x[:] },
		"sha-512": func(b string) []byte { x := sha512.Sum512([]byte(b)); return x[:] },
		"crc32":   func(b string) []byte { return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(b))) },
		"crc32c": func(b string) []byte {
			return binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(b), crc32.MakeTable(crc32.Castagnoli)))
		},
	}
	b64 := base64.StdEncoding.EncodeToString
	var list []digest
	add := func(name, sum, format string, write func([]byte) string) {
		list = append(list, digest{name, func(body string) (string, []string) {
			text := write(sums[sum](body))
			return fmt.Sprintf(format, text) + "\r\n", []string{text}
		}})
	}
	add("Content-MD5", "md5", "Content-MD5: %s", b64)
	add("Digest", "sha-256", "Digest: SHA-256=%s", b64)
	add("Digest with SHA", "sha", "Digest: SHA=%s", b64)
	add("Digest with CRC", "crc32c", "Digest: crc32c=%s", b64)
	add("Repr-Digest", "sha-256", "Repr-Digest: sha-256=:%s:", b64)
	add("Repr-Digest with SHA-512", "sha-512", "Repr-Digest: sha-512=:%s:", b64)
	add("Content-Digest", "sha-256", "Content-Digest: sha-256=:%s:", b64)
	add("ETag", "md5", `ETag: "%s"`, hex.EncodeToString)
	add("weak ETag", "sha", `ETag: W/"%s"`, func(b []byte) string { return hex.EncodeToString(b)[:12] })
	add("ETag of a CRC", "crc32", `ETag: "%s"`, hex.EncodeToString)
	add("x-amz-content-sha256", "sha-256", "x-amz-content-sha256: %s", hex.EncodeToString)
	add("x-amz-checksum-sha256", "sha-256", "x-amz-checksum-sha256: %s", b64)
	add("x-amz-checksum-sha1", "sha", "x-amz-checksum-sha1: %s", b64)
	add("x-amz-checksum-crc32", "crc32", "x-amz-checksum-crc32: %s", b64)
	add("x-amz-checksum-crc32c", "crc32c", "x-amz-checksum-crc32c: %s", b64)
	add("x-amz-meta-md5", "md5", "x-amz-meta-md5: %s", hex.EncodeToString)
	add("x-goog-hash", "crc32c", "x-goog-hash: crc32c=%s", b64)
	add("x-goog-hash with MD5", "md5", "x-goog-hash: md5=%s", b64)
	add("x-ms-blob-content-md5", "md5", "x-ms-blob-content-md5: %s", b64)
	add("X-Checksum-Sha256", "sha-256", "X-Checksum-Sha256: %s", hex.EncodeToString)
	add("Docker-Content-Digest", "sha-256", "Docker-Content-Digest: sha256:%s", hex.EncodeToString)
	add("OC-Checksum", "sha", "OC-Checksum: SHA1:%s", hex.EncodeToString)
	add("a header of its own", "sha-384", "X-Body: %s", hex.EncodeToString)
	add("a header of its own, in capitals", "md5", "X-Body: %s", func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) })
	return list
}
