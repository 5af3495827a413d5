package exporter

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// memoryLimits returns the limits that floods run with, in MiB. Short floods used at most 192 MiB with a
// limit of 256, so that limit is for long ones.
func memoryLimits() []int64 {
	if nightly.On() {
		return []int64{64, 256}
	}
	return []int64{64}
}

// feed is a capture that a function writes frame by frame to Run's standard input.
type feed struct {
	n, i int
	make func(i int, to []byte) []byte // appends frame i
	buf  []byte
	off  int
}

func newFrames(n int, make func(i int, to []byte) []byte) *feed {
	f := &feed{n: n, make: make, buf: binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)}
	for _, v := range []uint32{4<<16 | 2, 0, 0, 262144, 1} {
		f.buf = binary.LittleEndian.AppendUint32(f.buf, v)
	}
	return f
}

// Read implements io.Reader.
func (f *feed) Read(p []byte) (int, error) {
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

// rounds returns the conversation and step of frame i, for n conversations in turn.
func rounds(i, n int) (conn, step int) { return i % n, i / n }

func client(c int) (addr uint32, port uint16) {
	return 0x0a000000 + uint32(c>>14), uint16(20000 + c&0x3fff)
}

const server = 0x0a800001

var ping, pong = bytes.Repeat([]byte("PING\r\n"), 230), bytes.Repeat([]byte("+PONG\r\n"), 230)

// pings appends a frame with 230 commands of Redis, or with the replies to them.
func pings(i int, to []byte) []byte {
	c, step := rounds(i/2, 64)
	a, p := client(c)
	cs, ss := 100+uint32(step*len(ping)), 500+uint32(step*len(pong))
	if i%2 == 0 {
		return frames.AppendTCP(to, a, server, p, 6379, cs, ss, 24, i, ping)
	}
	return frames.AppendTCP(to, server, a, 6379, p, ss, cs+uint32(len(ping)), 24, i, pong)
}

// floods are captures for which a careless reader needs unlimited memory.
var floods = map[string]struct {
	long int // frames of the long form; the short one has a fiftieth
	make func(n int) io.Reader
}{
	"SYNs from random addresses": {2_000_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		return newFrames(n, func(i int, to []byte) []byte {
			return frames.AppendTCP(to, rnd.Uint32(), server, uint16(rnd.Uint32()), 80, rnd.Uint32(), 0, 2, i, nil)
		})
	}},
	"datagrams to random addresses": {2_000_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		return newFrames(n, func(i int, to []byte) []byte {
			return frames.AppendUDP(to, server, rnd.Uint32(), 4000, uint16(rnd.Uint32()), []byte("who is there, who is?"))
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
			return frames.AppendUDP(to, a, server, p, 4000, question)
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
			return frames.AppendUDP(to, a, server, p, 4000, question)
		})
	}},
	"fragments whose datagrams stay in pieces": {500_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		body := make([]byte, 1200)
		return newFrames(n, func(i int, to []byte) []byte {
			to = frames.AppendIPv4(to, 17, rnd.Uint32(), server, uint16(rnd.Uint32()), 0x2000|uint16(rnd.Intn(40)*150), len(body))
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
				return frames.AppendTCP(to, a, server, p, 80, 99, 0, 2, i, nil)
			case 1:
				return frames.AppendTCP(to, a, server, p, 80, 100, 1, 16, i, []byte("GET /index.html HTTP/1.1\r\nHost: shop.example\r\n"))
			}
			return frames.AppendTCP(to, a, server, p, 80, 146+uint32((step-2)*len(line)), 1, 16, i, line)
		})
	}},
	"requests that come byte by byte": {1_000_000, func(n int) io.Reader {
		text := []byte("GET /" + strings.Repeat("a", 4000))
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, max(n/200, 1))
			a, p := client(c)
			return frames.AppendTCP(to, a, server, p, 80, 100+uint32(step), 1, 16, i, text[step%len(text):][:1])
		})
	}},
	"bodies that never end": {700_000, func(n int) io.Reader {
		head := []byte("POST /up HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 99999999999\r\n\r\n")
		body := bytes.Repeat([]byte("never ending "), 107)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, max(n/100, 1))
			a, p := client(c)
			if step == 0 {
				return frames.AppendTCP(to, a, server, p, 80, 100, 1, 16, i, head)
			}
			return frames.AppendTCP(to, a, server, p, 80, 100+uint32(len(head)+(step-1)*len(body)), 1, 16, i, body)
		})
	}},
	"one flow of 2 GB": {1_500_000, func(n int) io.Reader {
		head := []byte("POST /up HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 99999999999\r\n\r\n")
		body := bytes.Repeat([]byte("never ending "), 107)
		return newFrames(n, func(i int, to []byte) []byte {
			a, p := client(1)
			if i == 0 {
				return frames.AppendTCP(to, a, server, p, 80, 100, 1, 16, i, head)
			}
			return frames.AppendTCP(to, a, server, p, 80, 100+uint32(len(head)+(i-1)*len(body)), 1, 16, i, body)
		})
	}},
	"datagrams of one conversation": {1_000_000, func(n int) io.Reader {
		return newFrames(n, func(i int, to []byte) []byte {
			a, p := client(1)
			return frames.AppendUDP(to, a, server, p, 4000, []byte("tick"))
		})
	}},
	"connections of one request": {7_000_000, func(n int) io.Reader { // a million
		return newFrames(n, func(i int, to []byte) []byte {
			const ask, answer = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"
			c, step := i/7, i%7
			a, p := client(c)
			cs, ss := uint32(c)<<8+1, uint32(c)<<9+1
			switch step {
			case 0:
				return frames.AppendTCP(to, a, server, p, 80, cs-1, 0, 2, i, nil)
			case 1:
				return frames.AppendTCP(to, server, a, 80, p, ss-1, cs, 18, i, nil)
			case 2:
				return frames.AppendTCP(to, a, server, p, 80, cs, ss, 16, i, nil)
			case 3:
				return frames.AppendTCP(to, a, server, p, 80, cs, ss, 24, i, []byte(ask))
			case 4:
				return frames.AppendTCP(to, server, a, 80, p, ss, cs+uint32(len(ask)), 24, i, []byte(answer))
			case 5:
				return frames.AppendTCP(to, a, server, p, 80, cs+uint32(len(ask)), ss+uint32(len(answer)), 17, i, nil)
			}
			return frames.AppendTCP(to, server, a, 80, p, ss+uint32(len(answer)), cs+uint32(len(ask))+1, 17, i, nil)
		})
	}},
	"requests that all wait at once": {2_500_000, crowd},
	"streams with a hole at their start": {700_000, func(n int) io.Reader {
		body := bytes.Repeat([]byte("after the hole "), 93)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, max(n/50, 1))
			a, p := client(c)
			if step == 0 {
				return frames.AppendTCP(to, a, server, p, 80, 99, 0, 2, i, nil)
			}
			return frames.AppendTCP(to, a, server, p, 80, 200+uint32((step-1)*len(body)), 1, 16, i, body)
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
				return frames.AppendTCP(to, a, server, p, 80, 100, 500, 24, i, []byte("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"))
			}
			at := (step - 1) * piece
			return frames.AppendTCP(to, server, a, 80, p, 500+uint32(at), 139, 24, i, answer[at:min(at+piece, len(answer))])
		})
	}},
	"requests of 28 bytes that nobody answers": {300_000, func(n int) io.Reader {
		ask := bytes.Repeat([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 40)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, 64)
			a, p := client(c)
			return frames.AppendTCP(to, a, server, p, 80, 100+uint32(step*len(ask)), 1, 24, i, ask)
		})
	}},
	"commands of six bytes": {20_000, func(n int) io.Reader {
		return newFrames(n, pings)
	}},
	"commands of six bytes after a calm": {1_000_000, func(n int) io.Reader {
		calm := n - n/50
		return newFrames(n, func(i int, to []byte) []byte {
			if i < calm {
				a, p := client(i % 64)
				return frames.AppendUDP(to, a, server, p, 4000, []byte("calm"))
			}
			return pings(i-calm, to)
		})
	}},
	"commands behind a gap": {148_400, func(n int) io.Reader { // of which one packet makes 70,000 calls
		const conns, behind = 4, 740
		ping := bytes.Repeat([]byte("*1\r\n$4\r\nPING\r\n"), 98)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i%(conns*(behind+2)), conns)
			a, p := client(c + i/(conns*(behind+2))*conns)
			switch step {
			case 0:
				return frames.AppendTCP(to, a, server, p, 6379, 99, 0, 2, i, nil)
			case behind + 1:
				return frames.AppendTCP(to, a, server, p, 6379, 100, 1, 24, i, ping[:14])
			}
			return frames.AppendTCP(to, a, server, p, 6379, 114+uint32((step-1)*len(ping)), 1, 24, i, ping)
		})
	}},
	"queries of 14 bytes": {200_000, func(n int) io.Reader {
		message := func(kind byte, body string) string {
			return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))) + body
		}
		start := []byte("\x00\x00\x00\x13\x00\x03\x00\x00user\x00alice\x00\x00")
		ready := []byte(message('R', "\x00\x00\x00\x00") + message('Z', "I"))
		ask := bytes.Repeat([]byte(message('Q', "SELECT 1\x00")), 100)
		answer := bytes.Repeat([]byte(message('C', "SELECT 1\x00")+message('Z', "I")), 70)
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i/2, 64)
			a, p := client(c)
			cs, ss := 100+uint32(len(start)+(step-1)*len(ask)), 500+uint32(len(ready)+(step-1)*len(answer))
			switch {
			case step == 0 && i%2 == 0:
				return frames.AppendTCP(to, a, server, p, 5432, 100, 500, 24, i, start)
			case step == 0:
				return frames.AppendTCP(to, server, a, 5432, p, 500, 100+uint32(len(start)), 24, i, ready)
			case i%2 == 0:
				return frames.AppendTCP(to, a, server, p, 5432, cs, ss, 24, i, ask)
			}
			return frames.AppendTCP(to, server, a, 5432, p, ss, cs+uint32(len(ask)), 24, i, answer)
		})
	}},
	"Initials of QUIC without a connection": {300_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		initial := append([]byte("\xc3\x00\x00\x00\x01\x0812345678\x00\x00\x44\x96"), make([]byte, 1174)...)
		return newFrames(n, func(i int, to []byte) []byte {
			rnd.Read(initial[6:14])
			binary.BigEndian.PutUint32(initial[20:], rnd.Uint32())
			a, p := client(i)
			return frames.AppendUDP(to, a, server, p, 443, initial)
		})
	}},
	"Initials of one connection of QUIC": {300_000, func(n int) io.Reader {
		rnd := rand.New(rand.NewSource(1))
		initial := append([]byte("\xc3\x00\x00\x00\x01\x0812345678\x00\x00\x44\x96"), make([]byte, 1174)...)
		return newFrames(n, func(i int, to []byte) []byte {
			rnd.Read(initial[18:])
			a, p := client(1)
			return frames.AppendUDP(to, a, server, p, 443, initial)
		})
	}},
	"ClientHellos that nobody answers": {300_000, func(n int) io.Reader {
		hello := []byte("\x16\x03\x01\x00\x43\x01\x00\x00\x3f\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x02\xc0\x2f\x01\x00" +
			"\x00\x14\x00\x00\x00\x10\x00\x0e\x00\x00\x0bshop.exampl")
		return newFrames(n, func(i int, to []byte) []byte {
			a, p := client(i)
			binary.BigEndian.PutUint32(hello[11:], uint32(i))
			return frames.AppendTCP(to, a, server, p, 443, 100, 1, 24, i, hello)
		})
	}},
	"calls of all protocols": {3_000_000, everyProtocol},
	"streams of HTTP/2 that stay open": {100_000, func(n int) io.Reader {
		start := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		const streams = 80
		return newFrames(n, func(i int, to []byte) []byte {
			c, step := rounds(i, 64)
			a, p := client(c)
			if step == 0 {
				return frames.AppendTCP(to, a, server, p, 80, 100, 1, 24, i, start)
			}
			streamFrames := make([]byte, 0, 18*streams)
			for k := range uint32(streams) {
				streamFrames = append(streamFrames, 0, 0, 9, 1, 5)
				streamFrames = binary.BigEndian.AppendUint32(streamFrames, (uint32(step-1)*streams+k)*2+1)
				streamFrames = append(streamFrames, "\x82\x84\x86\x41\x04shop"...)
			}
			return frames.AppendTCP(to, a, server, p, 80, 100+uint32(len(start)+(step-1)*cap(streamFrames)), 1, 24, i, streamFrames)
		})
	}},
}

// everyProtocol repeats the samples of single protocols, with other clients each time.
func everyProtocol(n int) io.Reader {
	var list []seen
	var network []uint32 // of the packets
	for k, name := range []string{"amqp.pcapng", "apis.pcapng", "dns.pcap", "ftp.pcapng", "grpc.pcapng", "http1.pcapng", "http2.pcap", "kafka.pcapng", "ldap.pcapng", "mcp.pcapng", "memcached.pcapng", "mongodb.pcapng",
		"mqtt.pcapng", "mysql.pcapng", "nats.pcapng", "postgresql.pcapng", "redis.pcap", "smtp.pcapng", "ssh.pcapng", "tls.pcapng", "web.pcapng"} {
		sample, err := readPackets(filepath.Join("..", "samples", name))
		if err != nil {
			panic(err)
		}
		for _, p := range sample {
			if len(p.payload) < 60<<10 {
				list, network = append(list, p), append(network, uint32(8+k)<<24)
			}
		}
	}
	return newFrames(n, func(i int, to []byte) []byte {
		p, net := &list[i%len(list)], network[i%len(list)]|uint32(i/len(list))<<8
		a, b := net|uint32(p.src.Addr().As4()[3]), net|uint32(p.dst.Addr().As4()[3])
		if p.proto == 17 {
			return frames.AppendUDP(to, a, b, p.src.Port(), p.dst.Port(), []byte(p.payload))
		}
		return frames.AppendTCP(to, a, b, p.src.Port(), p.dst.Port(), p.seq, p.ack, p.flags, i, []byte(p.payload))
	})
}

// TestPeakMemory runs every flood in a separate process and checks its peak memory. The pages of
// the program itself are beside the limit.
func TestPeakMemory(t *testing.T) {
	if name, limit, ok := strings.Cut(os.Getenv("PCAPSULE_FLOOD"), "|"); ok {
		mib, _ := strconv.ParseInt(limit, 10, 64)
		flood(t, name, mib<<20)
		return
	}
	if raceEnabled {
		t.Skip("needs a build without the race detector")
	}
	for _, name := range nightly.Some(slices.Sorted(maps.Keys(floods)), 5) {
		for _, limit := range memoryLimits() {
			t.Run(fmt.Sprintf("%s, %d MiB", name, limit), func(t *testing.T) { stayBelow(t, name, limit) })
		}
	}
}

// stayBelow runs a flood up to three times: on a busy machine the collector lags behind, which is no
// memory that the run holds.
func stayBelow(t *testing.T, name string, limit int64) {
	for range 2 {
		if peakOf(t, name, limit) <= limit {
			return
		}
	}
	if peak := peakOf(t, name, limit); peak > limit {
		t.Errorf("peak memory %d MiB, want at most %d MiB", peak, limit)
	}
}

// peakOf is the peak memory of a flood in MiB.
func peakOf(t *testing.T, name string, limit int64) int64 {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPeakMemory$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PCAPSULE_FLOOD=%s|%d", name, limit))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	peak := mib(out, "VmHWM:") - mib(out, "RssFile:") - mib(out, "RssShmem:") // the program may lie in memory
	t.Logf("peak %d MiB, %v; %s", peak, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(10*time.Millisecond), firstLine(out, "accounts"))
	return peak
}

// mib is what a flood said of its memory, 0 on systems without /proc. (The ru_maxrss of a process begins
// with that of its parent.)
func mib(out []byte, name string) (n int64) {
	fmt.Sscanf(firstLine(out, name), name+" %d kB", &n)
	return n >> 10
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
func flood(t *testing.T, name string, limit int64) {
	debug.SetGCPercent(50) // as the program does, as well as the limit
	debug.SetMemoryLimit(HeapLimit(limit))
	f := floods[name]
	n := f.long / 50
	if nightly.On() {
		n = f.long
	}
	m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"),
		Options{Release: "test", Stdin: f.make(n), Repanic: true, Memory: limit})
	if err != nil {
		t.Fatal(err)
	}
	a := &m.Accounts
	if a.Packets != int64(n) || a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
		t.Errorf("accounts do not add up over %d packets: %+v", n, *a)
	}
	status, _ := os.ReadFile("/proc/self/status")
	fmt.Printf("%s\n%s\n%s\n", firstLine(status, "VmHWM:"), firstLine(status, "RssFile:"), firstLine(status, "RssShmem:"))
	t.Logf("accounts %d packets, %d payload bytes, calls %v", a.Packets, a.PayloadBytes, m.Calls)
}
