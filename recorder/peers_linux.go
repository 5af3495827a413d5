package recorder

import (
	"bytes"
	"encoding/json"
	"net/netip"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// peers writes the owners of the addresses with which sockets exchanged packets to the owners file,
// so that a segment names the pods and services of other nodes by itself. It looks up an address at
// the times of its packets, and again a little later, because the API may report a workload only
// after its first packets.
type peers struct {
	source workload.Source // nil: owners of addresses are not known
	ring   string
	write  func(addressLine)

	by    map[netip.Addr]*peer
	order []netip.Addr // oldest first
	due   []*peer
	again []*peer // ordered by next
	last  *peer   // of the previous packet, whose address is raw
	raw   []byte
}

const (
	maxPeers      = 16384 // addresses that are remembered
	maxPeerOwners = 8     // remembered owners of one address
	peerEvery     = 1e9   // ns between lookups of an address with packets
	peerLater     = 3e9   // ns until a result is checked again
	peerAtOnce    = 512   // lookups in one call of work
)

// peer is an address.
type peer struct {
	addr     netip.Addr
	at       int64  // of its last packet
	lookedUp int64  // time of the packet last looked up
	file     uint64 // side file that contains the result
	checks   int    // remaining checks
	next     int64
	due      bool
	owners   []peerOwner
}

// peerOwner is an owner of an address that was written.
type peerOwner struct {
	at   int64 // of a packet
	line addressLine
	file uint64
}

// addressLine is a line that names the owner of an address.
type addressLine struct {
	Address  string          `json:"address"`
	Workload json.RawMessage `json:"workload"`
	From     string          `json:"from,omitempty"`
	To       string          `json:"to,omitempty"`
	Learned  string          `json:"learned"`
}

// packet registers the remote address of a packet.
func (t *peers) packet(ip []byte, outgoing bool, at int64, file uint64) {
	if t.source == nil || len(ip) < 20 {
		return
	}
	from, size := 12, 4
	if ip[0]>>4 == 6 {
		from, size = 8, 16
	}
	if outgoing {
		from += size
	}
	if len(ip) < from+size {
		return
	}
	if b := ip[from : from+size]; t.last == nil || !bytes.Equal(b, t.raw) || t.last.file != file || at-t.last.lookedUp >= peerEvery {
		a, _ := netip.AddrFromSlice(b)
		t.raw = append(t.raw[:0], b...)
		t.last = t.note(a, at, file)
	} else {
		t.last.at = at
	}
}

// note registers a packet of an address. file is the number of its side file.
func (t *peers) note(a netip.Addr, at int64, file uint64) *peer {
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return nil
	}
	p := t.by[a]
	if p == nil {
		if len(t.order) >= maxPeers {
			delete(t.by, t.order[0])
			t.order = t.order[1:]
		}
		p = &peer{addr: a}
		t.by[a] = p
		t.order = append(t.order, a)
	}
	p.at = at
	if !p.due && (p.file != file || at-p.lookedUp >= peerEvery) {
		p.due, p.file = true, file
		t.due = append(t.due, p)
	}
	return p
}

// work looks up the addresses that are due: at most peerAtOnce, or all if the side file ends.
func (t *peers) work(now int64, all bool) {
	n := len(t.due)
	if !all {
		n = min(n, peerAtOnce)
	}
	for _, p := range t.due[:n] {
		p.due = false
		p.lookedUp = p.at
		t.lookUp(p, p.at, p.file, now)
		if p.checks == 0 {
			t.again = append(t.again, p)
			p.next = now + peerLater
		}
		p.checks = 2
	}
	if t.due = t.due[n:]; len(t.due) == 0 {
		t.due = nil
	}
	for range min(len(t.again), peerAtOnce) {
		p := t.again[0]
		if p.next > now && !all {
			break
		}
		t.again = t.again[1:]
		t.lookUp(p, p.lookedUp, p.file, now)
		for _, old := range p.owners {
			t.lookUp(p, old.at, p.file, now)
		}
		if p.checks--; p.checks > 0 {
			p.next = now + peerLater
			t.again = append(t.again, p)
		}
	}
	if len(t.again) == 0 {
		t.again = nil
	}
}

// lookUp writes the owner of an address at a time, unless the file has it already.
func (t *peers) lookUp(p *peer, at int64, file uint64, now int64) {
	c, ok := t.source.Find(workload.Key{Addr: p.addr, At: at})
	if !ok {
		return
	}
	from, to := c.Identity.ValidFrom, c.Identity.ValidTo
	c.Ring, c.Addresses, c.Identity.ValidFrom = t.ring, nil, 0
	line := addressLine{p.addr.String(), json.RawMessage(workload.FormatInterfaceComment(c)), stamp(from), stamp(to), stamp(now)}
	for i := range p.owners {
		x := &p.owners[i]
		if string(x.line.Workload) != string(line.Workload) || x.line.From != line.From {
			continue
		}
		if x.line.To == line.To && x.file == file {
			return
		}
		x.line, x.file = line, file
		t.write(line)
		return
	}
	if len(p.owners) >= maxPeerOwners {
		p.owners = append(p.owners[:0], p.owners[1:]...)
	}
	p.owners = append(p.owners, peerOwner{at, line, file})
	t.write(line)
}
