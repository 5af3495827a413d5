package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/internal/containers"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// workloadLine is a line that names the workload of a control group.
type workloadLine struct {
	Workload json.RawMessage `json:"workload"`
	Cgroup   string          `json:"cgroup,omitempty"`
	From     string          `json:"from,omitempty"`
	To       string          `json:"to,omitempty"`
	Learned  string          `json:"learned"`
}

// kubeLine is a Kubernetes event.
type kubeLine struct {
	Time    string     `json:"time"`
	Kind    string     `json:"kind"`
	Type    string     `json:"type,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Message string     `json:"message,omitempty"`
	Object  kubeObject `json:"object"`
	Count   int64      `json:"count,omitempty"`
	First   string     `json:"first,omitempty"`
	Source  string     `json:"source,omitempty"`
	Node    string     `json:"node,omitempty"`
}

type kubeObject struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// changesAtOnce bounds the workload changes processed between two batches of packets.
const changesAtOnce = 256

// names combines the sources of workloads: the given Source and this machine's container
// runtimes.
type names struct {
	source   workload.Source // nil if there is none
	runtimes *containers.Source
	stop     func()
}

// patience is how long a recording waits for names of running containers, so that their
// first packets have them.
const patience = 500 * time.Millisecond

// start starts to ask runtimes, first for the containers of existing control groups.
func (n *names) start(o *Options, paths []string) {
	n.source = o.Source
	if o.NoNames {
		return
	}
	n.runtimes = containers.New(containers.Options{Root: o.root, OnError: o.OnError})
	if n.source == nil {
		n.source = n.runtimes
	} else {
		n.source = both{n.source, n.runtimes}
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel // end does not wait for Run: a daemon may not respond
	go n.runtimes.Run(ctx)
	first, done := context.WithTimeout(ctx, patience)
	defer done()
	n.runtimes.Prime(first, paths)
}

// expect looks up a new control group in advance: its first packet follows soon.
func (n *names) expect(path string) {
	if n.runtimes != nil {
		n.runtimes.Find(workload.Key{Cgroup: path})
	}
}

func (n *names) end() {
	if n.stop != nil {
		n.stop()
	}
}

func (n *names) stats() *ContainerStats {
	if n.runtimes == nil {
		return nil
	}
	s := n.runtimes.State()
	return &ContainerStats{s.Named, s.Nameless, s.Runtimes}
}

// both asks a second Source if the first has no result.
type both struct{ first, second workload.Source }

func (b both) Find(k workload.Key) (workload.InterfaceComment, bool) {
	if c, ok := b.first.Find(k); ok {
		return c, true
	}
	return b.second.Find(k)
}

func (b both) Take(limit int) ([]workload.Change, uint64) {
	changes, lost := b.first.Take(limit)
	if len(changes) >= limit {
		return changes, lost
	}
	more, missed := b.second.Take(limit - len(changes))
	return append(changes, more...), lost + missed
}

// writeChanges writes changes of workloads.
func (r *recording) writeChanges() error {
	if r.names.source == nil {
		return nil
	}
	changes, lost := r.names.source.Take(changesAtOnce)
	r.journal.lost += lost
	for i := range changes {
		c := &changes[i]
		if c.Event != nil {
			r.kubeEvent(c.Event)
			continue
		}
		for _, x := range r.ifaces.concerned(c.PodUID, c.Container) {
			known, changed, err := r.ifaces.renew(x)
			if err != nil {
				return err
			}
			if x.ready && (changed || c.To != 0) {
				r.journal.owner(x.output, workloadLine{Workload: json.RawMessage(workload.FormatInterfaceComment(known)), Cgroup: x.cgroup,
					From: stamp(c.From), To: stamp(c.To), Learned: stamp(int64(r.clock.Now.Real))})
			}
		}
	}
	return nil
}

func (r *recording) kubeEvent(e *workload.Event) {
	if r.o.NoEvents || r.enforcer.silencesEvent(r.names.source, e) {
		return
	}
	r.journal.event(r.outputFor(e.Namespace, false), kubeLine{Time: stamp(e.TsNs), Kind: "k8s", Type: machine.Clean(e.Type, 64), Reason: machine.Clean(e.Reason, 256), Message: machine.Clean(e.Message, 1024),
		Object: kubeObject{machine.Clean(e.Kind, 64), machine.Clean(e.Namespace, 256), machine.Clean(e.Name, 256), machine.Clean(e.UID, 64)},
		Count:  e.Count, First: stamp(e.FirstNs), Source: machine.Clean(e.Source, 256), Node: machine.Clean(e.Node, 256)})
}

// commentCache formats owner comments for packets.
type commentCache struct {
	tgid, tid uint32
	kind      bpf.Kind
	proc      *machine.Process
	text      string
}

// of returns the comment of a packet: its owner and how the owner is known.
func (c *commentCache) of(r *recording, p *bpf.Packet, at int64) string {
	if p.Kind == bpf.None {
		return ""
	}
	proc := r.processes.Of(p.TGID, at)
	if c.tgid == p.TGID && c.tid == p.TID && c.kind == p.Kind && c.proc == proc && c.text != "" {
		return c.text
	}
	text := fmt.Sprintf("pid=%d tid=%d", p.TGID, p.TID)
	if proc != nil {
		text = fmt.Sprintf("process=%q %s", proc.Name, text)
	}
	*c = commentCache{p.TGID, p.TID, p.Kind, proc, "pcapsule " + text + " known=" + workload.KnowledgeOf(uint8(p.Kind)).String()}
	return c.text
}
