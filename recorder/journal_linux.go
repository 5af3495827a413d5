package recorder

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os/user"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// journal collects lines of the side files until they are written.
type journal struct {
	onError func(error)
	events  uint64
	lost    uint64 // lines lost because there was no file for them
	failed  bool   // a write failed, and the error was reported
}

const (
	sideOwners = "owners.jsonl"
	sideEvents = "events"
	maxPending = 1 << 20 // bytes waiting for a file
)

// sideKinds are the kinds of files that a recording of sockets writes next to a segment.
var sideKinds = []string{sideOwners, sideEvents, ring.KeysKind}

// write writes the collected lines of an output next to a segment. Without a segment they wait, up
// to a limit. If the disk fails, lines are lost and counted; recording continues.
func (j *journal) write(l *output, id ring.ID) {
	wrote, refused := false, false
	for _, f := range []struct {
		kind  string
		lines *[]byte
	}{{sideOwners, &l.owners}, {sideEvents, &l.events}} {
		switch {
		case len(*f.lines) == 0:
			continue
		case id == ring.ID{}:
			if len(*f.lines) > maxPending {
				j.lost += uint64(bytes.Count(*f.lines, []byte{'\n'}))
				*f.lines = (*f.lines)[:0]
			}
			continue
		}
		written, err := l.sink.side(id, f.kind, *f.lines)
		if err != nil {
			j.lost += uint64(bytes.Count((*f.lines)[written:], []byte{'\n'}))
			if !j.failed && !refused {
				j.onError(err)
			}
			refused = true
		}
		wrote = true
		*f.lines = (*f.lines)[:0]
	}
	if wrote {
		j.failed = refused // the next failure is reported again
	}
}

func (j *journal) owner(l *output, v any) { l.owners = appendLine(l.owners, v) }

func (j *journal) event(l *output, v any) {
	j.events++
	l.events = appendLine(l.events, v)
}

func appendLine(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return b // never happens: lines are structs of strings and numbers
	}
	return append(append(b, text...), '\n')
}

// appendTime writes a time as JSON.
func appendTime(b []byte, ns int64) []byte {
	b = append(b, '"')
	b = time.Unix(0, ns).UTC().AppendFormat(b, when.Layout)
	return append(b, '"')
}

func stamp(ns int64) string {
	if ns == 0 {
		return ""
	}
	return string(appendTime(nil, ns)[1:31])
}

// processLine describes a process in a side file.
type processLine struct {
	Time      string   `json:"time,omitempty"`
	Kind      string   `json:"kind,omitempty"`
	Process   string   `json:"process"` // ID and start time, which together are unique
	PID       uint32   `json:"pid"`
	Parent    uint32   `json:"parent_pid,omitempty"`
	Start     string   `json:"start,omitempty"`
	From      string   `json:"from,omitempty"`
	To        string   `json:"to,omitempty"`
	Name      string   `json:"name"`
	Exe       string   `json:"exe,omitempty"`
	Script    string   `json:"script,omitempty"`
	Args      []string `json:"args,omitempty"`
	ArgsCut   bool     `json:"args_cut,omitempty"`
	UID       *int64   `json:"uid,omitempty"`
	User      string   `json:"user,omitempty"`
	Cgroup    string   `json:"cgroup,omitempty"`
	Container string   `json:"container,omitempty"`
	PodUID    string   `json:"pod_uid,omitempty"`
	ExitCode  *int32   `json:"exit_code,omitempty"`
	Signal    *int32   `json:"signal,omitempty"`
}

// key identifies a process forever, because the kernel reuses process IDs.
func key(p *machine.Process) string {
	return strconv.FormatUint(uint64(p.PID), 10) + "@" + strconv.FormatInt(p.Start, 10)
}

func (r *recording) describe(p *machine.Process) processLine {
	l := processLine{Process: key(p), PID: p.PID, Parent: p.Parent, Start: stamp(p.Start), From: stamp(p.From), To: stamp(p.To),
		Name: p.Name, Exe: p.Exe, Script: p.Script, Args: p.Args, ArgsCut: p.Cut}
	if p.UID >= 0 {
		uid := p.UID
		l.UID, l.User = &uid, r.userName(uid)
	}
	if p.Cgroup != 0 {
		g := r.groups.Find(p.Cgroup)
		l.Cgroup, l.Container, l.PodUID = g.Path, g.Container, g.Pod
	}
	return l
}

// userName returns this machine's name of a user; a container's own names are not known.
func (r *recording) userName(uid int64) string {
	if name, ok := r.users[uid]; ok {
		return name
	}
	name := ""
	if u, err := user.LookupId(strconv.FormatInt(uid, 10)); err == nil {
		name = machine.Clean(u.Username, 64)
	}
	if len(r.users) < 4096 {
		r.users[uid] = name
	}
	return name
}

// drainEvents reads all available events: they come before the packets, which wait.
func (r *recording) drainEvents() {
	for {
		_, end := r.events.Fill(batch)
		for {
			body, seq, ok := r.events.Next(1<<63 - 1)
			if !ok {
				break
			}
			var e bpf.Event
			if e.Decode(body) {
				r.event(&e)
			} else {
				r.journal.lost++
			}
			r.events.Done(seq)
		}
		r.events.Release()
		if end {
			return
		}
	}
}

func (r *recording) event(e *bpf.Event) {
	r.described.forget(e.TGID)
	switch e.Kind {
	case bpf.EventCgroupMake:
		r.groups.Add(e.Cgroup, machine.Clean(e.Path, 512))
		r.names.expect(e.Path)
		return
	case bpf.EventCgroupRemove:
		return
	case bpf.EventFork, bpf.EventMove:
		r.processes.Add(e)
		return
	case bpf.EventExec, bpf.EventExit, bpf.EventOOM:
		r.processEvent(e)
	default:
		if !r.o.NoEvents && r.inScope(e.Cgroup) && !r.enforcer.silenced(&r.ifaces, e.Cgroup, r.processes.By[e.TGID]) {
			r.netEvent(e)
		}
	}
}

// inScope reports whether a control group is recorded.
func (r *recording) inScope(cgroup uint64) bool {
	if r.scope == "/" || r.scope == "" {
		return true
	}
	p := r.groups.Find(cgroup).Path
	return p == r.scope || len(p) > len(r.scope) && p[:len(r.scope)] == r.scope && p[len(r.scope)] == '/'
}

func (r *recording) processEvent(e *bpf.Event) {
	if e.Kind == bpf.EventExit && r.processes.Ended(e) {
		return
	}
	p := r.processes.Add(e)
	if r.o.NoEvents || !r.inScope(e.Cgroup) || r.enforcer.silenced(&r.ifaces, e.Cgroup, p) {
		return
	}
	at := r.clock.UTC(e.Time)
	if p == nil {
		p = &machine.Process{PID: e.TGID, UID: -1, Name: machine.Clean(e.Comm, 64), Cgroup: e.Cgroup}
	}
	l := r.describe(p)
	l.Time, l.Kind = stamp(at), e.Kind.String()
	if e.Kind == bpf.EventExit {
		if signal := e.Code & 0x7F; signal != 0 {
			l.Signal = &signal
		} else {
			code := e.Code >> 8 & 0xFF
			l.ExitCode = &code
		}
	}
	if e.Kind != bpf.EventExec {
		l.Args = nil // the exec event has them
	}
	r.journal.event(r.groupOutput(e.Cgroup), l)
}

// netLine is an event of the network stack.
type netLine struct {
	Time      string `json:"time"`
	Kind      string `json:"kind"`
	Protocol  string `json:"protocol,omitempty"`
	Local     string `json:"local,omitempty"`
	Remote    string `json:"remote,omitempty"`
	Socket    string `json:"socket,omitempty"`
	Before    string `json:"before,omitempty"`
	After     string `json:"after,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Length    uint32 `json:"length,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"`
	Container string `json:"container,omitempty"`
	PodUID    string `json:"pod_uid,omitempty"`
	Limited   uint32 `json:"limited,omitempty"` // events of this kind dropped before this one by the rate limit
}

func (r *recording) netEvent(e *bpf.Event) {
	l := netLine{Time: stamp(r.clock.UTC(e.Time)), Kind: e.Kind.String(), Protocol: protocolName(uint8(e.Protocol)), Length: e.Len, Limited: r.limited[e.Kind].New(e.Limited)}
	if e.Cookie != 0 {
		l.Socket = strconv.FormatUint(e.Cookie, 10)
	}
	l.Local, l.Remote = endpoint(e.Family, e.Local, e.Ports[0]), endpoint(e.Family, e.Remote, e.Ports[1])
	switch e.Kind {
	case bpf.EventState:
		l.Before, l.After = tcpState(e.Before), tcpState(e.After)
	case bpf.EventDrop:
		l.Reason = r.progs.DropReason(e.Before)
	}
	if e.Cgroup != 0 {
		g := r.groups.Find(e.Cgroup)
		l.Cgroup, l.Container, l.PodUID = g.Path, g.Container, g.Pod
	}
	r.journal.event(r.groupOutput(e.Cgroup), l)
}

func endpoint(family uint16, addr [16]byte, port uint16) string {
	switch family {
	case 2:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr[:4])), port).String()
	case 10:
		return netip.AddrPortFrom(netip.AddrFrom16(addr).Unmap(), port).String()
	}
	return ""
}

func protocolName(p uint8) string {
	switch p {
	case 0:
		return ""
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmpv6"
	}
	return strconv.Itoa(int(p))
}

var tcpStates = [...]string{"", "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close", "close_wait", "last_ack", "listen", "closing", "new_syn_recv"}

func tcpState(n uint32) string {
	if int(n) < len(tcpStates) {
		return tcpStates[n]
	}
	return strconv.Itoa(int(n))
}

// clockSet records that the clock was set.
func (j *journal) clockSet(l *output, c *machine.Clock) {
	last := c.Steps[len(c.Steps)-1]
	c.Steps = c.Steps[:0]
	j.event(l, struct {
		Time string `json:"time"`
		Kind string `json:"kind"`
		machine.ClockStep
	}{stamp(int64(last.At)), "clock_set", last})
}

// segmentChanged is called when an output's segment has ended or begun. It writes everything known of
// the packets of a segment to that segment's side files.
func (r *recording) segmentChanged(l *output) {
	if n := l.sink.ended(); n != l.endedSeen {
		l.endedSeen = n
		if l.segment != (ring.ID{}) {
			if l == r.outputs[0] {
				r.peers.work(int64(r.clock.Now.Real), true)
			}
			r.journal.write(l, l.segment)
			l.before, l.segment = l.segment, ring.ID{}
			r.sideFile++
			l.file = r.sideFile
		}
	}
	if (l.segment == ring.ID{}) {
		l.segment = l.sink.segment()
	}
}

// side writes the lines that are due, or all lines at the end.
func (r *recording) side(end bool) {
	now := int64(r.clock.Now.Real)
	waiting := 0
	for _, l := range r.outputs {
		if l.sink.ended() != l.endedSeen {
			r.segmentChanged(l)
		}
		if end && (l.segment == ring.ID{}) {
			r.resume(l)
		}
		waiting += len(l.owners) + len(l.events)
	}
	r.peers.work(now, end)
	if end || now-r.wroteAt > 100e6 || now < r.wroteAt || waiting > 256<<10 {
		r.wroteAt = now
		for _, l := range r.outputs {
			r.journal.write(l, l.segment)
		}
	}
}

// resume reopens the side files of an output's last segment for lines that are left.
func (r *recording) resume(l *output) {
	if l.segment = l.before; l.segment == (ring.ID{}) {
		return
	}
	if err := l.sink.reopen(l.segment); err != nil {
		r.o.OnError(err)
	}
}

// groupOutput returns the output for events of a control group.
func (r *recording) groupOutput(cgroup uint64) *output {
	if len(r.outputs) == 1 {
		return r.outputs[0]
	}
	if x := r.ifaces.by[cgroup]; x != nil {
		return x.output
	}
	g := r.groups.Find(cgroup)
	c := r.ifaces.comment(g, 0)
	s := r.ifaces.subject(&g, &c)
	return r.outputFor(s.Namespace, s.Unnamed)
}
