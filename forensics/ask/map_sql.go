package ask

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/pcapsule/pcapsule/forensics"
)

// carriers are the protocols whose rows are no requests of an application: handshakes,
// and payload that no dissector knows.
const carriers = `('tls', 'dtls', 'quic', 'tcp', 'udp')`

// isRequest is the SQL for a call that an application made.
const isRequest = `(protocol NOT IN ` + carriers + `)`

// notCarriers is the same as an end of a KFL condition.
const notCarriers = ` and protocol not in ["tls", "dtls", "quic", "tcp", "udp"]`

// Where an end of a call stands.
const (
	inside  = "inside"
	outside = "outside"
)

// place is the SQL for where one end, "src_" or "dst_", stands: inside where it is known
// who it is, outside where its address is public and nobody of ours has it, else unknown.
func place(p string) string {
	return fmt.Sprintf(`(CASE WHEN %[1]skind IN ('pod', 'service', 'node', 'process') OR %[1]skind = 'host' AND NOT %[1]sexternal THEN 'inside'
		WHEN %[1]sexternal THEN 'outside' ELSE 'unknown' END)`, p)
}

// nameless is the SQL for an end outside that nothing names.
func nameless(p string) string {
	return fmt.Sprintf(`(%[1]skind = 'outside' AND coalesce(%[1]sdns_name, %[1]shostname) IS NULL)`, p)
}

// level is the SQL for which column gave who(p) its name.
func level(p string) string {
	return fmt.Sprintf(`(CASE WHEN %[1]sexternal AND %[1]sservice IS NULL THEN CASE WHEN %[1]sdns_name IS NOT NULL THEN 'dns_name' WHEN %[1]shostname IS NOT NULL THEN 'hostname' ELSE 'name' END
		WHEN %[1]sservice IS NOT NULL THEN 'service' WHEN %[1]sworkload IS NOT NULL THEN 'workload' WHEN %[1]spod IS NOT NULL THEN 'pod' ELSE 'name' END)`, p)
}

// whoKFL is the KFL for one end, "src" or "dst", being what who calls name; levels are
// what level gave for it, joined with commas.
func whoKFL(side, name, levels string) string {
	var any []string
	for _, l := range strings.Split(levels, ",") {
		any = append(any, levelKFL(side, name, l))
	}
	slices.Sort(any)
	any = slices.Compact(any)
	if len(any) == 1 {
		return any[0]
	}
	return "((" + strings.Join(any, ") or (") + "))"
}

func levelKFL(side, name, level string) string {
	ns, rest, ok := strings.Cut(name, "/")
	if !ok {
		ns, rest = "", name
	}
	var b strings.Builder
	field := map[string]string{"service": "service", "workload": "workload", "pod": "pod", "name": "name", "dns_name": "dns", "hostname": "hostname"}[level]
	switch level {
	case "dns_name":
		fmt.Fprintf(&b, "%[1]s.external and !%[1]s.service and ", side)
	case "hostname":
		fmt.Fprintf(&b, "%[1]s.external and !%[1]s.service and !%[1]s.dns and ", side)
	case "workload":
		fmt.Fprintf(&b, "!%s.service and ", side)
	case "pod":
		fmt.Fprintf(&b, "!%[1]s.service and !%[1]s.workload and ", side)
	}
	if ok {
		fmt.Fprintf(&b, "%s.namespace == %s and ", side, quoteKFL(ns))
	} else if level == "service" || level == "workload" || level == "pod" {
		fmt.Fprintf(&b, "!%s.namespace and ", side)
	}
	if _, err := netip.ParseAddr(rest); err == nil && level == "name" {
		field = "ip"
	}
	fmt.Fprintf(&b, "%s.%s == %s", side, field, quoteKFL(rest))
	return b.String()
}

func quoteKFL(s string) string { return strconv.Quote(s) }

// endpointKFL is the KFL for calls whose endpoint is method and path, each empty where
// the endpoint has none, at a protocol.
func endpointKFL(protocol, method, path string) string {
	name := method
	switch {
	case path != "" && method != "":
		name = method + " " + path
	case path != "":
		name = path
	case method == "":
		name = protocol
	}
	if slices.Contains([]string{"http1", "http2", "http3", "grpc", "dns", "redis", "postgresql"}, protocol) {
		return protocol + " and endpoint == " + quoteKFL(name)
	}
	return "protocol == " + quoteKFL(protocol) + " and endpoint == " + quoteKFL(name)
}

// pathTemplate is the SQL for the path of an endpoint, empty where there is none.
const pathTemplate = `(CASE WHEN path IS NULL THEN '' WHEN method IS NULL THEN endpoint ELSE substr(endpoint, length(method) + 2) END)`

// overlapping says that bundles of the case share some time.
func overlapping(c *forensics.Case) bool {
	type span struct{ from, to int64 }
	var spans []span
	for _, b := range c.Bundles() {
		if w := b.Manifest.Window; w.FirstNs != nil && w.LastNs != nil {
			spans = append(spans, span{int64(*w.FirstNs), int64(*w.LastNs)})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from <= spans[i-1].to {
			return true
		}
		spans[i].to = max(spans[i].to, spans[i-1].to)
	}
	return false
}

// several is a case, as far as SQL depends on it: whether it has several bundles, whose rows
// have a column bundle.
type several interface{ Several() bool }

// key is SQL columns that name a row of calls or of another table beside its number:
// "bundle, " where the case has several.
func key(c several, alias string) string {
	if !c.Several() {
		return ""
	}
	if alias != "" {
		alias += "."
	}
	return alias + "bundle, "
}

// numberOf is SQL for one number that names a row of calls in the case.
func numberOf(c several) string {
	if c.Several() {
		return "(bundle::BIGINT * 4398046511104 + call_no)"
	}
	return "call_no"
}

// fault is the SQL for a failed call that is not its caller's doing.
const fault = `(outcome IN ('server_error', 'refused', 'no_answer'))`

// connections is the condition on rows of connections, and its arguments, that they are
// of the window, and where a condition was asked for or w.and was called, that they
// carried such calls.
func (w *window) connections(c *forensics.Case, narrowed bool) (string, []any) {
	cond, args := "first_ns <= ? AND last_ns >= ?", []any{w.to, w.from}
	if w.kfl != "" || narrowed {
		cols := key(c, "") + "conn_id"
		cond += fmt.Sprintf(" AND (%s) IN (SELECT (%s) FROM calls WHERE %s)", cols, cols, w.where)
		args = append(args, w.args...)
	}
	if overlapping(c) { // a connection that several bundles hold counts once
		cond += ` AND (bundle, conn_id) IN (SELECT (b, n) FROM (SELECT min(bundle) AS b, arg_min(conn_id, bundle) AS n FROM connections_raw GROUP BY transport, src_ip, src_port, dst_ip, dst_port, first_ns))`
	}
	return cond, args
}

// table is the table with the window's calls.
func (w *window) table() string {
	if w.kept != "" {
		return w.kept
	}
	return "calls"
}

// latest narrows a window with very many calls of a kind to about the last most of them,
// for what must compare calls with one another. It says from when.
func (w *window) latest(ctx context.Context, c *forensics.Case, kind string, most int64) (*window, string, error) {
	n, err := count(ctx, c, "SELECT count(*) AS n FROM "+w.table()+" WHERE "+w.where+" AND "+kind, w.args...)
	if err != nil || n <= most {
		return w, "", err
	}
	at, err := count(ctx, c, fmt.Sprintf("SELECT quantile_disc(ts_ns, %.6f) AS n FROM %s WHERE %s AND %s", 1-float64(most)/float64(n), w.table(), w.where, kind), w.args...)
	if err != nil {
		return nil, "", err
	}
	cut := *w
	cut.args = w.values()
	cut.and("ts_ns >= ?", at)
	cut.from, cut.asked = at, true
	return &cut, stamp(at), nil
}

// domain gives the registrable domain of a name, or the name where it has none.
func domain(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return d
	}
	return name
}

// round3 cuts floating noise from a number.
func round3(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Round(x*1000) / 1000
}

// share is a part of a whole, three digits.
func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return round3(float64(part) / float64(whole))
}

// fitRows cuts a list to the room that an answer has for it, where parts lists share the
// room. A limit above the default makes the room larger.
func fitRows[T any](w *window, out *Frame, list []T, parts int) []T {
	if len(list) > w.limit {
		list, out.Truncated = list[:w.limit], true
	}
	room := defaultBytes * max(1, w.limit/defaultRows) / parts
	for i, v := range list {
		text, err := json.Marshal(v)
		if err != nil || room < len(text) && i > 0 {
			out.Truncated = true
			return list[:i]
		}
		room -= len(text)
	}
	return list
}

// count asks for one number.
func count(ctx context.Context, c *forensics.Case, sql string, args ...any) (int64, error) {
	v, err := readOne[struct {
		N int64 `json:"n"`
	}](ctx, c, sql, args...)
	return v.N, err
}
