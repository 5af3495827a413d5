package truth

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Environment variables of a part.
const (
	roleEnv  = "PCAPSULE_TRUTH_ROLE"
	wayEnv   = "PCAPSULE_TRUTH_WAY"
	begunEnv = "PCAPSULE_TRUTH_BEGUN"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		time.AfterFunc(20*time.Second, func() { os.Exit(3) }) // in any case
		play(strings.Fields(role))
		time.Sleep(50 * time.Millisecond) // last acknowledgements
		return
	}
	flag.Parse()
	must(0, flag.Set("test.parallel", "4")) // scenes mostly wait
	os.Exit(m.Run())
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(roleEnv), err)
		os.Exit(1)
	}
	return v
}

// reported is a call that a part reports, made or answered.
type reported struct {
	PID  int    `json:"pid"`
	What string `json:"what"` // unique path or name
	Side string `json:"side"` // src or dst
}

func report(side, what string) {
	text, _ := json.Marshal(reported{os.Getpid(), what, side})
	fmt.Fprintf(reports, "%s\n", text)
}

// reports is the output for reports; an inetd's child has its connection as standard output.
var reports io.Writer = os.Stdout

// play plays a part: serve or ask, with a transport, an address and more arguments.
func play(role []string) {
	switch name, transport, addr, rest := role[0], role[1], role[2], role[3:]; name + " " + transport {
	case "serve tcp":
		serveTCP(must(net.Listen("tcp", addr)), number(rest[0]))
	case "serve udp":
		c := must(net.ListenUDP("udp", must(net.ResolveUDPAddr("udp", addr))))
		listening()
		serveUDP(c, number(rest[0]))
	case "workers tcp": // processes that take turns responding on one connection
		l := must(net.Listen("tcp", addr))
		c := must(l.Accept()).(*net.TCPConn)
		inTurn(c, "answer", number(rest[0]))
	case "answer turn":
		c := must(net.FileConn(os.NewFile(3, "connection")))
		answer(c, bufio.NewReader(io.LimitReader(c, 1<<20)))
	case "ask tcp":
		d := net.Dialer{}
		if len(rest) > 2 && rest[2] != "-" {
			d.LocalAddr = must(net.ResolveTCPAddr("tcp", rest[2]))
		}
		c := must(dial(&d, addr))
		r := bufio.NewReader(c)
		for i := range number(rest[0]) {
			switch {
			case len(rest) > 3 && rest[3] == "later": // than the start of the recording
				await("")
			case len(rest) > 3: // slowly
				time.Sleep(10 * time.Millisecond)
			}
			ask(c, r, fmt.Sprintf("/%s-%d", rest[1], i))
		}
		c.Close()
	case "askers tcp": // processes that take turns sending requests on one connection
		inTurn(must(dial(&net.Dialer{}, addr)).(*net.TCPConn), "ask", number(rest[0]))
	case "ask turn":
		c := must(net.FileConn(os.NewFile(3, "connection")))
		ask(c, bufio.NewReader(io.LimitReader(c, 1<<20)), "/turn-"+rest[0])
	case "ask udp":
		askUDP(addr, number(rest[0]), rest[1], rest[2] == "connected")
	case "askers udp":
		await(".udp")
		c := must(net.Dial("udp", addr)).(*net.UDPConn)
		f := must(c.File())
		for i := range number(rest[0]) {
			child(f, fmt.Sprintf("ask turnudp - %d", i))
		}
	case "ask turnudp":
		c := must(net.FileConn(os.NewFile(3, "socket")))
		name := "turn-" + rest[0]
		must(c.Write(query(name)))
		report("src", name)
		must(c.Read(make([]byte, 512)))
	default:
		pass(role)
	}
}

func number(s string) int { return must(strconv.Atoi(s)) }

func dial(d *net.Dialer, addr string) (c net.Conn, err error) {
	for range 200 {
		if c, err = d.Dial("tcp", addr); !errors.Is(err, unix.ECONNREFUSED) {
			return c, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return c, err
}

// inTurn passes a connection to one process after the other.
func inTurn(c *net.TCPConn, part string, n int) {
	f := must(c.File())
	for i := range n {
		child(f, fmt.Sprintf("%s turn - %d", part, i))
	}
	c.Close()
}

// child runs a part to its end, with a file as its descriptor 3.
func child(f *os.File, role string) { must(0, part(role, f).Run()) }

func ask(c net.Conn, r *bufio.Reader, path string) {
	write(c, "GET "+path+" HTTP/1.1\r\nHost: truth\r\n\r\n")
	report("src", path)
	answered(r, path)
}

func answered(r *bufio.Reader, path string) {
	if _, ok := message(r); !ok {
		must(0, errors.New("no response to "+path))
	}
}

// message reads a request or response.
func message(r *bufio.Reader) (first string, ok bool) {
	body := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", false
		}
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			body = number(text)
		}
		switch {
		case line == "":
			_, err := r.Discard(body)
			return first, err == nil
		case first == "":
			first = line
		}
	}
}

func response(body int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", body) + strings.Repeat("x", body)
}

func answer(c net.Conn, r *bufio.Reader) bool {
	first, ok := message(r)
	if !ok {
		return false
	}
	write(c, response(0))
	report("dst", strings.Fields(first)[1])
	return true
}

// serveTCP responds to n requests.
func serveTCP(l net.Listener, n int) {
	for n > 0 {
		c := must(l.Accept())
		r := bufio.NewReader(c)
		for ; n > 0 && answer(c, r); n-- {
		}
		c.Close()
	}
}

// query returns a DNS query, RFC 1035 section 4.
func query(name string) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(time.Now().UnixNano()))
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, byte(len(name)))
	return append(append(b, name...), 0, 0, 1, 0, 1)
}

func serveUDP(c *net.UDPConn, n int) {
	b := make([]byte, 512)
	for range n {
		size, from, err := c.ReadFromUDP(b)
		must(0, err)
		b[2] |= 0x80
		must(c.WriteToUDP(b[:size], from))
		report("dst", string(b[13:13+b[12]]))
	}
}

func askUDP(addr string, n int, name string, connected bool) {
	to := must(net.ResolveUDPAddr("udp", addr))
	await(".udp")
	for i := range n {
		name := fmt.Sprintf("%s-%d", name, i)
		if connected {
			c := must(net.DialUDP("udp", nil, to))
			must(c.Write(query(name)))
			must(c.Read(make([]byte, 512)))
			c.Close()
		} else {
			c := must(net.ListenUDP("udp", nil))
			must(c.WriteToUDP(query(name), to))
			must(c.Read(make([]byte, 512)))
			c.Close()
		}
		report("src", name)
	}
}
