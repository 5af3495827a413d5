package quic

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/http3"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
)

// TestStateStaysInTheBudget opens connections and streams that never end.
func TestStateStaysInTheBudget(t *testing.T) {
	type flood struct {
		name         string
		conns, parts int
		part         func(f *fake, i int) []byte // the packets of one conversation, for all connections
	}
	h3 := func(frames string) string { return "\x01" + string([]byte{byte(len(frames))}) + frames }
	get := h3("\x00\x00\xd1\xd7\xc1")
	for _, tc := range []flood{
		{"one connection after the other", 200, 30, func(f *fake, i int) []byte {
			f.odcid = binary.BigEndian.AppendUint64(nil, uint64(i)<<32|7)
			c, s := initialSecrets(f.odcid)
			f.levels[initial] = [2]*sealer{newSealer(c, "quic "), newSealer(s, "quic ")}
			hello := bytes.Clone(vector(f.t, "v1 client-frames"))
			binary.BigEndian.PutUint64(hello[4+4+2:], uint64(i)) // the client's random
			return f.send(initial, client, hello, make([]byte, 900))
		}},
		{"packets of connections in progress", 200, 30, func(f *fake, i int) []byte {
			return append([]byte{0xc0, 0, 0, 0, 1, 8}, bytes.Repeat([]byte{byte(i)}, 1200)...)
		}},
		{"streams of one byte", 40, 1500, func(f *fake, i int) []byte { return f.send(oneRTT, client, streamFrame(4*i, 0, "\x01", false)) }},
		{"requests without an answer", 40, 1500, func(f *fake, i int) []byte { return f.send(oneRTT, client, streamFrame(4*i, 0, get, true)) }},
		{"requests that send byte by byte", 40, 3000, func(f *fake, i int) []byte {
			if i == 0 {
				return f.send(oneRTT, client, streamFrame(0, 0, get, false))
			}
			return f.send(oneRTT, client, streamFrame(0, len(get)+2*(i-1), "\x00\x00", false))
		}},
		{"streams that begin with a gap", 40, 1500, func(f *fake, i int) []byte {
			return f.send(oneRTT, client, streamFrame(4*i, 8, "abcdefgh", false))
		}},
		{"skipped streams", 200, 40, func(f *fake, i int) []byte {
			return f.send(oneRTT, client, streamFrame(i%4+4000*(i/4+1), 0, "", false))
		}},
		{"unidirectional streams", 40, 1500, func(f *fake, i int) []byte {
			return f.send(oneRTT, client, streamFrame(2+4*i, 0, "\x21a", false))
		}},
		{"the table of headers", 200, 200, func(f *fake, i int) []byte {
			value := string(bytes.Repeat([]byte{byte('a' + i%20)}, 1000))
			entry := "\x41a\x7f\xe9\x06" + value // 1000 = 127 + 105 + 6<<7
			if i == 0 {
				return f.send(oneRTT, client, streamFrame(2, 0, "\x02\x3f\xe1\xff\x03"+entry, false))
			}
			return f.send(oneRTT, client, streamFrame(2, 5+i*len(entry), entry, false))
		}},
		{"connection ids", 200, 100, func(f *fake, i int) []byte {
			id := append([]byte{0x18}, number(uint64(i))...)
			id = append(append(id, number(0)...), 16)
			id = append(append(id, make([]byte, 8)...), number(uint64(i))...)
			return f.send(oneRTT, server, append(id, make([]byte, 16)...))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t, "h3")
			start := f.list
			list := [][]byte{}
			for i := range tc.parts {
				list = append(list, tc.part(f, i))
			}
			dirs := f.list
			dissecttest.StayInBudget(t, []*dissect.Protocol{Protocol(f.store()), tls.Protocol(nil), http3.Protocol()}, dissecttest.Flood{
				Kind: dissect.UDP, Port: 443, Conns: tc.conns, Parts: len(start) + len(list),
				Part: func(_, i int) dissecttest.Chunk {
					if i < len(start) {
						return dissecttest.Chunk{Dir: start[i].dir, Data: start[i].data}
					}
					dir := dissect.ToServer
					if i < len(dirs) {
						dir = dirs[i].dir
					}
					return dissecttest.Chunk{Dir: dir, Data: list[i-len(start)]}
				}})
		})
	}
}
