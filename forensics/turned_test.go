package forensics_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
)

// middle is a capture of an HTTP connection that begins with packets of its server, which therefore
// looks like the client until a request comes.
func middle(t *testing.T) string {
	b := []byte{}
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 65535, 101} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	us := uint32(0)
	add := func(server bool, seq, ack uint32, text string) {
		src, dst, sport, dport := byte(1), byte(2), uint16(7002), uint16(7001)
		if server {
			src, dst, sport, dport = 2, 1, 7001, 7002
		}
		us += 50_000
		size := uint32(40 + len(text))
		for _, v := range []uint32{1_700_000_000, us, size, size} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		b = append(b, 0x45, 0, 0, byte(size), 0, byte(us/50_000), 0x40, 0, 64, 6, 0, 0, 10, 0, 0, src, 10, 0, 0, dst)
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, sport), dport)
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, seq), ack)
		b = append(append(b, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0), text...)
	}
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	up, down := uint32(7000), uint32(500)
	add(true, down, up, "")
	add(true, down-6, up, "of old")
	add(true, down-6, up, "of old") // sent again, an event
	for range 3 {
		add(false, up, down, ask)
		up += uint32(len(ask))
		add(true, down, up, answer)
		down += uint32(len(answer))
	}
	path := filepath.Join(t.TempDir(), "middle.pcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTurnedRolesAreTurnedEverywhere compares the directions of packets, events, calls and streams
// with the ports.
func TestTurnedRolesAreTurnedEverywhere(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a.pcapsule")
	if _, err := exporter.Run(ctx, []string{middle(t)}, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{{out}, {out, sample(t, "http1.pcapng")}} {
		c := open(t, paths...)
		of := ""
		if len(paths) > 1 {
			of = " AND bundle = 0"
		}
		for sql, want := range map[string]int64{
			"SELECT count(*) FROM flows WHERE src_port = 7002 AND turned" + of:                            1,
			"SELECT count(*) FROM packets WHERE flags & 256 = 0" + of:                                     3,
			"SELECT count(*) FROM packets_raw WHERE flags & 256 = 256" + of:                               6,
			"SELECT count(*) FROM tcp_events WHERE side = 'server' AND event LIKE '%retransmission'" + of: 2,
		} {
			if of != "" && sql[len("SELECT count(*) FROM ")] == 'p' {
				sql += " AND flow_id = 0"
			}
			if got := number(t, c, sql); got != want {
				t.Errorf("%s: %d, want %d", sql, got, want)
			}
		}
		r := query(t, c, forensics.Query{KFL: "http && dst.port == 7001", Columns: []string{"call_no"}, Limit: 9})
		if len(r.Rows) != 3 {
			t.Fatalf("%d calls, want 3", len(r.Rows))
		}
		id := "#0"
		if of != "" {
			id = "0#0"
		}
		x, err := c.Call(ctx, id, forensics.CallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if p := x.Packets; len(p) != 2 || p[0].From != "client" || p[1].From != "server" {
			t.Errorf("packets of the call: %+v", p)
		}
		s, err := c.Follow(ctx, id, forensics.FollowOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Pieces {
			if len(p.Data) > 0 && p.FromServer == (string(p.Data[:3]) == "GET") {
				t.Errorf("%q from the server: %v", p.Data, p.FromServer)
			}
		}
	}
}
