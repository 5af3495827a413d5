package mcp

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// writeExchange writes a capture of one TCP connection with one request and its answer.
func writeExchange(t testing.TB, path, request, response string) {
	t.Helper()
	writeExchangeFrom(t, path, 0, request, response)
}

// writeExchangeFrom is writeExchange of the n-th client, a second after the one before.
func writeExchangeFrom(t testing.TB, path string, n int, request, response string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000+int64(n), 0)
	client, server := net.IPv4(10, 0, byte(n), 1), net.IPv4(10, 0, 0, 2)
	seq := [2]uint32{1000, 5000}
	send := func(from int, syn, fin bool, payload string) {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: client, DstIP: server}
		tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: seq[from], Ack: seq[1-from], SYN: syn, FIN: fin, ACK: !syn || from == 1, PSH: payload != "", Window: 65535}
		if from == 1 {
			ip.SrcIP, ip.DstIP = server, client
			tcp.SrcPort, tcp.DstPort = 80, 40000
		}
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		b := gopacket.NewSerializeBuffer()
		eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(payload)); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Millisecond)
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()); err != nil {
			t.Fatal(err)
		}
		seq[from] += uint32(len(payload))
		if syn || fin {
			seq[from]++
		}
	}
	send(0, true, false, "")
	send(1, true, false, "")
	send(0, false, false, "")
	send(0, false, false, request)
	send(1, false, false, response)
	send(0, false, true, "")
	send(1, false, true, "")
	send(0, false, false, "")
}
