package exporter

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// sizes returns the payload bytes of requests and responses of a capture, and those on the wire in its packets.
func sizes(t *testing.T, capture string) (calls, wire [2]int64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.pcapsule")
	if _, err := Run(context.Background(), []string{capture}, path, Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	db := duckdbtest.Open(t)
	if _, err := db.Exec(bundletest.Views(t, path)); err != nil {
		t.Fatal(err)
	}
	for sql, to := range map[string]*[2]int64{
		"select sum(request_bytes)::bigint, sum(response_bytes)::bigint from calls":        &calls,
		"select sum(src_payload_bytes)::bigint, sum(dst_payload_bytes)::bigint from flows": &wire,
	} {
		if err := db.QueryRow(sql).Scan(&to[0], &to[1]); err != nil {
			t.Fatal(err)
		}
	}
	return calls, wire
}

// oneCall is an HTTP call in a TCP connection from SYN to FIN, or a question of DNS and its answer.
func oneCall(udp bool, ask, answer string) (list []pcapng.Packet) {
	seq := [2]uint32{100, 500}
	ports := [2]uint16{40000, 80}
	if udp {
		ports[1] = 53
	}
	send := func(side int, flags byte, text string) {
		be := binary.BigEndian
		b := be.AppendUint16(be.AppendUint16(nil, ports[side]), ports[1-side])
		proto := byte(17)
		if udp {
			b = append(be.AppendUint16(b, uint16(8+len(text))), 0, 0)
		} else {
			proto = 6
			b = append(be.AppendUint32(be.AppendUint32(b, seq[side]), seq[1-side]), 0x50, flags, 0x20, 0, 0, 0, 0, 0)
			if seq[side] += uint32(len(text)); flags&3 != 0 {
				seq[side]++
			}
		}
		b = append(b, text...)
		ip := []byte{0x45, 0, byte((20 + len(b)) >> 8), byte(20 + len(b)), 0, byte(len(list) + 1), 0, 0, 64, proto, 0, 0, 10, 0, 0, byte(1 + side), 10, 0, 0, byte(2 - side)}
		ip = append(ip, b...)
		list = append(list, pcapng.Packet{Data: ip, OrigLen: uint32(len(ip)), Time: 1_700_000_000_000_000_000 + int64(len(list))*1e6})
	}
	if udp {
		send(0, 0, ask)
		send(1, 0, answer)
		return list
	}
	send(0, 0x02, "")
	send(1, 0x12, "")
	send(0, 0x10, "")
	send(0, 0x18, ask)
	send(1, 0x18, answer)
	send(0, 0x11, "")
	send(1, 0x11, "")
	send(0, 0x10, "")
	return list
}

// TestSizesUnderASnapLength cuts each packet of a call: its sizes are those on the wire, which tshark has in tcp.len and
// udp.length, whatever was captured.
func TestSizesUnderASnapLength(t *testing.T) {
	const question = "\x00\x05\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03big\x04test\x00\x00\x01\x00\x01"
	answer := "\x00\x05\x81\x80\x00\x01\x00\x10\x00\x00\x00\x00" + question[12:] + strings.Repeat("\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01", 16)
	for name, call := range map[string][]pcapng.Packet{
		"HTTP with a length":      oneCall(false, "GET /hello HTTP/1.1\r\nHost: t.example\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"+strings.Repeat("x", 900)),
		"HTTP to the end":         oneCall(false, "GET /hello HTTP/1.1\r\nHost: t.example\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"+strings.Repeat("x", 900)),
		"Redis":                   oneCall(false, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "$900\r\n"+strings.Repeat("x", 900)+"\r\n"),
		"an unknown TCP protocol": oneCall(false, "\x01\x02\x03\x04 what is this?", "\x05\x06\x07\x08 it is "+strings.Repeat("x", 900)),
		"DNS":                     oneCall(true, question, answer),
	} {
		for _, snap := range []int{1 << 16, 300, 128, 100, 90, 80, 66, 60, 52, 46} {
			cut := slices.Clone(call)
			for i := range cut {
				cut[i].Data = cut[i].Data[:min(len(cut[i].Data), snap)]
			}
			calls, wire := sizes(t, pcapOf(t, "a.pcap", decode.LinkRaw, 0, cut))
			if calls != wire {
				t.Errorf("%s with a snap length of %d: calls have %d bytes, on the wire are %d", name, snap, calls, wire)
			}
		}
	}
}
