package recorder

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// subjectOf returns the known fields of a process from its control group.
func subjectOf(source workload.Source, pid uint32, exe, cgroup string) workload.Subject {
	var x workload.Subject
	container, pod := workload.ParseCgroup(cgroup)
	if source != nil {
		if c, ok := source.Find(workload.Key{Container: container, PodUID: pod, Cgroup: cgroup}); ok {
			x = workload.SubjectOf(&c.Identity)
		}
		x.Unnamed = x.Pod == "" && (pod != "" || container != "" && x.Container == "")
	}
	x.Cgroup, x.ContainerID, x.Exe, x.PID = cgroup, container, exe, int64(pid)
	if x.PodUID == "" {
		x.PodUID = pod
	}
	if exe != "" {
		x.Process = path.Base(exe)
	}
	return x
}

// selectorFor adds workloads to a selector, and excludes those that the policy forbids.
func selectorFor(s keys.Selector, list []workload.Selector, source workload.Source, rules *keyPolicy) keys.Selector {
	if len(list) > 0 {
		s.Workload = func(cgroup string) bool {
			x := subjectOf(source, 0, "", cgroup)
			return slices.ContainsFunc(list, func(s workload.Selector) bool { return s.Match(&x) == workload.Yes })
		}
	}
	if rules != nil {
		s.Never = rules.forbids
	}
	return s
}

// keyPolicy applies a policy to keys and plaintext. A nil one allows everything.
type keyPolicy struct {
	source workload.Source

	mu    sync.Mutex // guards the fields below
	judge *policy.Judge
	never bool // some owners are forbidden, whatever their peer
	marks map[runner]judged
	peers map[netip.Addr]judged
}

// judged is a cached decision.
type judged struct {
	policy.Marks
	until time.Time
}

const (
	judgedTTL = 3 * time.Second
	maxJudged = 16384
	ipTCP     = 6
)

var errPlainBytes = fmt.Errorf("%w: --plaintext cannot be used with rules about ports or patterns, which apply to packets only", ErrPolicy)

// newKeyPolicy returns the discretion for a recording's policy.
func newKeyPolicy(o *Options) (*keyPolicy, error) {
	if o.Policy == nil {
		return nil, nil
	}
	j, err := policy.New(o.Policy)
	if j == nil || err != nil {
		return nil, err
	}
	d := &keyPolicy{source: o.Source, judge: j, marks: map[runner]judged{}, peers: map[netip.Addr]judged{}}
	for _, r := range o.Policy.Never {
		if o.Keys.wantPlain() && (len(r.Ports) > 0 || r.Pattern != "") {
			return nil, errPlainBytes
		}
		d.never = d.never || !r.Owner.Empty()
	}
	return d, nil
}

// forbids reports whether a process must not be read.
func (d *keyPolicy) forbids(pid uint32, exe, cgroup string) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	x := subjectOf(d.source, pid, exe, cgroup)
	return d.judge.Silenced(d.judge.Marks(&x))
}

// hides reports whether a piece of plaintext must not be written because of its owner or
// its peer. If the peer is not known, and some owners are forbidden, it must not be written.
func (d *keyPolicy) hides(x *keys.Plain) bool {
	if d == nil {
		return false
	}
	if x.Ends == keys.NoEnds && d.never {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	k := runner{pid: x.PID, exe: x.Executable}
	m, ok := d.marks[k]
	if !ok || now.After(m.until) {
		s := subjectOf(d.source, x.PID, x.Executable, x.Cgroup)
		m = judged{d.judge.Marks(&s), now.Add(judgedTTL)}
		if len(d.marks) >= maxJudged {
			clear(d.marks)
		}
		d.marks[k] = m
	}
	return d.judge.Silenced(m.Or(d.peer(x.Remote, x.Time, now)))
}

// peer returns the marks of the workload at an address.
func (d *keyPolicy) peer(a netip.AddrPort, at int64, now time.Time) policy.Marks {
	if d.source == nil || !a.IsValid() || a.Addr().IsLoopback() {
		return policy.Marks{}
	}
	m, ok := d.peers[a.Addr()]
	if ok && now.Before(m.until) {
		return m.Marks
	}
	m = judged{until: now.Add(judgedTTL)}
	if c, ok := d.source.Find(workload.Key{Addr: a.Addr(), Port: a.Port(), Proto: ipTCP, At: at}); ok {
		s := workload.SubjectOf(&c.Identity)
		m.Marks = d.judge.Marks(&s)
	}
	if len(d.peers) >= maxJudged {
		clear(d.peers)
	}
	d.peers[a.Addr()] = m
	return m.Marks
}

// runner is a program of a process.
type runner struct {
	pid uint32
	exe string
}
