package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// Limits of notes about unknown names.
const (
	maxNames   = 5000 // names that are compared with an unknown name
	maxUnknown = 5    // unknown names of one input field
)

// named are input fields that name something in the recording.
type named struct {
	fields []string
	adds   bool   // the field does not narrow the answer: results do not show that its name is known
	note   string // that the name is unknown
	names  string // SQL for the known names, as n
	test   string // condition that n is the name; empty for names of ends, which have more forms
}

// inputNames lists the fields. cli tests that it has all of them.
var inputNames = []named{
	{[]string{"service", "workload", "client", "server", "src", "dst"}, false, calledNothing, "", ""},
	{[]string{"via"}, true, calledNothing, "", ""},
	{[]string{"namespaces", "from_namespace"}, true, "no namespace in the recording is called %s", "SELECT namespace AS n FROM endpoints", "n = ?"},
	{[]string{"label", "labels"}, false, "no address in the recording has the label %s", "SELECT l.name || '=' || l.value AS n FROM (SELECT unnest(labels) AS l FROM endpoints)", "n = ?"},
	{[]string{"path"}, false, "no call in the recording has the path %s", "SELECT path AS n FROM calls", like},
	{[]string{"trace_id"}, false, "no call in the recording has the trace id %s", "SELECT trace_id AS n FROM calls", "n = lower(?)"},
	{[]string{"request_id"}, false, "no call in the recording has the request id %s", "SELECT request_id AS n FROM calls", "n = ?"},
	{[]string{"name"}, false, "no file in the recording is called %s", "SELECT name AS n FROM objects", likeAnyCase},
	{[]string{"type"}, false, "no file in the recording has the type %s", "SELECT unnest([detected_type, split_part(content_type, ';', 1)]) AS n FROM objects", likeAnyCase},
	{[]string{"sha256"}, false, "no file in the recording has the SHA-256 %s", "SELECT lower(hex(sha256)) AS n FROM objects", "n = lower(?)"},
}

const (
	calledNothing = "nothing in the recording is called %s"
	like          = `n LIKE ? ESCAPE '\'`
	likeAnyCase   = `n ILIKE ? ESCAPE '\'`
)

// noteUnknown adds a note for each name in an input that nothing in the recording has.
func (f *Frame) noteUnknown(ctx context.Context, c *forensics.Case, in map[string]json.RawMessage) {
	for _, kind := range inputNames {
		if !kind.adds && f.Matched != "nothing_matched" {
			continue
		}
		for _, field := range kind.fields {
			for _, name := range textsOf(in[field]) {
				known, err := kind.has(ctx, c, name)
				if known && err == nil && kind.test == "" && f.Matched == "nothing_matched" {
					f.Notes = append(f.Notes, otherSide(ctx, c, field, name)...)
				}
				if known || err != nil {
					continue
				}
				if note := kind.unknown(ctx, c, name); !slices.Contains(f.Notes, note) {
					f.Notes = append(f.Notes, note)
				}
			}
		}
	}
}

// otherSide explains why no call has a known name on the side that a field means: it is a service whose pods have another
// name there, or it is only on the other side.
func otherSide(ctx context.Context, c *forensics.Case, field, name string) []string {
	side, other, word, alone := "dst_", "src_", "to", "it only makes calls"
	switch field {
	case "client", "src":
		side, other, word, alone = "src_", "dst_", "from", "it only receives calls"
	case "service", "server", "dst":
	default:
		return nil
	}
	cond, args := terms.EndIs(c, side, name)
	if there, err := Exists(ctx, c, "calls", cond, args...); there || err != nil {
		return nil
	}
	note := fmt.Sprintf("no call in the recording is %s %s", word, Clip(name, 100))
	cond, args = terms.Behind(side, name)
	behind, more, err := Rows[struct {
		Who string `json:"who"`
	}](ctx, c, maxUnknown, fmt.Sprintf("SELECT DISTINCT %s AS who FROM calls WHERE %s ORDER BY 1 LIMIT %d", terms.Who(side), cond, maxUnknown+1), args...)
	if err != nil {
		return nil
	}
	var names []string
	for _, b := range behind {
		names = append(names, b.Who)
	}
	if more {
		names = append(names, "…")
	}
	if len(names) > 0 {
		return []string{fmt.Sprintf("%s; those %s the pods behind this service are %[2]s %s", note, word, strings.Join(names, ", "))}
	}
	cond, args = terms.EndIs(c, other, name)
	if there, err := Exists(ctx, c, "calls", cond, args...); there && err == nil {
		note += ": " + alone
	}
	return []string{note}
}

// Exists reports whether a table has a row that matches a condition.
func Exists(ctx context.Context, c *forensics.Case, from, where string, args ...any) (bool, error) {
	r, err := c.Query(ctx, forensics.Query{SQL: "SELECT 1 FROM " + from + " WHERE " + where + " LIMIT 1", Args: args, Named: true})
	return err == nil && len(r.Rows) > 0, err
}

// textsOf returns the texts of a JSON string or a list of strings.
func textsOf(raw json.RawMessage) (list []string) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		list = []string{one}
	} else if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	return list[:min(len(list), maxUnknown)]
}

// has reports whether the recording has the name.
func (k named) has(ctx context.Context, c *forensics.Case, name string) (bool, error) {
	if k.test == "" {
		where, args := terms.End("", name)
		behind, more := terms.Behind("", name)
		if known, err := Exists(ctx, c, "endpoints", "("+where+") OR ("+behind+")", append(args, more...)...); known || err != nil {
			return known, err
		}
		where, args = terms.Either(c, name)
		return Exists(ctx, c, "calls", where, args...)
	}
	if strings.Contains(k.test, "LIKE") {
		name = terms.Pattern(name)
	}
	return Exists(ctx, c, "("+k.names+")", k.test, name)
}

// unknown returns the note about an unknown name, with the most similar known name.
func (k named) unknown(ctx context.Context, c *forensics.Case, name string) string {
	note := fmt.Sprintf(k.note, Clip(name, 100))
	if k.test == "" {
		if name == terms.AnyOutside {
			return name + " stands for outside addresses without a name: the recording has none"
		}
		return note + suggestion(ctx, c, name)
	}
	r, err := c.Query(ctx, forensics.Query{SQL: "SELECT DISTINCT n FROM (" + k.names + ") WHERE n IS NOT NULL ORDER BY n", Limit: maxNames})
	if err != nil {
		return note
	}
	var names []string
	for _, row := range r.Rows {
		n, _ := row[0].(string)
		names = append(names, n)
	}
	if near := nearest.Name(name, names); near != "" {
		note += fmt.Sprintf("; did you mean %s?", Clip(near, 100))
	}
	return note
}

// UnknownName returns the note about an unknown name of an end.
func UnknownName(ctx context.Context, c *forensics.Case, name string) string {
	return inputNames[0].unknown(ctx, c, name)
}

// suggestion suggests the most similar known name of an end, as the end of a sentence.
func suggestion(ctx context.Context, c *forensics.Case, name string) string {
	space, last, ok := strings.Cut(name, "/")
	if !ok {
		space, last = "", name
	}
	r, err := c.Query(ctx, forensics.Query{SQL: `SELECT DISTINCT namespace, unnest([service, workload, pod, node, name] || coalesce(services, [])) AS n FROM endpoints ORDER BY ALL`, Limit: maxNames})
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
		names, full = append(names, n), append(full, strings.TrimPrefix(in+"/"+n, "/"))
	}
	near := nearest.Name(last, names)
	switch at := slices.Index(names, near); {
	case near == "":
		return "; the service map lists the services"
	case space != "" && slices.Contains(full, space+"/"+near):
		near = space + "/" + near
	case space != "": // only in another namespace
		near = full[at]
	}
	return fmt.Sprintf("; did you mean %s?", near)
}
