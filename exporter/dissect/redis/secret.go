package redis

import (
	"bytes"
	"regexp"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// mayHoldSecret reports whether an argument of the command, or a value of its reply, may be a password.
func (c *call) mayHoldSecret() bool { return c.spec != nil && c.spec.act >= actAuth }

// namesSecret reports whether a parameter of the server is a password.
func namesSecret(p []byte) bool {
	p = bytes.ToLower(p)
	return bytes.Contains(p, []byte("pass")) || bytes.Contains(p, []byte("auth"))
}

// passwordHash is the form in which ACL shows passwords.
var passwordHash = regexp.MustCompile(`[0-9a-f]{64}`)

// replySecrets are the passwords in a value of a reply: of a parameter that CONFIG GET asked for, of a
// user of ACL, or the one that ACL GENPASS made.
func (c *call) replySecrets(w *walker, kind byte, p []byte) [][]byte {
	if c.spec == nil || c.argc < 2 || kind == '-' || kind == '!' {
		return nil
	}
	switch c.spec.act {
	case actConfig, actSentinel:
		if w.depth != 1 {
			return nil
		}
		secret := c.nextSecret
		if c.nextSecret = w.stack[0].seen%2 == 1 && namesSecret(p); secret && len(p) > 0 {
			return [][]byte{p}
		}
	case actACL:
		if fold(c.word(1), "GENPASS") && len(p) > 0 {
			return [][]byte{p}
		}
		return passwordHash.FindAll(p, -1)
	}
	return nil
}

// maskReply replaces the passwords of a value.
func (c *call) maskReply(w *walker, kind byte, p []byte) []byte {
	for _, s := range c.replySecrets(w, kind, p) {
		c.secrets = true
		c.unplaced = append(c.unplaced, bytes.Clone(s))
		p = bytes.ReplaceAll(p, s, []byte("***"))
	}
	return p
}

// hideReply records the places of passwords in the part of a reply that was read.
func (c *call) hideReply(in *dissect.Input, from, to int) {
	for _, s := range c.unplaced {
		if i := bytes.Index(in.Data[from:to], s); i >= 0 {
			from += i + len(s)
			c.x.Hide(in, from-len(s), from)
		}
	}
	c.unplaced = nil
}
