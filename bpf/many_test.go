//go:build linux

package bpf

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/filter"
)

// ethernet puts an Ethernet header before an IP packet, for the kernel's test run.
func ethernet(p *ipPacket) []byte {
	b := make([]byte, 14, 14+len(p.data))
	binary.BigEndian.PutUint16(b[12:], p.kind)
	return append(b, p.data...)
}

// oddPackets are varied packets: from captures, truncated, changed at random places, empty,
// of random bytes, and as long as the kernel's test run accepts.
func oddPackets(t *testing.T) (list [][]byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 7))
	paths, err := filepath.Glob("../samples/*.pcap*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, path := range paths {
		packets := ipPackets(path)
		for i := range packets[:min(len(packets), 30)] {
			b := ethernet(&packets[i])
			b = b[:min(len(b), 3000)]
			list = append(list, b, b[:15+r.IntN(len(b)-14)])
			wild := append([]byte{}, b...)
			for range 1 + r.IntN(8) {
				wild[14+r.IntN(min(len(wild)-14, 80))] = byte(r.Uint32())
			}
			list = append(list, wild)
		}
	}
	for n := range 200 {
		b := make([]byte, 14+n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if n%4 != 0 {
			binary.BigEndian.PutUint16(b[12:], []uint16{0x0800, 0x86dd, 0x0806}[n%3])
		}
		if len(b) > 14 && n%2 == 0 {
			b[14] = []byte{0x45, 0x60, 0x4f, 0x6f, 0x40, 0xf0}[n%6]
		}
		list = append(list, b)
	}
	// Consecutive extension headers, each of the maximum length.
	chain := make([]byte, 14+40+3200)
	binary.BigEndian.PutUint16(chain[12:], 0x86dd)
	chain[14] = 0x60
	for at := 54; at+2 < len(chain); at += 8 {
		chain[at], chain[at+1] = 0, byte(at%3)
	}
	list = append(list, chain)
	for _, n := range []int{1500, 3000, 4000, 9000, 16000, 65535} {
		list = append(list, frame(n, 53))
	}
	return list
}

// TestManyPacketsPass runs the packet programs with different options on varied packets. Each
// must let every packet pass and count it.
func TestManyPacketsPass(t *testing.T) {
	some, err := filter.Compile("tcp port 80 or udp[4:2] > 100 or ip6", 276, 0)
	if err != nil {
		t.Fatal(err)
	}
	packets := oddPackets(t)
	for name, o := range map[string]Options{
		"whole packets":         {},
		"owners, headers only":  {Owners: true, HeadersOnly: true},
		"a filter and a length": {Filter: some.Instructions(), Snap: 60},
		"no room":               {RingBytes: 4096, Owners: true},
		"the recorder's own":    {OwnCgroup: 1, OwnTGID: 1, Owners: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, o)
			ran, refused := uint64(0), 0
			for _, program := range []string{"packet_in", "packet_out"} {
				prog := p.coll.Programs[program]
				for i, data := range packets {
					ret, err := prog.Run(&ebpf.RunOptions{Data: data, Repeat: 1})
					if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOMEM) {
						refused++ // the kernel's test run does not accept this packet
						continue
					}
					if err != nil {
						t.Fatalf("packet %d of %d bytes: %v", i, len(data), err)
					}
					ran++
					if ret != 1 {
						t.Errorf("%s returned %d for packet %d, %x", program, ret, i, data[:min(len(data), 80)])
					}
				}
			}
			in, out, err := p.Counts()
			if err != nil {
				t.Fatal(err)
			}
			if !in.Balanced() || !out.Balanced() || in.Seen+out.Seen != ran || ran < 1000 {
				t.Errorf("%d packets, %d were refused; counted %+v and %+v", ran, refused, in, out)
			}
			t.Logf("%d packets, %d refused by the test run", ran, refused)
		})
	}
}
