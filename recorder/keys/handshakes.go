package keys

import "slices"

// Handshake is a captured TLS handshake over TCP.
type Handshake struct {
	ClientRandom [32]byte
	Time         int64     // of the ClientHello, UTC, ns
	Ended        int64     // when the connection ended; 0 if it is open
	PIDs         [2]uint32 // that sent the client's and the server's part; 0 if not on this machine, or not known
	Answered     bool      // the server sent a ServerHello
}

// Limits of the account of handshakes.
const (
	maxHandshakes = 16384 // without a key so far
	maxEarly      = 4096  // keys that arrived before their handshake
)

// handshakes records the captured handshakes: each has a key, or is returned by Keyless.
type handshakes struct {
	open       map[[32]byte]*Handshake
	ended      []*Handshake // of open, in the order of their ends
	early      map[[32]byte]bool
	earlyOrder [][32]byte
	keyed      uint64
	uncounted  uint64 // too many at once
}

func newHandshakes() handshakes {
	return handshakes{open: map[[32]byte]*Handshake{}, early: map[[32]byte]bool{}}
}

// add begins the account of a handshake whose random is now known.
func (a *handshakes) add(h *Handshake) {
	switch {
	case a.early[h.ClientRandom]:
		a.keyed++
	case a.open[h.ClientRandom] != nil: // captured at another place too
	case len(a.open) >= maxHandshakes:
		a.uncounted++
	default:
		a.open[h.ClientRandom] = h
	}
}

func (a *handshakes) end(h *Handshake, at int64) {
	if h.Ended == 0 && a.open[h.ClientRandom] == h {
		h.Ended = at
		a.ended = append(a.ended, h)
	}
}

// Keyed implements Captured.
func (c *Conversations) Keyed(clientRandom [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.account
	if a.open[clientRandom] != nil {
		a.keyed++
		delete(a.open, clientRandom)
	}
	if a.early[clientRandom] {
		return
	}
	a.early[clientRandom] = true
	if a.earlyOrder = append(a.earlyOrder, clientRandom); len(a.earlyOrder) > maxEarly {
		delete(a.early, a.earlyOrder[0])
		a.earlyOrder = a.earlyOrder[1:]
	}
}

// Keyless implements Captured.
func (c *Conversations) Keyless(before int64) (list []Handshake) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.account
	for len(a.ended) > 0 && a.ended[0].Ended < before {
		h := a.ended[0]
		a.ended[0] = nil
		a.ended = a.ended[1:]
		if a.open[h.ClientRandom] == h { // no key has arrived since
			delete(a.open, h.ClientRandom)
			list = append(list, *h)
		}
	}
	if before == always {
		for _, h := range a.open {
			list = append(list, *h)
		}
		clear(a.open)
		slices.SortFunc(list, func(x, y Handshake) int { return int(x.Time - y.Time) })
	}
	return list
}

// always is a time after the end of every connection, and of those that are open.
const always = 1<<63 - 1

// Handshakes counts those with a key, and those that were not followed because there were too many.
func (c *Conversations) Handshakes() (keyed, uncounted uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account.keyed, c.account.uncounted
}
