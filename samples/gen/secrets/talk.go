package main

import (
	"fmt"
	"time"
)

// step is one action of an endpoint. Exactly one of send, mark and command is set.
type step struct {
	server  bool
	send    []byte // application data that the other side must receive completely
	mark    func() // called after all earlier data has arrived
	command string // command of s_client or s_server, such as "K\n"
}

func client(b []byte) step   { return step{send: b} }
func server(b []byte) step   { return step{server: true, send: b} }
func command(s string) step  { return step{command: s} }
func atServer(s string) step { return step{server: true, command: s} }
func get(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n\r\n", path, serverName)
}
func post(path string, body []byte) []byte {
	return append(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", path, serverName, len(body)), body...)
}

func ok(body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
}

// text returns n bytes with distinct lines that no program interprets as a command.
func text(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%06d one line of the answer, %08x\n", i, uint32(i)*2654435761)
	}
	return b[:n]
}

// exchange is a request and its response.
func exchange() []step { return []step{client(get("/orders/7")), server(ok(text(300)))} }

// again is another exchange on the same connection.
func again() []step {
	return []step{client(post("/orders", text(180))), server(ok(text(90)))}
}

func steps(lists ...[]step) (all []step) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func one(s step) []step { return []step{s} }

// talk runs the steps with two programs that connect their standard streams. It returns what each side
// sent; the other side has printed it.
func talk(c, s *process, list []step) (sent [2][]byte, err error) {
	for _, x := range list {
		from, to, side := c, s, 0
		if x.server {
			from, to, side = s, c, 1
		}
		if x.mark != nil {
			time.Sleep(settle)
			x.mark()
			continue
		}
		if x.command != "" {
			if _, err := from.in.Write([]byte(x.command)); err != nil {
				return sent, err
			}
			time.Sleep(settle)
			continue
		}
		mark := to.mark()
		if _, err := from.in.Write(x.send); err != nil {
			return sent, fmt.Errorf("%s: %w", from.name(), err)
		}
		if err := to.await(mark, x.send); err != nil {
			_, errs := from.said()
			return sent, fmt.Errorf("%w; the other side: %q", err, tail(errs))
		}
		sent[side] = append(sent[side], x.send...)
	}
	return sent, nil
}
