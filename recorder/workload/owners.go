package workload

import (
	"cmp"
	"net/netip"
	"slices"
)

// Costs in Owners' estimate of its memory.
const (
	procCost = 400  // bytes of a process without its texts
	nearest  = 10e9 // ns by which a process may begin after a packet that names it
	maxSame  = 64   // processes with one number, in one file
)

// Owners holds the processes, workloads and addresses of one owners file. Add first, then query;
// one goroutine at a time. Lines over the memory limit are counted.
type Owners struct {
	room   int64
	cost   int64
	procs  []knownProcess
	byKey  map[string]int32 // the last process of a key, from 1
	byPID  map[int64]int32
	groups []knownGroup
	addrs  []knownAddress
	byAddr map[addressKey]int32 // from 1
	texts  map[string]string    // control groups and keys, without duplicates
	Stats  OwnersStats
}

// OwnersStats counts the lines of an owners file by result.
type OwnersStats struct {
	Lines     int64 // valid lines
	Malformed int64
	Limited   int64 // dropped because of the memory limit
	Replaced  int64 // by a later line about the same address
}

type knownAddress struct {
	AddressOwner
	line int64
}

// addressKey identifies an owner of an address since a time.
type addressKey struct {
	addr                       netip.Addr
	kind, namespace, name, uid string
	from                       int64
}

type knownProcess struct {
	Process
	line      int64
	before    int32 // of the same key, from 1
	beforePID int32
	depth     int32 // the longer number of predecessors, by key or by number
	used      bool
}

type knownGroup struct {
	GroupOwner
	line int64
	used bool
}

// NewOwners returns an Owners that uses at most room bytes.
func NewOwners(room int64) *Owners {
	return &Owners{room: room, byKey: map[string]int32{}, byPID: map[int64]int32{}, byAddr: map[addressKey]int32{}, texts: map[string]string{}}
}

// Cost estimates its memory in bytes.
func (x *Owners) Cost() int64 { return x.cost }

// Groups returns the groups of the lines, in line order.
func (x *Owners) Groups() []GroupOwner {
	list := make([]GroupOwner, len(x.groups))
	for i := range x.groups {
		list[i] = x.groups[i].GroupOwner
	}
	return list
}

// Addresses returns the owners of addresses, in the order of the lines that count.
func (x *Owners) Addresses() []AddressOwner {
	known := slices.Clone(x.addrs)
	slices.SortFunc(known, func(a, b knownAddress) int { return cmp.Compare(a.line, b.line) })
	list := make([]AddressOwner, len(known))
	for i := range known {
		list[i] = known[i].AddressOwner
	}
	return list
}

// addAddress adds the owner of an address. A later line about the same pod or service and the
// same start replaces the earlier one.
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

// UseGroup marks the group with that place in Groups as used.
func (x *Owners) UseGroup(i int) { x.groups[i].used = true }

// Add adds a line.
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
	n := int64(procCost + len(p.Key) + len(p.Name) + len(p.Exe) + len(p.Script) + len(p.User) + len(p.Container) + len(p.PodUID))
	for _, a := range p.Args {
		n += int64(len(a)) + 16
	}
	if last := x.byKey[p.Key]; last != 0 && sameProcess(&x.procs[last-1].Process, p) {
		return // repeated
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

// sameProcess reports whether b adds nothing to a; an end is an addition.
func sameProcess(a, b *Process) bool {
	return a.From == b.From && a.To == b.To && a.Name == b.Name && a.Exe == b.Exe && a.Script == b.Script && a.Cgroup == b.Cgroup && a.UID == b.UID &&
		a.Start == b.Start && slices.Equal(a.Args, b.Args)
}

// PID finds the process that had a number at time t: the last one that began before, even if
// it had ended, because the kernel continues to send for it; otherwise the first one that
// began within 10 seconds. It returns 0 if none is known.
func (x *Owners) PID(pid, t int64) int32 {
	var found int32
	var at int64
	for i := x.byPID[pid]; i != 0; i = x.procs[i-1].beforePID {
		p := &x.procs[i-1]
		from := max(p.From, p.Start)
		switch {
		case found == 0 && from <= t+nearest, found != 0 && at > t && from < at, found != 0 && from <= t && from > at:
			found, at = i, from
		}
	}
	if found != 0 {
		x.procs[found-1].used = true
	}
	return found
}

// Process returns the process with that number.
func (x *Owners) Process(no int32) *Process { return &x.procs[no-1].Process }

// AppendUsed appends the lines that were used to answer queries, in line order. An Owners of
// these lines gives the same answers to the same queries.
func (x *Owners) AppendUsed(b []byte) []byte {
	type placed struct {
		line int64
		OwnerLine
	}
	var list []placed
	keys := map[string]bool{}
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
	for i := range x.addrs { // the file only has addresses with packets
		a := &x.addrs[i]
		list = append(list, placed{a.line, OwnerLine{Address: &a.AddressOwner}})
	}
	slices.SortFunc(list, func(a, b placed) int { return cmp.Compare(a.line, b.line) })
	for i := range list {
		b = AppendOwnerLine(b, list[i].OwnerLine)
	}
	return b
}
