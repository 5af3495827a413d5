package mcp

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/mcp/queue"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// NamespacesHeader limits a request to live calls within the namespaces that it lists, separated by commas, for a
// program in front that knows what its clients may see (hub/offer has the same name). A client that reaches this server
// directly can only see less with it.
const NamespacesHeader = "Pcapsule-Namespaces"

// Limits of the servers of parts.
const (
	maxParts  = 16
	partsKept = 4 << 20 // bytes of answers that each keeps
)

// parts are servers that answer about some namespaces only. So no question, path or cache needs to know about
// namespaces, and none can forget them.
type parts struct {
	mu     sync.Mutex
	list   []*part // the most recently used last
	closed bool
}

// part is the server of one list of namespaces.
type part struct {
	namespaces string
	server     *Server
	handler    http.Handler
	using      int // requests that are being answered
}

// within passes requests that are limited to namespaces on to the server that has only these.
func (s *Server) within(all http.Handler, o HTTPOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list, limited := r.Header[NamespacesHeader]
		if !limited {
			all.ServeHTTP(w, r)
			return
		}
		p, err := s.part(strings.Join(list, ","), o)
		if err != nil {
			s.restError(w, err)
			return
		}
		defer s.parts.release(p)
		p.handler.ServeHTTP(w, r)
	})
}

// part returns the server of a list of namespaces, and makes it if necessary. The caller must release it.
func (s *Server) part(namespaces string, o HTTPOptions) (*part, error) {
	live, ok := s.o.Live.(store.Limited)
	if !ok {
		return nil, store.BadRequest("this server cannot limit answers to namespaces")
	}
	s.parts.mu.Lock()
	defer s.parts.mu.Unlock()
	if s.parts.closed {
		return nil, errors.New("the server ends")
	}
	for i, p := range s.parts.list {
		if p.namespaces == namespaces {
			s.parts.list = append(append(s.parts.list[:i:i], s.parts.list[i+1:]...), p)
			p.using++
			return p, nil
		}
	}
	if err := s.parts.room(); err != nil {
		return nil, err
	}
	limited := s.o
	limited.Live, limited.Store = live.Within(strings.FieldsFunc(namespaces, func(r rune) bool { return r == ',' || r == ' ' })), nil
	limited.Allow, limited.ExportDir, limited.Packets, limited.Keep = nil, "", false, partsKept
	server, err := New(nil, limited)
	if err != nil {
		return nil, err
	}
	p := &part{namespaces: namespaces, server: server, handler: server.routed(o), using: 1}
	s.parts.list = append(s.parts.list, p)
	return p, nil
}

// room closes the server that was not used for the longest time, if there are too many.
func (p *parts) room() error {
	if len(p.list) < maxParts {
		return nil
	}
	for i, old := range p.list {
		if old.using == 0 {
			p.list = append(p.list[:i:i], p.list[i+1:]...)
			return old.server.Close()
		}
	}
	return fmt.Errorf("people with rights to %d sets of namespaces are being answered: %w", maxParts, queue.ErrBusy)
}

func (p *parts) release(x *part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x.using--
}

func (p *parts) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, x := range p.list {
		err = errors.Join(err, x.server.Close())
	}
	p.list = nil
	return err
}
