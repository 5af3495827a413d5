package door

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// pipes is a listener with unbuffered connections: a write waits for its reader.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// TestTenClientsDoNotStarveEachOther asks slow questions from one client and quick ones from
// others, which must be answered long before the first client is done.

func TestAClientThatDoesNotRead(t *testing.T) {
	failed := make(chan error, 1)
	srv := &http.Server{Handler: Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for err == nil { // as a stream does
			if _, err = w.Write(make([]byte, 4096)); err == nil {
				err = http.NewResponseController(w).Flush()
			}
		}
		failed <- err
	}), Options{Patience: 50 * time.Millisecond, Hosts: []string{"x"}})}
	p := make(pipes, 1)
	go func() { _ = srv.Serve(p) }()
	defer srv.Close()
	client, server := net.Pipe()
	defer client.Close()
	p <- server
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-failed:
	case <-time.After(30 * time.Second):
		t.Error("a client that reads nothing blocks the server forever")
	}
}
