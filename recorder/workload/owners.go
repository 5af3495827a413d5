package workload

import (
	"net/netip"
	"slices"
)

// What an Owners keeps costs, by its own account.
const (
	socketCost = 360  // bytes of a socket with its places in the maps
	ownedCost  = 56   // of one owner of it
	procCost   = 400  // of a process beside its texts
	nearest    = 10e9 // ns from a line to a packet that is still its
	maxSame    = 64   // sockets with equal ends, or processes with one number, in one file
)

// Owners knows whose sockets were, from one owners file. Add first, then ask; one
// goroutine at a time. What does not fit into its room is counted.
type Owners struct {
	room    int64
	cost    int64
	sockets []knownSocket
	by      map[socketKey]int32 // the last one, from 1
	cookies map[uint64]int32    // the last one of a cookie
	procs   []knownProcess
	byKey   map[string]int32 // the last one of a key, from 1
	byPID   map[int64]int32
	groups  []knownGroup
	addrs   []knownAddress
	byAddr  map[addressKey]int32 // from 1
	texts   map[string]string    // control groups and keys, each once
	Stats   OwnersStats
}

// OwnersStats says what became of the lines of an owners file.
type OwnersStats struct {
	Lines     int64 // that are an object
	Malformed int64
	Limited   int64 // left out for want of room
	Replaced  int64 // by a later line of the same socket
}

type knownAddress struct {
	AddressOwner
	line int64
}

// addressKey is who an address was said to be, since when.
type addressKey struct {
	addr                       netip.Addr
	kind, namespace, name, uid string
	from                       int64
}

type socketKey struct {
	local, remote netip.AddrPort
	cgroup        string
	proto         uint8
}

type knownSocket struct {
	Socket
	line   int64
	before int32 // another with the same ends, from 1
	depth  int32 // how many there are
	gone   bool  // a later line has its place
	used   bool
}

type knownProcess struct {
	Process
	line      int64
	before    int32 // of the same key, from 1
	beforePID int32
	depth     int32 // how many are before it, either way
	used      bool
}

type knownGroup struct {
	GroupOwner
	line int64
	used bool
}

// NewOwners makes an Owners that keeps so many bytes at most.
func NewOwners(room int64) *Owners {
	return &Owners{room: room, by: map[socketKey]int32{}, cookies: map[uint64]int32{}, byKey: map[string]int32{}, byPID: map[int64]int32{}, byAddr: map[addressKey]int32{}, texts: map[string]string{}}
}

// Cost is how many bytes it keeps, by its own account.
func (x *Owners) Cost() int64 { return x.cost }

// Groups are those that lines tell of, in their order.
func (x *Owners) Groups() []GroupOwner {
	list := make([]GroupOwner, len(x.groups))
	for i := range x.groups {
		list[i] = x.groups[i].GroupOwner
	}
	return list
}

// Addresses are what lines tell of addresses, in the order of those that count.
func (x *Owners) Addresses() []AddressOwner {
	known := slices.Clone(x.addrs)
	slices.SortFunc(known, func(a, b knownAddress) int { return cmp64(a.line, b.line) })
	list := make([]AddressOwner, len(known))
	for i := range known {
		list[i] = known[i].AddressOwner
	}
	return list
}

// addAddress takes what a line says of an address. Said again of the same pod or service,
// and since the same time, it takes the place of what was said before.
func (x *Owners) addAddress(a *AddressOwner, no int64) {
	id := &a.Comment.Identity
	key := addressKey{a.Addr, id.Kind, id.Namespace, id.Name, id.PodUID, id.ValidFrom}
	if i := x.byAddr[key]; i != 0 {
		x.addrs[i-1] = knownAddress{*a, no}
		x.Stats.Replaced++
		return
	}
	if !x.pay(int64(2048 + 64*len(id.Labels))) {
		return
	}
	x.addrs = append(x.addrs, knownAddress{*a, no})
	x.byAddr[key] = int32(len(x.addrs))
}

// UseGroup says that the group with that place in Groups was asked for.
func (x *Owners) UseGroup(i int) { x.groups[i].used = true }

// Add takes a line.
func (x *Owners) Add(line []byte) {
	l, ok := ParseOwnerLine(line)
	if !ok {
		x.Stats.Malformed++
		return
	}
	no := x.Stats.Lines
	x.Stats.Lines++
	switch {
	case l.Process != nil:
		x.addProcess(l.Process, no)
	case l.Socket != nil:
		x.addSocket(l.Socket, no)
	case l.Address != nil:
		x.addAddress(l.Address, no)
	case x.pay(4096):
		x.groups = append(x.groups, knownGroup{GroupOwner: *l.Group, line: no})
	}
}

func (x *Owners) pay(n int64) bool {
	if x.cost+n > x.room {
		x.Stats.Limited++
		return false
	}
	x.cost += n
	return true
}

func (x *Owners) text(s string) string {
	if t, ok := x.texts[s]; ok {
		return t
	}
	if s != "" {
		x.cost += int64(len(s)) + 48
		x.texts[s] = s
	}
	return s
}

func (x *Owners) addProcess(p *Process, no int64) {
	n := int64(procCost + len(p.Key) + len(p.Name) + len(p.Exe) + len(p.User) + len(p.Container) + len(p.PodUID))
	for _, a := range p.Args {
		n += int64(len(a)) + 16
	}
	if last := x.byKey[p.Key]; last != 0 && sameProcess(&x.procs[last-1].Process, p) {
		return // told again
	}
	before, beforePID := x.byKey[p.Key], x.byPID[p.PID]
	depth := int32(0)
	for _, i := range [...]int32{before, beforePID} {
		if i != 0 {
			depth = max(depth, x.procs[i-1].depth+1)
		}
	}
	if depth >= maxSame {
		x.Stats.Limited++
		return
	}
	if !x.pay(n) {
		return
	}
	p.Key, p.Cgroup = x.text(p.Key), x.text(p.Cgroup)
	x.procs = append(x.procs, knownProcess{Process: *p, line: no, before: before, beforePID: beforePID, depth: depth})
	x.byKey[p.Key], x.byPID[p.PID] = int32(len(x.procs)), int32(len(x.procs))
}

// sameProcess reports whether b says nothing that a does not; an end counts.
func sameProcess(a, b *Process) bool {
	return a.From == b.From && a.To == b.To && a.Name == b.Name && a.Exe == b.Exe && a.Cgroup == b.Cgroup && a.UID == b.UID &&
		a.Start == b.Start && slices.Equal(a.Args, b.Args)
}

func (x *Owners) addSocket(s *Socket, no int64) {
	s.Owners = bestOwners(s.Owners)
	// A socket that nobody is known to own says nothing, but its line may take the place
	// of an earlier one.
	if last := x.cookies[s.Cookie]; last != 0 {
		old := &x.sockets[last-1]
		switch {
		case old.gone:
		case s.From <= old.From && s.To >= old.To:
			old.gone, old.Owners = true, nil
			x.Stats.Replaced++
		case old.goesOn(s):
			old.To, old.Learned = s.To, s.Learned
			return
		}
	}
	key := socketKey{s.Local, s.Remote, s.Cgroup, s.Proto}
	before, depth := x.by[key], int32(0)
	if before != 0 {
		depth = x.sockets[before-1].depth + 1
	}
	if len(s.Owners) == 0 {
		return
	}
	if depth >= maxSame {
		x.Stats.Limited++
		return
	}
	if !x.pay(int64(socketCost + ownedCost*len(s.Owners))) {
		return
	}
	s.Cgroup = x.text(s.Cgroup)
	key.cgroup = s.Cgroup
	for i := range s.Owners {
		o := &s.Owners[i]
		o.Process, o.Word = x.text(o.Process), x.text(o.Word)
	}
	x.sockets = append(x.sockets, knownSocket{Socket: *s, line: no, before: before, depth: depth})
	x.by[key], x.cookies[s.Cookie] = int32(len(x.sockets)), int32(len(x.sockets))
}

// goesOn reports whether s is the same socket of the same one process, later.
func (k *knownSocket) goesOn(s *Socket) bool {
	return s.From > k.To && s.Local == k.Local && s.Remote == k.Remote && s.Proto == k.Proto && s.Cgroup == k.Cgroup &&
		len(s.Owners) == 1 && len(k.Owners) == 1 && s.Owners[0].Known == k.Owners[0].Known &&
		s.Owners[0].PID == k.Owners[0].PID && s.Owners[0].Process == k.Owners[0].Process && s.Owners[0].Word == k.Owners[0].Word
}

// bestOwners keeps the owners of the best kind, one for each process, by time.
func bestOwners(list []SocketOwner) []SocketOwner {
	best := KnownNot
	for i := range list {
		best = max(best, list[i].Known)
	}
	kept := make([]SocketOwner, 0, 1)
	for _, o := range list {
		if o.Known == best {
			kept = append(kept, o)
		}
	}
	slices.SortStableFunc(kept, func(a, b SocketOwner) int { return cmp64(a.From, b.From) })
	out := kept[:0]
	for _, o := range kept {
		if n := len(out); n > 0 && out[n-1].Process == o.Process && out[n-1].PID == o.PID {
			out[n-1].To = max(out[n-1].To, o.To)
			continue // another thread of it
		}
		out = append(out, o)
	}
	return slices.Clip(out)
}

// Owned is the answer of Find: a place in an Owners, the same for the same owner.
type Owned struct {
	PID     int64
	Process int32 // number for ProcessAt's answers, from 1; 0 where it is not known
	Known   Knowledge
}

// Find says who owned, at time t, the socket with these ends in a control group. Where no
// line covers t the nearest within 10 seconds counts.
func (x *Owners) Find(proto uint8, local, remote netip.AddrPort, cgroup string, t int64) (Owned, bool) {
	for _, key := range [...]socketKey{{local, remote, cgroup, proto}, {local, netip.AddrPort{}, cgroup, proto}} {
		if s := x.at(x.by[key], t); s != nil {
			s.used = true
			o := s.owner(t)
			return Owned{o.PID, x.process(o, t), o.Known}, true
		}
	}
	return Owned{}, false
}

// at finds the socket of a chain that t belongs to: the best known of those that cover it,
// and of equal ones the one that began last; else the nearest.
func (x *Owners) at(first int32, t int64) *knownSocket {
	var best *knownSocket
	least := int64(nearest) + 1
	for i := first; i != 0; i = x.sockets[i-1].before {
		s := &x.sockets[i-1]
		if s.gone {
			continue
		}
		far := max(s.From-t, t-s.To, 0)
		switch {
		case far > least || far > nearest:
		case best == nil, far < least,
			s.Owners[0].Known > best.Owners[0].Known,
			s.Owners[0].Known == best.Owners[0].Known && s.From > best.From:
			best, least = s, far
		}
	}
	return best
}

// owner is the last that began before t, else the first.
func (s *knownSocket) owner(t int64) *SocketOwner {
	o := &s.Owners[0]
	for i := range s.Owners[1:] {
		if s.Owners[1+i].From > t {
			break
		}
		o = &s.Owners[1+i]
	}
	return o
}

// process finds the process of an owner; exec makes several of one key.
func (x *Owners) process(o *SocketOwner, t int64) int32 {
	var found int32
	for i := x.byKey[o.Process]; i != 0; i = x.procs[i-1].before {
		p := &x.procs[i-1]
		if found == 0 || p.From > t && p.From < x.procs[found-1].From || p.From <= t && (x.procs[found-1].From > t || p.From > x.procs[found-1].From) {
			found = i
		}
	}
	if found != 0 {
		x.procs[found-1].used = true
	}
	return found
}

// PID finds the process that had a number at time t, 0 where nobody is known.
func (x *Owners) PID(pid, t int64) int32 {
	for i := x.byPID[pid]; i != 0; i = x.procs[i-1].beforePID {
		p := &x.procs[i-1]
		if max(p.From, p.Start) <= t && (p.To == 0 || t <= p.To) {
			p.used = true
			return i
		}
	}
	return 0
}

// Process is the one with that number.
func (x *Owners) Process(no int32) *Process { return &x.procs[no-1].Process }

// AppendUsed writes the lines whose answers were asked for, in their order. Asked the
// same, an Owners of these lines answers the same.
func (x *Owners) AppendUsed(b []byte) []byte {
	type placed struct {
		line int64
		OwnerLine
	}
	var list []placed
	keys := map[string]bool{}
	for i := range x.sockets {
		if s := &x.sockets[i]; s.used {
			list = append(list, placed{s.line, OwnerLine{Socket: &s.Socket}})
		}
	}
	for i := range x.procs {
		if p := &x.procs[i]; p.used {
			keys[p.Key] = true
		}
	}
	for i := range x.procs {
		if p := &x.procs[i]; keys[p.Key] {
			list = append(list, placed{p.line, OwnerLine{Process: &p.Process}})
		}
	}
	for i := range x.groups {
		if g := &x.groups[i]; g.used {
			list = append(list, placed{g.line, OwnerLine{Group: &g.GroupOwner}})
		}
	}
	for i := range x.addrs { // only addresses with packets are told of
		a := &x.addrs[i]
		list = append(list, placed{a.line, OwnerLine{Address: &a.AddressOwner}})
	}
	slices.SortFunc(list, func(a, b placed) int { return cmp64(a.line, b.line) })
	for i := range list {
		b = AppendOwnerLine(b, list[i].OwnerLine)
	}
	return b
}
