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

// warden decides which packets of sockets are kept. It considers both ends as far as they
// are known: the socket's owner, the owner of the other address, and the local sockets that
// recently exchanged packets. A nil one keeps all packets.
type warden struct {
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
	homes     homes
	talks     [2]map[talk]uint64 // the current period, and the one before
	turned    int64
}

// program is a process of a workload on this machine.
type program struct {
	face *face
	gen  int // of the interface's names
	proc *machine.Process
	pid  uint32
}

// other is the remote end of a packet.
type other struct {
	addr     netip.AddrPort
	protocol uint8
}

type otherMarks struct {
	yes   uint64
	known bool
	till  int64
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
	maxTold   = 16384 // cached programs and addresses
	maxTalks  = 65536
	talksTurn = 60e9 // ns after which an idle conversation is forgotten
	otherTill = 1e9  // ns for which the result for an address is valid
)

// newWarden returns the warden for a policy, nil if the policy allows every packet.
func newWarden(p *policy.Policy, source workload.Source, t *machine.Processes) (*warden, error) {
	if p == nil {
		return nil, nil
	}
	j, err := policy.New(p)
	if j == nil || err != nil {
		return nil, err
	}
	w := &warden{judge: j, processes: t, owned: j.Owned(), programs: j.Processes(), marks: map[program]policy.Marks{}, others: map[other]otherMarks{}, homes: homes{}}
	w.talks[0], w.talks[1] = map[talk]uint64{}, map[talk]uint64{}
	if j.Names() {
		w.source = source
	}
	return w, nil
}

// subject returns what is known of the workload of a control group.
func (f *faces) subject(g *machine.Cgroup, c *workload.InterfaceComment) workload.Subject {
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

// know sets what is known of an interface.
func (w *warden) know(x *face) {
	x.gen++
	if w != nil {
		x.marks = w.judge.Marks(&x.who)
	}
}

// silenced reports whether events in a control group must not be recorded.
func (w *warden) silenced(f *faces, cgroup uint64, proc *machine.Process) bool {
	if w == nil || !w.owned {
		return false
	}
	g := f.groups.Find(cgroup)
	c := f.comment(g, 0)
	s := f.subject(&g, &c)
	if w.programs {
		if s.Unowned = proc == nil; proc != nil {
			s.Process, s.Exe, s.Script, s.PID = proc.Name, proc.Exe, proc.Script, int64(proc.PID)
		}
	}
	return w.judge.Silenced(w.judge.Marks(&s))
}

// silencesEvent reports whether a Kubernetes event must not be recorded because of the
// workload it concerns. Events of nodes are always recorded.
func (w *warden) silencesEvent(source workload.Source, e *workload.Event) bool {
	if w == nil || !w.owned || e.Kind == "Node" {
		return false
	}
	who := workload.Subject{Namespace: e.Namespace}
	if e.Kind == "Pod" {
		if c, ok := source.Find(workload.Key{PodUID: e.UID}); ok {
			who = workload.SubjectOf(&c.Identity)
		}
		who.Namespace, who.Pod, who.PodUID = e.Namespace, e.Name, e.UID
	}
	return w.judge.Silenced(w.judge.Marks(&who))
}

// fate decides whether a packet is kept.
func (w *warden) fate(p *bpf.Packet, ip []byte, x *face, at int64) policy.Fate {
	m := w.owner(p, x, at)
	if w.owned {
		if local, remote, ok := ends(ip, p.Outgoing); ok {
			said := w.remember(m.Yes, talkOf(local, remote, p.Transport), at)
			w.homes.saw(local.Addr(), x, at)
			of := w.address(remote, p.Transport, at)
			m.Yes |= said | of.Yes
			m.Maybe |= of.Maybe
		}
	}
	f := w.judge.Packet(m, ip)
	switch f {
	case policy.Forbidden:
		w.forbidden.Add(1)
	case policy.Unwanted:
		w.unwanted.Add(1)
	}
	return f
}

// owner returns the marks of the owner of a packet's socket.
func (w *warden) owner(p *bpf.Packet, x *face, at int64) policy.Marks {
	if w.programs {
		return w.program(p, x, at)
	}
	return x.marks
}

// program returns the marks of the owner including its process.
func (w *warden) program(p *bpf.Packet, x *face, at int64) policy.Marks {
	k := program{face: x, gen: x.gen}
	if p.Kind != bpf.None {
		k.pid, k.proc = p.TGID, w.processes.Of(p.TGID, at)
	}
	if k == w.lastKey {
		return w.lastMarks
	}
	m, ok := w.marks[k]
	if !ok {
		s := x.who
		s.Unowned, s.PID = p.Kind == bpf.None, int64(k.pid)
		if k.proc != nil {
			s.Process, s.Exe, s.Script = k.proc.Name, k.proc.Exe, k.proc.Script
		}
		m = w.judge.Marks(&s)
		if len(w.marks) >= maxTold {
			clear(w.marks)
		}
		w.marks[k] = m
	}
	w.lastKey, w.lastMarks = k, m
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
func (w *warden) foresee(p *bpf.Packet, ip []byte, x *face, at int64) {
	if local, remote, ok := ends(ip, p.Outgoing); ok {
		w.homes.saw(local.Addr(), x, at)
		if m := w.owner(p, x, at); m.Yes != 0 {
			w.remember(m.Yes, talkOf(local, remote, p.Transport), at)
		}
	}
}

// remember notes what is certain about one end of a conversation, and returns it for both.
func (w *warden) remember(yes uint64, t talk, at int64) uint64 {
	if at-w.turned > talksTurn || at < w.turned-talksTurn || len(w.talks[0]) >= maxTalks {
		w.turned = at
		w.talks[0], w.talks[1] = map[talk]uint64{}, w.talks[0]
	}
	said, ok := w.talks[0][t]
	if !ok {
		said, ok = w.talks[1][t]
	}
	if yes&^said != 0 || ok && w.talks[0][t] != said {
		w.talks[0][t] = yes | said
	}
	return yes | said
}

// address returns the marks that are certain for the owner of an address. For a local pod
// that Kubernetes has not reported yet, they include what is possible.
func (w *warden) address(a netip.AddrPort, protocol uint8, at int64) policy.Marks {
	if a.Addr().IsLoopback() {
		return policy.Marks{}
	}
	if yes, known := w.told(a, protocol, at); known {
		return policy.Marks{Yes: yes}
	}
	if x := w.homes.of(a.Addr(), at); x != nil {
		return x.marks
	}
	return policy.Marks{}
}

// told returns what the source knows of an address.
func (w *warden) told(a netip.AddrPort, protocol uint8, at int64) (yes uint64, ok bool) {
	if w.source == nil {
		return 0, false
	}
	k := other{a, protocol}
	known, ok := w.others[k]
	if !ok || at > known.till || at < known.till-2*otherTill {
		known = otherMarks{till: at + otherTill}
		if c, ok := w.source.Find(workload.Key{Addr: a.Addr(), Port: a.Port(), Proto: protocol, At: at}); ok {
			s := workload.SubjectOf(&c.Identity)
			known.yes, known.known = w.judge.Marks(&s).Yes, true
		}
		if len(w.others) >= maxTold {
			clear(w.others)
		}
		w.others[k] = known
	}
	return known.yes, known.known
}

// counts returns the numbers of forbidden and of unwanted packets.
func (w *warden) counts() (forbidden, unwanted uint64) {
	if w == nil {
		return 0, 0
	}
	return w.forbidden.Load(), w.unwanted.Load()
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
		if !ok || now > m.till || now < m.till-2*otherTill {
			m = otherMarks{till: now + otherTill}
			if c, found := o.Source.Find(workload.Key{Addr: a, Port: port, Proto: protocol}); found {
				s := workload.SubjectOf(&c.Identity)
				m.yes, m.known = j.Marks(&s).Yes, true
			}
			if len(known) >= maxTold {
				clear(known)
			}
			known[k] = m
		}
		return policy.Marks{Yes: m.yes}, m.known
	}
	return j, nil
}
