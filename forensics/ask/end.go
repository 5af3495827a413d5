package ask

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// End is the SQL condition that one end of a row has a name.
type End struct {
	Calls string // for calls, with Args
	Args  []any
	Conns string // for connections or flows, without arguments
}

// EndOf returns the condition that one end of a row, "src_" or "dst_", matches name as in
// terms.End. It looks up the endpoint ids once, so that the query does not compare names for
// every call. A DNS query for a name is not a call to the owner of the name.
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
	if dialled := terms.Dialled(prefix, name); dialled != "" {
		conds = append(conds, dialled)
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
		out.Calls, out.Args = out.Conns+" OR coalesce("+test+" AND "+terms.NamesServer+", false)", []any{name}
	}
	return out, nil
}

// ServerByID is terms.EndIs for servers with endpoint ids that are looked up first: comparing with a
// list of ids needs no join.
func ServerByID(ctx context.Context, c *forensics.Case, name string) (cond string, args []any, err error) {
	_, rest, ok := strings.Cut(name, "/")
	if !ok {
		rest = name
	}
	if _, err := netip.ParseAddr(rest); err == nil || strings.ContainsAny(name, "*?") {
		cond, args = terms.End("dst_", name)
		return cond, args, nil
	}
	e, err := EndOf(ctx, c, "dst_", name)
	if cond = e.Conns; !ok {
		cond, args = cond+" OR "+terms.HostIs, []any{name}
	}
	return cond, args, err
}

// runsOf writes ids for IN. More than MaxIDs are written as ranges, to keep the query short.
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

// NoteUnread adds notes with the numbers of connections in the window of which bytes were not captured, or
// that could not be read.
func NoteUnread(ctx context.Context, c *forensics.Case, f *Frame, w *Window) error {
	list, err := Unread(ctx, c, w.From, w.To)
	for _, note := range list {
		if !slices.Contains(f.Notes, note) {
			f.Notes = append(f.Notes, note)
		}
	}
	return err
}

// redacted says which policies removed values, and what that means for an answer.
func redacted(c *forensics.Case) (notes []string) {
	for _, text := range c.Redactions() {
		notes = append(notes, text+": they are not found, and values that differed can look the same")
	}
	if len(notes) > 0 {
		notes = append(notes, forensics.NotProved)
	}
	return notes
}

// Unread says which values were removed, and of how many connections between two times, 0 for an open end, bytes
// were not captured or could not be read.
func Unread(ctx context.Context, c *forensics.Case, from, to int64) (notes []string, err error) {
	w := &Window{From: cmp.Or(from, math.MinInt64), To: cmp.Or(to, math.MaxInt64)}
	list, _, err := Rows[Reading](ctx, c, 1, ReadingSQL(c, w.During()))
	if err != nil || len(list) == 0 {
		return nil, err
	}
	add := func(n int64, format string, more ...any) {
		if n > 0 {
			notes = append(notes, plural.Sprintf(format, append([]any{n}, more...)...))
		}
	}
	read := list[0]
	notes = redacted(c)
	packets, err := c.UnreadPackets(ctx, w.From, w.To)
	if err != nil {
		return nil, err
	}
	add(packets, "%d {packet|packets} in this time {was|were} cut, or could not be decoded: what {it|they} contained may be missing")
	odd, lost, err := c.UnparsedBytes(ctx, w.From, w.To)
	if err != nil {
		return nil, err
	}
	add(odd, "%d {anomaly|anomalies} in this time {is|are} about bytes that are in no call (%d bytes): what they contained may be missing", lost)
	add(read.MissingFrom, "bytes of %d {connection|connections} in this time were not captured: {its|their} calls may be incomplete, or missing")
	add(read.OneSided, "only one direction of %d {connection|connections} in this time was captured")
	add(read.Sealed, "%d {connection|connections} in this time {is|are} encrypted and could not be decrypted: {its content is|their contents are} not searched")
	if read.Unknown == 0 {
		return notes, nil
	}
	plain, err := Undissected(ctx, c, EachOnce(c, "connections_raw", w.During()))
	likely := strings.Join(Likely(plain), "; ")
	if likely != "" {
		likely = " (" + likely + ")"
	}
	add(read.Unknown, "%d {connection|connections} in this time {has|have} payload that no dissector read%s: only {its|their} first bytes are known", likely)
	return notes, err
}

// Reading is how many connections could be read.
type Reading struct {
	Connections int64 `json:"connections"`
	Sealed      int64 `json:"sealed"`    // encrypted, and no key opens them
	Unknown     int64 `json:"unknown"`   // with payload that no dissector read
	OneSided    int64 `json:"one_sided"` // only one direction was captured
	MissingFrom int64 `json:"missing"`   // bytes of their streams are missing
}

// UnknownPayload is the SQL condition for connections with payload that no dissector reads.
const UnknownPayload = forensics.UnknownPayload

// ReadingSQL is the query for the Reading of the connections for which during is true, in one row.
func ReadingSQL(c *forensics.Case, during string) string {
	flows := during + " AND " + FlowsOnce(c, during, Largest)
	return `SELECT connections, sealed, unknown, one_sided, missing
FROM (SELECT count(*) AS connections, count(*) FILTER (key_state IN ('none', 'unverified')) AS sealed, count(*) FILTER (` + UnknownPayload + `) AS unknown FROM ` + EachOnce(c, "connections_raw", during) + `),
  (SELECT count(*) FILTER (` + terms.OneDirection + `) AS one_sided, count(*) FILTER (gap_bytes > 0) AS missing FROM flows_raw WHERE (` + terms.OneDirection + ` OR gap_bytes > 0) AND ` + flows + ")"
}

// UndissectedUse counts connections with payload that no dissector reads.
type UndissectedUse struct {
	Protocol    string `json:"protocol" jsonschema:"what it probably is, such as ssh; empty if nothing suggests a protocol"`
	Evidence    string `json:"evidence" jsonschema:"content: the form of the first bytes; upgrade: the request before it; port: a hint only"`
	Connections int64  `json:"connections"`
	Servers     int64  `json:"servers"`
	KFL         string `json:"kfl" jsonschema:"KFL filter for their first bytes"`
}

// Undissected lists the probable protocols of connections with such payload, most frequent first.
// conns is SQL for the connections, with its arguments.
func Undissected(ctx context.Context, c *forensics.Case, conns string, args ...any) ([]UndissectedUse, error) {
	list, _, err := Rows[UndissectedUse](ctx, c, MaxRows, `SELECT coalesce(payload_protocol, '') AS protocol, coalesce(payload_evidence, '') AS evidence, count(*) AS connections, count(DISTINCT dst_ip) AS servers
		FROM `+conns+` WHERE (`+UnknownPayload+`)
		GROUP BY 1, 2 ORDER BY connections DESC, 1, 2`, args...)
	for i := range list {
		if u := &list[i]; u.Protocol != "" {
			u.KFL = fmt.Sprintf("payload_protocol == %s", terms.QuoteKFL(u.Protocol))
		} else {
			u.KFL = `protocol in ["` + strings.Join(table.Undissected, `", "`) + `"] and payload_protocol == nil`
		}
	}
	return list, err
}

// maxLikely is the highest number of protocols that Likely names.
const maxLikely = 6

// Likely names the protocols: "3 ssh", "2 likely mysql, by port".
func Likely(list []UndissectedUse) (names []string) {
	for _, u := range list {
		switch {
		case len(names) == maxLikely:
			return append(names, "…")
		case u.Evidence == "port":
			names = append(names, fmt.Sprintf("%d likely %s, by port", u.Connections, u.Protocol))
		case u.Protocol != "":
			names = append(names, fmt.Sprintf("%d %s", u.Connections, u.Protocol))
		}
	}
	return names
}

// MaxIDs is the highest number of endpoint rows that one name may match.
const MaxIDs = 5000
