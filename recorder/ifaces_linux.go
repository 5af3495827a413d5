package recorder

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// iface is an interface of the recording: the packets of one workload.
type iface struct {
	name       string // if_name
	id         ring.InterfaceID
	group      machine.Cgroup
	cgroup     string // as in the comment
	comment    string
	since      int64 // UTC
	delivered  atomic.Uint64
	lost       atomic.Uint64
	unreported uint64 // of these, not yet reported with a packet

	output  *output
	ready   bool             // declared: an interface without packets is never declared
	subject workload.Subject // what is known of the workload, for the policy
	marks   policy.Marks
	gen     int // counts changes of these
}

// ifaces are all interfaces, by control group.
type ifaces struct {
	groups    *machine.Cgroups
	source    workload.Source
	node      string
	ring      string
	filter    string
	enforcer  *enforcer
	outputFor func(namespace string, pending bool) *output

	mu   sync.Mutex // guards list; a ring reads it from its own goroutines
	list []*iface
	by   map[uint64]*iface
	last *iface
	rest *iface // for groups beyond maxFaces
}

const maxIfaces = 50_000

// of returns the interface of a group.
func (f *ifaces) of(cgroup uint64, at int64) *iface {
	if f.last != nil && f.last.group.ID == cgroup {
		return f.last
	}
	x := f.by[cgroup]
	if x == nil {
		if len(f.by) >= maxIfaces {
			if f.rest == nil {
				f.rest = f.add(machine.Cgroup{}, at)
				f.mu.Lock()
				f.rest.subject.Unnamed, f.rest.output = true, f.outputFor("", true) // it may belong to any namespace
				f.mu.Unlock()
				f.enforcer.setMarks(f.rest)
			}
			return f.rest
		}
		x = f.add(f.groups.Find(cgroup), at)
		f.by[cgroup] = x
	}
	f.last = x
	return x
}

func (f *ifaces) add(g machine.Cgroup, at int64) *iface {
	c := f.comment(g, at)
	text := workload.FormatInterfaceComment(c)
	x := &iface{name: f.describe(g, &c, text).Name, group: g, since: at, cgroup: c.Cgroup, comment: text, subject: f.subject(&g, &c)}
	x.output = f.outputFor(x.subject.Namespace, x.subject.Unnamed)
	f.enforcer.setMarks(x)
	f.mu.Lock()
	f.list = append(f.list, x)
	f.mu.Unlock()
	return x
}

// declare declares an interface to its output, before the interface's first packet.
func (f *ifaces) declare(x *iface) error {
	if x.ready {
		return nil
	}
	c := f.comment(x.group, x.since)
	text := workload.FormatInterfaceComment(c)
	i := f.describe(x.group, &c, text)
	id, err := x.output.sink.declare(i)
	if err != nil {
		return err
	}
	f.mu.Lock()
	x.id, x.ready, x.name, x.comment = id, true, i.Name, text
	f.mu.Unlock()
	return nil
}

// renew looks up the owner of an interface again. It returns what is known now, and whether that differs from what
// packets were written with.
func (f *ifaces) renew(x *iface) (workload.InterfaceComment, bool, error) {
	c := f.comment(x.group, x.since)
	text := workload.FormatInterfaceComment(c)
	if text == x.comment {
		return c, false, nil
	}
	x.subject = f.subject(&x.group, &c)
	f.enforcer.setMarks(x)
	if l := f.outputFor(x.subject.Namespace, x.subject.Unnamed); l != x.output && f.by[x.group.ID] == x {
		// What was written stays where it is; later packets go to another interface.
		delete(f.by, x.group.ID)
		f.last = nil
	}
	i := f.describe(x.group, &c, text)
	if x.ready {
		if err := x.output.sink.redeclare(x.id, i); err != nil {
			return c, false, err
		}
	}
	f.mu.Lock()
	x.name, x.comment = i.Name, text
	f.mu.Unlock()
	return c, x.ready, nil
}

// comment returns the comment about a control group.
func (f *ifaces) comment(g machine.Cgroup, at int64) workload.InterfaceComment {
	c := workload.InterfaceComment{Ring: f.ring, How: "none", Identity: workload.Identity{Node: f.node, ValidFrom: at}}
	if g.ID == 0 {
		return c
	}
	c.How, c.Cgroup = "cgroup", fmt.Sprint(g.ID)
	if g.Path != "" {
		c.Cgroup = g.Path
	}
	c.Identity.PodUID = g.Pod
	if g.Container != "" {
		c.Identity.Container = g.Container[:12]
	}
	if f.source == nil {
		return c
	}
	known, ok := f.source.Find(workload.Key{Container: g.Container, PodUID: g.Pod, Cgroup: g.Path})
	if !ok {
		return c
	}
	known.Ring, known.Cgroup = c.Ring, c.Cgroup
	if known.Identity.Node == "" {
		known.Identity.Node = f.node
	}
	if known.Identity.ValidFrom == 0 {
		known.Identity.ValidFrom = at
	}
	if known.How == "" {
		known.How = "cgroup"
	}
	return known
}

// describe returns the interface of a group: its name and its known workload.
func (f *ifaces) describe(g machine.Cgroup, c *workload.InterfaceComment, text string) pcapng.Interface {
	space, name := c.Identity.Namespace, c.Identity.Pod
	if space == "" {
		space = "-"
	}
	if name == "" {
		name = c.Identity.Container
	}
	if name == "" {
		name = g.Label()
	}
	i := pcapng.Interface{Name: machine.Clean(f.node+"/"+space+"/"+name, 200), Comments: []string{text}, Filter: f.filter}
	switch {
	case g.ID == 0:
		i.Description = "packets without an owner"
	case c.Identity.Pod != "":
		i.Description = machine.Clean("pod "+c.Identity.Namespace+"/"+c.Identity.Pod+" container "+c.Identity.Container, 400)
	case g.Container != "" && c.Identity.Container != "" && !strings.HasPrefix(g.Container, c.Identity.Container):
		i.Description = machine.Clean("container "+c.Identity.Container+" of "+c.How+", "+g.Container+" in "+g.Path, 400)
	case g.Container != "":
		i.Description = machine.Clean("container "+g.Container+" in "+g.Path, 400)
	default:
		i.Description = machine.Clean("cgroup "+c.Cgroup, 400)
	}
	return i
}

// concerned lists the interfaces of the control groups of a pod or container.
func (f *ifaces) concerned(pod, container string) (list []*iface) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.list {
		if pod != "" && x.group.Pod == pod || container != "" && x.group.Container == container {
			list = append(list, x)
		}
	}
	return list
}

// accounts returns the counters of an output's interfaces.
func (f *ifaces) accounts(at int64, l *output) []ring.InterfaceAccount {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]ring.InterfaceAccount, 0, len(f.list))
	for _, x := range f.list {
		if x.output == l && x.ready {
			list = append(list, ring.InterfaceAccount{ID: x.id, At: at, Start: x.since, Lost: x.lost.Load()})
		}
	}
	return list
}

func (f *ifaces) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, x := range f.list {
		if x.ready {
			n++
		}
	}
	return n
}
