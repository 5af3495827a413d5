package exporter

import (
	"net/netip"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits of what captures may say about owners.
const (
	maxOwners   = 100_000 // distinct owners kept
	maxComments = 20_000  // distinct packet comments remembered, so that each is read once
	maxRecent   = 1 << 16 // processes that had sockets lately; far more than the joiner is behind
)

// said is something that a capture tells about an address.
type said struct {
	addr   netip.Addr
	name   string // from a Name Resolution Block
	source string
	iface  *workload.InterfaceComment
	peer   *workload.Identity // from the owners file of a segment
}

// owners are the processes and pods that packet and interface comments name. Reading
// adds, the joiner reads.
type owners struct {
	mu     sync.Mutex
	list   []workload.Identity
	recent []workload.Identity // ring; the numbers of these begin at recentFrom
	next   int32               // number of the next, from 0
	byText map[string]int32    // comments already read; 0: no owner in it
}

// owner is the identity with that number.
func (o *owners) owner(i int32) *workload.Identity {
	if i == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if i >= recentFrom {
		id := o.recent[(i-recentFrom)%maxRecent] // its place may go to another
		return &id
	}
	return &o.list[i-1]
}

// recentFrom is the first number of those that are forgotten after a while.
const recentFrom = 1 << 24

// addRecent keeps an owner until maxRecent others came.
func (o *owners) addRecent(id workload.Identity) int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.recent) < maxRecent {
		o.recent = append(o.recent, id)
	} else {
		o.recent[o.next%maxRecent] = id
	}
	if o.next++; o.next == 1<<30 { // a multiple of maxRecent
		o.next = 0
	}
	return recentFrom + (o.next+1<<30-1)%(1<<30)
}

// fresh reports whether a number may be given to packets still.
func (o *owners) fresh(i int32) bool {
	age := (o.next - (i - recentFrom) + 1<<30) % (1 << 30)
	return i < recentFrom || age < maxRecent/2
}

func (o *owners) add(id workload.Identity) int32 {
	if len(o.list) >= maxOwners {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, id)
	return int32(len(o.list))
}

// packetOwner reads what ptcpdump and its like wrote on a packet.
func (r *reading) packetOwner(p *pcapng.Packet) int32 {
	comments := p.Comments()
	if len(comments) == 0 {
		return 0
	}
	key := strings.Join(comments, "\x00")
	if no, ok := r.owners.byText[key]; ok {
		return no
	}
	var no int32
	if o, ok := workload.ParsePtcpdump(comments...); ok {
		no = r.owners.add(o.Identity)
	}
	if r.owners.byText == nil || len(r.owners.byText) >= maxComments {
		r.owners.byText = map[string]int32{}
	}
	r.owners.byText[key] = no
	return no
}

// interfaceOwner reads the comment of a segment's interface, nil where there is none.
func (r *reading) interfaceOwner(i *pcapng.Interface) (int32, *workload.InterfaceComment) {
	for _, text := range i.Comments {
		c, ok := workload.ParseInterfaceComment(text)
		if !ok {
			continue
		}
		r.said = append(r.said, said{iface: &c})
		if c.Identity.Kind != "" {
			return r.owners.add(c.Identity), &c
		}
	}
	return 0, nil
}

// block takes names out of blocks that are no packets.
func (r *reading) block(o *opened, b pcapng.Block) {
	if b.Type != pcapng.BlockNames {
		return
	}
	n, err := pcapng.ParseNames(b)
	if err != nil {
		return // the reader has noted the damage
	}
	for _, rec := range n.Records {
		for _, name := range rec.Names {
			r.said = append(r.said, said{addr: rec.Addr, name: name, source: o.name})
		}
	}
}
