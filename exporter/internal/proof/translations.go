package proof

import "github.com/pcapsule/pcapsule/exporter/internal/flow"

// maxTranslations is how many proven translations are kept.
const maxTranslations = 4096

// translation is what a translator makes of one end: of a server's, or of a client's address (port 0), because a client has
// many ports.
type translation struct {
	network  uint64
	from, to flow.End
}

// translations are the translations of datagrams that an answer has proved. Without an answer in time, an equal question
// counts as the same one if both of its ends are translated as in exchanges that were proved before.
type translations = recent[translation, struct{}]

// parts are the translations of the ends of a view. A translator keeps at least one port or address, so an unchanged client
// has no translation of its own.
func (t *talk) parts() (client, server translation) {
	l := t.like
	asker := l.asked[0].dir
	from, to := l.of.ends(), t.ends()
	client = translation{t.at.network, flow.End{Addr: from[asker].Addr}, flow.End{Addr: to[asker].Addr}}
	return client, translation{t.at.network, from[1-asker], to[1-asker]}
}

// learn keeps the translations of a proven view.
func (p *pairs) learn(t *talk) {
	if t.tcp {
		return
	}
	client, server := t.parts()
	for _, x := range []translation{client, server} {
		if x.from != x.to {
			p.proven.put(x, struct{}{}, p.limit.Scale(maxTranslations))
		}
	}
}

// translated reports whether a possible view, whose question neither it nor its original has an answer to, is what proven
// translations make of the original.
func (p *pairs) translated(t *talk) bool {
	l := t.like
	if t.tcp || l == nil || l.proven {
		return false
	}
	ask, asked := &l.asked[0], &l.asked[1]
	if answer := 1 - ask.dir; ask.no > asked.no || l.of.last[answer] > ask.no || t.last[answer] > asked.no {
		return false
	}
	client, server := t.parts()
	return (client.from != client.to || server.from != server.to) && p.proved(client) && p.proved(server)
}

// proved reports whether a translation is a proven one, or none.
func (p *pairs) proved(x translation) bool {
	_, ok := p.proven.m[x]
	return ok || x.from == x.to
}
