package read

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits of what captures may say about owners.
const (
	maxOwners   = 100_000 // distinct owners kept
	maxComments = 20_000  // distinct packet comments remembered, so that each is read once
)

// owners numbers the processes and pods that packets and interfaces name.
type owners struct {
	count  int32                       // numbers given to owners that stay
	recent int32                       // numbers given to the others, modulo 1<<30
	links  map[int32]workload.Identity // of interfaces
	byText map[string]int32            // comments already read; 0: no owner in it
}

// addOwner numbers an owner for good, 0 where there are too many.
func (r *Reader) addOwner(id workload.Identity) int32 {
	if r.owners.count >= maxOwners {
		return 0
	}
	r.owners.count++
	return r.number(r.owners.count, id)
}

// addLinkOwner numbers the owner of an interface.
func (r *Reader) addLinkOwner(id workload.Identity) int32 {
	no := r.addOwner(id)
	if r.owners.links == nil {
		r.owners.links = map[int32]workload.Identity{}
	}
	if no != 0 {
		r.owners.links[no] = id
	}
	return no
}

// addRecent numbers an owner that is forgotten after round.OwnersKept others.
func (r *Reader) addRecent(id workload.Identity) int32 {
	no := round.OwnersRecent + r.owners.recent
	if r.owners.recent++; r.owners.recent == 1<<30 { // a multiple of round.OwnersKept
		r.owners.recent = 0
	}
	return r.number(no, id)
}

func (r *Reader) number(no int32, id workload.Identity) int32 {
	r.cur.Facts.Owners = append(r.cur.Facts.Owners, round.Owner{No: no, Identity: id})
	return no
}

// fresh reports whether a number may be given to packets still.
func (o *owners) fresh(i int32) bool {
	age := (o.recent - (i - round.OwnersRecent) + 1<<30) % (1 << 30)
	return i < round.OwnersRecent || age < round.OwnersKept/2
}

// tell adds what an input says about an address.
func (r *Reader) tell(n round.Name) { r.cur.Facts.Names = append(r.cur.Facts.Names, n) }

// packetOwner reads what ptcpdump and its like wrote on a packet.
func (r *Reader) packetOwner(p *pcapng.Packet) int32 {
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
		no = r.addOwner(o.Identity)
	}
	if r.owners.byText == nil || len(r.owners.byText) >= maxComments {
		r.owners.byText = map[string]int32{}
	}
	r.owners.byText[key] = no
	return no
}

// interfaceOwner reads the comment of a segment's interface, nil where there is none.
func (r *Reader) interfaceOwner(i *pcapng.Interface) (int32, *workload.InterfaceComment) {
	for _, text := range i.Comments {
		c, ok := workload.ParseInterfaceComment(text)
		if !ok {
			continue
		}
		r.tell(round.Name{Interface: &c})
		if c.Identity.Kind != "" {
			return r.addLinkOwner(c.Identity), &c
		}
	}
	return 0, nil
}

// block takes names out of blocks that are no packets.
func (r *Reader) block(o *opened, b pcapng.Block) {
	if b.Type != pcapng.BlockNames {
		return
	}
	n, err := pcapng.ParseNames(b)
	if err != nil {
		return // the reader has noted the damage
	}
	for _, rec := range n.Records {
		for _, name := range rec.Names {
			r.tell(round.Name{Addr: rec.Addr, Text: name, Source: o.name})
		}
	}
}
