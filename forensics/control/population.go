package control

import (
	"cmp"
	"context"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// kind is a kind of population.
type kind struct {
	one string
	of  string // more than one
	sql string // condition for connections or calls of the window
	by  string // table that is counted
}

// populations are the things that a control may count, by the word in its data.
var populations = map[string]kind{
	"connections": {"connection", "connections", "true", "connections"},
	"outbound":    {"connection to outside", "connections to outside", "dst_external AND NOT coalesce(src_external, false)", "connections"},
	"inbound":     {"connection from outside", "connections from outside", "src_external AND NOT coalesce(dst_external, false)", "connections"},
	"crossings":   {"connection between namespaces", "connections between namespaces", "src_namespace <> dst_namespace", "connections"},
	"borders": {"connection between namespaces or with outside", "connections between namespaces or with outside",
		"src_namespace <> dst_namespace OR coalesce(src_external, false) <> coalesce(dst_external, false)", "connections"},
	"calls":        {"call that could be read", "calls that could be read", terms.IsRequest, "calls"},
	"handshakes":   {"TLS handshake with a known version and suite", "TLS handshakes with a known version and suite", "protocol IN ('tls', 'quic') AND tls_cipher_suite_name IS NOT NULL", "calls"},
	"certificates": {"server certificate", "different server certificates", "", "certificates"},
	"packets":      {"packet", "packets", "", "packets"},
	"seconds":      {"second of recording", "seconds of recording", "", "seconds"},
	"clocks":       {"clock", "clocks", "", "clocks"},
	"credentials":  {"call with credentials that could be read", "calls with credentials that could be read", "auth_kind IS NOT NULL", "calls"},
	"guarded":      {"request to a service that takes credentials", "requests to services that take credentials", "", "guarded"},
	"accesses":     {one: "access to such data", of: "accesses to such data"},
	data:           {one: "call with recognized data that could be read", of: "calls with recognized data that could be read"},
	administrative: {one: "administrative access", of: "administrative accesses"},
}

// Populations that are findings.
const (
	data           = "data"  // calls with sensitive data of the kinds of the control, encrypted on the wire or not
	administrative = "admin" // administrative accesses
)

// carriers counts the calls with data of the kinds that a control is about.
func (j *judge) carriers(r *requirement) Population {
	calls := map[string]bool{}
	for i := range j.found {
		f := &j.found[i]
		about := f.Finding == sensitive && slices.ContainsFunc(r.Exceptions, func(s selector) bool {
			return s.Finding == sensitive && (len(s.Kinds) == 0 || slices.Contains(s.Kinds, f.Kind))
		})
		if about {
			for _, id := range f.CallIDs {
				calls[id] = true
			}
		}
	}
	return populations[data].number(int64(len(calls)))
}

// administrative counts the administrative accesses.
func (j *judge) administrative() Population {
	n := int64(0)
	for i := range j.found {
		if j.found[i].Finding == adminAccess {
			n += j.found[i].Count
		}
	}
	return populations[administrative].number(n)
}

// population counts the objects of a control.
func (j *judge) population(ctx context.Context, name string) (Population, error) {
	k := populations[name]
	if n, ok := j.counts[name]; ok {
		return k.number(n), nil
	}
	calls := "calls_raw"
	if j.w.KFL != "" {
		calls = "calls"
	}
	var n int64
	var err error
	switch k.by {
	case "connections":
		conns, args := j.w.Connections(j.c, "connections", false)
		n, err = ask.Count(ctx, j.c, "SELECT count(*) AS n FROM "+conns+" WHERE "+k.sql, args...)
	case "calls":
		n, err = ask.Count(ctx, j.c, "SELECT count(*) AS n FROM "+calls+" WHERE "+j.w.Where+" AND "+k.sql, j.w.Args...)
	case "guarded":
		on := "dst_id"
		if j.c.Several() {
			on = "bundle, dst_id"
		}
		n, err = ask.Count(ctx, j.c, "SELECT count(*) AS n FROM "+calls+" WHERE "+j.w.Where+" AND "+finding.Web+" AND ("+on+") IN (SELECT ("+on+") FROM "+calls+" WHERE "+j.w.Where+" AND "+finding.Web+" AND auth_kind <> 'cookie')",
			slices.Concat(j.w.Args, j.w.Args)...)
	case "certificates":
		on := "call_no"
		if j.c.Several() {
			on = "bundle, call_no"
		}
		n, err = ask.Count(ctx, j.c, "SELECT count(DISTINCT cert_sha256) AS n FROM "+calls+" JOIN tls_handshakes_raw USING ("+on+") WHERE "+j.w.Where, j.w.Args...)
	case "packets":
		n, err = ask.Count(ctx, j.c, "SELECT count(*) AS n FROM packets WHERE ts_ns BETWEEN ? AND ?", j.w.From, j.w.To)
	case "seconds":
		n = (j.w.To-j.w.From)/1e9 + 1
	case "clocks":
		n, err = ask.Count(ctx, j.c, "SELECT count(*) AS n FROM clocks")
	}
	j.counts[name] = n
	return k.number(n), err
}

// number is a population of n.
func (k kind) number(n int64) Population {
	if n == 1 {
		return Population{1, k.one}
	}
	return Population{n, k.of}
}

// accesses lists the calls that carried the data of a control, by time, and counts them.
func (j *judge) accesses(ctx context.Context, r *requirement) (Population, error) {
	var ids []string
	for i := range j.found {
		if f := &j.found[i]; f.Finding == sensitive && slices.Contains(r.Data, f.Kind) {
			ids = append(ids, f.CallIDs...)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	p := populations["accesses"].number(int64(len(ids)))
	type row struct {
		ID string `json:"id"`
	}
	for some := range slices.Chunk(ids, 100_000) {
		first, _, err := ask.Rows[row](ctx, j.c, j.w.Limit, "SELECT call_id AS id FROM calls_raw WHERE call_id IN (SELECT unhex(unnest(?::VARCHAR[]))) GROUP BY 1 ORDER BY min(ts_ns), 1", some)
		if err != nil {
			return p, err
		}
		for part := range slices.Chunk(first, 500) {
			names := make([]string, len(part))
			for i := range part {
				names[i] = part[i].ID
			}
			calls, err := ask.CallsOf(ctx, j.c, names)
			if err != nil {
				return p, err
			}
			for _, n := range names {
				j.out.Accesses = append(j.out.Accesses, calls[n])
			}
		}
	}
	slices.SortStableFunc(j.out.Accesses, func(a, b ask.Call) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.CallID, b.CallID))
	})
	if len(j.out.Accesses) > j.w.Limit {
		j.out.Accesses = j.out.Accesses[:j.w.Limit]
	}
	if n := int64(len(j.out.Accesses)); n < p.Count {
		j.out.Truncated = true
		j.out.Notes = append(j.out.Notes, plural.Sprintf("the first %d of %d {access is|accesses are} listed; the report card-accesses lists all", n, p.Count))
	}
	return p, nil
}
