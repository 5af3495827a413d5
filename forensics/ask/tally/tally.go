// Package tally counts the contents of a window of a case: protocols, bytes over time, handshakes,
// certificates, flows, events, anomalies. A window's filter selects calls; packets and flows are
// selected by its time alone. Each function returns rows and the SQL behind them, which a person can
// paste into pcapsule sql. It does not repeat counts that a question already gives.
package tally

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// Table is rows with the SQL that returns them.
type Table[T any] struct {
	SQL  string
	Rows []T
}

// mostRows is the row limit of every table.
const mostRows = 200_000

func read[T any](ctx context.Context, c *forensics.Case, sql string, args ...any) (Table[T], error) {
	rows, _, err := ask.Rows[T](ctx, c, mostRows, sql, args...)
	if err != nil {
		return Table[T]{}, err
	}
	return Table[T]{literal(sql, args), rows}, nil
}

// literal writes the values of a query's parameters into it.
func literal(sql string, args []any) string {
	var b strings.Builder
	quote := byte(0)
	for i := range len(sql) {
		switch ch := sql[i]; {
		case quote != 0:
			if ch == quote {
				quote = 0
			}
		case ch == '\'' || ch == '"':
			quote = ch
		case ch == '?' && len(args) > 0:
			b.WriteString(constant(args[0]))
			args = args[1:]
			continue
		}
		b.WriteByte(sql[i])
	}
	return b.String()
}

// constant writes a value in SQL.
func constant(v any) string {
	switch x := v.(type) {
	case string:
		return quote.SQL(x)
	case []byte:
		return fmt.Sprintf("unhex('%x')", x)
	case time.Time:
		return "TIMESTAMP '" + x.UTC().Format("2006-01-02 15:04:05.999999999") + "'"
	case []string:
		list := make([]string, len(x))
		for i, s := range x {
			list[i] = constant(s)
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// calls is SQL for the calls of a window under the name c, as "FROM … c WHERE …".
func calls(w *ask.Window) string {
	if w.KFL != "" { // a filter may use columns of the ends
		return "FROM calls c WHERE " + w.Where
	}
	return "FROM calls_raw c WHERE " + w.Where
}

// during is the SQL condition for rows that last from first_ns to last_ns.
func during(w *ask.Window) string {
	if !w.Asked {
		return "true"
	}
	return fmt.Sprintf("last_ns >= %d AND first_ns <= %d", w.From, w.To)
}

// within is the SQL condition for rows with a time ts_ns.
func within(w *ask.Window, alias string) string {
	if !w.Asked {
		return "true"
	}
	return fmt.Sprintf("%sts_ns BETWEEN %d AND %d", alias, w.From, w.To)
}

// firstCall is the SQL for the id of the first call of a group, from calls AS c.
func firstCall(c *forensics.Case) string {
	return "lower(hex(arg_min(c.call_id, (" + terms.Key(c, "c") + "c.call_no)))) AS first_call"
}

// Counts are the calls of a case.
type Counts struct {
	Calls  int64 `json:"calls"`
	Failed int64 `json:"failed"`
}

// Calls counts all calls, including handshakes and unknown payload.
func Calls(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Counts], error) {
	return read[Counts](ctx, c, "SELECT count(*) AS calls, count(*) FILTER (WHERE failed) AS failed "+calls(w), w.Args...)
}

// Namespace is the name of a Kubernetes namespace.
type Namespace struct {
	Name string `json:"namespace"`
}

// Namespaces returns the namespace with the most endpoints of the case, if any endpoint has one.
func Namespaces(ctx context.Context, c *forensics.Case, _ *ask.Window) (Table[Namespace], error) {
	return read[Namespace](ctx, c, "SELECT namespace FROM endpoints WHERE namespace IS NOT NULL GROUP BY namespace ORDER BY count(*) DESC, namespace LIMIT 1")
}

// Protocol summarizes the calls of one protocol. Times are in microseconds, or null if no call has
// one.
type Protocol struct {
	Protocol string  `json:"protocol"`
	Calls    int64   `json:"calls"`
	Failed   int64   `json:"failed"`
	Bytes    int64   `json:"bytes"`
	Took     []int64 `json:"p50_p90_p99_us"`
	First    string  `json:"first_call"`
}

// Protocols returns the protocols of calls, most calls first.
func Protocols(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Protocol], error) {
	return read[Protocol](ctx, c, `SELECT protocol, count(*) AS calls, count(*) FILTER (WHERE failed) AS failed, sum(request_bytes + response_bytes)::BIGINT AS bytes,
  quantile_disc(`+terms.Took+`, [0.5, 0.9, 0.99]) AS p50_p90_p99_us, `+firstCall(c)+`
`+calls(w)+`
GROUP BY protocol ORDER BY calls DESC, protocol`, w.Args...)
}

// Names summarizes DNS questions of one kind.
type Names struct {
	Variant   string  `json:"variant"`
	Questions int64   `json:"questions"`
	Failed    int64   `json:"failed"`
	Silent    int64   `json:"not_answered"`
	Names     int64   `json:"names"`
	Took      []int64 `json:"p50_p90_p99_us"`
	First     string  `json:"first_call"`
}

// DNS counts DNS questions by kind (dns, mdns, llmnr, nbns), most frequent first.
func DNS(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Names], error) {
	return read[Names](ctx, c, `SELECT coalesce(dns_variant, 'dns') AS variant, count(*) AS questions, count(*) FILTER (WHERE failed) AS failed, count(*) FILTER (WHERE error IS NOT NULL) AS not_answered,
  count(DISTINCT host) AS names, quantile_disc(`+terms.Took+`, [0.5, 0.9, 0.99]) AS p50_p90_p99_us, `+firstCall(c)+`
`+calls(w)+` AND protocol = 'dns'
GROUP BY ALL ORDER BY questions DESC, variant`, w.Args...)
}

// Partial counts the incomplete calls of one protocol with one reason.
type Partial struct {
	Error    string `json:"error"`
	Protocol string `json:"protocol"`
	Calls    int64  `json:"calls"`
	First    string `json:"first_call"`
}

// Incomplete counts the calls whose response is missing or incomplete.
func Incomplete(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Partial], error) {
	return read[Partial](ctx, c, `SELECT error, protocol, count(*) AS calls, `+firstCall(c)+`
`+calls(w)+` AND error IS NOT NULL GROUP BY error, protocol ORDER BY calls DESC, error, protocol LIMIT 40`, w.Args...)
}

// Cited locates the packets of a call: the index of its bundle in the case, and their files and frames.
type Cited struct {
	CallID  string `json:"call_id"`
	Bundle  int64  `json:"bundle"`
	Packets string `json:"packets"`
}

// FlowKey names a flow in a case.
type FlowKey struct {
	Bundle int64 `json:"bundle"`
	ID     int64 `json:"flow_id"`
}

// Spans returns where flows are: the frames from the first to the last packet of each.
func Spans(ctx context.Context, c *forensics.Case, flows []FlowKey) (map[FlowKey]string, error) {
	type span struct {
		FlowKey
		First int64 `json:"first_packet"`
		Last  int64 `json:"last_packet"`
	}
	ids := make([]int64, len(flows))
	for i, f := range flows {
		ids[i] = f.ID
	}
	slices.Sort(ids)
	out := map[FlowKey]string{}
	rows, _, err := ask.Rows[span](ctx, c, mostRows, "SELECT "+terms.BundleOf(c, "")+", flow_id, first_packet, last_packet FROM flows_raw WHERE flow_id IN ("+terms.Numbers(slices.Compact(ids))+")")
	if err != nil {
		return nil, err
	}
	ends := make([][2]forensics.Citation, len(rows))
	for i, r := range rows {
		ends[i] = [2]forensics.Citation{forensics.CitePacket(int(r.Bundle), r.First), forensics.CitePacket(int(r.Bundle), r.Last)}
	}
	texts, err := c.CiteSpans(ctx, ends...)
	for i, text := range texts {
		out[rows[i].FlowKey] = text
	}
	return out, err
}

// CitedCall is what a call was.
type CitedCall struct {
	CallID   string `json:"call_id"`
	Ns       int64  `json:"ts_ns"`
	Protocol string `json:"protocol"`
	Src      string `json:"src"`
	Dst      string `json:"dst"`
	Summary  string `json:"summary"`
	Failed   bool   `json:"failed"`
	Status   string `json:"status"`
	Took     *int64 `json:"took"` // in microseconds
}

// CitedCalls describes calls by their ids, in hex.
func CitedCalls(ctx context.Context, c *forensics.Case, ids []string) (Table[CitedCall], error) {
	return read[CitedCall](ctx, c, "SELECT lower(hex(call_id)) AS call_id, ts_ns, protocol, "+terms.Who("src_")+" AS src, "+terms.Who("dst_")+" AS dst, left(summary, 300) AS summary, failed, CASE WHEN failed THEN "+terms.FailureStatus+" ELSE '' END AS status, "+terms.Took+" AS took FROM calls WHERE call_id IN (SELECT unhex(unnest(string_split(?, ',')))) ORDER BY call_id, ts_ns",
		strings.Join(ids, ","))
}

// Packets returns the packets of calls by their ids, in hex. If several calls have one id, it
// returns the first one in the first bundle.
func Packets(ctx context.Context, c *forensics.Case, ids []string) (map[string]Cited, error) {
	out := map[string]Cited{}
	if len(ids) == 0 {
		return out, nil
	}
	rows, _, err := ask.Rows[Cited](ctx, c, mostRows, "SELECT lower(hex(call_id)) AS call_id, "+terms.BundleOf(c, "")+", "+terms.Cites(c, "")+" AS packets FROM calls_raw WHERE call_id IN (SELECT unhex(unnest(string_split(?, ',')))) ORDER BY bundle, call_no",
		strings.Join(ids, ","))
	for _, r := range rows {
		if _, ok := out[r.CallID]; !ok {
			out[r.CallID] = r
		}
	}
	return out, err
}
