package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/sctp"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const (
	sctpServer  = "10.1.37.20"
	sctpGate    = "10.1.37.5"
	sctpMissed  = 7 // of so many packets a receiver misses one, which is then sent again
	sctpLong    = 5000
	sctpWaiting = 10 * time.Second
)

// makeSCTP records pion/sctp: two peers of freeDiameter talk through it, then an echo is aborted. What was
// said is the log of the Diameter server, and what the client counted.
func makeSCTP(ctx context.Context, out string) error {
	l, err := lab.New("sctp", "", lab.At("hss", sctpServer), lab.At("gate", sctpGate))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.WriteFile(l.Tmp+"/acl", []byte("ALLOW_IPSEC gate.shop.example\n"), 0o644); err != nil {
		return err
	}
	if err := diameterPeer(ctx, l, "hss", fmt.Sprintf("LoadExtension = \"/usr/lib/freeDiameter/acl_wl.fdx\" : %q;", l.Tmp+"/acl")); err != nil {
		return err
	}
	if err := diameterPeer(ctx, l, "gate", `ConnectPeer = "hss.shop.example" { No_TLS; ConnectTo = "127.0.0.1"; Port = 13868; };`, "Port = 23868;"); err != nil {
		return err
	}
	log := l.Tmp + "/hss.log"
	if _, err := l.Start("hss", "", "sh", "-c", fmt.Sprintf("exec freeDiameterd -c %s/hss.conf >%s 2>&1", l.Tmp, log)); err != nil {
		return err
	}
	if err := l.Do(ctx, "hss", "wait", "127.0.0.1:3868"); err != nil {
		return err
	}
	if err := l.Serve("hss", "sctp-server"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "sctp.pcapng"))
	if err != nil {
		return err
	}
	counted := l.Tmp + "/counted"
	p, err := l.Start("gate", "", l.Self, "-role", "sctp-client", counted)
	if err != nil {
		return err
	}
	peer, err := l.Start("gate", "", "sh", "-c", fmt.Sprintf("exec freeDiameterd -c %s/gate.conf >%s/gate.log 2>&1", l.Tmp, l.Tmp))
	if err != nil {
		return err
	}
	time.Sleep(20 * time.Second) // long enough for watchdogs
	peer.End()
	time.Sleep(5 * time.Second) // the echo
	p.End()
	if err := r.Stop(); err != nil {
		return err
	}
	said, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	count, err := os.ReadFile(counted)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "sctp.said.tsv"), []byte(diameterSaid(string(said))+string(count)), 0o644)
}

// ipConn is IP protocol 132 to one host. It loses packets after they arrived.
type ipConn struct {
	*net.IPConn
	to net.Addr
	n  int
}

func newIPConn(local, remote string) (*ipConn, error) {
	c, err := net.ListenIP("ip4:132", &net.IPAddr{IP: net.ParseIP(local)})
	if err != nil {
		return nil, err
	}
	return &ipConn{IPConn: c, to: &net.IPAddr{IP: net.ParseIP(remote)}}, nil
}

func (c *ipConn) Read(b []byte) (int, error) {
	for {
		n, _, err := c.ReadFrom(b)
		if c.n++; err != nil || c.n%sctpMissed != 0 {
			return n, err
		}
	}
}

func (c *ipConn) Write(b []byte) (int, error) { return c.WriteTo(b, c.to) }
func (c *ipConn) RemoteAddr() net.Addr        { return c.to }

// sctpRelay passes messages of Diameter between a TCP connection and an association, on two streams in turn.
type sctpRelay struct {
	a        *sctp.Association
	tcp      net.Conn
	sent     int
	bytes    int
	received int
	mu       sync.Mutex
}

func (r *sctpRelay) run() error {
	streams := make([]*sctp.Stream, 2)
	for i := range streams {
		s, err := r.a.OpenStream(uint16(i), 46)
		if err != nil {
			return err
		}
		streams[i] = s
		go r.back(s)
	}
	for i := 0; ; i++ {
		b := make([]byte, 4)
		if _, err := io.ReadFull(r.tcp, b); err != nil {
			return nil // the peer ended
		}
		b = append(b, make([]byte, binary.BigEndian.Uint32(b)&0xffffff-4)...)
		if _, err := io.ReadFull(r.tcp, b[4:]); err != nil {
			return err
		}
		if _, err := streams[i%2].WriteSCTP(b, 46); err != nil {
			return err
		}
		r.sent++
		r.bytes += len(b)
	}
}

func (r *sctpRelay) back(s *sctp.Stream) {
	b := make([]byte, 64<<10)
	for {
		n, err := s.Read(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.received++
		_, err = r.tcp.Write(b[:n])
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sctpServerPart serves one association after the other: Diameter to the local server first, then an echo.
func sctpServerPart(context.Context, []string) error {
	c, err := newIPConn(sctpServer, sctpGate)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	a, err := sctp.Server(sctp.Config{NetConn: c, LoggerFactory: logging.NewDefaultLoggerFactory()})
	if err != nil {
		return err
	}
	t, err := net.Dial("tcp", "127.0.0.1:3868")
	if err != nil {
		return err
	}
	r := &sctpRelay{a: a, tcp: t}
	_ = r.run()
	if c, err = newIPConn(sctpServer, sctpGate); err != nil {
		return err
	}
	if a, err = sctp.Server(sctp.Config{NetConn: c, LoggerFactory: logging.NewDefaultLoggerFactory()}); err != nil {
		return err
	}
	s, err := a.AcceptStream()
	if err != nil {
		return err
	}
	for b := make([]byte, 64<<10); ; {
		n, kind, err := s.ReadSCTP(b)
		if err != nil {
			return nil
		}
		if _, err := s.WriteSCTP(b[:n], kind); err != nil {
			return err
		}
	}
}

// sctpClientPart relays a local Diameter peer, then sends a long message, waits for it, and aborts.
func sctpClientPart(ctx context.Context, args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:13868")
	if err != nil {
		return err
	}
	t, err := l.Accept()
	if err != nil {
		return err
	}
	c, err := newIPConn(sctpGate, sctpServer)
	if err != nil {
		return err
	}
	a, err := sctp.Client(sctp.Config{NetConn: c, LoggerFactory: logging.NewDefaultLoggerFactory()})
	if err != nil {
		return err
	}
	r := &sctpRelay{a: a, tcp: t}
	if err := r.run(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, sctpWaiting)
	defer cancel()
	if err := a.Shutdown(wait); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	said := fmt.Sprintf("association\t%d messages of %d bytes sent, %d received\n", r.sent, r.bytes, r.received)
	if c, err = newIPConn(sctpGate, sctpServer); err != nil {
		return err
	}
	if a, err = sctp.Client(sctp.Config{NetConn: c, LoggerFactory: logging.NewDefaultLoggerFactory()}); err != nil {
		return err
	}
	s, err := a.OpenStream(3, 0)
	if err != nil {
		return err
	}
	if _, err := s.WriteSCTP([]byte(strings.Repeat("pcapsule ", sctpLong/9)), 38); err != nil {
		return err
	}
	b := make([]byte, 64<<10)
	n, err := s.Read(b)
	if err != nil {
		return err
	}
	a.Abort("maintenance")
	said += fmt.Sprintf("association\t1 message of %d bytes sent, 1 received, aborted: maintenance\n", n)
	return os.WriteFile(args[0], []byte(said), 0o644)
}
