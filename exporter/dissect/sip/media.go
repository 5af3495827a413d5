package sip

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/clip"
)

// Limits of a description of media.
const (
	maxMedia   = 16
	maxFormats = 16
	maxFormat  = 64 // bytes of one
)

// formats are the names of static payload types, RFC 3551 section 6.
var formats = map[string]string{"0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "8": "PCMA/8000", "9": "G722/8000", "13": "CN/8000", "15": "G728/8000", "18": "G729/8000", "26": "JPEG/90000", "31": "H261/90000", "34": "H263/90000"}

// stream is the media of one line m=.
type stream struct {
	kind, address, port, transport string
	formats                        []string
	names                          map[string]string
}

// media reads the lines c=, m= and a=rtpmap of SDP. Others, such as keys, are not looked at. It is not nil, to
// tell a description without media from none.
func media(b []byte) []string {
	list := []string{}
	var session string
	var s *stream
	end := func() {
		if s != nil && len(list) < maxMedia {
			list = append(list, s.String())
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
	return list
}

// String is kind, address and port, transport, and formats by their names.
func (s *stream) String() string {
	address := s.address
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	parts := []string{s.kind, address + ":" + s.port, s.transport}
	for _, f := range s.formats {
		name := s.names[f]
		if name == "" && strings.HasPrefix(s.transport, "RTP/") {
			name = formats[f]
		}
		if name == "" {
			name = clip.Text(f, maxFormat)
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, " ")
}
