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

// nameFields are the fields of inputs that hold the name of an end.
var nameFields = []string{"service", "workload", "client", "server", "src", "dst"}

// maxNames is how many names of ends are compared with one that nothing has.
const maxNames = 5000

// scoped is an input, since inputs embed Scope.
type scoped interface{ scope() Scope }

// framed is an answer, since answers embed Frame.
type framed interface{ frame() *Frame }

func (s Scope) scope() Scope { return s }

func (f *Frame) frame() *Frame { return f }

// explain adds to an answer without anything why nothing fits: a name that nobody has, a part
// of the condition that no call fits. What cannot be found out in time is left out.
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
		if note := unknown(ctx, c, name); note != "" && !slices.Contains(f.Notes, note) {
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

// unknown states that nothing has a name, and is empty if something has.
func unknown(ctx context.Context, c *forensics.Case, name string) string {
	where, args := terms.Either(c, name)
	r, err := c.Query(ctx, forensics.Query{SQL: "SELECT 1 FROM calls WHERE " + where + " LIMIT 1", Args: args, Named: true})
	if err != nil || len(r.Rows) > 0 {
		return ""
	}
	return NobodyIs(ctx, c, name)
}

// NobodyIs is the note about a name that nothing in the recording has, with the nearest name.
func NobodyIs(ctx context.Context, c *forensics.Case, name string) string {
	return fmt.Sprintf("nothing in the recording is called %s%s", Clip(name, 100), alike(ctx, c, name))
}

// alike is the name of an end that a wrong one may have meant, as the rest of a sentence.
func alike(ctx context.Context, c *forensics.Case, name string) string {
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
