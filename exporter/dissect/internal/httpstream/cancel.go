package httpstream

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// atOnce is how soon after the last bytes of a stream its client cancels it without waiting for more. A client whose time
// limit passed waited longer.
const atOnce = 10e6 // ns

// Values of status_text of a stream that its client cancelled.
const (
	byClient = "cancelled by the client"
	gaveUp   = byClient + ", which gave up" // after it had waited
)

// GiveUp records that a side gave up the stream with packet p.
func (s *Stream) GiveUp(by dissect.Dir, p dissect.Packet) {
	s.Reset, s.ResetBy, s.ResetAt = true, by, p.Instant()
}

// Cancel says in a row that the client cancelled the stream. If it did not wait for a response, or for more of it, neither
// side failed: the outcome is cancelled. Call it when the outcome is set otherwise.
func (s *Stream) Cancel(c *dissect.Conn, b *table.Call, e *End) {
	if s.cancels(b, e) {
		s.setCancelled(b, e, s.soon(c))
	}
}

// cancelRPC is Cancel for gRPC, whose clients send their time limits: a client without one, or that cancels before its end,
// does so because it wants no response.
func (s *Stream) cancelRPC(c *dissect.Conn, b *table.Call, e *End, limitUs table.Opt[int64]) {
	if !s.cancels(b, e) {
		return
	}
	first, _ := s.X.RequestTime()
	waited, known := c.Between(first, s.ResetAt)
	s.setCancelled(b, e, !limitUs.OK || known && float64(waited) < 0.9e3*float64(limitUs.V))
}

// cancels reports whether the client ended the stream and nothing says that a side failed.
func (s *Stream) cancels(b *table.Call, e *End) bool {
	return e.Error == "reset" && s.Reset && s.ResetBy == dissect.ToServer && !s.Pushed && s.X.HasRequest() && !e.Gap && !s.Malformed &&
		(b.Outcome == "" || b.Outcome == table.Unread && !s.Half[dissect.ToClient].Head)
}

// soon reports whether the client cancelled at once, and not because of an error that it saw in a response.
func (s *Stream) soon(c *dissect.Conn) bool {
	within := func(from dissect.Instant) bool {
		passed, known := c.Between(from, s.ResetAt)
		return known && passed <= atOnce
	}
	_, asked := s.X.RequestTime()
	if !s.X.HasResponse() {
		return within(asked)
	}
	_, answered := s.X.ResponseTime()
	return willing(s.ResetCode) && (within(asked) || within(answered))
}

// willing reports whether an error code blames nobody (RFC 9113 section 7, RFC 9114 section 8.1).
func willing(code table.Opt[int64]) bool {
	const noError, cancel, h3NoError, h3Cancelled = 0x0, 0x8, 0x100, 0x10c
	return !code.OK || code.V == noError || code.V == cancel || code.V == h3NoError || code.V == h3Cancelled
}

// setCancelled sets the columns of a stream that its client cancelled; free is true if it did not wait.
func (s *Stream) setCancelled(b *table.Call, e *End, free bool) {
	why := gaveUp
	if free {
		why = byClient
		b.Outcome, b.Error = table.Cancelled, table.Some(table.Cancelled)
	}
	b.StatusText = table.Some(why)
	if at := strings.LastIndex(b.Summary, "reset"); at >= 0 {
		b.Summary = b.Summary[:at] + why
	}
}
