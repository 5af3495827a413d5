// Package quic reads QUIC over UDP: versions 1 and 2 and the drafts from 22 on (RFC 8999,
// 9000, 9001, 9221, 9369).
//
// Initial packets are always decrypted, because their keys follow from unencrypted fields. All
// others need secrets of a key log, and only packets that authenticate are read. The handshake
// becomes a row of protocol tls. Each stream's bytes go in order to the protocol that ALPN
// names, or to one found by detection. A row of protocol quic is one connection, emitted at its
// end. Packets of unsupported versions are counted and listed.
//
// Packets that cannot be decrypted yet are kept for a while; packets that cannot be decrypted at
// all are counted in the row. Lost bytes of a stream become a gap once the capture shows that
// they were delivered, or after a timeout.
package quic

import (
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// settings are shared by all connections.
type settings struct {
	keys  *secrets.Store // may be nil; see store
	certs *tls.Certs

	once  sync.Once
	mu    sync.Mutex // decrypting changes the keys' state
	tries []try      // see guess
}

// Protocol is QUIC. keys holds the secrets for decryption; without them only Initial packets are
// decrypted.
func Protocol(keys *secrets.Store) *dissect.Protocol {
	s := &settings{keys: keys, certs: tls.NewCerts()}
	return &dissect.Protocol{
		Name:         "quic",
		Doc:          "QUIC connections; what they carry are rows of other protocols",
		Versions:     "1, 2, drafts 22 to 34, mvfst, T050, T051",
		Depth:        "handshakes; with keys, the streams are read as other protocols",
		Transports:   []dissect.Transport{dissect.UDP},
		Ports:        []uint16{443, 8443, 4433, 784, 853, 8853},
		Detect:       detect,
		DetectOnPort: s.detectOnPort,
		DetectLast:   s.detectLast,
		Identify:     s.identify,
		Doubts:       doubts,
		New:          func(c *dissect.Conn) dissect.Dissector { return &tuple{c: c, set: s} },
		Row:          &Row{},
		Traits:       table.Traits{Carrier: true, Encrypts: true},
	}
}

// store is the store of secrets, nil if there are none. It may be filled after Protocol was
// called.
func (s *settings) store() *secrets.Store {
	if s.keys.Empty() {
		return nil
	}
	return s.keys
}
