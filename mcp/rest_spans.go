package mcp

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// maxSpanned is the highest number of calls in one answer with spans.
const maxSpanned = 10_000

// restSpans answers with calls as spans, one message of OTLP in JSON per line.
func (s *Server) restSpans(w http.ResponseWriter, r *http.Request) {
	begin, x, t := time.Now(), &question{r: r, q: r.URL.Query()}, &accessNote{}
	var out bytes.Buffer
	err := s.withDB(r.Context(), restCaller(r), x.get("db"), long, func(ctx context.Context, a *tools.Invocation) error {
		if s.o.Spans == nil {
			return store.BadRequest("this server gives no spans")
		}
		q := forensics.Query{KFL: x.get("kfl"), From: x.number("start") * int64(time.Millisecond), To: x.number("end") * int64(time.Millisecond), Limit: maxSpanned + 1}
		calls, err := s.o.Spans(ctx, a.Case, q, func(line []byte) error {
			if s.o.Policy != nil { // texts are masked; known secrets may be parts of them
				known, err := a.Case.Known(ctx)
				if err != nil {
					return err
				}
				line = []byte(known.Mask(string(line)))
			}
			_, err := out.Write(line)
			return err
		})
		if err == nil && calls > maxSpanned {
			err = store.BadRequest("more than %d calls match: choose a shorter time with start and end, or a narrower filter", maxSpanned)
		}
		t.rows, t.bytes = calls, out.Len()
		return err
	})
	if werr := s.logged(restCaller(r), begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), t, err); werr != nil {
		err = werr
	}
	if err != nil {
		s.restError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(trustHeader, tools.TrustNote)
	_, _ = w.Write(out.Bytes()) // the client may be gone
}
