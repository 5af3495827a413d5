package ask

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// End is the condition that one end of a row is somebody.
type End struct {
	Calls string // on calls, with Args
	Args  []any
	Conns string // on connections or flows, without
}

// EndOf is the condition that one end of a row, "src_" or "dst_", is what a person calls name,
// as terms.End has it, by the numbers of the endpoints. They are looked up once, so that no
// names are compared for every call. A DNS query for a name is no call to its owner.
func EndOf(ctx context.Context, c *forensics.Case, prefix, name string) (End, error) {
	type row struct {
		Bundle int64 `json:"bundle"`
		ID     int64 `json:"endpoint_id"`
	}
	cond, args := terms.End("", name)
	list, _, err := Rows[row](ctx, c, 1_000_000, "SELECT "+terms.BundleOf(c, "")+", endpoint_id FROM endpoints_raw WHERE "+cond+" ORDER BY bundle, endpoint_id", args...)
	if err != nil {
		return End{}, err
	}
	by := map[int64][]int64{}
	for _, r := range list {
		by[r.Bundle] = append(by[r.Bundle], r.ID)
	}
	var conds []string
	for b := range int64(len(c.Bundles())) {
		if len(by[b]) == 0 {
			continue
		}
		one := prefix + "id IN (" + runsOf(by[b]) + ")"
		if c.Several() {
			one = fmt.Sprintf("bundle = %d AND %s", b, one)
		}
		conds = append(conds, "("+one+")")
	}
	if len(conds) == 0 {
		conds = []string{"false"}
	}
	out := End{Conns: strings.Join(conds, " OR ")}
	out.Calls = out.Conns
	if prefix == "dst_" && !strings.Contains(name, "/") {
		test := "host = ?"
		if strings.ContainsAny(name, "*?") {
			test = `host LIKE ? ESCAPE '\'`
			name = terms.Pattern(name)
		}
		out.Calls, out.Args = out.Conns+" OR coalesce("+test+" AND protocol <> 'dns', false)", []any{name}
	}
	return out, nil
}

// EndByID is terms.EndIs by the numbers of the endpoints, which are looked up first: a
// comparison with a list needs no join.
func EndByID(ctx context.Context, c *forensics.Case, prefix, name string) (cond string, args []any, err error) {
	_, rest, ok := strings.Cut(name, "/")
	if !ok {
		rest = name
	}
	if _, err := netip.ParseAddr(rest); err == nil || strings.ContainsAny(name, "*?") {
		cond, args = terms.End(prefix, name)
		return cond, args, nil
	}
	e, err := EndOf(ctx, c, prefix, name)
	if cond = e.Conns; prefix == "dst_" && !ok {
		cond, args = cond+" OR coalesce(host = ?, false)", []any{name}
	}
	return cond, args, err
}

// runsOf writes the numbers for IN; where they are very many, as ranges that the text of a
// query has room for.
func runsOf(ids []int64) string {
	if len(ids) <= MaxIDs {
		return terms.Numbers(ids)
	}
	var b strings.Builder
	b.WriteString("SELECT unnest(range(x[1], x[2] + 1)) FROM (SELECT unnest([")
	for i, r := range Runs(ids, 1, len(ids)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "[%d,%d]", r[0], r[1])
	}
	b.WriteString("]) AS x)")
	return b.String()
}

// NoteUnread notes how many connections of a window could not be read.
func NoteUnread(ctx context.Context, c *forensics.Case, f *Frame, w *Window) error {
	type counts struct {
		Sealed int64 `json:"sealed"`
		Plain  int64 `json:"plain"`
	}
	n, err := One[counts](ctx, c, `SELECT count(*) FILTER (key_state IN ('none', 'unverified')) AS sealed,
		count(*) FILTER (key_state IS NULL AND protocol IS NULL AND calls > 0) AS plain FROM connections_raw WHERE last_ns >= ? AND first_ns <= ?`, w.From, w.To)
	if err != nil {
		return err
	}
	if n.Sealed > 0 {
		f.Note("%d {connection|connections} of the time {is|are} encrypted and no key opened {it|them}: what {it carries|they carry} is not searched", n.Sealed)
	}
	if n.Plain > 0 {
		f.Note("%d {connection|connections} of the time {speaks|speak} a protocol that is not read: of {it|those} only the first bytes are known", n.Plain)
	}
	return nil
}

// MaxIDs is how many rows of endpoints one name may stand for.
const MaxIDs = 5000
