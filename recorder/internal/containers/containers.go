//go:build linux

// Package containers knows the names of this machine's containers and services without
// Kubernetes.
//
// The path of a control group contains a container's ID or a systemd unit; the rest is read
// from the files of the runtimes (containerd, Docker, Podman, CRI-O), or requested at their
// sockets. It answers from memory and never makes the recorder wait: it looks up unknown
// containers in the background and reports when it has found them. It has fixed limits, keeps
// only names, images and two labels, and runs no program.
package containers

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits on memory. Beyond a limit, the oldest entry is removed first.
const (
	maxKnown   = 16384 // containers
	maxQueue   = 4096  // waiting to be looked up
	maxChanges = 4096  // waiting for Take
	maxText    = 320   // bytes of an image or a label
	maxName    = 253   // bytes of a name
)

// pauses are the times between attempts to find a container: a control group often exists
// before the files of its runtime.
func pauses() []time.Duration {
	return []time.Duration{50 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, time.Minute}
}

// Options of a Source.
type Options struct {
	Root    string        // of the file system; "" means /
	Timeout time.Duration // of a request to a socket; 0 means 2 s
	Away    time.Duration // how long a socket that does not respond is not used; 0 means 30 s
	OnError func(error)   // receives an error once for each runtime that exists, but cannot be used

	pauses []time.Duration
}

// Source is a workload.Source of this machine's containers. Its methods can be called from
// any goroutine; Run must be running.
type Source struct {
	o       Options
	finders []finder // where containers are looked up, in this order

	wake chan struct{}

	mu       sync.Mutex
	known    map[string]*entry // by container ID
	order    []string          // of known, oldest first
	queue    []string
	later    []retry
	busy     bool
	changes  []workload.Change
	lost     uint64
	reported map[string]bool // reported errors
	by       map[string]int  // containers named, by runtime
}

type entry struct {
	paths []string // of control groups
	facts *facts   // nil while it is being looked up, or if it was not found
	tries int
}

type retry struct {
	id string
	at time.Time
}

// facts are a runtime's data of a container.
type facts struct {
	runtime        string // docker, containerd, cri-o, podman, nerdctl
	name, image    string
	namespace, pod string // of Kubernetes
	podUID         string
	owner, kind    string // a project of Compose, a service of Swarm
	labels         []workload.Label
}

// New returns a Source, which looks up nothing before Run.
func New(o Options) *Source {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Away <= 0 {
		o.Away = 30 * time.Second
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.pauses == nil {
		o.pauses = pauses()
	}
	return &Source{o: o, finders: finders(&o), wake: make(chan struct{}, 1), known: map[string]*entry{}, reported: map[string]bool{}, by: map[string]int{}}
}

// Find returns the known names of a control group: immediately if its path has a name, or if its
// container was found before.
func (s *Source) Find(k workload.Key) (workload.InterfaceComment, bool) {
	if k.Cgroup == "" && k.Container == "" {
		return workload.InterfaceComment{}, false
	}
	id := k.Container
	if id == "" {
		id, _ = workload.ParseCgroup(k.Cgroup)
	}
	if id == "" {
		f, ok := fromPath(k.Cgroup)
		if !ok {
			return workload.InterfaceComment{}, false
		}
		return f.comment("", k.PodUID), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[id]
	if e == nil {
		e = s.enqueue(id)
	}
	if k.Cgroup != "" && len(e.paths) < 4 && !slices.Contains(e.paths, k.Cgroup) {
		e.paths = append(e.paths, k.Cgroup)
	}
	if e.facts == nil {
		return workload.InterfaceComment{}, false
	}
	return e.facts.comment(id, k.PodUID), true
}

// enqueue queues a container to be looked up.
func (s *Source) enqueue(id string) *entry {
	if len(s.order) >= maxKnown {
		old := s.order[0]
		s.order = s.order[1:]
		if f := s.known[old].facts; f != nil {
			s.by[f.runtime]--
		}
		delete(s.known, old)
	}
	e := &entry{}
	s.known[id] = e
	s.order = append(s.order, id)
	if len(s.queue) < maxQueue {
		s.queue = append(s.queue, id)
	} else {
		e.tries = len(s.o.pauses) // it will not be looked up
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return e
}

// comment returns the facts in the form of the Source.
func (f *facts) comment(id, podUID string) workload.InterfaceComment {
	w := workload.Identity{
		Namespace: f.namespace, Pod: f.pod, PodUID: podUID, Container: f.name, Image: f.image,
		Workload: f.owner, WorkloadKind: f.kind, Labels: slices.Clone(f.labels), HowKnown: "segment",
	}
	if w.PodUID == "" {
		w.PodUID = f.podUID
	}
	if w.Container == "" && len(id) >= 12 {
		w.Container = id[:12]
	}
	return workload.InterfaceComment{Identity: w, How: f.runtime}
}

// Take returns the containers that were found since the last call.
func (s *Source) Take(limit int) (changes []workload.Change, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(max(limit, 0), len(s.changes))
	if n > 0 {
		changes = slices.Clone(s.changes[:n])
		s.changes = append(s.changes[:0:0], s.changes[n:]...)
	}
	lost, s.lost = s.lost, 0
	return changes, lost
}

// Run looks up containers until ctx ends.
func (s *Source) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		id, wait := s.next(time.Now())
		if id != "" {
			s.lookUp(ctx, id)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// next returns the next container to look up, or how long to wait.
func (s *Source) next(now time.Time) (id string, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	wait = time.Hour
	if len(s.queue) > 0 {
		id = s.queue[0]
		s.queue = s.queue[1:]
	} else {
		for i, r := range s.later {
			if !r.at.After(now) {
				id = r.id
				s.later = slices.Delete(s.later, i, i+1)
				break
			}
			wait = min(wait, r.at.Sub(now))
		}
	}
	s.busy = id != ""
	return id, wait
}

// lookUp looks up a container in all places.
func (s *Source) lookUp(ctx context.Context, id string) {
	s.mu.Lock()
	e := s.known[id]
	var paths []string
	if e != nil {
		paths = slices.Clone(e.paths)
	}
	s.mu.Unlock()
	if e == nil {
		return
	}
	var found *facts
	for _, p := range s.finders {
		f, err := p.find(ctx, id, paths)
		if err != nil {
			s.reportOnce(p.name(), err)
		}
		if f != nil {
			found = f
			break
		}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id] != e {
		return
	}
	if found == nil {
		if e.tries < len(s.o.pauses) && len(s.later) < maxQueue {
			s.later = append(s.later, retry{id, now.Add(s.o.pauses[e.tries])})
			e.tries++
		}
		return
	}
	found.clean()
	e.facts = found
	s.by[found.runtime]++
	if len(s.changes) >= maxChanges {
		s.lost++
		return
	}
	s.changes = append(s.changes, workload.Change{At: now.UnixNano(), Container: id, Comment: found.comment(id, "")})
}

// reportOnce reports once that a runtime cannot be used.
func (s *Source) reportOnce(name string, err error) {
	s.mu.Lock()
	first := !s.reported[name]
	s.reported[name] = true
	s.mu.Unlock()
	if first {
		s.o.OnError(err)
	}
}

// clean cleans and shortens a runtime's text: names are set by the creator of a container.
func (f *facts) clean() {
	for _, t := range [...]*string{&f.name, &f.namespace, &f.pod, &f.podUID, &f.owner} {
		*t = workload.CleanText(*t, maxName)
	}
	f.image = workload.CleanText(f.image, maxText)
	for i := range f.labels {
		f.labels[i].Value = workload.CleanText(f.labels[i].Value, maxText)
	}
}

// Prime looks up the containers of control groups and waits until all were looked up, or ctx
// ends.
func (s *Source) Prime(ctx context.Context, paths []string) {
	for _, p := range paths {
		if id, _ := workload.ParseCgroup(p); id != "" {
			s.Find(workload.Key{Container: id, Cgroup: p})
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		idle := len(s.queue) == 0 && !s.busy
		s.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// State is the state of a Source.
type State struct {
	Named    int            // containers whose names are known
	Nameless int            // not found, or still being looked up
	Runtimes map[string]int // named, by runtime
}

// State returns the current state.
func (s *Source) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Runtimes: maps.Clone(s.by)}
	for _, n := range s.by {
		st.Named += n
	}
	maps.DeleteFunc(st.Runtimes, func(_ string, n int) bool { return n == 0 })
	st.Nameless = len(s.known) - st.Named
	return st
}
