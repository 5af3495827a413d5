package content

import (
	"bytes"
	"iter"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// EventStream is the media type of Server-Sent Events.
const EventStream = "text/event-stream"

// Event is one event of an event stream, HTML section 9.2.
type Event struct {
	Type  string // message, unless the stream says otherwise
	ID    string // last event id, which stays until another one comes
	Data  []byte // lines of data, with line feeds between them; valid until the next event
	Retry string // reconnection time of this event, as sent
}

// Events are the complete events of an event stream. An event without data is left out, but its id
// and its reconnection time apply to the next one.
func Events(stream []byte) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		var e Event
		var joined []byte // data of several lines
		lines := 0
		stream = bytes.TrimPrefix(stream, []byte("\ufeff"))
		for line, rest, ok := nextLine(stream); ok; line, rest, ok = nextLine(rest) {
			if len(line) > 0 {
				name, value, _ := bytes.Cut(line, []byte(":"))
				value = bytes.TrimPrefix(value, []byte(" "))
				switch string(name) {
				case "event":
					e.Type = clip.Text(string(value), MaxText)
				case "id":
					e.ID = clip.Text(string(value), MaxText)
				case "retry":
					e.Retry = clip.Text(string(value), MaxText)
				case "data":
					if lines++; lines == 1 {
						e.Data = value
					} else {
						if lines == 2 {
							joined = append(joined[:0], e.Data...)
						}
						joined = append(append(joined, '\n'), value...)
						e.Data = joined
					}
				}
				continue
			}
			if lines > 0 {
				if e.Type == "" {
					e.Type = "message"
				}
				if !yield(&e) {
					return
				}
				e.Retry = ""
			}
			e.Type, e.Data, lines = "", nil, 0
		}
	}
}

// nextLine cuts the first line off b; ok is false if it has no end.
func nextLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexAny(b, "\r\n")
	if i < 0 {
		return nil, nil, false
	}
	if b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' {
		return b[:i], b[i+2:], true
	}
	return b[:i], b[i+1:], true
}

// Answers are the JSON values of a response: its documents, or those of its events.
func (x *Exchange) Answers() iter.Seq[[]byte] {
	if x.Response.Type != EventStream {
		return Documents(x.Response.Bytes())
	}
	return func(yield func([]byte) bool) {
		for e := range Events(x.Response.Bytes()) {
			if k := Kind(e.Data); k == '{' || k == '[' {
				if !yield(e.Data) {
					return
				}
			}
		}
	}
}
