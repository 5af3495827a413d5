package all_test

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestForgedAnswers has a question of DNS with two answers, and hosts that learn another router.
func TestForgedAnswers(t *testing.T) {
	const id, asks = "\x20\x07", "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04bank\x07example\x00\x00\x01\x00\x01"
	says := func(last string) string {
		return id + "\x81\x80\x00\x01\x00\x01" + asks[6:] + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00" + last
	}
	for _, tt := range []struct {
		name    string
		answers []string
		want    string
	}{
		{"two answers", []string{says("\x66"), says("\x03")}, "medium: 1 question of 10.0.0.1 to 10.0.0.9 over DNS got another answer after the first: one of both may be forged"},
		{"one answer", []string{says("\x03")}, ""},
		{"the same answer twice", []string{says("\x03"), says("\x03")}, ""},
	} {
		var w traffic.Capture
		w.Datagram(0, "10.0.0.1", "10.0.0.9:53", id+asks, tt.answers...)
		holdOne(t, &w, "name-poisoning", tt.want)
	}
	var w traffic.Capture
	redirect := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeRedirect, layers.ICMPv4CodeHost)
	quote := ipv4(t, "10.0.0.5", "192.0.2.1", layers.IPProtocolUDP, 0, 0, "\x10\x00\x00\x35\x00\x10\x00\x00xxxxxxxx")[14:]
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{ComputeChecksums: true}, &layers.ICMPv4{TypeCode: redirect, Id: 10 << 8, Seq: 0x42}, gopacket.Payload(quote)); err != nil {
		t.Fatal(err)
	}
	w.Frame(0, ipv4(t, "10.0.0.1", "10.0.0.5", layers.IPProtocolICMPv4, 0, 0, string(b.Bytes())))
	holdOne(t, &w, "rogue-router", "low: 10.0.0.1 told 10.0.0.5 1 time to send its packets by way of 10.0.0.66 (ICMP redirect)")
}
