package recorder

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// face is an interface of the recording: the packets of one workload.
type face struct {
	id        ring.InterfaceID
	number    int // of the recording, from 0, for side files
	group     group
	since     int64 // UTC
	delivered atomic.Uint64
	lost      atomic.Uint64
}

// faces are all interfaces, by control group.
type faces struct {
	groups   *groups
	identify func(uint64, string) (workload.InterfaceComment, bool)
	node     string
	ring     string
	filter   string

	mu   sync.Mutex // guards list; a ring asks for it from its own goroutines
	list []*face
	by   map[uint64]*face
	last *face
	rest *face // for groups beyond what a recording tells apart
}

const maxFaces = 50_000

// of returns the interface of a group, and declares it the first time.
func (f *faces) of(cgroup uint64, at int64, out sink) (*face, error) {
	if f.last != nil && f.last.group.id == cgroup {
		return f.last, nil
	}
	x := f.by[cgroup]
	if x == nil {
		if len(f.by) >= maxFaces {
			if f.rest == nil {
				rest, err := f.add(group{}, at, out)
				if err != nil {
					return nil, err
				}
				f.rest = rest
			}
			return f.rest, nil
		}
		var err error
		if x, err = f.add(f.groups.find(cgroup), at, out); err != nil {
			return nil, err
		}
		f.by[cgroup] = x
	}
	f.last = x
	return x, nil
}

func (f *faces) add(g group, at int64, out sink) (*face, error) {
	id, err := out.declare(f.describe(g, at))
	if err != nil {
		return nil, err
	}
	x := &face{id: id, group: g, since: at}
	f.mu.Lock()
	x.number = len(f.list)
	f.list = append(f.list, x)
	f.mu.Unlock()
	return x, nil
}

// describe makes the interface of a group: what it is called and what is known of it.
func (f *faces) describe(g group, at int64) pcapng.Interface {
	c := workload.InterfaceComment{Ring: f.ring, How: "none", Identity: workload.Identity{Node: f.node, ValidFrom: at}}
	if g.id != 0 {
		c.How, c.Cgroup = "cgroup", fmt.Sprint(g.id)
		if g.path != "" {
			c.Cgroup = g.path
		}
		c.Identity.PodUID = g.pod
		if g.container != "" {
			c.Identity.Container = g.container[:12]
		}
		if f.identify != nil {
			if known, ok := f.identify(g.id, g.path); ok {
				known.Ring, known.Cgroup = c.Ring, c.Cgroup
				if known.Identity.Node == "" {
					known.Identity.Node = f.node
				}
				if known.How == "" {
					known.How = "cgroup"
				}
				c = known
			}
		}
	}
	space, name := c.Identity.Namespace, c.Identity.Pod
	if space == "" {
		space = "-"
	}
	if name == "" {
		name = g.label()
	}
	i := pcapng.Interface{
		Name:     clean(f.node+"/"+space+"/"+name, 200),
		Comments: []string{workload.FormatInterfaceComment(c)},
		Filter:   f.filter,
	}
	switch {
	case g.id == 0:
		i.Description = "packets without an owner"
	case c.Identity.Pod != "":
		i.Description = clean("pod "+c.Identity.Namespace+"/"+c.Identity.Pod+" container "+c.Identity.Container, 400)
	case g.container != "":
		i.Description = clean("container "+g.container+" in "+g.path, 400)
	default:
		i.Description = clean("cgroup "+c.Cgroup, 400)
	}
	return i
}

// accounts are the counters of all interfaces.
func (f *faces) accounts(at int64) []ring.InterfaceAccount {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]ring.InterfaceAccount, 0, len(f.list))
	for _, x := range f.list {
		delivered, lost := x.delivered.Load(), x.lost.Load()
		known := func(n uint64) pcapng.Counter { return pcapng.Counter{N: n, Known: true} }
		list = append(list, ring.InterfaceAccount{ID: x.id, At: at, Start: x.since,
			Received: known(delivered + lost), OSDropped: known(lost), Delivered: known(delivered)})
	}
	return list
}

func (f *faces) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.list)
}
