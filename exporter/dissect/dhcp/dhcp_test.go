package dhcp

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// v4 is a message for IPv4 with options; yours is the address that the server assigns.
func v4(op byte, id uint32, yours string, options ...string) string {
	b := make([]byte, size4)
	copy(b, []byte{op, 1, 6})
	binary.BigEndian.PutUint32(b[4:], id)
	copy(b[16:20], yours)
	copy(b[28:], "\x02\x00\x00\x00\x00\x01")
	binary.BigEndian.PutUint32(b[atCookie:], cookie)
	return string(b) + strings.Join(options, "") + "\xff\x00\x00"
}

// option is an option of IPv4.
func option(code byte, value string) string { return string([]byte{code, byte(len(value))}) + value }

// option6 is an option of IPv6.
func option6(code byte, value ...string) string {
	v := strings.Join(value, "")
	return string([]byte{0, code, byte(len(v) >> 8), byte(len(v))}) + v
}

const (
	mine   = "\x00\x03\x00\x01\x02\x00\x00\x00\x00\x01"
	theirs = "\x00\x03\x00\x01\x02\x00\x00\x00\x00\x02"
	host   = "\x0a\x01\x1a\x64"
	addr6  = "\xfd\x00\x00\x26\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00"
	hour   = "\x00\x00\x0e\x10"
)

var (
	discover = v4(1, 7, "", option(optType, "\x01"), option(optHostname, "till-1"), option(optVendor, "udhcp 1.35"), option(optClientID, "\x01\x02"), option(optParameters, "\x01\x03\x06"))
	offer    = v4(2, 7, host, option(optType, "\x02"), option(optServer, "\x0a\x01\x1a\x14"), option(optLease, hour), option(optMask, "\xff\xff\xff\x00"), option(optRouters, "\x0a\x01\x1a\x01"),
		option(optDNS, "\x0a\x01\x1a\x02\x0a\x01\x1a\x03"), option(optDomain, "shop.example"), option(optBootServer, "tftp"), option(optBootFile, "pxe.0"))
	request = v4(1, 8, "", option(optType, "\x03"), option(optRequested, host), option(optFQDN, "\x04\x00\x00\x04till\x04shop\x00"))
	nak     = v4(2, 8, "", option(optType, "\x06"), option(optMessage, "wrong network"))
	release = v4(1, 9, "", option(optType, "\x07"))
	solicit = "\x01\x00\x00\x07" + option6(opt6ClientID, mine) + option6(opt6IANA, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00") + option6(opt6Requested, "\x00\x17\x00\x18") + option6(opt6FQDN, "\x00\x06till-1\x00")
	reply6  = "\x07\x00\x00\x07" + option6(14) + option6(opt6ClientID, mine) + option6(opt6ServerID, theirs) + option6(opt6IANA, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", option6(opt6Address, addr6, hour, hour)) +
		option6(opt6IAPD, "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00", option6(opt6Prefix, hour, "\x00\x00\x07\x08", "\x40", addr6[:8]+"\x00\x00\x00\x00\x00\x00\x00\x00")) + option6(opt6DNS, addr6) + option6(opt6Domain, "\x04shop\x07example\x00")
	denied6 = "\x07\x00\x00\x07" + option6(14) + option6(opt6ClientID, mine) + option6(opt6ServerID, theirs) + option6(opt6IANA, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", option6(opt6Status, "\x00\x02none left"))
)

// relayed puts a message for IPv6 into one of a relay.
func relayed(kind byte, inner string) string {
	return string([]byte{kind, 0}) + addr6 + addr6 + option6(opt6Relayed, inner)
}

var samples = []dissecttest.Sample{
	{Name: "a relay", Rows: 3, Chunks: chunks{client(discover), server(offer), client(request), server(nak), client(release)}},
	{Name: "IPv6", Rows: 2, Chunks: chunks{client(solicit), server(reply6), client(relayed(relayForward, solicit)), server(relayed(relayReply, denied6))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"dhcp_client_id", "dhcp_hostname", "dhcp_vendor", "dhcp_addresses", "dhcp_lease_s", "dhcp_server", "dhcp_relay", "dhcp_mask", "dhcp_routers", "dhcp_dns", "dhcp_domain", "dhcp_boot_server", "dhcp_boot_file", "dhcp_parameters", "dhcp_status"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a relay", Chunks: samples[0].Chunks, Want: []string{
			"DHCPv4 DISCOVER 02:00:00:00:00:01 (till-1) → OFFER 10.1.26.100 dhcp_client_id=0102 dhcp_hostname=till-1 dhcp_vendor=udhcp 1.35 dhcp_addresses=[10.1.26.100] dhcp_lease_s=3600 dhcp_server=10.1.26.20 dhcp_mask=255.255.255.0 dhcp_routers=[10.1.26.1] dhcp_dns=[10.1.26.2 10.1.26.3] dhcp_domain=shop.example dhcp_boot_server=tftp dhcp_boot_file=pxe.0 dhcp_parameters=[1 3 6]",
			"DHCPv4 REQUEST 02:00:00:00:00:01 (till.shop) 10.1.26.100 → NAK: wrong network outcome=refused dhcp_hostname=till.shop",
			"DHCPv4 RELEASE 02:00:00:00:00:01"}},
		{Name: "IPv6", Chunks: samples[1].Chunks, Want: []string{
			"DHCPv6 SOLICIT 00030001020000000001 (till-1) → REPLY fd00:26::100 dhcp_hostname=till-1 dhcp_addresses=[fd00:26::100 fd00:26::/64] dhcp_lease_s=1800 dhcp_server=00030001020000000002 dhcp_dns=[fd00:26::100] dhcp_domain=shop.example dhcp_parameters=[23 24]",
			"DHCPv6 SOLICIT 00030001020000000001 (till-1) → REPLY NoAddrsAvail: none left outcome=refused dhcp_hostname=till-1 dhcp_server=00030001020000000002 dhcp_relay=fd00:26::100 dhcp_parameters=[23 24] dhcp_status=2"}},
		{Name: "a server that is silent", Chunks: chunks{client(discover)}, Want: []string{
			"DHCPv4 DISCOVER 02:00:00:00:00:01 (till-1) → no_response error=no_response outcome=no_answer dhcp_client_id=0102 dhcp_hostname=till-1 dhcp_vendor=udhcp 1.35 dhcp_parameters=[1 3 6]"}},
		{Name: "a response to a message that went to all", Chunks: chunks{server(nak)}, Want: []string{"DHCPv4 NAK 02:00:00:00:00:01: wrong network outcome=refused"}},
		{Name: "options in the fields of names", Chunks: chunks{server(overloaded())}, Want: []string{"DHCPv4 ACK 02:00:00:00:00:01 10.1.26.100 dhcp_addresses=[10.1.26.100] dhcp_lease_s=3600 dhcp_domain=shop.example"}},
	}...)
}

// overloaded has options in the fields of the file and the server, RFC 2132 section 9.3.
func overloaded() string {
	b := []byte(v4(2, 7, host, option(optType, "\x05"), option(optOverload, "\x03")))
	copy(b[atFile:], option(optLease, hour)+"\xff")
	copy(b[atServer:], option(optDomain, "shop.example")+"\xff")
	return string(b)
}

// TestMulticast states that a message to all has no answer in its conversation.
func TestMulticast(t *testing.T) {
	o := dissecttest.OptionsOf(Protocol())
	o.Multicast = true
	r := dissecttest.Play(t, o, client(discover))
	if row := r.Emissions[0].Row.Base(); !row.Complete || row.Failed || row.Summary != "DHCPv4 DISCOVER 02:00:00:00:00:01 (till-1)" {
		t.Errorf("%s, complete %v, failed %v", row.Summary, row.Complete, row.Failed)
	}
}

func TestDetect(t *testing.T) {
	deep := solicit
	for range maxRelays + 2 {
		deep = relayed(relayForward, deep)
	}
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, discover, dissect.Yes},
		{"a request from the server", dissect.ToClient, discover, dissect.No},
		{"a response", dissect.ToClient, offer, dissect.Yes},
		{"another cookie", dissect.ToServer, strings.Replace(discover, "\x63\x82", "\x63\x83", 1), dissect.No},
		{"an option that is cut", dissect.ToServer, discover[:len(discover)-6], dissect.No},
		{"IPv6", dissect.ToServer, solicit, dissect.Likely},
		{"IPv6, cut", dissect.ToServer, solicit[:len(solicit)-1], dissect.No},
		{"a relay", dissect.ToServer, relayed(relayForward, solicit), dissect.Likely},
		{"too many relays", dissect.ToServer, deep, dissect.No},
		{"a client that asks for information without a DUID", dissect.ToServer, "\x0b\x00\x00\x07" + option6(opt6Requested, "\x00\x17"), dissect.Likely},
		{"zeros of another protocol", dissect.ToServer, "\x0b" + strings.Repeat("\x00", 47), dissect.No},
		{"a client without a DUID", dissect.ToServer, "\x01\x00\x00\x07" + option6(opt6ClientID, "\x00\x09\x00\x01\x02\x00\x00\x00\x00\x01"), dissect.No},
	})
}

// TestOneIDForTwoRequests has an answer after two requests with its id: it may be to either, unless they are equal.
func TestOneIDForTwoRequests(t *testing.T) {
	other := v4(1, 8, "", option(optType, "\x03"), option(optRequested, "\x0a\x09\x09\x09"))
	ack := v4(2, 8, host, option(optType, "\x05"))
	for _, tt := range []struct {
		name   string
		chunks chunks
		want   string
	}{
		{"other ones", chunks{client(request), client(other), server(ack)}, "unread, ok; answer_first, answer_first"},
		{"equal ones", chunks{client(request), client(request), server(ack)}, "no_answer, ok; "},
		{"each has its answer", chunks{client(request), server(ack), client(other), server(nak)}, "ok, refused; "},
	} {
		r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{Protocol()}, Transport: dissect.UDP, ServerPort: 67}, tt.chunks...)
		var rows, kinds []string
		for _, row := range r.Rows() {
			rows = append(rows, row.Base().Outcome)
		}
		for _, a := range r.Anomalies {
			kinds = append(kinds, a.Kind)
		}
		if got := strings.Join(rows, ", ") + "; " + strings.Join(kinds, ", "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestRequestsOfOneExchange has one transaction id for both requests of a client, as RFC 2131 section 4.4.1 says, and
// repeated responses to the first one.
func TestRequestsOfOneExchange(t *testing.T) {
	v4 := func(op byte, kind string, options ...string) string {
		return v4(op, 7, "", append(options, option(optType, kind))...)
	}
	v6 := func(kind string, options ...string) string {
		return kind + "\x00\x00\x07" + option6(opt6ClientID, mine) + strings.Join(options, "")
	}
	discover, request, offer, ack := v4(1, "\x01"), v4(1, "\x03"), v4(2, "\x02"), v4(2, "\x05")
	solicit, request6, advertise, reply := v6("\x01"), v6("\x03"), v6("\x02"), v6("\x07")
	for _, tt := range []struct {
		name   string
		chunks chunks
		want   string
	}{
		{"a second OFFER", chunks{client(discover), server(offer), client(request), server(offer), server(ack)}, "DISCOVER OFFER, OFFER OFFER, REQUEST ACK"},
		{"a second ACK", chunks{client(discover), client(request), server(ack), server(ack)}, "REQUEST ACK, ACK ACK, DISCOVER "},
		{"Rapid Commit", chunks{client(discover), server(v4(2, "\x05", option(80, "")))}, "DISCOVER ACK"},
		{"a server of BOOTP", chunks{client(discover), server(v4(2, "\x00"))}, "DISCOVER BOOTREPLY"},
		{"IPv6, a second ADVERTISE", chunks{client(solicit), server(advertise), client(request6), server(advertise), server(reply)}, "SOLICIT ADVERTISE, ADVERTISE ADVERTISE, REQUEST REPLY"},
		{"IPv6, a second REPLY", chunks{client(solicit), client(request6), server(reply), server(reply)}, "REQUEST REPLY, REPLY REPLY, SOLICIT "},
		{"IPv6, Rapid Commit", chunks{client(solicit), server(v6("\x07", option6(14)))}, "SOLICIT REPLY"},
	} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), tt.chunks...)
		var rows []string
		for _, row := range r.Rows() {
			rows = append(rows, row.(*Row).Type+" "+row.(*Row).ResponseType.V)
		}
		if got := strings.Join(rows, ", "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
