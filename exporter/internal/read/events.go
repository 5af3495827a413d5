package read

import (
	"context"
	"math"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits of events files.
const (
	eventsAtOnce = 4096      // rows per round
	maxK8sEvents = 200_000   // Kubernetes events from side files; they are sorted in memory
	usedFlush    = 256 << 10 // bytes of used lines before they are written
)

// eventsFile is an events file being read.
type eventsFile struct {
	r    *Reader
	send func() // the round

	node                string
	file                int32
	path                string       // in the bundle
	used                *bundle.File // nil before the first used line
	buf                 []byte       // used lines not yet written
	lines, bad, limited int64
	err                 error // of writing
}

// events reads the events files of all inputs into separate rounds.
func (r *Reader) events(ctx context.Context) error {
	for i, x := range r.sources.files {
		if x.sides.events == "" || x.header == nil || r.b == nil {
			continue
		}
		h := &eventsFile{r: r, send: func() { r.send(ctx) }, node: word(x.header.Node), file: int32(i), path: sidePath("events", int32(i))}
		if err := h.read(x); err != nil {
			return err
		}
	}
	return nil
}

// read reads the events of one input.
func (h *eventsFile) read(x *input) error {
	side, long, err := readSide(x.sides.events, "events", h.file, h.r.stopped, h.line)
	if err != nil {
		h.r.warn(side.Name + ": " + plainError(err) + "; the part before this is used")
	}
	h.write()
	if h.used != nil && h.err == nil {
		if h.err = h.used.Close(); h.err == nil {
			sum := h.used.Sum()
			side.Path, side.SHA256, side.Size = h.path, &sum, h.used.Size()
		}
	}
	h.r.sides = append(h.r.sides, side)
	h.r.sideCounts(side.Name, map[string]int64{"events/lines": h.lines, "events/oversize": long, "events/malformed": h.bad, "events/limited": h.limited})
	return h.err
}

func (h *eventsFile) line(line []byte) {
	if h.err != nil {
		return
	}
	e, ok := workload.ParseHappening(line)
	if !ok {
		h.bad++
		return
	}
	h.lines++
	facts := &h.r.cur.Facts
	if e.Event != nil {
		if h.r.k8sEvents >= maxK8sEvents {
			h.limited++
			return
		}
		h.r.k8sEvents++
		facts.K8sEvents = append(facts.K8sEvents, *e.Event)
	} else {
		facts.OSEvents = append(facts.OSEvents, h.row(&e))
	}
	if len(facts.OSEvents)+len(facts.K8sEvents) >= eventsAtOnce {
		h.send()
	}
	if h.buf = workload.AppendHappening(h.buf, &e); len(h.buf) > usedFlush {
		h.write()
	}
}

// write stores used lines in the bundle.
func (h *eventsFile) write() {
	if len(h.buf) == 0 || h.err != nil || h.r.b == nil {
		h.buf = h.buf[:0]
		return
	}
	if h.used == nil {
		if h.used, h.err = h.r.b.Create(h.path); h.err != nil {
			return
		}
	}
	_, h.err = h.used.Write(h.buf)
	h.buf = h.buf[:0]
}

// row is an event as a row of os_events.
func (h *eventsFile) row(e *workload.Happening) table.OSEvent {
	p := &e.Process
	r := table.OSEvent{TsNs: e.TsNs, Ts: table.MicrosOf(e.TsNs), Event: e.Kind, FileID: h.file}
	for _, f := range []struct {
		to *table.Opt[string]
		s  string
	}{{&r.Node, h.node}, {&r.Process, p.Name}, {&r.PodUID, p.PodUID}, {&r.Detail, e.Detail()}, {&r.Exe, p.Exe}, {&r.User, p.UserName()},
		{&r.Before, e.Before}, {&r.After, e.After}, {&r.Reason, e.Reason}, {&r.Cgroup, p.Cgroup}, {&r.ContainerID, p.Container}} {
		*f.to = table.NonEmpty(f.s)
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
