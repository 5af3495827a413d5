// Command tlspair makes two captures of one conversation between the client and server of net/http:
// one in plain text and one as TLS 1.3, with its key log, to measure the cost of decryption on the
// same traffic.
//
//	tlspair DIR BYTES   → DIR/clear.pcap, DIR/tls.pcap (at least BYTES each), DIR/tls.keylog
package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const segment = 1448 // payload of a segment on Ethernet

// capture writes classic pcap files. The time advances by a microsecond per packet.
type capture struct {
	mu   sync.Mutex
	w    *bufio.Writer
	size int64
	tick *ticker
}

// ticker is the common clock of both captures.
type ticker struct {
	mu sync.Mutex
	us int64
}

func (t *ticker) next() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.us++
	return t.us
}

func newCapture(path string, t *ticker) (*capture, *os.File, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, err
	}
	c := &capture{w: bufio.NewWriterSize(f, 1<<20), tick: t}
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 262144, 1} {
		c.w.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	return c, f, nil
}

// wire is one TCP connection in a capture.
type wire struct {
	c      *capture
	port   uint16
	seq    [2]uint32
	unacks [2]int
}

const (
	toServer = 0
	toClient = 1
)

func newWire(c *capture, port uint16) *wire {
	w := &wire{c: c, port: port, seq: [2]uint32{uint32(port) * 7919, uint32(port) * 104729}}
	c.mu.Lock()
	defer c.mu.Unlock()
	w.packet(toServer, 0x02, nil)
	w.seq[toServer]++
	w.packet(toClient, 0x12, nil)
	w.seq[toClient]++
	w.packet(toServer, 0x10, nil)
	return w
}

func (w *wire) data(dir int, p []byte) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for len(p) > 0 {
		n := min(len(p), segment)
		w.packet(dir, 0x18, p[:n])
		w.seq[dir] += uint32(n)
		p = p[n:]
		if w.unacks[dir]++; w.unacks[dir]%2 == 0 {
			w.packet(1-dir, 0x10, nil)
		}
	}
}

func (w *wire) close() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for _, dir := range []int{toServer, toClient} {
		w.packet(dir, 0x11, nil)
		w.seq[dir]++
	}
	w.packet(toServer, 0x10, nil)
}

func (w *wire) packet(dir int, flags byte, payload []byte) {
	var h [16 + 14 + 20 + 20]byte
	t := w.c.tick.next()
	size := uint32(54 + len(payload))
	binary.LittleEndian.PutUint32(h[0:], uint32(1_700_000_000+t/1e6))
	binary.LittleEndian.PutUint32(h[4:], uint32(t%1e6))
	binary.LittleEndian.PutUint32(h[8:], size)
	binary.LittleEndian.PutUint32(h[12:], size)
	eth := h[16:]
	copy(eth, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00")
	ip := eth[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	copy(ip[12:], []byte{10, 0, 0, byte(1 + dir), 10, 0, 0, byte(2 - dir)})
	tcp := ip[20:]
	ports := [2]uint16{w.port, 8443}
	binary.BigEndian.PutUint16(tcp, ports[dir])
	binary.BigEndian.PutUint16(tcp[2:], ports[1-dir])
	binary.BigEndian.PutUint32(tcp[4:], w.seq[dir])
	if flags != 0x02 {
		binary.BigEndian.PutUint32(tcp[8:], w.seq[1-dir])
	}
	tcp[12], tcp[13] = 5<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 65535)
	w.c.w.Write(h[:])
	w.c.w.Write(payload)
	w.c.size += int64(size) + 16
}

// tap writes the data of a connection to a capture.
type tap struct {
	net.Conn
	w   *wire
	dir int
}

func (t *tap) Write(p []byte) (int, error) {
	t.w.data(t.dir, p)
	return t.Conn.Write(p)
}

// listener accepts the server's ends.
type listener struct{ conns chan net.Conn }

func (l *listener) Accept() (net.Conn, error) { return <-l.conns, nil }
func (l *listener) Close() error              { return nil }
func (l *listener) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 8443} }

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: tlspair DIR BYTES")
	}
	want, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(os.Args[1], want); err != nil {
		log.Fatal(err)
	}
}

func run(dir string, want int64) error {
	t := &ticker{}
	clear, f1, err := newCapture(filepath.Join(dir, "clear.pcap"), t)
	if err != nil {
		return err
	}
	defer f1.Close()
	sealed, f2, err := newCapture(filepath.Join(dir, "tls.pcap"), t)
	if err != nil {
		return err
	}
	defer f2.Close()
	keys, err := os.Create(filepath.Join(dir, "tls.keylog"))
	if err != nil {
		return err
	}
	defer keys.Close()
	cert, err := certificate()
	if err != nil {
		return err
	}
	l := &listener{conns: make(chan net.Conn, 64)}
	go http.Serve(l, handler(bodies()))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var port uint16 = 20000
	for worker := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(7, uint64(worker)))
			for {
				mu.Lock()
				port++
				p := port
				mu.Unlock()
				sealed.mu.Lock()
				done := sealed.size >= want
				sealed.mu.Unlock()
				if done {
					return
				}
				connection(l, newWire(clear, p), newWire(sealed, p), cert, keys, r)
			}
		}()
	}
	wg.Wait()
	fmt.Printf("clear %d MB, TLS %d MB, %d connections\n", clear.size/1e6, sealed.size/1e6, port-20000)
	if err := clear.w.Flush(); err != nil {
		return err
	}
	return sealed.w.Flush()
}

// connection runs up to a hundred requests on one kept-alive connection.
func connection(l *listener, clear, sealed *wire, cert tls.Certificate, keys io.Writer, r *rand.Rand) {
	a, b := net.Pipe()
	server := tls.Server(&tap{b, sealed, toClient}, &tls.Config{Certificates: []tls.Certificate{cert}})
	client := tls.Client(&tap{a, sealed, toServer}, &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example", KeyLogWriter: keys})
	l.conns <- &tap{server, clear, toClient}
	conn := &tap{client, clear, toServer}
	in := bufio.NewReader(client)
	for range 100 {
		path := []string{"/s", "/m", "/m", "/m", "/m", "/l", "/l", "/blob"}[r.IntN(8)]
		method, body := "GET", []byte(nil)
		if r.IntN(5) == 0 {
			method, path, body = "POST", "/order", bytes.Repeat([]byte(`{"id":1,"q":2},`), 40)
		}
		req, _ := http.NewRequest(method, "https://shop.example"+path, bytes.NewReader(body))
		var buf bytes.Buffer
		if err := req.Write(&buf); err != nil {
			log.Fatal(err)
		}
		if _, err := conn.Write(buf.Bytes()); err != nil {
			log.Fatal(err)
		}
		resp, err := http.ReadResponse(in, req)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	client.Close()
	a.Close()
	clear.close()
	sealed.close()
}

func bodies() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	list := func(n int) []byte {
		var b bytes.Buffer
		b.WriteByte('[')
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"id":%d,"sku":"SKU-%06d","price":%d.%02d,"note":"%016x"}`, i, r.IntN(1e6), r.IntN(1000), r.IntN(100), r.Uint64())
		}
		b.WriteByte(']')
		return b.Bytes()
	}
	blob := make([]byte, 60_000)
	for i := range blob {
		blob[i] = byte(r.Uint32())
	}
	return map[string][]byte{"/s": list(3), "/m": list(24), "/l": list(180), "/blob": blob}
}

func handler(content map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == "POST" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(201)
			io.WriteString(w, `{"ok":true}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(content[r.URL.Path])))
		w.Write(content[r.URL.Path])
	})
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(crand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}, &x509.Certificate{}, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
