package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/mcp/queue"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// NamespacesHeader limits a request to live calls within the namespaces that it lists, separated by commas, for a
// program in front that knows what its clients may see (hub/offer has the same name). A client that reaches this server
// directly can only see less with it.
const NamespacesHeader = "Pcapsule-Namespaces"

// BundlesHeader has a request be about these bundles only, or those in these folders, for a program in front that knows
// what its clients may see (hub/offer has the same name). Like open_case, it can name what is in a folder of
// Options.Allow.
const BundlesHeader = "Pcapsule-Bundles"

// Limits of the servers of parts.
const (
	maxParts  = 16
	maxOpened = 4       // of these, with bundles of their own
	partsKept = 4 << 20 // bytes of answers that each keeps
)

// parts are servers that answer about some namespaces only, or other bundles. So no question, path or cache needs to
// know about them, and none can forget them.
type parts struct {
	mu     sync.Mutex
	list   []*part // the most recently used last
	closed bool
}

// part is the server of one list of namespaces, or of bundles.
type part struct {
	of      string // the header that made it
	opened  bool   // it has bundles of its own
	server  *Server
	handler http.Handler
	using   int // requests that are being answered
}

// within passes requests that are limited to namespaces or bundles on to the server that has only these.
func (s *Server) within(all http.Handler, o HTTPOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		namespaces, limited := r.Header[NamespacesHeader]
		bundles, opened := r.Header[BundlesHeader]
		var p *part
		var err error
		switch {
		case limited && opened:
			err = store.BadRequest("%s and %s exclude each other", NamespacesHeader, BundlesHeader)
		case limited:
			names := strings.Join(namespaces, ",")
			p, err = s.part("namespaces "+names, false, o, func() (*Server, error) { return s.ofNamespaces(names) })
		case opened:
			p, err = s.part("bundles "+strings.Join(bundles, "\n"), true, o, func() (*Server, error) { return s.ofBundles(r.Context(), bundles) })
		default:
			all.ServeHTTP(w, r)
			return
		}
		if err != nil {
			s.restError(w, err)
			return
		}
		defer s.parts.release(p)
		p.handler.ServeHTTP(w, r)
	})
}

// part returns the server of a part, and makes it if necessary. The caller must release it.
func (s *Server) part(of string, opened bool, o HTTPOptions, make func() (*Server, error)) (*part, error) {
	if p, err := s.parts.find(of); p != nil || err != nil {
		return p, err
	}
	server, err := make() // which may take a while: other parts answer meanwhile
	if err != nil {
		return nil, err
	}
	p, err := s.parts.add(&part{of: of, opened: opened, server: server, handler: server.routed(o), using: 1})
	if err != nil || p.server != server {
		err = errors.Join(err, server.Close())
	}
	return p, err
}

// ofNamespaces makes the server of a list of namespaces.
func (s *Server) ofNamespaces(names string) (*Server, error) {
	live, ok := s.o.Live.(store.Limited)
	if !ok {
		return nil, store.BadRequest("this server cannot limit answers to namespaces")
	}
	o := s.ofPart()
	o.Live = live.Within(strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' }))
	return New(nil, o)
}

// ofBundles makes the server of bundles.
func (s *Server) ofBundles(ctx context.Context, named []string) (*Server, error) {
	if s.o.Open == nil || len(s.o.Allow) == 0 {
		return nil, store.BadRequest("this server opens no other bundles")
	}
	var paths []string
	for _, name := range named {
		real, err := s.env.Allowed(name)
		if err != nil {
			return nil, store.BadRequest("%s: %v", BundlesHeader, err)
		}
		if filepath.Ext(real) == extension {
			paths = append(paths, real)
			continue
		}
		inside, err := filepath.Glob(filepath.Join(globbed.Replace(real), "*"+extension))
		if err != nil {
			return nil, err
		}
		paths = append(paths, inside...)
	}
	if len(paths) == 0 {
		return nil, store.BadRequest("%s: no bundle there", BundlesHeader)
	}
	c, err := s.o.Open(ctx, paths)
	if err != nil {
		return nil, err
	}
	o := s.ofPart()
	o.Live, o.Packets = nil, s.o.Packets // what the person may not see is not in them
	server, err := New(c, o)
	if err != nil {
		c.Close()
	}
	return server, err
}

// extension of the folders of bundles.
const extension = ".pcapsule"

// globbed makes a path that matches only itself.
var globbed = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// ofPart are the options of a part: it opens, writes and sends nothing else.
func (s *Server) ofPart() Options {
	o := s.o
	o.Store, o.Allow, o.ExportDir, o.Packets, o.Keep = nil, nil, "", false, partsKept
	return o
}

// find returns the server of a part, if there is one.
func (p *parts) find(of string) (*part, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used(of)
}

func (p *parts) used(of string) (*part, error) {
	if p.closed {
		return nil, errors.New("the server ends")
	}
	for i, x := range p.list {
		if x.of == of {
			p.list = append(append(p.list[:i:i], p.list[i+1:]...), x)
			x.using++
			return x, nil
		}
	}
	return nil, nil
}

// add adds the server of a part, or returns the one that another request has added meanwhile.
func (p *parts) add(x *part) (*part, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, err := p.used(x.of); was != nil || err != nil {
		return was, err
	}
	if err := p.room(x.opened); err != nil {
		return nil, err
	}
	p.list = append(p.list, x)
	return x, nil
}

// room closes the servers that were not used for the longest time, if there are too many.
func (p *parts) room(opened bool) error {
	close := func(of func(*part) bool) error {
		for i, old := range p.list {
			if old.using == 0 && of(old) {
				p.list = append(p.list[:i:i], p.list[i+1:]...)
				return old.server.Close()
			}
		}
		return fmt.Errorf("people with rights to %d parts are being answered: %w", len(p.list), queue.ErrBusy)
	}
	open := 0
	for _, x := range p.list {
		if x.opened {
			open++
		}
	}
	switch {
	case opened && open >= maxOpened:
		return close(func(x *part) bool { return x.opened })
	case len(p.list) >= maxParts:
		return close(func(*part) bool { return true })
	}
	return nil
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
