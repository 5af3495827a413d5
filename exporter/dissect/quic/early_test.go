package quic

import (
	"crypto/hkdf"
	"crypto/sha256"
	ctls "crypto/tls"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// tickets is a session cache that remembers the pre-shared keys. Go's TLS does not log the early
// secret, so it is derived here as in RFC 8446 section 7.1.
type tickets struct {
	ctls.ClientSessionCache
	mu   sync.Mutex
	psk  []byte
	came chan bool
}

func (c *tickets) Put(key string, s *ctls.ClientSessionState) {
	c.ClientSessionCache.Put(key, s)
	if s != nil {
		c.came <- true
	}
}

func (c *tickets) Get(key string) (*ctls.ClientSessionState, bool) {
	s, ok := c.ClientSessionCache.Get(key)
	if ok && s != nil {
		if _, state, err := s.ResumptionState(); err == nil {
			if b, err := state.Bytes(); err == nil {
				const at = 2 + 1 + 2 + 8 // version, type, suite, time of creation
				c.mu.Lock()
				c.psk = append([]byte(nil), b[at+1:][:b[at]]...)
				c.mu.Unlock()
			}
		}
	}
	return s, ok
}

// line is the key log line with the early secret of a recording.
func (c *tickets) line(t testing.TB, list []datagram) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	hello := clientHello(t, list)
	early, err := hkdf.Extract(sha256.New, c.psk, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(hello)
	label := "tls13 c e traffic"
	info := append(binary.BigEndian.AppendUint16(nil, 32), byte(len(label)))
	info = append(append(append(info, label...), 32), sum[:]...)
	secret, err := hkdf.Expand(sha256.New, early, string(info), 32)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("CLIENT_EARLY_TRAFFIC_SECRET %x %x\n", hello[6:38], secret)
}

// clientHello reassembles the first client hello of a recording.
func clientHello(t testing.TB, list []datagram) []byte {
	var tup tuple
	var keys *initialKeys
	var have []byte
	for _, d := range list {
		var h header
		if d.dir != dissect.ToServer || !isLong(d.data[0]) || readLong(d.data, true, &h) != nil || h.kind != initial {
			continue
		}
		if keys == nil {
			keys = initialKeysOf(h.version, h.dcid)
		}
		plain, _, _, ok := tup.openWith(keys.keys[client], &space{}, d.data[:h.size], h.number)
		if !ok {
			continue
		}
		r := cursor.New(plain)
		for r.Left() > 0 && !r.Short() {
			if r.Uint8() != frameCrypto {
				continue
			}
			off, n := int(readVarint(&r)), int(readVarint(&r))
			data := r.Bytes(n)
			have = append(have, make([]byte, max(off+n-len(have), 0))...)
			copy(have[off:], data)
		}
		if len(have) > 4 && len(have) >= 4+messageSize(have) {
			return have
		}
	}
	t.Fatal("no client hello")
	return nil
}
