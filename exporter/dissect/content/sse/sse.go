// Package sse reads Server-Sent Events, HTML section 9.2: answers of type text/event-stream.
package sse

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "sse",
	Doc:      "Server-Sent Events: streams of events in responses",
	Versions: "HTML Living Standard, section 9.2",
	Depth:    "number and types of events, last id",
	Inside:   []string{"http"},
}

// Stream has the columns of an event stream.
type Stream struct {
	Events  table.Opt[int64]  `col:"sse_events" doc:"number of events that the server sent; null if a gap, or the limit of what is read, made the count uncertain"`
	Types   []string          `col:"sse_types" doc:"types of the events, each once, in the order of the first, at most 32; message is the type of events without one"`
	LastID  table.Opt[string] `col:"sse_last_id" doc:"last event id that the server sent"`
	After   table.Opt[string] `col:"sse_after_id" doc:"Last-Event-ID of the request: the client already had the events up to it"`
	RetryMs table.Opt[int64]  `col:"sse_retry_ms" unit:"ms" doc:"latest reconnection time that the server requested"`
}

// Read implements content.Reader.
func Read(x *content.Exchange, s *Stream) bool {
	if x.Response.Type != content.EventStream || x.StatusCode.OK && x.StatusCode.V != 200 {
		return false
	}
	n := int64(0)
	for e := range content.Events(x.Response.Bytes()) {
		n++
		if len(s.Types) < content.MaxList && !slices.Contains(s.Types, e.Type) {
			s.Types = append(s.Types, e.Type)
		}
		s.LastID = table.NonEmpty(e.ID)
		if ms, err := strconv.ParseUint(e.Retry, 10, 62); err == nil {
			s.RetryMs = table.Some(int64(ms))
		}
	}
	s.After = content.Some(x.Header(httpfield.Request, "Last-Event-ID"))
	if x.Response.Lost {
		x.Add(", events")
		return true
	}
	s.Events = table.Some(n)
	if n == 1 {
		x.Add(", 1 event")
	} else {
		x.Add(fmt.Sprintf(", %d events", n))
	}
	return true
}
