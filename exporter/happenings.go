package exporter

import (
	"cmp"
	"math"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits of what events files give.
const (
	osEventsAtOnce = 4096      // rows that wait to be written
	maxK8sEvents   = 200_000   // events of Kubernetes from side files; they are sorted in memory
	usedFlush      = 256 << 10 // bytes of used lines that wait to be written
)

// happenings reads the events files of a run.
type happenings struct {
	read *reading
	out  *tables
	rows []table.OSEvent
	k8s  []table.K8sEvent

	// Of the file that is read.
	node                string
	file                int32
	path                string       // in the bundle
	used                *bundle.File // nil before the first used line
	buf                 []byte       // used lines not yet written
	lines, bad, limited int64
	err                 error // of what is written
}

// happened writes os_events, file by file, and returns what Kubernetes said.
func (j *joining) happened() ([]table.K8sEvent, error) {
	h := &happenings{read: j.read, out: j.out}
	for i, x := range j.read.sources.files {
		if x.sides.events == "" || x.header == nil {
			continue
		}
		if err := h.take(x, int32(i)); err != nil {
			return nil, err
		}
	}
	return h.k8s, h.flush()
}

// take reads the events beside one input.
func (h *happenings) take(x *input, id int32) error {
	*h = happenings{read: h.read, out: h.out, rows: h.rows, k8s: h.k8s, buf: h.buf[:0], node: word(x.header.Node), file: id, path: sidePath("events", id)}
	side, long, err := readSide(x.sides.events, "events", id, h.read.stopped, h.line)
	if err != nil {
		h.read.warn(side.Name + ": " + plainError(err) + "; what stands before it is used")
	}
	h.write()
	if h.used != nil && h.err == nil {
		if h.err = h.used.Close(); h.err == nil {
			sum := h.used.Sum()
			side.Path, side.SHA256, side.Size = h.path, &sum, h.used.Size()
		}
	}
	h.read.sides = append(h.read.sides, side)
	h.read.sideCounts(side.Name, map[string]int64{"events/lines": h.lines, "events/oversize": long, "events/malformed": h.bad, "events/limited": h.limited})
	return h.err
}

func (h *happenings) line(line []byte) {
	if h.err != nil {
		return
	}
	e, ok := workload.ParseHappening(line)
	if !ok {
		h.bad++
		return
	}
	h.lines++
	if e.Event != nil {
		if len(h.k8s) >= maxK8sEvents {
			h.limited++
			return
		}
		h.k8s = append(h.k8s, k8sRow(e.Event))
	} else if h.rows = append(h.rows, h.row(&e)); len(h.rows) >= osEventsAtOnce {
		h.err = h.flush()
	}
	if h.buf = workload.AppendHappening(h.buf, &e); len(h.buf) > usedFlush {
		h.write()
	}
}

// write keeps used lines in the bundle.
func (h *happenings) write() {
	if len(h.buf) == 0 || h.err != nil || h.read.b == nil {
		return
	}
	if h.used == nil {
		if h.used, h.err = h.read.b.Create(h.path); h.err != nil {
			return
		}
	}
	_, h.err = h.used.Write(h.buf)
	h.buf = h.buf[:0]
}

func (h *happenings) flush() error {
	err := columnar.Append(h.out.plain["os_events"], h.rows)
	clear(h.rows)
	h.rows = h.rows[:0]
	return err
}

// row is an event as a row of os_events.
func (h *happenings) row(e *workload.Happening) table.OSEvent {
	p := &e.Process
	r := table.OSEvent{TsNs: e.TsNs, Ts: micros(e.TsNs), Event: e.Kind, FileID: h.file}
	for _, f := range []struct {
		to *table.Opt[string]
		s  string
	}{{&r.Node, h.node}, {&r.Process, p.Name}, {&r.PodUID, p.PodUID}, {&r.Detail, e.Detail()}, {&r.Exe, p.Exe}, {&r.User, userOf(p)},
		{&r.Before, e.Before}, {&r.After, e.After}, {&r.Reason, e.Reason}, {&r.Cgroup, p.Cgroup}, {&r.ContainerID, p.Container}} {
		set(f.to, f.s)
	}
	if e.Proto != 0 {
		r.Transport = table.Some(workload.ProtocolName(e.Proto))
	}
	if e.Local.IsValid() {
		r.LocalIP, r.LocalPort = table.Some(e.Local.Addr().String()), table.Some(int32(e.Local.Port()))
	}
	if e.Remote.IsValid() {
		r.RemoteIP, r.RemotePort = table.Some(e.Remote.Addr().String()), table.Some(int32(e.Remote.Port()))
	}
	for _, f := range []struct {
		to *table.Opt[int64]
		n  int64
	}{{&r.PID, p.PID}, {&r.ParentPID, p.Parent}, {&r.LeftOut, e.Limited}} {
		if f.n != 0 {
			*f.to = table.Some(f.n)
		}
	}
	if e.Exit >= 0 {
		r.ExitCode = table.Some(int32(min(e.Exit, math.MaxInt32)))
	}
	if e.Signal > 0 {
		r.Signal = table.Some(int32(min(e.Signal, math.MaxInt32)))
	}
	return r
}

// k8sRow is an event as a row of k8s_events.
func k8sRow(e *workload.Event) table.K8sEvent {
	r := table.K8sEvent{TsNs: e.TsNs, Ts: micros(e.TsNs)}
	if e.FirstNs != 0 {
		r.FirstNs = table.Some(e.FirstNs)
	}
	if e.Count != 0 {
		r.Count = table.Some(e.Count)
	}
	for _, f := range []struct {
		to *table.Opt[string]
		s  string
	}{{&r.Type, e.Type}, {&r.Reason, e.Reason}, {&r.Message, e.Message}, {&r.Kind, e.Kind}, {&r.Namespace, e.Namespace},
		{&r.Name, e.Name}, {&r.UID, e.UID}, {&r.Source, e.Source}, {&r.Node, e.Node}} {
		set(f.to, f.s)
	}
	return r
}

// k8sEvent names an event: what two sources say of one object at one time for one reason
// is one event.
type k8sEvent struct {
	ts                                     int64
	kind, namespace, name, reason, message string
}

func nameOf(r *table.K8sEvent) k8sEvent {
	return k8sEvent{r.TsNs, r.Kind.V, r.Namespace.V, r.Name.V, r.Reason.V, r.Message.V}
}

// addK8s joins what side files said of Kubernetes to what dumps said, which stands.
func addK8s(rows, side []table.K8sEvent) []table.K8sEvent {
	if len(side) == 0 {
		return rows
	}
	seen := map[k8sEvent]bool{}
	for i := range rows {
		seen[nameOf(&rows[i])] = true
	}
	for i := range side {
		if k := nameOf(&side[i]); !seen[k] {
			seen[k] = true
			rows = append(rows, side[i])
		}
	}
	slices.SortStableFunc(rows, func(a, b table.K8sEvent) int { return cmp.Compare(a.TsNs, b.TsNs) })
	return rows
}
