package recorder

import (
	"encoding/hex"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// keyLine is a line of the events file: a change in the state of a process's keys.
type keyLine struct {
	Time      string `json:"time"`
	Kind      string `json:"kind"`
	PID       uint32 `json:"pid"`
	Exe       string `json:"exe,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"`
	Container string `json:"container,omitempty"`
	PodUID    string `json:"pod_uid,omitempty"`
	Before    string `json:"before,omitempty"`
	After     string `json:"after"`
	Reason    string `json:"reason,omitempty"`
}

// keylessLine is a line of the events file: a captured handshake without a key.
type keylessLine struct {
	Time      string `json:"time"` // of the ClientHello
	Kind      string `json:"kind"`
	PID       uint32 `json:"pid"`
	Exe       string `json:"exe,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"`
	Container string `json:"container,omitempty"`
	PodUID    string `json:"pod_uid,omitempty"`
	Random    string `json:"client_random"`
	Side      string `json:"side"`
	Reason    string `json:"reason"`
	Why       string `json:"why,omitempty"`
	Limited   uint64 `json:"limited,omitempty"`
}

const (
	keyStatesEvery = time.Second
	keyStateSettle = 3 * time.Second // a process without keys is reported only after this time
	maxKeyStates   = 16384
)

// reportedState is the state of a process that was last reported.
type reportedState struct {
	state    keys.State
	reason   keys.Reason
	reported bool
	since    time.Time
	seen     uint64
}

// stateKey identifies a process with a state.
type stateKey struct {
	pid uint32
	exe string
}

// keyChange is a state to report.
type keyChange struct {
	keys.Process
	before string
}

// changes returns the states that changed since they were reported, at most once a second.
func (k *keyring) changes(now time.Time, end bool) (list []keyChange) {
	if k == nil || !end && now.Sub(k.statesAt) < keyStatesEvery {
		return nil
	}
	k.statesAt = now
	k.round++
	for _, p := range k.followed() {
		id := stateKey{p.PID, p.Executable}
		s := k.states[id]
		if s == nil {
			if len(k.states) >= maxKeyStates {
				continue
			}
			s = &reportedState{state: p.State, reason: p.Reason, since: now}
			k.states[id] = s
		}
		s.seen = k.round
		if s.reported && s.state == p.State && s.reason == p.Reason {
			continue
		}
		if !s.reported && s.reason != p.Reason {
			s.reason = p.Reason
		}
		if p.State == keys.None && !end && now.Sub(s.since) < keyStateSettle {
			continue
		}
		c := keyChange{Process: p}
		if s.reported {
			c.before = s.state.String()
		}
		s.state, s.reason, s.reported, s.since = p.State, p.Reason, true, now
		list = append(list, c)
	}
	for id, s := range k.states {
		if s.seen != k.round {
			delete(k.states, id)
		}
	}
	return list
}

// keyStates writes the changes in the state of processes' keys, and the handshakes without a key, to
// the events file.
func (r *recording) keyStates(end bool) {
	if r.o.NoEvents || r.keys == nil {
		return
	}
	r.keyless()
	for _, c := range r.keys.changes(time.Now(), end) {
		l := keyLine{Time: stamp(int64(r.clock.Now.Real)), Kind: "tls_keys", PID: c.PID, Exe: machine.Clean(c.Executable, 512), Cgroup: machine.Clean(c.Cgroup, 512),
			Before: c.before, After: c.State.String(), Reason: string(c.Reason)}
		l.Container, l.PodUID = workload.ParseCgroup(c.Cgroup)
		who := subjectOf(r.names.source, c.PID, c.Executable, c.Cgroup)
		r.journal.event(r.outputFor(who.Namespace, who.Unnamed), l)
	}
}

// keyless writes the handshakes without a key.
func (r *recording) keyless() {
	if r.keys.tracker == nil {
		return
	}
	for _, m := range r.keys.tracker.Missing() {
		if p := r.processes.Of(m.PID, m.Time); m.Executable == "" && p != nil { // it has ended
			m.Executable, m.Cgroup = p.Exe, r.groups.Find(p.Cgroup).Path
		}
		l := keylessLine{Time: stamp(m.Time), Kind: "tls_no_key", PID: m.PID, Exe: machine.Clean(m.Executable, 512), Cgroup: machine.Clean(m.Cgroup, 512),
			Random: hex.EncodeToString(m.ClientRandom[:]), Side: "client", Reason: string(m.Reason), Why: machine.Clean(m.Detail, 512), Limited: m.Limited}
		if m.Server {
			l.Side = "server"
		}
		l.Container, l.PodUID = workload.ParseCgroup(m.Cgroup)
		who := subjectOf(r.names.source, m.PID, m.Executable, m.Cgroup)
		r.journal.event(r.outputFor(who.Namespace, who.Unnamed), l)
	}
}
