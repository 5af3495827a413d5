package httpstream

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// tunnels are the protocols of an extended CONNECT (RFC 8441, RFC 9220) whose bytes the DATA frames
// carry as they are, with the names of their dissectors.
var tunnels = map[string]string{"websocket": "ws"}

// Carry passes in.Data[from:to], bytes of the body, to the protocol in a CONNECT: the one that an
// extended CONNECT names, else the one that detection finds. It returns false if the stream carries
// no protocol that can be read.
func (s *Stream) Carry(c *dissect.Conn, in *dissect.Input, from, to int) bool {
	if s.inner == nil && !s.openTunnel(c) {
		return false
	}
	s.Half[in.Dir].Data = true
	s.inner.Carry(in, from, to)
	return true
}

// openTunnel begins the protocol in a CONNECT.
func (s *Stream) openTunnel(c *dissect.Conn) bool {
	name := tunnels[s.Tunnel]
	if s.Method != "CONNECT" || s.Tunnel != "" && name == "" || s.Status >= 300 || s.opaque {
		return false
	}
	if s.opaque = !c.Hold(dissect.ConnCost); s.opaque {
		return false
	}
	s.inner = c.NewTunnel(name, &dissect.UpgradeInfo{Exchange: &dissect.Exchange{StreamID: table.Some(s.ID)}, Method: s.Method,
		Path: s.Path, Query: s.Query.V, Host: httpfield.HostOf(cmp.Or(s.Authority, s.Host)), Headers: s.Headers, UpgradeTarget: s.Tunnel})
	if s.inner == nil {
		c.Release(dissect.ConnCost)
		s.opaque = true
		return false
	}
	if name == "" {
		s.inner.PassedTo(s.proxied())
		s.inner.Info.ServerPort = portOf(s.Authority)
		for d := range s.Half {
			if q := &s.Half[d]; q.Suspect || q.Body != nil && q.Body.Lost() > 0 {
				s.inner.Info.Began[d] = false
			}
		}
	}
	return true
}

// proxied is column proxied_to of a stream.
func (s *Stream) proxied() table.Opt[string] {
	switch {
	case s.Method != "CONNECT":
		return table.Opt[string]{}
	case s.Tunnel != "":
		return httpfield.Masque(s.Tunnel, s.Path)
	}
	return httpfield.Proxied("", s.Authority)
}

// portOf is the port of an authority; 0 if it has none.
func portOf(authority string) uint16 {
	_, port, _ := strings.Cut(authority[strings.LastIndexByte(authority, ']')+1:], ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// lostAll is more than any message has.
const lostAll = 1 << 62

// LoseTunnel reports to the tunnelled protocol that its position in a direction was lost.
func (s *Stream) LoseTunnel(c *dissect.Conn, dir dissect.Dir) {
	if s.inner != nil {
		s.inner.Gap(dir, lostAll, c.Now())
	}
}

// Shed frees memory of the tunnelled protocol and of the bodies. It reports whether it could.
func (s *Stream) Shed() bool {
	return s.inner != nil && s.inner.Shed() || s.Half[0].Body.Spill() || s.Half[1].Body.Spill()
}

// EndTunnel ends the tunnelled protocol. cause is that of Cause.
func (s *Stream) EndTunnel(c *dissect.Conn, cause string) {
	if s.inner == nil {
		return
	}
	why := dissect.EndFin
	switch cause {
	case "reset":
		why = dissect.EndReset
	case "timeout":
		why = dissect.EndTimeout
	case "cut":
		why = dissect.EndCapture
	}
	for d := range s.Half {
		if s.Half[d].End {
			s.inner.End(dissect.Dir(d), c.Now())
		}
	}
	s.inner.Close(why, c.Now())
	c.Release(dissect.ConnCost)
	s.inner = nil
}
