package kafka

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of fetch sessions.
const (
	maxSessions     = 8   // of a connection; a client has one with each broker
	maxSessionParts = 256 // partitions of a session
)

// session is the partitions of a fetch session. After the first Fetch, a client names only those that change (KIP-227).
type session struct {
	parts []string
	ids   bool // topics are ids
}

const sessionCost = 64

func (s *session) cost() int {
	n := sessionCost
	for _, p := range s.parts {
		n += len(p) + 16
	}
	return n
}

// fetching is what a Fetch says of its session.
type fetching struct {
	id, epoch int32
	parts     []string // that it names
	ids       bool
}

// forgets reads the partitions that the session is to fetch no more.
func (f *facts) forgets(r *reader, v int16) (parts []string) {
	for topics := r.count(); topics > 0 && !r.Short(); topics-- {
		topic := ""
		if v >= fetchIDs {
			id := r.uuid()
			topic = clip.UUID(id[:])
		} else {
			topic = message.Text(r.str())
		}
		save := f.topic
		f.topic = topic
		for n := r.count(); n > 0 && !r.Short(); n-- {
			if p := f.name(r.int32()); len(parts) < maxSessionParts {
				parts = append(parts, p)
			}
		}
		f.topic = save
		r.tags()
	}
	return parts
}

// continues adds the partitions of the session that a Fetch continues.
func (f *facts) continues(s *session, forgotten []string) {
	f.k.sessionBytes -= s.cost()
	s.parts = slices.DeleteFunc(s.parts, func(p string) bool { return slices.Contains(forgotten, p) })
	for _, p := range f.c.fetching.parts {
		if len(s.parts) < maxSessionParts && !slices.Contains(s.parts, p) {
			s.parts = append(s.parts, p)
		}
	}
	f.k.sessionBytes += s.cost()
	for _, p := range s.parts {
		topic := p[:strings.LastIndexByte(p, '/')]
		f.keep(&f.row.Topics, topic)
		if s.ids {
			f.keep(&f.row.TopicIDs, topic)
			f.row.ids = true
		}
	}
	if len(f.asks) == 0 {
		f.asks = slices.Clone(s.parts[:min(len(s.parts), maxList)])
		f.c.texts += 32 * len(f.asks)
	}
}

// begun notes the session that a response opens, or the server has no more.
func (f *facts) begun(id int32, code int16) {
	k, b := f.k, &f.c.fetching
	if code != 0 || b.epoch < 0 { // it is closed, or not known
		k.forgetSession(b.id)
		return
	}
	if b.epoch != 0 || id == 0 || len(b.parts) == 0 {
		return
	}
	k.forgetSession(id)
	if len(k.sessions) >= maxSessions {
		return
	}
	if k.sessions == nil {
		k.sessions = map[int32]*session{}
	}
	s := &session{b.parts, b.ids}
	k.sessions[id] = s
	k.sessionBytes += s.cost()
}

func (k *conn) forgetSession(id int32) {
	if s := k.sessions[id]; s != nil {
		k.sessionBytes -= s.cost()
		delete(k.sessions, id)
	}
}
