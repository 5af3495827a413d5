package secrets

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

//go:embed testdata/quic.txt
var quicPackets string

// quicPacket returns a packet of the RFCs.
func quicPacket(t testing.TB, name string) []byte {
	t.Helper()
	for line := range strings.Lines(quicPackets) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return unhex(t, rest)
		}
	}
	t.Fatalf("no %s in testdata/quic.txt", name)
	return nil
}

// originalID is the connection id of all packets of the RFCs.
var originalID = []byte{0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08}

func TestInitialPacketsOfTheRFCs(t *testing.T) {
	for _, c := range []struct {
		name    string
		version uint32
		secrets [2]string
		numbers [2]uint64
	}{
		{"v1", QUICv1, [2]string{"c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea", "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b"}, [2]uint64{2, 1}},
		{"v2", QUICv2, [2]string{"14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b", "0263db1782731bf4588e7e4d93b7463907cb8cd8200b5da55a8bd488eafc37c1"}, [2]uint64{2, 1}},
	} {
		client, server, err := QUICInitial(c.version, originalID)
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range []*PacketKeys{client, server} {
			side := []string{"client", "server"}[i]
			name := c.name + " " + side
			if !bytes.Equal(k.secret, unhex(t, c.secrets[i])) {
				t.Errorf("%s: secret %x", name, k.secret)
			}
			header, packet := quicPacket(t, name+"-header"), quicPacket(t, name+"-packet")
			frames := quicPacket(t, name+"-frames")
			before := bytes.Clone(packet)
			length := int(header[0]&3) + 1
			at := len(header) - length
			first, truncated, n, err := k.Unmask(packet, at)
			if err != nil || first != header[0] || n != length || uint64(truncated) != c.numbers[i] {
				t.Errorf("%s: first %#x, number %d in %d bytes, %v", name, first, truncated, n, err)
			}
			got, err := k.Open(nil, c.numbers[i], header, packet[len(header):])
			if err != nil || !bytes.HasPrefix(got, frames) || len(bytes.Trim(got[len(frames):], "\x00")) > 0 {
				t.Errorf("%s: %x, %v", name, got, err)
			}
			if number, ok := k.Search(header, packet[len(header):], truncated, n, 0, 1<<62); !ok || number != c.numbers[i] {
				t.Errorf("%s: search found %d, %v", name, number, ok)
			}
			if _, ok := k.Search(header, packet[len(header):], truncated, n, c.numbers[i]+1, 1<<62); ok {
				t.Errorf("%s: found outside the range", name)
			}
			if !bytes.Equal(packet, before) {
				t.Errorf("%s: the packet was changed", name)
			}
			packet[len(packet)-1] ^= 1
			if got, err := k.Open([]byte("kept"), c.numbers[i], header, packet[len(header):]); !errors.Is(err, ErrAuth) || string(got) != "kept" {
				t.Errorf("%s: with a changed tag got %q, %v", name, got, err)
			}
		}
	}
}

func TestShortPacketsOfTheRFCs(t *testing.T) {
	secret := unhex(t, "9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
	for _, c := range []struct {
		name             string
		version          uint32
		packet, next, iv string
	}{
		{"RFC 9001 appendix A.5", QUICv1, "4cfe4189655e5cd55c41f69080575d7999c25a5bfb", "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9", "e0459b3474bdd0e44a41c144"},
		{"RFC 9369 appendix A.5", QUICv2, "5558b1c60ae7b6b932bc27d786f4bc2bb20f2162ba", "c69374c49e3d2a9466fa689e49d476db5d0dfbc87d32ceeaa6343fd0ae4c7d88", "a6b5bc6ab7dafce30ffff5dd"},
	} {
		k, err := QUICKeys(c.version, SuiteOf(0x1303), secret)
		if err != nil {
			t.Fatal(err)
		}
		const number = 654360564
		packet := unhex(t, c.packet)
		first, truncated, length, err := k.Unmask(packet, 1)
		if err != nil || first != 0x42 || length != 3 || truncated != 49140 {
			t.Errorf("%s: first %#x, number %d in %d bytes, %v", c.name, first, truncated, length, err)
		}
		if full := FullNumber(number-2, truncated, length); full != number {
			t.Errorf("%s: full number %d", c.name, full)
		}
		header := []byte{0x42, 0x00, 0xbf, 0xf4}
		if got, err := k.Open(nil, number, header, packet[4:]); err != nil || string(got) != "\x01" {
			t.Errorf("%s: %x, %v", c.name, got, err)
		}
		if found, ok := k.Search(header, packet[4:], truncated, length, number-1<<20, 1<<21); !ok || found != number {
			t.Errorf("%s: search found %d, %v", c.name, found, ok)
		}
		if !bytes.Equal(k.iv[:], unhex(t, c.iv)) {
			t.Errorf("%s: iv %x", c.name, k.iv)
		}
		next := k.Next()
		if !bytes.Equal(next.secret, unhex(t, c.next)) || next.protect != k.protect {
			t.Errorf("%s: next secret %x", c.name, next.secret)
		}
	}
}

func TestRetryTags(t *testing.T) {
	for _, c := range []struct {
		name    string
		version uint32
		packet  []byte
	}{
		{"RFC 9001 appendix A.4", QUICv1, quicPacket(t, "v1 retry")},
		{"RFC 9369 appendix A.4", QUICv2, quicPacket(t, "v2 retry")},
	} {
		n := len(c.packet) - 16
		tag, err := RetryTag(c.version, originalID, c.packet[:n])
		if err != nil || !bytes.Equal(tag[:], c.packet[n:]) {
			t.Errorf("%s: tag %x, %v", c.name, tag, err)
		}
	}
	if _, err := RetryTag(0xff000017, originalID, nil); !errors.Is(err, ErrVersion) {
		t.Errorf("draft 23, which had no tag: %v", err)
	}
}

func TestQUICVersions(t *testing.T) {
	salts := make(map[string][]string)
	for _, v := range []uint32{1, QUICv2, 0xff000015, 0xff000016, 0xff000017, 0xff00001b, 0xff00001c, 0xff00001d, 0xff000020, 0xff000022, 0xfaceb001, 0xfaceb002, 0x51303530, 0x54303530, 0x54303531} {
		c, s, err := QUICInitial(v, originalID)
		if err != nil || c == nil || s == nil {
			t.Errorf("%#x: %v", v, err)
			continue
		}
		salts[string(c.secret)] = append(salts[string(c.secret)], fmt.Sprintf("%x", v))
	}
	if len(salts) != 8 {
		t.Errorf("%d kinds of initial secrets, want 8: %v", len(salts), salts)
	}
	for _, v := range []uint32{0, 2, 0xff000014, 0xff000023, 0x0a0a0a0a} {
		if _, _, err := QUICInitial(v, originalID); !errors.Is(err, ErrVersion) {
			t.Errorf("%#x: %v, want ErrVersion", v, err)
		}
		if _, err := QUICKeys(v, SuiteOf(0x1301), make([]byte, 32)); !errors.Is(err, ErrVersion) {
			t.Errorf("keys of %#x: %v, want ErrVersion", v, err)
		}
	}
}

func TestRefusesInvalidQUICSecretsAndPackets(t *testing.T) {
	for _, c := range []struct {
		name   string
		suite  *Suite
		secret int
	}{
		{"a suite that QUIC forbids", SuiteOf(0x1305), 32},
		{"a suite of TLS 1.2", SuiteOf(0xc02f), 32},
		{"no suite", nil, 32},
		{"a short secret", SuiteOf(0x1301), 31},
		{"a secret of the wrong size", SuiteOf(0x1302), 32},
	} {
		if _, err := QUICKeys(QUICv1, c.suite, make([]byte, c.secret)); err == nil {
			t.Errorf("%s makes keys", c.name)
		}
	}
	k, err := QUICKeys(QUICv1, SuiteOf(0x1301), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{-1, 0, 2, 21, 1 << 40} {
		if _, _, _, err := k.Unmask(make([]byte, 21), at); !errors.Is(err, ErrRecord) {
			t.Errorf("number at %d of 21 bytes: %v", at, err)
		}
	}
	if _, err := k.Open(nil, 0, nil, make([]byte, 15)); !errors.Is(err, ErrRecord) {
		t.Errorf("a body shorter than a tag: %v", err)
	}
}

func TestFullNumber(t *testing.T) {
	for _, c := range []struct {
		expected  uint64
		truncated uint32
		length    int
		want      uint64
	}{
		{0xa82f30ea + 1, 0x9b32, 2, 0xa82f9b32}, // RFC 9000 appendix A.3
		{0, 0, 1, 0},
		{0, 200, 1, 200},
		{256, 255, 1, 255},
		{255, 1, 1, 257},
		{1000, 0xe7, 1, 999},
		{1 << 32, 0xffffffff, 4, 1<<32 - 1},
		{1<<62 - 1, 0, 1, 1<<62 - 256},
	} {
		if got := FullNumber(c.expected, c.truncated, c.length); got != c.want {
			t.Errorf("%#x after %#x in %d bytes: %#x, want %#x", c.truncated, c.expected, c.length, got, c.want)
		}
	}
}

// sealQUIC protects a packet according to RFC 9001 section 5.
func sealQUIC(t testing.TB, k *PacketKeys, first byte, before []byte, number uint64, length int, frames []byte) (packet, header []byte, at int) {
	t.Helper()
	header = append([]byte{first&^3 | byte(length-1)}, before...)
	at = len(header)
	for i := range length {
		header = append(header, byte(number>>(8*(length-1-i))))
	}
	nonce := k.iv
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^number)
	packet = sealing(t, k).Seal(bytes.Clone(header), nonce[:], frames, header)
	m := k.protect.of(packet[at+4:][:16])
	bits := byte(0x1f)
	if first&0x80 != 0 {
		bits = 0x0f
	}
	packet[0] ^= m[0] & bits
	for i := range length {
		packet[at+i] ^= m[1+i]
	}
	return packet, header, at
}

func TestOpensEveryQUICSuiteAndPhase(t *testing.T) {
	for _, id := range []uint16{0x1301, 0x1302, 0x1303, 0x1304} {
		s := SuiteOf(id)
		k, err := QUICKeys(QUICv1, s, bytes.Repeat([]byte{7}, s.Hash.Size()))
		if err != nil {
			t.Fatal(err)
		}
		for phase := range 3 {
			for _, number := range []uint64{0, 1, 1<<16 - 1, 1 << 31, 1<<62 - 1} {
				for length := 1; length <= 4; length++ {
					frames := bytes.Repeat([]byte{byte(number)}, 5+17*length)
					packet, header, at := sealQUIC(t, k, 0x40, []byte("12345678"), number, length, frames)
					first, truncated, n, err := k.Unmask(packet, at)
					if err != nil || n != length || first != header[0] || uint64(truncated) != number&(1<<(8*length)-1) {
						t.Fatalf("%s phase %d number %d: %#x %d %d %v", s.Name, phase, number, first, truncated, n, err)
					}
					got, err := k.Open(nil, number, header, packet[len(header):])
					if err != nil || !bytes.Equal(got, frames) {
						t.Fatalf("%s phase %d number %d: %v", s.Name, phase, number, err)
					}
					from := number - min(number, 900)
					if found, ok := k.Search(header, packet[len(header):], truncated, n, from, 1000); !ok || found != number {
						t.Fatalf("%s phase %d: searched for %d, found %d, %v", s.Name, phase, number, found, ok)
					}
				}
			}
			k = k.Next()
		}
	}
}
