package read

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits on owners in captures.
const (
	maxOwners   = 100_000 // distinct owners kept
	maxComments = 20_000  // distinct packet comments kept, so that each is parsed once
)

// owners numbers the processes and pods in packets and interfaces.
type owners struct {
	count  int32                       // numbers of permanent owners
	recent int32                       // numbers of the others, modulo 1<<30
	links  map[int32]workload.Identity // of interfaces
	byText map[string]int32            // comments already parsed; 0: no owner in it
}

// addOwner assigns a permanent number to an owner, or 0 if there are too many.
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

// addRecent numbers an owner that is dropped after round.OwnersKept others.
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

// fresh reports whether packets may still get this number.
func (o *owners) fresh(i int32) bool {
	age := (o.recent - (i - round.OwnersRecent) + 1<<30) % (1 << 30)
	return i < round.OwnersRecent || age < round.OwnersKept/2
}

// addName adds what an input says about an address.
func (r *Reader) addName(n round.Name) { r.cur.Facts.Names = append(r.cur.Facts.Names, n) }

// packetOwner reads the owner that ptcpdump or a similar tool wrote on a packet.
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

// interfaceOwner reads the comment of a segment's interface, nil if there is none.
func (r *Reader) interfaceOwner(i *pcapng.Interface) (int32, *workload.InterfaceComment) {
	for _, text := range i.Comments {
		c, ok := workload.ParseInterfaceComment(text)
		if !ok {
			continue
		}
		r.addName(round.Name{Interface: &c})
		if c.Identity.Kind != "" {
			return r.addLinkOwner(c.Identity), &c
		}
	}
	return 0, nil
}

// block reads names from blocks other than packets.
func (r *Reader) block(o *opened, b pcapng.Block) {
	if b.Type != pcapng.BlockNames {
		return
	}
	n, err := pcapng.ParseNames(b)
	if err != nil {
		return // the reader has recorded the damage
	}
	for _, rec := range n.Records {
		for _, name := range rec.Names {
			r.addName(round.Name{Addr: rec.Addr, Text: name, Source: o.name})
		}
	}
}
