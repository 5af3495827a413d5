// Package hard makes the captures in this folder, byte by byte, without a network: each shows
// one thing that goes wrong or is rare in captures. The same code always gives the same bytes.
//
// go generate ./samples/hard writes the files again; the test compares them. It uses none of
// the product's writers, so that reader and writer cannot agree on a mistake.
package hard

//go:generate go test . -run TestFiles -update

// File is one capture.
type File struct {
	Name  string
	Bytes []byte
}

// The exchange that most captures hold.
const (
	request  = "GET /orders/7 HTTP/1.1\r\nHost: orders.example\r\nUser-Agent: sample\r\n\r\n"
	head     = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n\r\n"
	bodyA    = "first part of the body, " // 24 bytes
	bodyB    = "the second one, "         // 16
	bodyC    = "and the third part.\n"    // 20
	response = head + bodyA + bodyB + bodyC
)

// Files gives every capture, in the order of the README.
func Files() []File {
	return []File{
		{"out-of-order.pcap", pcap(outOfOrder())},
		{"retransmission.pcap", pcap(retransmission())},
		{"overlap-conflict.pcap", pcap(overlapConflict())},
		{"wrap-around.pcap", pcap(wrapAround())},
		{"mid-stream.pcap", pcap(midStream())},
		{"gap.pcap", pcap(gap())},
		{"snaplen.pcap", pcap(snapLength(130))},
		{"snaplen-headers.pcap", pcap(snapLength(100))},
		{"one-sided.pcap", pcap(oneSided())},
		{"reset.pcap", pcap(reset())},
		{"fragments-v4.pcap", pcap(fragments4(true))},
		{"fragments-v4-missing.pcap", pcap(fragments4(false))},
		{"fragments-v6.pcap", pcap(fragments6())},
		{"vlan-vxlan.pcap", pcap(vlanVXLAN())},
		{"truncated.pcap", truncated()},
		{"corrupt-block.pcapng", corruptBlock()},
		{"sections.pcapng", sections()},
		{"big-endian.pcapng", bigEndian()},
		{"simple-packets.pcapng", simplePackets()},
		{"names.pcapng", names()},
		{"secrets.pcapng", secrets()},
		{"drops.pcapng", drops()},
		{"zero-length.pcapng", zeroLength()},
		{"empty.pcap", pcap(nil)},
		{"empty.pcapng", empty()},
		{"no-bytes.pcap", nil},
	}
}

// exchange is a whole connection with one request and its response.
func exchange() *conversation {
	c := newConversation(8080)
	c.open()
	c.say(0, request)
	c.say(1, response)
	c.close()
	return c
}
