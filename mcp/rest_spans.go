package mcp

import (
	"bytes"
	"context"
	"net/http"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/spans"
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
		q := forensics.Query{KFL: x.get("kfl"), From: x.number("start") * int64(time.Millisecond), To: x.number("end") * int64(time.Millisecond), Limit: maxSpanned + 1}
		_, calls, err := spans.Each(ctx, a.Case, q, s.o.Release, func(m *tracepb.TracesData) error {
			raw, err := spans.JSON(m)
			if err == nil && s.o.Policy != nil { // texts are masked; known secrets may be parts of them
				known, kerr := a.Case.Known(ctx)
				if kerr != nil {
					return kerr
				}
				raw = []byte(known.Mask(string(raw)))
			}
			out.Write(append(raw, '\n'))
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
