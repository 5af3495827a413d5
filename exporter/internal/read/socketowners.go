package read

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Memory limits of owners files, by their own account.
const (
	ownersRoom  = 64 << 20  // of one file
	ownersRooms = 128 << 20 // of all open files
)

// sideOwners is the side file with a segment's processes, while the segment is read.
type sideOwners struct {
	known   *workload.Owners
	machine uint64 // a hash of the machine's boot
	groups  []workload.GroupOwner
	side    bundle.SideInput
	numbers map[ownerKey]int32 // of owners, by their parts
	names   int                // addresses of known that were passed on
}

// ownerKey identifies an owner: the interface's owner, and the process.
type ownerKey struct {
	base    int32 // number of the interface's owner
	group   string
	process int32
	pid     int64
	known   workload.Knowledge
	name    string // of a process that only the packet names
}

// linkGroup is the owner of an interface during a time range, from a workload line.
type linkGroup struct {
	from, to int64 // ns; 0 if open
	owner    int32
	group    int // in the file
}

// openOwners reads the owners file of an input that is being opened.
func (r *Reader) openOwners(o *opened) {
	if o.header == nil {
		return
	}
	h := fnv.New64a()
	h.Write([]byte(cmp.Or(o.header.BootID, o.header.Node)))
	o.side = &sideOwners{machine: h.Sum64(), known: workload.NewOwners(min(ownersRoom, ownersRooms-r.ownersCost)), numbers: map[ownerKey]int32{}}
	if o.sides.owners == "" || o.grows != nil { // see sideTails
		return
	}
	side, long, err := readSide(o.sides.owners, "owners", o.id, r.stopped, o.side.known.Add)
	if err != nil {
		r.warn(side.Name + ": " + plainError(err) + "; the part before this is used")
	}
	s := &o.side.known.Stats
	o.side.side, o.side.groups = side, o.side.known.Groups()
	r.addPeers(o)
	r.ownersCost += o.side.known.Cost()
	r.sideCounts(side.Name, map[string]int64{"owners/lines": s.Lines, "owners/malformed": s.Malformed, "owners/oversize": long,
		"owners/limited": s.Limited, "owners/replaced": s.Replaced})
}

// addPeers passes on the addresses of an owners file that were not passed on before.
func (r *Reader) addPeers(o *opened) {
	list := o.side.known.Addresses()
	for _, a := range list[min(o.side.names, len(list)):] {
		a.Comment.Identity.Source = word(o.header.Ring)
		r.addName(round.Name{Addr: a.Addr, Peer: &a.Comment.Identity})
	}
	o.side.names = len(list)
}

// namespace is a hash of the network namespace with this number on the recorded machine.
func (s *sideOwners) namespace(cookie uint64) uint64 {
	return s.machine ^ (cookie+1)*0x9E3779B97F4A7C15
}

// closeOwners stores the used part of an owners file.
func (r *Reader) closeOwners(o *opened) error {
	if o.side == nil || o.sides.owners == "" {
		return nil
	}
	r.ownersCost -= o.side.known.Cost()
	err := keepSide(r.b, &o.side.side, o.side.known.AppendUsed(nil))
	r.sides = append(r.sides, o.side.side)
	o.side = nil
	return err
}

// sideCounts counts how a side file's lines were used, and warns about unused ones.
func (r *Reader) sideCounts(name string, counts map[string]int64) {
	var left int64
	for k, n := range counts {
		if n == 0 {
			continue
		}
		r.sideCount[k] += n
		if _, kind, _ := strings.Cut(k, "/"); kind == "malformed" || kind == "oversize" || kind == "limited" {
			left += n
		}
	}
	if left > 0 {
		r.warn(name + ": " + clip.Count(left, "line was", "lines were") + " not used; counters owners and events in bundle.json say why")
	}
}

// adoptGroups finds the workload lines for an interface among the groups after the first few.
func (r *Reader) adoptGroups(o *opened, l *link, after int) {
	c := l.said
	if o.side == nil || c == nil {
		return
	}
	l.Cgroup, l.Recording = c.Cgroup, o.header.Ring+"\x00"+o.header.Series
	if l.owner != 0 && c.Cgroup != "" && len(r.byGroup) < maxOwners {
		r.byGroup[o.header.Ring+"\x00"+c.Cgroup] = l.owner
	}
	for i := after; i < len(o.side.groups); i++ {
		g := &o.side.groups[i]
		if g.Comment.Cgroup != c.Cgroup && (g.Comment.Cgroup != "" || g.Comment.Identity.PodUID != c.Identity.PodUID) {
			continue
		}
		if len(l.groups) >= 64 {
			r.sideCount["owners/limited"]++
			break
		}
		o.side.known.UseGroup(i)
		owner := g.Comment
		owner.Identity.Fill(&c.Identity)
		owner.Identity.Node = cmp.Or(owner.Identity.Node, c.Identity.Node)
		owner.Identity.HowKnown, owner.Identity.Source = "segment", c.Ring
		if owner.Identity.ValidFrom == 0 {
			owner.Identity.ValidFrom = g.From
		}
		r.addName(round.Name{Interface: &owner})
		l.groups = append(l.groups, linkGroup{g.From, g.To, r.addLinkOwner(owner.Identity), i})
	}
}

// ownerAt is the owner of an interface at a time; later lines take precedence.
func (l *link) ownerAt(at int64) int32 {
	for _, g := range slices.Backward(l.groups) {
		if (g.from == 0 || at >= g.from) && (g.to == 0 || at < g.to) {
			return g.owner
		}
	}
	return l.owner
}

// sideOwner assigns a segment's packet the process of its socket.
func (r *Reader) sideOwner(o *opened, p *pcapng.Packet, f *flow.Packet, s *pcapng.Socket) {
	who, name := o.packetProcess(p, s)
	if who.PID == 0 {
		return
	}
	l := &r.links[f.Interface]
	key := ownerKey{f.Owner, l.Cgroup, who.Process, who.PID, who.Known, name}
	no, seen := o.side.numbers[key]
	if !seen || !r.owners.fresh(no) {
		no = r.process(o, l, &key)
		if len(o.side.numbers) < maxOwners {
			o.side.numbers[key] = no
		}
	}
	if no != 0 {
		f.Owner, f.OwnerRank, f.Wrote = no, max(uint8(who.Known), 1), who.Known == workload.Writer
	}
}

// packetProcess is the process that a packet names; PID is 0 if it names none.
func (o *opened) packetProcess(p *pcapng.Packet, s *pcapng.Socket) (who workload.Owned, name string) {
	pid, _, _ := p.ProcessThread()
	who.PID = int64(pid)
	switch {
	case s.Cookie != 0:
		who.PID, who.Known = max(who.PID, int64(s.PID)), workload.KnowledgeOf(s.Kind)
	default:
		for _, text := range p.Comments() {
			if owner, called, ok := workload.ParseOwnerComment(text); ok {
				who, name = owner, called
				break
			}
		}
	}
	if who.PID == 0 {
		return who, ""
	}
	if who.Process = o.side.known.PID(who.PID, p.Time); who.Process != 0 {
		name = ""
	}
	return who, name
}

// process makes the owner of packets from the interface's owner and the process. It returns 0 if
// the process is a guess that contradicts the interface.
func (r *Reader) process(o *opened, l *link, who *ownerKey) int32 {
	p := &workload.Process{PID: who.pid, Name: who.name, UID: -1}
	if who.process != 0 {
		known := *o.side.known.Process(who.process)
		p = &known // the rest is dropped with the segment
	}
	id := workload.Identity{Node: o.node()}
	if who.base != 0 {
		id = r.owners.links[who.base]
	}
	if elsewhere(&id, l.Cgroup, p) {
		if who.known < workload.Acceptor {
			return 0
		}
		id = r.groupOwner(o, p)
	}
	id.Process, id.PID, id.Program, id.Known = p.Name, cmp.Or(p.PID, who.pid), p, who.known
	id.HowKnown, id.Source = who.known.String(), word(o.header.Ring)
	if who.known == workload.KnownNot {
		id.HowKnown = "packet"
	}
	if id.Kind != "pod" {
		id.Kind, id.Name = "process", cmp.Or(p.Name, id.Name)
	}
	if from := cmp.Or(p.From, p.Start); from != 0 {
		id.ValidFrom = from
	}
	return r.addRecent(id)
}

// elsewhere reports whether a process is in another container or pod than the socket's control
// group.
func elsewhere(id *workload.Identity, cgroup string, p *workload.Process) bool {
	if p.Cgroup == "" || p.Cgroup == cgroup {
		return false
	}
	switch {
	case p.PodUID != "" && id.PodUID != "":
		return p.PodUID != id.PodUID || p.Container != "" && cgroup != "" && !strings.Contains(cgroup, p.Container)
	case p.Container != "" || p.PodUID != "":
		return cgroup == "" || !strings.Contains(cgroup, cmp.Or(p.Container, p.PodUID))
	}
	return id.PodUID != "" || id.Container != ""
}

// groupOwner is the owner of a process's own control group.
func (r *Reader) groupOwner(o *opened, p *workload.Process) workload.Identity {
	if no := r.byGroup[o.header.Ring+"\x00"+p.Cgroup]; no != 0 {
		return r.owners.links[no]
	}
	id := workload.Identity{Node: o.node(), PodUID: p.PodUID, Container: p.Container[:min(len(p.Container), 12)]}
	if p.PodUID != "" {
		id.Kind, id.Name = "pod", p.PodUID
	}
	return id
}

// node is the node that recorded a segment.
func (o *opened) node() string {
	if o.header == nil {
		return ""
	}
	return word(o.header.Node)
}
