// Package quic reads QUIC over UDP: versions 1 and 2 and the drafts from 22 on (RFC 8999,
// 9000, 9001, 9221, 9369).
//
// Initial packets are always opened, since their keys follow from what is in clear; all
// others only with secrets of a key log, and only what authenticates is read. The
// handshake becomes a row of protocol tls, each stream's bytes go in order to the
// protocol that ALPN names, or to one that is told by content. A row of protocol quic is
// one connection, emitted at its end. Packets of other versions are counted and named.
//
// What cannot be opened yet is kept for a while; what cannot be opened at all is counted
// in the row. Lost bytes of a stream become a gap once the capture shows that they were
// delivered, or when patience ends.
package quic

import (
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// settings are what all connections share.
type settings struct {
	keys  *secrets.Store // may be nil; see store
	certs *tls.Certs

	once  sync.Once
	mu    sync.Mutex // keys keep state while they open
	tries []try      // see guess
}

// Protocol is QUIC; keys opens what was encrypted with secrets of the store, nil opens
// Initial packets only.
func Protocol(keys *secrets.Store) *dissect.Protocol {
	s := &settings{keys: keys, certs: tls.NewCerts()}
	return &dissect.Protocol{
		Name:         "quic",
		Doc:          "QUIC connections; what they carry are rows of other protocols",
		Transports:   []dissect.Transport{dissect.UDP},
		Ports:        []uint16{443, 8443, 4433, 784, 853, 8853},
		Detect:       detect,
		DetectOnPort: s.detectOnPort,
		DetectLast:   s.detectLast,
		New:          func(c *dissect.Conn) dissect.Dissector { return &tuple{c: c, set: s} },
		Row:          &Row{},
	}
}

// store is where keys are looked for, nil where there are none. It may be filled after
// Protocol was called.
func (s *settings) store() *secrets.Store {
	if s.keys.Empty() {
		return nil
	}
	return s.keys
}
