package sip

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/media"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a description of media.
const (
	maxMedia   = 16
	maxFormats = 16
	maxFormat  = 64 // bytes of one
)

// stream is the media of one line m=.
type stream struct {
	kind, address, port, transport string
	formats                        []string
	names                          map[string]string
}

// describe reads the lines c=, m= and a=rtpmap of SDP. It ignores others, such as keys. The result is
// never nil, so a description without media differs from no description.
func describe(b []byte) (list []string, offers []media.Offer) {
	list = []string{}
	var session string
	var s *stream
	end := func() {
		if s != nil && len(list) < maxMedia {
			list = append(list, s.String())
			offers = append(offers, s.offers()...)
		}
	}
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		line = bytes.TrimRight(line, "\r")
		if len(line) < 2 || line[1] != '=' {
			continue
		}
		words := strings.Fields(clip.Text(line[2:], 1<<10))
		switch {
		case line[0] == 'c' && len(words) == 3 && s == nil:
			session = clip.Text(words[2], maxFormat)
		case line[0] == 'c' && len(words) == 3:
			s.address = clip.Text(words[2], maxFormat)
		case line[0] == 'm' && len(words) >= 3:
			end()
			s = &stream{kind: clip.Text(words[0], maxFormat), port: clip.Text(words[1], maxFormat), transport: clip.Text(words[2], maxFormat), address: session, formats: words[3:min(len(words), 3+maxFormats)], names: map[string]string{}}
		case line[0] == 'a' && s != nil && len(words) == 2 && strings.HasPrefix(words[0], "rtpmap:") && len(s.names) < 2*maxFormats:
			s.names[words[0][len("rtpmap:"):]] = clip.Text(words[1], maxFormat)
		}
	}
	end()
	return list, offers
}

// String is kind, address and port, transport, and formats by their names.
func (s *stream) String() string {
	address := s.address
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	parts := []string{s.kind, address + ":" + s.port, s.transport}
	for _, f := range s.formats {
		name := s.format(f)
		if name == "" {
			name = clip.Text(f, maxFormat)
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, " ")
}

// format is the name of a payload type, or "".
func (s *stream) format(number string) string {
	if name := s.names[number]; name != "" || !s.rtp() {
		return name
	}
	n, err := strconv.ParseUint(number, 10, 7)
	if err != nil {
		return ""
	}
	return media.Format(int64(n))
}

// rtp reports whether RTP carries the media, RFC 8866 section 5.14 and RFC 5764 section 8.
func (s *stream) rtp() bool { return strings.Contains(s.transport, "RTP/") }

// offers are the formats of RTP, by which package rtp finds the call of a stream.
func (s *stream) offers() (list []media.Offer) {
	port, _, _ := strings.Cut(s.port, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !s.rtp() {
		return nil
	}
	for _, f := range s.formats {
		if kind, err := strconv.ParseUint(f, 10, 7); err == nil {
			list = append(list, media.Offer{Address: s.address, Port: int32(n), PayloadType: int64(kind), Format: s.format(f)})
		}
	}
	return list
}

// NameIDs implements dissect.IDNamer: streams of RTP have their codecs and their call from here.
func (r *Row) NameIDs(names *dissect.IDNames) {
	for _, o := range r.offers {
		o.Call = r.CallID.V
		media.Put(names, o)
	}
}
