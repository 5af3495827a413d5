package exporter

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// maxRSS is Run's largest allowed peak memory for any capture.
const maxRSS = 256 << 20

// frames is a capture that a function writes frame by frame to Run's standard input.
type frames struct {
	n, i int
	make func(i int, to []byte) []byte // appends frame i
	buf  []byte
	off  int
}

func newFrames(n int, make func(i int, to []byte) []byte) *frames {
	f := &frames{n: n, make: make, buf: binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)}
	for _, v := range []uint32{4<<16 | 2, 0, 0, 262144, 1} {
		f.buf = binary.LittleEndian.AppendUint32(f.buf, v)
	}
	return f
}

// Read implements io.Reader.
func (f *frames) Read(p []byte) (int, error) {
	if f.off == len(f.buf) {
		f.buf, f.off = f.buf[:0], 0
		for ; f.i < f.n && len(f.buf) < 64<<10; f.i++ {
			at := len(f.buf)
			f.buf = f.make(f.i, append(f.buf, make([]byte, 16)...))
			size := uint32(len(f.buf) - at - 16)
			us := uint64(f.i) * 10 // 100,000 packets a second
			binary.LittleEndian.PutUint32(f.buf[at:], uint32(1_700_000_000+us/1e6))
			binary.LittleEndian.PutUint32(f.buf[at+4:], uint32(us%1e6*1000))
			binary.LittleEndian.PutUint32(f.buf[at+8:], size)
			binary.LittleEndian.PutUint32(f.buf[at+12:], size)
		}
		if len(f.buf) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, f.buf[f.off:])
	f.off += n
	return n, nil
}

// ip4 appends Ethernet and IPv4 headers for a payload of n bytes.
func ip4(to []byte, proto byte, src, dst uint32, id, frag uint16, n int) []byte {
	to = append(to, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0)
	to = binary.BigEndian.AppendUint16(to, uint16(20+n))
	to = binary.BigEndian.AppendUint16(to, id)
	to = binary.BigEndian.AppendUint16(to, frag)
	to = append(to, 64, proto, 0, 0)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(to, src), dst)
}

// tcp4 appends a frame with a TCP segment.
func tcp4(to []byte, src, dst uint32, sport, dport uint16, seq, ack uint32, flags byte, id int, payload []byte) []byte {
	to = ip4(to, 6, src, dst, uint16(id%65535)+1, 0, 20+len(payload))
	to = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(to, sport), dport)
	to = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(to, seq), ack)
	to = append(to, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(to, payload...)
}

// udp4 appends a frame with a datagram.
func udp4(to []byte, src, dst uint32, sport, dport uint16, payload []byte) []byte {
	to = ip4(to, 17, src, dst, 0, 0, 8+len(payload))
	to = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(to, sport), dport)
	to = binary.BigEndian.AppendUint16(to, uint16(8+len(payload)))
	return append(append(to, 0, 0), payload...)
}

// rounds returns the conversation and step of frame i, for n conversations in turn.
func rounds(i, n int) (conn, step int) { return i % n, i / n }

func client(c int) (addr uint32, port uint16) {
	return 0x0a000000 + uint32(c>>14), uint16(20000 + c&0x3fff)
}

const server = 0x0a800001

// floods are captures for which a careless reader needs unlimited memory.
var floods = map[string]struct {
	long int // frames of the long form; the short one has a fiftieth
	make func(n int) io.Reader
}{
	"SYNs from random addresses": {2_000_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		return newFrames(n, func(i int, to []byte) []byte {
			return tcp4(to, rnd.Uint32(), server, uint16(rnd.Uint32()), 80, rnd.Uint32(), 0, 2, i, nil)
		})
	}},
	"datagrams to random addresses": {2_000_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		return newFrames(n, func(i int, to []byte) []byte {
			return udp4(to, server, rnd.Uint32(), 4000, uint16(rnd.Uint32()), []byte("who is there, who is?"))
		})
	}},
	"questions that other ends repeat": {300_000, func(n int) io.Reader {
		question := []byte("who is there, who is there, who?")
		return newFrames(n, func(i int, to []byte) []byte {
			a, p := client(i / 2)
			binary.BigEndian.PutUint32(question, uint32(i/2)) // each one is different
			if i%2 == 1 {
				a += 1 << 24
			}
			return udp4(to, a, server, p, 4000, question)
		})
	}},
	"questions that follow each other, and are repeated": {1_000_000, func(n int) io.Reader {
		question := []byte("who is there, who is?")
		return newFrames(n, func(i int, to []byte) []byte {
			c, _ := rounds(i/2, 4000)
			a, p := client(c)
			binary.BigEndian.PutUint32(question, uint32(i/2))
			if i%2 == 1 {
				a += 1 << 24
			}
			return udp4(to, a, server, p, 4000, question)
		})
	}},
	"fragments whose datagrams stay in pieces": {500_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		body := make([]byte, 1200)
		return newFrames(n, func(i int, to []byte) []byte {
			to = ip4(to, 17, rnd.Uint32(), server, uint16(rnd.Uint32()), 0x2000|uint16(rnd.Intn(40)*150), len(body))
			return append(to, body...)
		})
	}},
	"requests whose headers never end": {1_000_000, func(n int) io.Reader {
		line := []byte("X-Filler: " + strings.Repeat("f", 900) + "\r\n")
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, max(n/5, 1))
			a, p := client(c)
			switch step {
			case 0:
				return tcp4(to, a, server, p, 80, 99, 0, 2, i, nil)
			case 1:
				return tcp4(to, a, server, p, 80, 100, 1, 16, i, []byte("GET /index.html HTTP/1.1\r\nHost: shop.example\r\n"))
			}
			return tcp4(to, a, server, p, 80, 146+uint32((step-2)*len(line)), 1, 16, i, line)
		})
	}},
	"requests that come byte by byte": {1_000_000, func(n int) io.Reader {
		text := []byte("GET /" + strings.Repeat("a", 4000))
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, max(n/200, 1))
			a, p := client(c)
			return tcp4(to, a, server, p, 80, 100+uint32(step), 1, 16, i, text[step%len(text):][:1])
		})
	}},
	"bodies that never end": {700_000, func(n int) io.Reader {
		head := []byte("POST /up HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 99999999999\r\n\r\n")
		body := bytes.Repeat([]byte("never ending "), 107)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, max(n/100, 1))
			a, p := client(c)
			if step == 0 {
				return tcp4(to, a, server, p, 80, 100, 1, 16, i, head)
			}
			return tcp4(to, a, server, p, 80, 100+uint32(len(head)+(step-1)*len(body)), 1, 16, i, body)
		})
	}},
	"one flow of 2 GB": {1_500_000, func(n int) io.Reader {
		head := []byte("POST /up HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 99999999999\r\n\r\n")
		body := bytes.Repeat([]byte("never ending "), 107)
		return newFrames(n, func(i int, to []byte) []byte {
			a, p := client(1)
			if i == 0 {
				return tcp4(to, a, server, p, 80, 100, 1, 16, i, head)
			}
			return tcp4(to, a, server, p, 80, 100+uint32(len(head)+(i-1)*len(body)), 1, 16, i, body)
		})
	}},
	"streams with a hole at their start": {700_000, func(n int) io.Reader {
		body := bytes.Repeat([]byte("after the hole "), 93)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, max(n/50, 1))
			a, p := client(c)
			if step == 0 {
				return tcp4(to, a, server, p, 80, 99, 0, 2, i, nil)
			}
			return tcp4(to, a, server, p, 80, 200+uint32((step-1)*len(body)), 1, 16, i, body)
		})
	}},
	"answers of gzip bombs": {40_000, func(n int) io.Reader {
		var z bytes.Buffer
		w, _ := gzip.NewWriterLevel(&z, 9)
		w.Write(make([]byte, 20<<20))
		w.Close()
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", z.Len())
		answer := append([]byte(head), z.Bytes()...)
		const piece = 16000
		pieces := (len(answer) + piece - 1) / piece
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := i/(pieces+1), i%(pieces+1)
			a, p := client(c)
			if step == 0 {
				return tcp4(to, a, server, p, 80, 100, 500, 24, i, []byte("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"))
			}
			at := (step - 1) * piece
			return tcp4(to, server, a, 80, p, 500+uint32(at), 139, 24, i, answer[at:min(at+piece, len(answer))])
		})
	}},
	"requests of 28 bytes that nobody answers": {300_000, func(n int) io.Reader {
		ask := bytes.Repeat([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 40)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, 64)
			a, p := client(c)
			return tcp4(to, a, server, p, 80, 100+uint32(step*len(ask)), 1, 24, i, ask)
		})
	}},
	"commands of six bytes": {20_000, func(n int) io.Reader {
		ping, pong := bytes.Repeat([]byte("PING\r\n"), 230), bytes.Repeat([]byte("+PONG\r\n"), 230)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i/2, 64)
			a, p := client(c)
			cs, ss := 100+uint32(step*len(ping)), 500+uint32(step*len(pong))
			if i%2 == 0 {
				return tcp4(to, a, server, p, 6379, cs, ss, 24, i, ping)
			}
			return tcp4(to, server, a, 6379, p, ss, cs+uint32(len(ping)), 24, i, pong)
		})
	}},
}

// TestPeakMemory runs every flood in a separate process and checks its peak memory.
func TestPeakMemory(t *testing.T) {
	if name := os.Getenv("PCAPSULE_FLOOD"); name != "" {
		flood(t, name)
		return
	}
	if raceEnabled {
		t.Skip("needs a build without the race detector")
	}
	for name := range floods {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestPeakMemory$", "-test.v")
			cmd.Env = append(os.Environ(), "PCAPSULE_FLOOD="+name)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			usage := cmd.ProcessState.SysUsage()
			peak := peakRSS(usage)
			t.Logf("peak %d MiB, %v; %s", peak>>20, cmd.ProcessState.UserTime().Round(10*time.Millisecond), firstLine(out, "accounts"))
			if peak > maxRSS {
				t.Errorf("peak memory %d MiB, want at most %d MiB", peak>>20, maxRSS>>20)
			}
		})
	}
}

func firstLine(out []byte, with string) string {
	for _, l := range strings.Split(string(out), "\n") {
		if strings.Contains(l, with) {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// flood runs one of the floods in this process.
func flood(t *testing.T, name string) {
	debug.SetGCPercent(60) // as the program does, as well as the limit
	debug.SetMemoryLimit(HeapLimit(DefaultMemory))
	f := floods[name]
	n := f.long / 50
	if os.Getenv("PCAPSULE_LONG") != "" {
		n = f.long
	}
	m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"),
		Options{Release: "test", Stdin: f.make(n), Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	a := &m.Accounts
	if a.Packets != int64(n) || a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
		t.Errorf("accounts do not add up over %d packets: %+v", n, *a)
	}
	t.Logf("accounts %d packets, %d payload bytes, calls %v", a.Packets, a.PayloadBytes, m.Calls)
}
