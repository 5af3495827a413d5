package recorder

import (
	"encoding/json"
	"fmt"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// workloadLine says who a control group is.
type workloadLine struct {
	Workload json.RawMessage `json:"workload"`
	Cgroup   string          `json:"cgroup,omitempty"`
	From     string          `json:"from,omitempty"`
	To       string          `json:"to,omitempty"`
	Learned  string          `json:"learned"`
}

// kubeLine is an event of Kubernetes.
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

// changesAtOnce bounds what is learned of workloads between two looks at the packets.
const changesAtOnce = 256

// takeChanges writes what was learned of workloads.
func (r *recording) takeChanges() error {
	if r.o.Source == nil {
		return nil
	}
	changes, lost := r.o.Source.Take(changesAtOnce)
	r.journal.lost += lost
	for i := range changes {
		c := &changes[i]
		if c.Event != nil {
			r.kubeEvent(c.Event)
			continue
		}
		for _, x := range r.faces.ofPod(c.PodUID) {
			known, changed, err := r.faces.renew(x, r.out)
			if err != nil {
				return err
			}
			if changed || c.To != 0 {
				r.journal.owner(workloadLine{Workload: json.RawMessage(workload.FormatInterfaceComment(known)), Cgroup: x.cgroup,
					From: stamp(c.From), To: stamp(c.To), Learned: stamp(int64(r.clock.now.Real))})
			}
		}
	}
	return nil
}

func (r *recording) kubeEvent(e *workload.Event) {
	if r.o.NoEvents {
		return
	}
	r.journal.event(kubeLine{Time: stamp(e.TsNs), Kind: "k8s", Type: clean(e.Type, 64), Reason: clean(e.Reason, 256), Message: clean(e.Message, 1024),
		Object: kubeObject{clean(e.Kind, 64), clean(e.Namespace, 256), clean(e.Name, 256), clean(e.UID, 64)},
		Count:  e.Count, First: stamp(e.FirstNs), Source: clean(e.Source, 256), Node: clean(e.Node, 256)})
}

// commentCache makes owner comments for packets.
type commentCache struct {
	tgid, tid uint32
	kind      bpf.Kind
	proc      *process
	text      string
}

// of is the comment of a packet: who owned it and how that is known.
func (c *commentCache) of(r *recording, p *bpf.Packet, at int64) string {
	if p.Kind == bpf.None {
		return ""
	}
	proc := r.processes.of(p.TGID, at)
	if c.tgid == p.TGID && c.tid == p.TID && c.kind == p.Kind && c.proc == proc && c.text != "" {
		return c.text
	}
	text := fmt.Sprintf("pid=%d tid=%d", p.TGID, p.TID)
	if proc != nil {
		text = fmt.Sprintf("process=%q %s", proc.name, text)
	}
	*c = commentCache{p.TGID, p.TID, p.Kind, proc, "pcapsule " + text + " known=" + p.Kind.String()}
	return c.text
}
