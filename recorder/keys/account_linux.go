//go:build amd64 || arm64

package keys

import (
	"fmt"
	"slices"
	"time"
)

// account finds out why captured handshakes have no key. Tracker.mu guards it.
type account struct {
	at      time.Time // of the last judgement
	lost    uint64    // by the programs' counters then
	losses  []span
	refused map[[32]byte]bool // keys that the sink refused
	strange map[uint32]bool   // processes that are not chosen and were listed
	list    []Missing
	limited uint64
	count   map[Reason]uint64
}

// span is a time in which keys were lost, UTC, ns.
type span struct{ from, to int64 }

const (
	settled     = 3 * time.Second // after the end of a connection: keys may be read and written late
	maxMissing  = 1000            // listed for each second
	maxLosses   = 1024
	maxStrange  = 16384
	maxUnwanted = 4096 // refused keys that are remembered
)

func newAccount() account {
	return account{at: time.Now(), refused: map[[32]byte]bool{}, strange: map[uint32]bool{}, count: map[Reason]uint64{}}
}

func (a *account) refuse(random [32]byte) {
	if len(a.refused) < maxUnwanted {
		a.refused[random] = true
	}
}

// Missing returns the handshakes without a key that were found since the last call. A connection
// is judged some seconds after its end, or when the Tracker is closed.
func (t *Tracker) Missing() []Missing {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.account.list
	t.account.list = nil
	return list
}

// Keyless counts the handshakes without a key by reason. If two chosen processes took part, the
// reason is that of the first one.
func (t *Tracker) Keyless() map[Reason]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := map[Reason]uint64{}
	for r, n := range t.account.count {
		count[r] = n
	}
	return count
}

// judge finds out why handshakes have no key whose connections ended before a time.
func (t *Tracker) judge(before int64) {
	a := &t.account
	since := t.utc(monotonic())
	if c, err := t.progs.Counters(); err == nil {
		if now := c.Lost + c.Unread + c.LostProcess; now > a.lost {
			a.lost = now
			a.losses = append(a.losses, span{since - int64(time.Since(a.at)), since})
			a.losses = a.losses[max(0, len(a.losses)-maxLosses):]
		}
	}
	a.at = time.Now()
	if t.o.Captured == nil {
		return
	}
	for _, h := range t.o.Captured.Keyless(before) {
		t.explain(&h)
	}
}

// explain lists a handshake without a key.
func (t *Tracker) explain(h *Handshake) {
	var list []Missing
	for i, pid := range h.PIDs {
		if p := t.procs[pid]; p != nil && pid != 0 {
			m := t.missingOf(h, i, p.value())
			m.Reason, m.Detail = t.judgement(p, h)
			p.missed, p.about = m.Reason, m.Detail
			list = append(list, m)
		}
	}
	a := &t.account
	if len(list) > 0 {
		a.count[list[0].Reason]++
		a.add(list...)
		return
	}
	for i, pid := range h.PIDs {
		if pid == 0 {
			continue
		}
		m := t.missingOf(h, i, Process{PID: pid})
		m.Reason, m.Detail = t.outside(&m.Process, h)
		a.count[m.Reason]++
		if !a.strange[pid] {
			if len(a.strange) >= maxStrange {
				clear(a.strange)
			}
			a.strange[pid] = true
			a.add(m)
		}
		return
	}
	a.count[NoOwner]++
}

func (a *account) add(list ...Missing) {
	for _, m := range list {
		if len(a.list) >= maxMissing {
			a.limited++
			continue
		}
		m.Limited, a.limited = a.limited, 0
		a.list = append(a.list, m)
	}
}

func (t *Tracker) missingOf(h *Handshake, end int, p Process) Missing {
	return Missing{Process: p, ClientRandom: h.ClientRandom, Time: h.Time, Server: end == 1}
}

// outside is the reason of a process that is not followed.
func (t *Tracker) outside(p *Process, h *Handshake) (Reason, string) {
	r, ok := look(p.PID)
	if ok {
		p.Executable, p.Cgroup = r.exe, r.cgroup
	}
	switch {
	case p.PID == t.self:
		return NotChosen, "the recorder itself"
	case ok && t.o.Select.never(p.PID, r.exe, r.cgroup):
		return Forbidden, ""
	case ok && t.o.Select.matches(r.exe, r.cgroup) && len(t.procs) >= maxProcesses:
		return TooMany, fmt.Sprintf("the limit of %d processes is reached", maxProcesses)
	case t.lostWithin(h):
		return Lost, "events about processes, or keys, were lost meanwhile"
	}
	return NotChosen, ""
}

// judgement is the reason of a process that is followed.
func (t *Tracker) judgement(p *process, h *Handshake) (Reason, string) {
	reason, detail, _ := p.why(true)
	first := int64(0) // when the first of its files had a probe
	for _, x := range p.targets {
		if x.links != nil && (first == 0 || x.since < first) {
			first = x.since
		}
	}
	switch {
	case t.account.refused[h.ClientRandom]:
		return Unwritten, t.detail
	case !h.Answered:
		return Unfinished, ""
	case p.state == None && p.reason != "":
		return p.reason, p.detail
	case first == 0 && reason == NoTLS && p.looked < h.Time && !p.ended.IsZero() && !p.targets[0].alone:
		return Gone, "its libraries were last examined before the handshake"
	case first == 0:
		return reason, detail
	case h.Time < first:
		return Late, fmt.Sprintf("the probe was attached %s after the ClientHello", time.Duration(first-h.Time).Round(100*time.Microsecond))
	case h.Time < p.chosen:
		return Late, fmt.Sprintf("the process was chosen %s after the ClientHello", time.Duration(p.chosen-h.Time).Round(100*time.Microsecond))
	case t.lostWithin(h):
		return Lost, "keys were lost meanwhile"
	case p.from != nil && p.from.build != nil && !p.from.build.proven:
		b := p.from.build
		return b.why(true)
	case p.from != nil:
		return NoHandshake, "no object that was read belongs to this connection"
	}
	return NoHandshake, "the library's functions were not called for this connection"
}

// lostWithin reports whether keys or processes were lost while a connection was open.
func (t *Tracker) lostWithin(h *Handshake) bool {
	return slices.ContainsFunc(t.account.losses, func(s span) bool { return h.Time <= s.to && (h.Ended == 0 || h.Ended+int64(settled) >= s.from) })
}

// value has the fields of a process, without the state of its keys.
func (p *process) value() Process {
	return Process{PID: p.pid, Executable: p.exe, Cgroup: p.cgroup, Library: p.library, State: p.state, Keys: p.keys}
}

// why returns why a process has no keys, by the file that came closest.
func (p *process) why(captured bool) (reason Reason, detail string, l Library) {
	l = p.library
	if p.reason != "" {
		return p.reason, p.detail, l
	}
	if len(p.targets) == 0 {
		switch {
		case p.closed != "":
			return Refused, p.closed, l
		case !p.ended.IsZero():
			return Gone, "it ended before its files were examined", l
		}
		return Waiting, "", l
	}
	rank := []Reason{NoTLS, BadVersion, NoSymbol, TooMany, Refused, NoHandshake}
	best := -1
	for _, x := range p.targets {
		if r := slices.Index(rank, x.reason); r > best {
			best = r
			reason, detail, l = x.reason, x.detail, x.library
		}
	}
	switch {
	case reason == NoTLS && p.closed != "":
		return Refused, p.closed, l
	case p.from != nil && p.from.build != nil:
		reason, detail = p.from.build.why(captured)
		return reason, detail, p.from.build.library
	case reason == NoHandshake && p.missed != "":
		reason, detail = p.missed, p.about
	}
	return reason, detail, l
}

// why returns why objects of a build yielded no key.
func (b *build) why(captured bool) (Reason, string) {
	switch {
	case b.proven:
		return NoCapture, "none of its objects belongs to a captured connection, build " + b.id
	case !captured || b.failures == 0:
		return NoCapture, "no captured connection to find the secrets of its objects with, build " + b.id
	}
	return NoLayout, fmt.Sprintf("found no secrets in %d objects of build %s", b.failures, b.id)
}
