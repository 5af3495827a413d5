package secrets

import (
	"bytes"
	"testing"
)

// FuzzOpen passes any record to every kind of cipher, which must only open records that
// were sealed.
func FuzzOpen(f *testing.F) {
	f.Add(byte(0), byte(23), uint64(0), []byte{23, 3, 3, 0, 40}, fixed(1, 40), false)
	f.Add(byte(9), byte(25), uint64(1<<48), fixed(25, 20), fixed(2, 64), true)
	f.Add(byte(40), byte(22), uint64(7), []byte{0x2f, 1, 2, 0, 9}, fixed(3, 33), false)
	f.Fuzz(func(t *testing.T, which, typ byte, seq uint64, header, body []byte, lost bool) {
		var openers []*Opener
		if which < 10 {
			s := SuiteOf(0x1301 + uint16(which%5))
			open := Open13
			if which >= 5 {
				open = Open13DTLS
			}
			o, err := open(s, fixed(7, s.Hash.Size()))
			if err != nil {
				t.Fatal(err)
			}
			openers = append(openers, o)
		} else {
			i := 0
			everyOld(func(name string, version uint16, s *Suite, etm bool) {
				if i++; i%8 == int(which)%8 {
					o, _, err := Open12(version, s, etm, fixed(1, 48), fixed(2, 32), fixed(3, 32))
					if err != nil {
						t.Fatal(err)
					}
					openers = append(openers, o)
				}
			})
		}
		for _, o := range openers {
			r := &Record{Type: typ, Version: o.version, Seq: seq, Header: header, Body: body}
			if lost {
				o.Lost()
			}
			if _, ok := o.Search(r, seq-2, 5); ok {
				t.Fatalf("%s finds a number for a record that was not sealed", o.suite.Name)
			}
			before := bytes.Clone(body)
			got, _, err := o.Open([]byte("kept"), r)
			if err == nil || string(got) != "kept" {
				t.Fatalf("%s opens a record that was not sealed: %q, %v", o.suite.Name, got, err)
			}
			if !bytes.Equal(before, body) {
				t.Fatalf("%s wrote to the record", o.suite.Name)
			}
			h := bytes.Clone(header)
			o.UnmaskNumber(h, body)
			o.Skip(r)
			o.Overhead()
		}
	})
}

func FuzzQUIC(f *testing.F) {
	f.Add(uint32(1), quicPacket(f, "v1 client-packet"), 18, uint64(2))
	f.Add(uint32(QUICv2), quicPacket(f, "v2 server-packet"), 18, uint64(1))
	f.Add(uint32(0xff00001d), []byte{0x40, 1, 2, 3}, 1, uint64(1<<62))
	f.Fuzz(func(t *testing.T, version uint32, packet []byte, at int, number uint64) {
		client, server, err := QUICInitial(version, originalID)
		if err != nil {
			return
		}
		before := bytes.Clone(packet)
		chacha, err := QUICKeys(version, SuiteOf(0x1303), fixed(1, 32))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []*PacketKeys{client, server, chacha, client.Next()} {
			first, truncated, length, err := k.Unmask(packet, at)
			if err != nil {
				continue
			}
			if length != int(first&3)+1 || uint64(truncated)>>(8*length) != 0 || FullNumber(number>>2, truncated, length)&(1<<(8*length)-1) != uint64(truncated) {
				t.Fatalf("first %#x, number %d in %d bytes", first, truncated, length)
			}
			header := bytes.Clone(packet[:at+length])
			header[0] = first
			for i := range length {
				header[at+i] = byte(truncated >> (8 * (length - 1 - i)))
			}
			found, ok := k.Search(header, packet[at+length:], truncated, length, number, 1000)
			plain, err := k.Open(nil, found, header, packet[at+length:])
			if ok != (err == nil && ok) || err != nil && plain != nil {
				t.Fatalf("Search returned %v, Open %v", ok, err)
			}
		}
		if !bytes.Equal(packet, before) {
			t.Fatal("the packet was changed")
		}
		RetryTag(version, packet[:min(len(packet), 20)], packet)
	})
}
