package recorder

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// enforcer decides which packets of sockets are kept. It considers both ends as far as they
// are known: the socket's owner, the owner of the other address, and the local sockets that
// recently exchanged packets. A nil one keeps all packets.
type enforcer struct {
	judge     *policy.Judge
	source    workload.Source // of addresses; may be nil
	processes *machine.Processes
	owned     bool // rules depend on the owner of a packet
	programs  bool // rules depend on its process

	forbidden atomic.Uint64
	unwanted  atomic.Uint64

	lastKey   program
	lastMarks policy.Marks
	marks     map[program]policy.Marks
	others    map[other]otherMarks
	podAddrs  podAddrs
	talks     [2]map[talk]uint64 // the current period, and the one before
	rotated   int64
}

// program is a process of a workload on this machine.
type program struct {
	iface *iface
	gen   int // of the interface's names
	proc  *machine.Process
	pid   uint32
}

// other is the remote end of a packet.
type other struct {
	addr     netip.AddrPort
	protocol uint8
}

type otherMarks struct {
	yes   uint64
	known bool
	until int64
}

// talk is a pair of ends that exchange packets. a is the smaller one.
//
// LIMIT: networks are not distinguished, so two pods whose loopbacks use the same pair of
// ports within two minutes are treated as one.
type talk struct {
	a, b     netip.AddrPort
	protocol uint8
}

const (
	maxCached   = 16384 // cached programs and addresses
	maxTalks    = 65536
	talksPeriod = 60e9 // ns after which an idle conversation is forgotten
	otherTTL    = 1e9  // ns for which the result for an address is valid
)

// newEnforcer returns the enforcer of a policy, nil if the policy allows every packet.
func newEnforcer(p *policy.Policy, source workload.Source, t *machine.Processes) (*enforcer, error) {
	if p == nil {
		return nil, nil
	}
	j, err := policy.New(p)
	if j == nil || err != nil {
		return nil, err
	}
	e := &enforcer{judge: j, processes: t, owned: j.Owned(), programs: j.Processes(), marks: map[program]policy.Marks{}, others: map[other]otherMarks{}, podAddrs: podAddrs{}}
	e.talks[0], e.talks[1] = map[talk]uint64{}, map[talk]uint64{}
	if j.Names() {
		e.source = source
	}
	return e, nil
}

// subject returns the known workload of a control group.
func (f *ifaces) subject(g *machine.Cgroup, c *workload.InterfaceComment) workload.Subject {
	s := workload.SubjectOf(&c.Identity)
	s.ContainerID, s.Cgroup = g.Container, g.Path
	if g.Pod != "" {
		s.PodUID = g.Pod
	}
	uncalled := g.Container != "" && (s.Container == "" || strings.HasPrefix(g.Container, s.Container))
	s.Unnamed = g.ID != 0 && g.Path == "" || f.source != nil && s.Pod == "" && (g.Pod != "" || uncalled)
	s.ContainerUnnamed = f.source != nil && s.Pod != "" && uncalled
	return s
}

// setMarks sets the known marks of an interface.
func (e *enforcer) setMarks(x *iface) {
	x.gen++
	if e != nil {
		x.marks = e.judge.Marks(&x.subject)
	}
}

// silenced reports whether events in a control group must not be recorded.
func (e *enforcer) silenced(f *ifaces, cgroup uint64, proc *machine.Process) bool {
	if e == nil || !e.owned {
		return false
	}
	g := f.groups.Find(cgroup)
	c := f.comment(g, 0)
	s := f.subject(&g, &c)
	if e.programs {
		if s.Unowned = proc == nil; proc != nil {
			s.Process, s.Exe, s.Script, s.PID = proc.Name, proc.Exe, proc.Script, int64(proc.PID)
		}
	}
	return e.judge.Silenced(e.judge.Marks(&s))
}

// silencesEvent reports whether a Kubernetes event must not be recorded because of the
// workload it concerns. Events of nodes are always recorded.
func (e *enforcer) silencesEvent(source workload.Source, event *workload.Event) bool {
	if e == nil || !e.owned || event.Kind == "Node" {
		return false
	}
	who := workload.Subject{Namespace: event.Namespace}
	if event.Kind == "Pod" {
		if c, ok := source.Find(workload.Key{PodUID: event.UID}); ok {
			who = workload.SubjectOf(&c.Identity)
		}
		who.Namespace, who.Pod, who.PodUID = event.Namespace, event.Name, event.UID
	}
	return e.judge.Silenced(e.judge.Marks(&who))
}

// fate decides whether a packet is kept.
func (e *enforcer) fate(p *bpf.Packet, ip []byte, x *iface, at int64) policy.Fate {
	m := e.owner(p, x, at)
	if e.owned {
		if local, remote, ok := ends(ip, p.Outgoing); ok {
			said := e.remember(m.Yes, talkOf(local, remote, p.Transport), at)
			e.podAddrs.note(local.Addr(), x, at)
			of := e.address(remote, p.Transport, at)
			m.Yes |= said | of.Yes
			m.Maybe |= of.Maybe
		}
	}
	f := e.judge.Packet(m, ip)
	switch f {
	case policy.Forbidden:
		e.forbidden.Add(1)
	case policy.Unwanted:
		e.unwanted.Add(1)
	}
	return f
}

// owner returns the marks of the owner of a packet's socket.
func (e *enforcer) owner(p *bpf.Packet, x *iface, at int64) policy.Marks {
	if e.programs {
		return e.program(p, x, at)
	}
	return x.marks
}

// program returns the marks of the owner including its process.
func (e *enforcer) program(p *bpf.Packet, x *iface, at int64) policy.Marks {
	k := program{iface: x, gen: x.gen}
	if p.Kind != bpf.None {
		k.pid, k.proc = p.TGID, e.processes.Of(p.TGID, at)
	}
	if k == e.lastKey {
		return e.lastMarks
	}
	m, ok := e.marks[k]
	if !ok {
		s := x.subject
		s.Unowned, s.PID = p.Kind == bpf.None, int64(k.pid)
		if k.proc != nil {
			s.Process, s.Exe, s.Script = k.proc.Name, k.proc.Exe, k.proc.Script
		}
		m = e.judge.Marks(&s)
		if len(e.marks) >= maxCached {
			clear(e.marks)
		}
		e.marks[k] = m
	}
	e.lastKey, e.lastMarks = k, m
	return m
}

func talkOf(local, remote netip.AddrPort, protocol uint8) talk {
	t := talk{local, remote, protocol}
	if t.b.Compare(t.a) < 0 {
		t.a, t.b = t.b, t.a
	}
	return t
}

// foresee reads a packet while it waits: what it reveals about one end of a conversation
// applies to a packet of the other end that may have left a moment before.
func (e *enforcer) foresee(p *bpf.Packet, ip []byte, x *iface, at int64) {
	if local, remote, ok := ends(ip, p.Outgoing); ok {
		e.podAddrs.note(local.Addr(), x, at)
		if m := e.owner(p, x, at); m.Yes != 0 {
			e.remember(m.Yes, talkOf(local, remote, p.Transport), at)
		}
	}
}

// remember records the certain marks of one end of a conversation, and returns it for both.
func (e *enforcer) remember(yes uint64, t talk, at int64) uint64 {
	if at-e.rotated > talksPeriod || at < e.rotated-talksPeriod || len(e.talks[0]) >= maxTalks {
		e.rotated = at
		e.talks[0], e.talks[1] = map[talk]uint64{}, e.talks[0]
	}
	said, ok := e.talks[0][t]
	if !ok {
		said, ok = e.talks[1][t]
	}
	if yes&^said != 0 || ok && e.talks[0][t] != said {
		e.talks[0][t] = yes | said
	}
	return yes | said
}

// address returns the marks that are certain for the owner of an address. For a local pod
// that Kubernetes has not reported yet, they include what is possible.
func (e *enforcer) address(a netip.AddrPort, protocol uint8, at int64) policy.Marks {
	if a.Addr().IsLoopback() {
		return policy.Marks{}
	}
	if yes, known := e.sourceMarks(a, protocol, at); known {
		return policy.Marks{Yes: yes}
	}
	if x := e.podAddrs.of(a.Addr(), at); x != nil {
		return x.marks
	}
	return policy.Marks{}
}

// sourceMarks returns the source's marks of an address.
func (e *enforcer) sourceMarks(a netip.AddrPort, protocol uint8, at int64) (yes uint64, ok bool) {
	if e.source == nil {
		return 0, false
	}
	k := other{a, protocol}
	known, ok := e.others[k]
	if !ok || at > known.until || at < known.until-2*otherTTL {
		known = otherMarks{until: at + otherTTL}
		if c, ok := e.source.Find(workload.Key{Addr: a.Addr(), Port: a.Port(), Proto: protocol, At: at}); ok {
			s := workload.SubjectOf(&c.Identity)
			known.yes, known.known = e.judge.Marks(&s).Yes, true
		}
		if len(e.others) >= maxCached {
			clear(e.others)
		}
		e.others[k] = known
	}
	return known.yes, known.known
}

// counts returns the numbers of forbidden and of unwanted packets.
func (e *enforcer) counts() (forbidden, unwanted uint64) {
	if e == nil {
		return 0, 0
	}
	return e.forbidden.Load(), e.unwanted.Load()
}

// frameJudge returns the judge of frames, whose owners are known by address only.
func frameJudge(o *Options) (*policy.Judge, error) {
	if o.Policy == nil {
		return nil, nil
	}
	j, err := policy.New(o.Policy)
	if j == nil || err != nil || o.Source == nil {
		return j, err
	}
	known := map[other]otherMarks{}
	j.Address = func(a netip.Addr, port uint16, protocol uint8) (policy.Marks, bool) {
		k := other{netip.AddrPortFrom(a, port), protocol}
		now := time.Now().UnixNano()
		m, ok := known[k]
		if !ok || now > m.until || now < m.until-2*otherTTL {
			m = otherMarks{until: now + otherTTL}
			if c, found := o.Source.Find(workload.Key{Addr: a, Port: port, Proto: protocol}); found {
				s := workload.SubjectOf(&c.Identity)
				m.yes, m.known = j.Marks(&s).Yes, true
			}
			if len(known) >= maxCached {
				clear(known)
			}
			known[k] = m
		}
		return policy.Marks{Yes: m.yes}, m.known
	}
	return j, nil
}

// podAddrs are the addresses at which pods of this machine were seen. A pod sends packets before
// Kubernetes reports its address, and packets to a service arrive at the other socket under other
// addresses, so neither source nor conversation identifies the pod.
type podAddrs map[netip.Addr]podAddr

type podAddr struct {
	iface *iface // nil: used by processes of the machine itself and by pods in its network
	at    int64
}

const (
	maxPodAddrs    = 16384
	podAddrTTL     = 60e9 // ns after which an unused address is free again
	podAddrRefresh = 1e9  // ns after which it is recorded again
)

// note records that a socket of x has an address.
func (h podAddrs) note(a netip.Addr, x *iface, at int64) {
	if x.group.ID == 0 || x.group.Path == "" || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return
	}
	known, ok := h[a]
	if !ok && len(h) >= maxPodAddrs {
		clear(h)
	}
	switch fresh := ok && known.fresh(at); {
	case x.group.Pod == "":
		x = nil
	case fresh && known.iface == nil:
		return // a pod in the machine's own network
	}
	if !ok || known.iface != x || at-known.at > podAddrRefresh || at < known.at {
		h[a] = podAddr{x, at}
	}
}

func (x podAddr) fresh(at int64) bool { return at-x.at < podAddrTTL && at > x.at-podAddrTTL }

// of returns the interface of the pod that has an address, or nil if none is known.
func (h podAddrs) of(a netip.Addr, at int64) *iface {
	if x, ok := h[a]; ok && x.fresh(at) {
		return x.iface
	}
	return nil
}
