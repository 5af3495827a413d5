package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/kfl"
)

// nameFields are the input fields with the name of an end.
var nameFields = []string{"service", "workload", "client", "server", "src", "dst"}

// maxNames is the highest number of names that are compared with an unknown name.
const maxNames = 5000

// scoped is implemented by every input, because inputs embed Scope.
type scoped interface{ scope() Scope }

// framed is implemented by every answer, because answers embed Frame.
type framed interface{ frame() *Frame }

func (s Scope) scope() Scope { return s }

func (f *Frame) frame() *Frame { return f }

// explain adds notes to an empty answer about why nothing matched: an unknown name, or a part of
// the filter that matches no call. It omits what it cannot find out in time.
func explain(ctx context.Context, c *forensics.Case, raw json.RawMessage, in, out any) {
	a, ok := out.(framed)
	asked, has := in.(scoped)
	if !ok || !has || a.frame().Matched != "nothing_matched" {
		return
	}
	f, s := a.frame(), asked.scope()
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields) // it was read already
	for _, field := range nameFields {
		var name string
		if json.Unmarshal(fields[field], &name) != nil || name == "" {
			continue
		}
		if note := unknownNote(ctx, c, name); note != "" && !slices.Contains(f.Notes, note) {
			f.Notes = append(f.Notes, note)
		}
	}
	if s.KFL != "" {
		w, err := s.Read(ctx, c)
		if err != nil {
			return
		}
		f.Notes = append(f.Notes, c.Why(ctx, s.KFL, w.From, w.To)...)
	}
}

// unknownNote returns a note if nothing in the case has this name, and "" otherwise.
func unknownNote(ctx context.Context, c *forensics.Case, name string) string {
	where, args := terms.Either(c, name)
	r, err := c.Query(ctx, forensics.Query{SQL: "SELECT 1 FROM calls WHERE " + where + " LIMIT 1", Args: args, Named: true})
	if err != nil || len(r.Rows) > 0 {
		return ""
	}
	return UnknownName(ctx, c, name)
}

// UnknownName returns the note about an unknown name, with the most similar known name.
func UnknownName(ctx context.Context, c *forensics.Case, name string) string {
	return fmt.Sprintf("nothing in the recording is called %s%s", Clip(name, 100), suggestion(ctx, c, name))
}

// suggestion suggests the most similar known name, as the end of a sentence.
func suggestion(ctx context.Context, c *forensics.Case, name string) string {
	space, last, ok := strings.Cut(name, "/")
	if !ok {
		space, last = "", name
	}
	r, err := c.Query(ctx, forensics.Query{SQL: `SELECT DISTINCT namespace, unnest([service, workload, pod, node, name]) AS n FROM endpoints ORDER BY ALL`, Limit: maxNames})
	if err != nil {
		return ""
	}
	var names, full []string
	for _, row := range r.Rows {
		n, _ := row[1].(string)
		in, _ := row[0].(string)
		if n == "" {
			continue
		}
		names, full = append(names, n), append(full, in+"/"+n)
	}
	near := kfl.Nearest(last, names)
	switch {
	case near == "":
		return ""
	case space == "":
		return fmt.Sprintf("; did you mean %s?", near)
	case near == last: // in another namespace
		near = full[slices.Index(names, near)]
	default:
		near = space + "/" + near
	}
	return fmt.Sprintf("; did you mean %s?", near)
}
