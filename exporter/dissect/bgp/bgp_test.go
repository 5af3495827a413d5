package bgp

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

func message(kind byte, body string) string {
	return marker + string(binary.BigEndian.AppendUint16(nil, uint16(head+len(body)))) + string(kind) + body
}

// part is a type, a length and a value.
func part(kind byte, value string) string { return string([]byte{kind, byte(len(value))}) + value }

func opens(as string, capabilities ...string) string {
	p := ""
	if len(capabilities) > 0 {
		p = part(2, strings.Join(capabilities, ""))
	}
	return message(open, "\x04"+as+"\x00\xb4\x0a\x00\x00\x01"+string([]byte{byte(len(p))})+p)
}

// updates has withdrawn prefixes, attributes and announced prefixes.
func updates(withdrawn, attributes, announced string) string {
	size := func(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }
	return message(update, size(withdrawn)+size(attributes)+announced)
}

func attr(kind byte, value string) string { return "\x40" + part(kind, value) }

var (
	wide    = part(65, "\x00\x01\x00\x02")
	alive   = message(keepalive, "")
	both    = part(69, "\x00\x01\x01\x03")
	v6      = part(1, "\x00\x02\x00\x01")
	path    = attr(1, "\x00") + attr(2, "\x02\x02\x00\x00\xfd\xe9\x00\x01\x00\x02\x01\x02\x00\x00\x00\x01\x00\x00\x00\x02") + attr(3, "\x0a\x00\x00\x09")
	session = chunks{client(opens("\xfd\xe9", wide, v6)), server(opens("\x5b\xa0", wide, v6) + alive), client(alive)}
)

var samples = []dissecttest.Sample{
	{Name: "a session", Rows: 6, Chunks: append(session[:3:3], client(updates("", path, "\x18\x0a\x01\x02\x08\x0b")), server(updates("\x18\x0a\x01\x02", "", "")), client(message(notification, "\x06\x02\x04bye!")))},
	{Name: "a refused session", Rows: 1, Chunks: chunks{client(opens("\xfd\xe9")), server(message(notification, "\x02\x02\xfd\xe8"))}},
	{Name: "a long update", Rows: 3, Chunks: append(session[:2:2], client(updates("", path, strings.Repeat("\x18\x0a\x01\x02", 900))))},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	reach := "\x80" + part(attrReach, "\x00\x02\x01\x10\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01\x00\x20\x20\x01\x0d\xb8\x40\x20\x01\x0d\xb8\x00\x00\x00\x01")
	dissecttest.Converse(t, Protocol(), []string{"bgp_hold_time", "bgp_capabilities", "bgp_peer_capabilities", "bgp_families", "bgp_as_path", "bgp_next_hop", "bgp_origin", "bgp_prefixes", "bgp_withdrawn_prefixes", "bgp_communities", "bgp_reason", "bgp_messages"}, []dissecttest.Conversation{
		{Name: "a session", Chunks: samples[0].Chunks, Want: []string{
			"OPEN AS 65538 → AS 65538 bgp_hold_time=180 bgp_capabilities=[4_octet_as 65538 multiprotocol ipv6/unicast] bgp_peer_capabilities=[4_octet_as 65538 multiprotocol ipv6/unicast]",
			"UPDATE ipv4/unicast +2 10.1.2.0/24 via 65001 65538 {1,2} bgp_families=[ipv4/unicast] bgp_prefixes=[10.1.2.0/24 11.0.0.0/8] bgp_as_path=65001 65538 {1,2} bgp_origin=igp bgp_next_hop=10.0.0.9",
			"UPDATE ipv4/unicast -1 10.1.2.0/24 bgp_families=[ipv4/unicast] bgp_withdrawn_prefixes=[10.1.2.0/24]",
			"NOTIFICATION → Cease/Administrative Shutdown bgp_reason=bye!",
			"KEEPALIVE ×1 bgp_messages=1", "KEEPALIVE ×1 bgp_messages=1"}},
		{Name: "the server answers an OPEN by an error", Chunks: samples[1].Chunks, Want: []string{"OPEN AS 65001 → OPEN Message Error/Bad Peer AS outcome=refused bgp_hold_time=180"}},
		{Name: "no answer", Chunks: chunks{client(opens("\xfd\xe9"))}, End: dissect.EndReset, Want: []string{"OPEN AS 65001 → reset error=reset outcome=no_answer bgp_hold_time=180"}},
		{Name: "the server opens first", Chunks: chunks{server(opens("\xfd\xe9")), client(opens("\xfd\xea"))}, Want: []string{"OPEN AS 65001 → AS 65002 bgp_hold_time=180"}},
		{Name: "other families", Chunks: chunks{client(updates("", reach+attr(1, "\x02"), "")), client(updates("", "\x80"+part(attrUnreach, "\x00\x02\x01\x20\x20\x01\x0d\xb8"), "")),
			client(updates("", "\x80"+part(attrUnreach, "\x00\x02\x01"), "")), client(updates("", "", "")), client(updates("", "\x80"+part(attrReach, "\x00\x19\x46\x04\x01\x02\x03\x04\x00rest"), ""))}, Want: []string{
			"UPDATE ipv6/unicast +2 2001:db8::/32 bgp_families=[ipv6/unicast] bgp_prefixes=[2001:db8::/32 2001:db8:0:1::/64] bgp_origin=incomplete bgp_next_hop=2001:db8::1",
			"UPDATE ipv6/unicast -1 2001:db8::/32 bgp_families=[ipv6/unicast] bgp_withdrawn_prefixes=[2001:db8::/32]",
			"UPDATE ipv6/unicast end of RIB bgp_families=[ipv6/unicast]", "UPDATE ipv4/unicast end of RIB bgp_families=[ipv4/unicast]",
			"UPDATE l2vpn/evpn bgp_families=[l2vpn/evpn] bgp_next_hop=1.2.3.4"}},
		{Name: "paths of 2 bytes, and what replaces them", Chunks: chunks{client(updates("", attr(2, "\x02\x03\xfd\xe9\x5b\xa0\x5b\xa0")+"\xc0"+part(attrAS4Path, "\x02\x02\x00\x01\x00\x02\x00\x01\x00\x03")+"\xc0"+part(attrCommunity, "\xff\xff\xff\x01")+"\xc0"+part(attrLarge, "\x00\x01\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04"), "\x08\x0a"))}, Want: []string{
			"UPDATE ipv4/unicast +1 10.0.0.0/8 via 65001 65538 65539 bgp_families=[ipv4/unicast] bgp_prefixes=[10.0.0.0/8] bgp_as_path=65001 65538 65539 bgp_communities=[65535:65281 65538:3:4]"}},
		{Name: "paths with identifiers", Chunks: chunks{client(opens("\xfd\xe9", wide, both)), server(opens("\xfd\xe9", wide, both)), client(updates("", path, "\x00\x00\x00\x01\x08\x0a\x00\x00\x00\x02\x08\x0a"))}, Want: []string{
			"OPEN AS 65538 → AS 65538 bgp_hold_time=180 bgp_capabilities=[4_octet_as 65538 add_path ipv4/unicast both] bgp_peer_capabilities=[4_octet_as 65538 add_path ipv4/unicast both]",
			"UPDATE ipv4/unicast +2 10.0.0.0/8 via 65001 65538 {1,2} bgp_families=[ipv4/unicast] bgp_prefixes=[10.0.0.0/8 10.0.0.0/8] bgp_as_path=65001 65538 {1,2} bgp_origin=igp bgp_next_hop=10.0.0.9"}},
		{Name: "a long OPEN", Chunks: chunks{client(message(open, "\x04\xfd\xe9\x00\xb4\x0a\x00\x00\x01\xff\xff\x00\x09\x02\x00\x06"+wide))}, Want: []string{
			"OPEN AS 65538 → no_response error=no_response outcome=no_answer bgp_hold_time=180 bgp_capabilities=[4_octet_as 65538]"}},
		{Name: "a refresh", Chunks: chunks{client(message(refresh, "\x00\x01\x00\x01"))}, Want: []string{"ROUTE-REFRESH ipv4/unicast → request bgp_families=[ipv4/unicast]"}},
		{Name: "a prefix beyond its family", Anomalies: 1, Chunks: chunks{client(updates("", path, "\x08\x0a\x21\x01\x02\x03\x04\x05"))}, Want: []string{
			"UPDATE ipv4/unicast +1 10.0.0.0/8 via 65001 65538 {1,2} → malformed error=malformed outcome=unread bgp_families=[ipv4/unicast] bgp_prefixes=[10.0.0.0/8] bgp_as_path=65001 65538 {1,2} bgp_origin=igp bgp_next_hop=10.0.0.9"}},
		{Name: "the hold timer", Chunks: chunks{client(message(notification, "\x04\x00"))}, Want: []string{"NOTIFICATION → Hold Timer Expired outcome=server_error"}},
	}...)
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name string
		head string
		want dissect.Verdict
	}{
		{"an OPEN", opens("\xfd\xe9"), dissect.Yes},
		{"the beginning of one", opens("\xfd\xe9")[:22], dissect.More},
		{"a marker", marker, dissect.More},
		{"a KEEPALIVE", alive, dissect.Yes},
		{"an OPEN of version 3", strings.Replace(opens("\xfd\xe9"), "\x01\x04", "\x01\x03", 1), dissect.No},
		{"a NOTIFICATION without a known error", message(notification, "\x99\x00"), dissect.No},
		{"a KEEPALIVE with a body", message(keepalive, "x"), dissect.No},
		{"another type", message(9, "xxxx"), dissect.No},
		{"ones", strings.Repeat("\xff", 64), dissect.No},
		{"a magic packet for a card", "\xff\xff\xff\xff\xff\xff" + strings.Repeat("\x00\x11\x22\x33\x44\x55", 16), dissect.No},
		{"a request of HTTP", "GET / HTTP/1.1\r\n\r\n", dissect.No},
	} {
		for _, dir := range []dissect.Dir{dissect.ToServer, dissect.ToClient} {
			if got := detect(dir, []byte(c.head)); got != c.want {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
}
