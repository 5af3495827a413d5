package all

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// talk is a recorded TCP connection, from its SYN on.
type talk struct {
	name   string
	port   uint16 // the server's
	chunks []dissecttest.Chunk
	next   [2]uint32
}

// samples lists the recordings of package samples with their protocols.
var samples = map[string]string{
	"http1.pcapng": "http1", "http2.pcap": "http2", "grpc.pcapng": "http2", "dns.pcap": "dns", "redis.pcap": "redis",
	"postgresql.pcapng": "postgresql", "mysql.pcapng": "mysql", "tls.pcapng": "tls", "kafka.pcapng": "kafka",
	"ldap.pcapng": "ldap",
}

// talks reads the TCP connections of a recording. The recording must be complete: a segment that
// is not the next one is a retransmission.
func talks(t *testing.T, file string) (list []*talk) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "samples", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type ends [2]netip.AddrPort
	open := map[ends]*talk{}
	d := decode.New(decode.Options{})
	var b pcapng.Batch
	for err == nil {
		err = r.Next(&b)
		for i := range b.Packets {
			p := &b.Packets[i]
			var f decode.Frame
			d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &f)
			if f.Proto != 6 || !f.L4 {
				continue
			}
			from, to := netip.AddrPortFrom(f.Src.Netip(), f.SrcPort), netip.AddrPortFrom(f.Dst.Netip(), f.DstPort)
			if f.Flags&(decode.SYN|decode.ACK) == decode.SYN {
				k := &talk{name: file + " " + from.String(), port: f.DstPort}
				open[ends{from, to}] = k
				list = append(list, k)
			}
			k, dir := open[ends{from, to}], dissect.ToServer
			if k == nil {
				k, dir = open[ends{to, from}], dissect.ToClient
			}
			if k != nil {
				k.segment(dir, &f)
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return list
}

// inClear is what a conversation of a protocol said before it continued in TLS.
func (k *talk) inClear(protocol string) []dissecttest.Chunk {
	for i, c := range k.chunks {
		if len(c.Data) > 5 && string(c.Data[:2]) == "\x16\x03" && protocol != "tls" {
			return k.chunks[:i]
		}
	}
	return k.chunks
}

func (k *talk) segment(dir dissect.Dir, f *decode.Frame) {
	if f.Flags&decode.SYN != 0 {
		k.next[dir] = f.Seq + 1
		return
	}
	if len(f.Payload) == 0 || f.Seq != k.next[dir] {
		return
	}
	k.next[dir] += uint32(len(f.Payload))
	k.chunks = append(k.chunks, dissecttest.Chunk{Dir: dir, Data: append([]byte(nil), f.Payload...)})
}
