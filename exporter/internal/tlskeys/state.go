package tlskeys

import "github.com/pcapsule/pcapsule/recorder/secrets"

// State says how far the keys were usable.
type State uint8

// The states, in ascending order.
const (
	None State = iota
	Unverified
	Verified
)

// Reasons why none or not all records were decrypted.
const (
	NoSecret    = "no_key"
	NoHandshake = "no_handshake"
	Gap         = "gap"
	Unsupported = "unsupported"
	WrongKey    = "wrong_key"
)

// State returns the current state of the keys, and the reason if they were not completely
// usable.
func (k *Keys) State() (State, string) {
	g := k.shake
	switch {
	case k.verified && k.missing:
		return Verified, NoSecret
	case k.verified && k.lost:
		return Verified, Gap
	case k.verified:
		return Verified, ""
	case k.random == nil && (g == nil || !g.client): // and no attempt without it succeeded
		if k.hidden {
			return None, Gap
		}
		return None, NoHandshake
	case k.store == nil || g == nil:
		return None, NoSecret
	case g.server && !g.readable():
		return None, Unsupported
	}
	usable, there := k.usable(g)
	switch {
	case usable && k.tried:
		return Unverified, WrongKey
	case usable:
		return Unverified, ""
	case there && (!g.server || g.over):
		return None, Gap
	}
	return None, NoSecret
}

// usable reports whether there are keys for the handshake, and whether there are secrets from
// which keys could be derived.
func (k *Keys) usable(g *generation) (usable, there bool) {
	if k.modern() {
		for _, r := range [...]Role{Client, Server} {
			for _, stage := range [...]int{stageHandshake, stageData} {
				usable = usable || len(k.candidates(r, stage)) > 0
			}
		}
		return usable, usable
	}
	there = g.has(secrets.ClientRandom) || g.has(secrets.PreMaster)
	if !g.server {
		return false, there
	}
	if len(g.pairs) > 0 {
		return true, true
	}
	return !g.built && there, there
}

// Lines are the key log lines that decrypt the connection, if no key log lists them under the
// client random of its first handshake.
func (k *Keys) Lines() (lines []string) {
	if m := &k.middle; m.found && k.random == nil {
		return k.store.Lines(m.random())
	}
	for _, g := range k.shakes {
		if len(g.found) > 0 && string(g.found[0].ID) != string(g.hello.Random) { // of an encrypted hello
			lines = append(lines, k.store.Lines(g.found[0].ID)...)
		}
		for _, p := range g.pairs {
			if g.used && !p.logged && len(g.pairs) == 1 && k.verified {
				lines = append(lines, secrets.Secret{Label: secrets.ClientRandom, ID: g.hello.Random, Value: p.master}.Line())
			}
		}
		if string(g.hello.Random) != string(k.random) && k.verified { // a later handshake
			lines = append(lines, k.store.Lines(g.hello.Random)...)
		}
	}
	return lines
}

// Negotiated returns version and suite according to hellos or keys, 0 if unknown.
func (k *Keys) Negotiated() (version, suite uint16) {
	if g := k.shake; g != nil && g.server {
		return g.answer.Version, g.answer.Suite
	}
	if !k.verified || !k.modern() {
		return 0, 0
	}
	version = secrets.TLS13
	if k.datagram {
		version = secrets.DTLS13
	}
	for i := range k.sides {
		if c := k.sides[i].cur; c != nil {
			return version, c.suite.ID
		}
	}
	return version, 0
}
