package dissect

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestUnknownPayloadIsNamed checks what a row says about payload that no dissector reads, and that
// the connection says the same.
func TestUnknownPayloadIsNamed(t *testing.T) {
	for _, tt := range []struct {
		what           string
		port           uint16
		client, server string
		want           string // protocol, evidence, summary
	}{
		{"a banner", 2222, "", "SSH-2.0-x\r\n", `ssh content ssh, by its first bytes: "SSH-2.0-x", 0 bytes sent, 11 received`},
		{"a port", 5900, "\x00\x01\x02\x03\x04", "", "vnc port tcp port 5900, vnc likely: 0001020304, 5 bytes sent, 0 received"},
		{"neither", 9, "QUIT now\n", "", ` tcp payload: "QUIT…", 9 bytes sent, 0 received`},
	} {
		g := &recordingSink{}
		c := claimEngine(t, g).NewConn(Info{Transport: TCP, ServerPort: tt.port, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		c.Data(ToClient, []byte(tt.server), Packet{})
		c.Data(ToServer, []byte(tt.client), Packet{No: 1})
		c.Close(EndFin, Packet{No: 2})
		if len(g.calls) != 1 {
			t.Errorf("%s: %d rows", tt.what, len(g.calls))
			continue
		}
		row := g.calls[0].Row.(*Unknown)
		got := row.Likely.V + " " + row.Evidence.V + " " + row.Summary
		if row.Likely.V == "" {
			got = " " + row.Summary
		}
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.what, got, tt.want)
		}
		if l := c.Likely(); l.Protocol != row.Likely.V || string(l.By) != row.Evidence.V {
			t.Errorf("%s: the connection says %+v", tt.what, l)
		}
	}
}

// TestPortOfAKnownProtocol checks a connection whose protocol is detected after the rest of a message:
// the port does not name another one.
func TestPortOfAKnownProtocol(t *testing.T) {
	g := &recordingSink{}
	c := claimEngine(t, g).NewConn(Info{Transport: TCP, ServerPort: 5900, ConnectUs: -1})
	c.Data(ToServer, []byte("\x00\x01\x02\x03\x04"), Packet{})
	c.Data(ToServer, []byte("hello\n"), Packet{No: 1})
	c.Close(EndFin, Packet{No: 2})
	if len(g.calls) != 2 || c.Likely().Protocol != "" {
		t.Errorf("%d rows, likely %+v", len(g.calls), c.Likely())
	}
}

// TestUpgradeNamesWhatFollows checks payload after an upgrade to a protocol without a dissector.
func TestUpgradeNamesWhatFollows(t *testing.T) {
	g := &recordingSink{}
	c := claimEngine(t, g).NewConn(Info{Transport: TCP, ServerPort: 5900, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	c.Upgrade("ws", nil)
	c.switchOver()
	c.Data(ToServer, []byte("\x81\x85\x37\xfa\x21\x3d"), Packet{})
	c.Close(EndFin, Packet{No: 1})
	if len(g.calls) != 1 || g.calls[0].Row.Base().Summary != "ws, by the request before it: 818537fa213d, 6 bytes sent, 0 received" {
		t.Errorf("rows %v", g.calls)
	}
}

// TestUnknownCutDatagram checks that a datagram without its end gives no complete row.
func TestUnknownCutDatagram(t *testing.T) {
	for _, cut := range []int32{0, 40} {
		g := &recordingSink{}
		c := claimEngine(t, g).NewConn(Info{Transport: UDP, ServerPort: 9, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		c.Data(ToServer, []byte("\x01\x02\x03\x04"), Packet{No: 1, Cut: cut})
		c.Close(EndCapture, Packet{No: 2})
		if len(g.calls) != 1 {
			t.Fatalf("%d rows", len(g.calls))
		}
		row := g.calls[0].Row.Base()
		if row.Complete != (cut == 0) || cut > 0 && row.Error.V != "gap" {
			t.Errorf("%d bytes are missing: complete %t, error %q", cut, row.Complete, row.Error.V)
		}
	}
}

// TestEachTransportHasUndissectedRows holds that questions know every name of undissected payload.
func TestEachTransportHasUndissectedRows(t *testing.T) {
	if len(table.Undissected) != int(transports) {
		t.Fatalf("%d names, %d transports", len(table.Undissected), transports)
	}
	for tr, want := range map[Transport]string{TCP: "tcp", UDP: "udp", ICMP: "icmp_payload", SCTP: "sctp_payload", Other: "ip", QUIC: "quic_stream", Association: "sctp_messages"} {
		if got := unknownProtocol(tr).Name; got != want {
			t.Errorf("%s: %s, want %s", tr, got, want)
		}
	}
}
