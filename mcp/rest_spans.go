package mcp

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// maxSpanned is the highest number of calls in one answer with spans.
const maxSpanned = 10_000

// restSpans answers with calls as spans, one message of OTLP in JSON per line.
func (s *Server) restSpans(w http.ResponseWriter, r *http.Request) {
	s.written(w, r, "application/x-ndjson", func(ctx context.Context, a *tools.Invocation, x *question, out *bytes.Buffer) (int, error) {
		if s.o.Spans == nil {
			return 0, store.BadRequest("this server gives no spans")
		}
		q := forensics.Query{KFL: x.get("kfl"), From: x.number("start") * int64(time.Millisecond), To: x.number("end") * int64(time.Millisecond), Limit: maxSpanned + 1}
		calls, err := s.o.Spans(ctx, a.Case, q, func(line []byte) error {
			line, err := s.concealed(ctx, a.Case, line)
			out.Write(line)
			return err
		})
		if err == nil && calls > maxSpanned {
			err = store.BadRequest("more than %d calls match: choose a shorter time with start and end, or a narrower filter", maxSpanned)
		}
		return calls, err
	})
}

// httpForms are what a call of HTTP can be written as. Each is a text.
var httpForms = []string{"har", "curl"}

const httpMedia = "text/plain"

// restCallHTTP answers with one call of HTTP as an HTTP archive, or its request as a command of curl.
func (s *Server) restCallHTTP(w http.ResponseWriter, r *http.Request) {
	form := cmp.Or(r.URL.Query().Get("format"), httpForms[0])
	s.written(w, r, httpMedia, func(ctx context.Context, a *tools.Invocation, x *question, out *bytes.Buffer) (int, error) {
		id := r.PathValue("id")
		switch {
		case s.o.HTTP == nil:
			return 0, store.BadRequest("this server writes no calls for other programs")
		case !slices.Contains(httpForms, form):
			return 0, store.BadRequest("format: must be one of %s", strings.Join(httpForms, ", "))
		case !isCallID(id):
			return 0, errCallID
		}
		call, err := a.Case.Call(ctx, id, forensics.CallOptions{})
		if err != nil {
			return 0, err
		}
		var text bytes.Buffer
		if err := s.o.HTTP(call, form, &text); err != nil {
			return 0, store.BadRequest("%v", err)
		}
		line, err := s.concealed(ctx, a.Case, text.Bytes())
		out.Write(line)
		return 1, err
	})
}

// concealed hides what is still secret in a text whose parts are masked: values that are known from elsewhere.
func (s *Server) concealed(ctx context.Context, c *forensics.Case, text []byte) ([]byte, error) {
	if s.o.Policy == nil {
		return text, nil
	}
	known, err := c.Known(ctx)
	if err != nil {
		return nil, err
	}
	return []byte(known.Mask(string(text))), nil
}

// written answers with a text for other programs, or an error if it cannot be written as a whole.
func (s *Server) written(w http.ResponseWriter, r *http.Request, media string, write func(context.Context, *tools.Invocation, *question, *bytes.Buffer) (rows int, err error)) {
	begin, x, t := time.Now(), &question{r: r, q: r.URL.Query()}, &accessNote{}
	var out bytes.Buffer
	err := s.withDB(r.Context(), restCaller(r), x.get("db"), long, func(ctx context.Context, a *tools.Invocation) (err error) {
		t.rows, err = write(ctx, a, x, &out)
		t.bytes = out.Len()
		return err
	})
	if werr := s.logged(restCaller(r), begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), t, err); werr != nil {
		err = werr
	}
	if err != nil {
		s.restError(w, err)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set(trustHeader, tools.TrustNote)
	_, _ = w.Write(out.Bytes()) // the client may be gone
}
