//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/pcapsule/pcapsule/recorder/filter"
)

// readOne reads a packet with the library's own reader.
func readOne(p *Programs) (Packet, []byte, error) {
	var rec Packet
	r, err := ringbuf.NewReader(p.coll.Maps[recorderMapPackets])
	if err != nil {
		return rec, nil, err
	}
	defer r.Close()
	if err := r.Flush(); err != nil {
		return rec, nil, err
	}
	raw, err := r.Read()
	if err != nil {
		return rec, nil, err
	}
	data, ok := rec.Decode(raw.RawSample)
	if !ok {
		return rec, nil, errors.New("the record is invalid")
	}
	return rec, data, nil
}

// TestPacketBytesArriveComplete checks lengths around the borders of the record classes.
func TestPacketBytesArriveComplete(t *testing.T) {
	p := load(t, Options{})
	for _, class := range []int{256, 512, 1024, 2048} {
		for n := class - PacketHeader - 1; n <= class-PacketHeader+1; n++ {
			sent := frame(n, 7)
			for i := 28; i < n; i++ {
				sent[14+i] = byte(i * 7)
			}
			p.run(t, "packet_out", sent)
			rec, data, err := readOne(p)
			if err != nil {
				t.Fatal(err)
			}
			if int(rec.Len) != n || string(data) != string(sent[14:]) || !rec.Outgoing || rec.Protocol != 0x0800 {
				t.Errorf("packet of %d bytes arrived as %+v with %d bytes", n, rec, len(data))
			}
		}
	}
}

// TestKernelFilterMatchesFilter compares the kernel's translation of a filter with the filter
// itself on the same packets.
func TestKernelFilterMatchesFilter(t *testing.T) {
	var packets [][]byte
	for _, n := range []int{21, 28, 29, 40, 60, 200, 1500} {
		for _, port := range []uint16{53, 80, 443, 4000} {
			f := frame(n, port)
			packets = append(packets, f)
			if n >= 40 {
				tcp := append([]byte{}, f...)
				tcp[14+9] = 6
				tcp[14+32], tcp[14+33] = 0x50, byte(port)
				opt := append([]byte{}, f...)
				opt[14] = 0x46
				frag := append([]byte{}, f...)
				frag[14+7] = 9
				six := append([]byte{}, f...)
				six[12], six[13], six[14], six[14+6] = 0x86, 0xDD, 0x60, 17
				packets = append(packets, tcp, opt, frag, six)
			}
		}
	}
	for _, expr := range []string{
		"udp port 53", "tcp", "not udp", "host 10.1.2.3", "src net 10.4.0.0/16 or port 443", "tcp[tcpflags] & tcp-syn != 0", "tcp[13] & 2 != 0",
		"ip6", "ip6 and udp", "len > 100", "less 60", "udp[4:2] > 20", "ip[0] & 0xf > 5", "portrange 50-100", "icmp or udp port 80",
		"udp[8 + 2 * 3] = 0", "ip[2:2] / 2 > 30", "ip[2:2] % 7 = 3", "ip[8] << 2 = 256", "1 << ip[9] = 64", "inbound", "outbound",
	} {
		prog, err := filter.Compile(expr, 276, 0)
		if err != nil {
			t.Logf("%s: %v", expr, err)
			continue
		}
		if _, err := Translate(prog.Instructions()); err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		t.Run(expr, func(t *testing.T) {
			p := load(t, Options{Filter: prog.Instructions()})
			for i, f := range packets {
				for _, outgoing := range []bool{false, true} {
					if err := ask(t, p, prog, f, outgoing); err != nil {
						t.Errorf("packet %d: %v", i, err)
					}
				}
			}
		})
	}
}

func ask(t *testing.T, p *Programs, prog *filter.Program, f []byte, outgoing bool) error {
	before, outBefore, err := p.Counts()
	if err != nil {
		return err
	}
	name, pktType := "packet_in", byte(0)
	if outgoing {
		name, before, pktType = "packet_out", outBefore, 4
	}
	p.run(t, name, f)
	after, outAfter, err := p.Counts()
	if err != nil {
		return err
	}
	if outgoing {
		after = outAfter
	}
	cooked := make([]byte, 20, 20+len(f))
	cooked[0], cooked[1], cooked[8], cooked[9], cooked[10] = f[12], f[13], 0xFF, 0xFE, pktType
	cooked[7] = 1 // the kernel's test runs on the loopback device
	want := prog.Match(append(cooked, f[14:]...), uint32(20+len(f)-14))
	if got := after.Filtered == before.Filtered; got != want {
		return fmt.Errorf("outgoing %v, %x: kernel %v, filter %v", outgoing, f[14:min(len(f), 60)], got, want)
	}
	return nil
}
