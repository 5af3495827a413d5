package latency

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/internal/stats"
	"github.com/pcapsule/pcapsule/forensics/statements"
	"github.com/pcapsule/pcapsule/internal/when"
)

// SlowQuery is a database statement with its literals replaced.
type SlowQuery struct {
	Dst      string   `json:"dst"`
	Protocol string   `json:"protocol"`
	Text     string   `json:"text" jsonschema:"? stands for a literal; text from the traffic"`
	Calls    int64    `json:"calls"`
	Slow     int64    `json:"slow" jsonschema:"at least min_ms, default 100 ms"`
	Failed   int64    `json:"failed"`
	TotalMs  float64  `json:"total_ms"`
	P50Ms    *float64 `json:"p50_ms,omitempty"`
	P99Ms    *float64 `json:"p99_ms,omitempty"`
	MaxMs    *float64 `json:"max_ms,omitempty"`
	Clients  []string `json:"clients"`
	CallIDs  []string `json:"call_ids" jsonschema:"the slowest three"`
}

// slowQueryMs is the default threshold for a slow database statement, in milliseconds.
const slowQueryMs = 100

// slowQueries lists database statements, most total time first.
func slowQueries(w *ask.Window, ctx context.Context, c *forensics.Case, minMs float64, f *ask.Frame) ([]SlowQuery, error) {
	if minMs == 0 {
		minMs = slowQueryMs
	}
	us := int64(minMs * 1000)
	store := `protocol IN ` + table.ProtocolsIn(func(t *table.Traits) bool { return t.Store })
	text := `CASE WHEN ` + store + ` THEN method ELSE ` + statements.Part("", "query") + ` END`
	statement := `(` + store + ` OR ` + statements.IsStatement + ` AND ` + statements.Part("", "query") + ` IS NOT NULL) AND ` + statements.Accesses
	sql := w.Ends(c, "service") + fmt.Sprintf(`, slow AS (SELECT bn, protocol, %[1]s AS raw, %[2]s AS text, an, `+terms.Took+` AS elapsed_us, failed, call_id, ts_ns FROM x WHERE %[4]s AND `+terms.Took+` >= %[3]d),
		g AS (SELECT bn, protocol, text, count(*) AS slow, list_transform(arg_max(call_id, (elapsed_us, call_id), 3), i -> lower(hex(i))) AS call_ids, list_sort(list(DISTINCT src))[1:5] AS clients FROM slow JOIN sname USING (an) GROUP BY ALL),
		a AS (SELECT bn, protocol, %[2]s AS text, count(*) AS calls, count(*) FILTER (failed) AS failed, sum(elapsed_us)::BIGINT AS total, quantile_disc(elapsed_us, [0.5, 0.99]) AS p, max(elapsed_us) AS top
			FROM (SELECT bn, protocol, %[1]s AS raw, `+terms.Took+` AS elapsed_us, failed FROM x WHERE %[4]s) GROUP BY ALL)
		SELECT coalesce(dst, '') AS dst, protocol, left(text, 400) AS text, calls, slow, failed, total / 1000.0 AS total_ms, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p99_ms, top / 1000.0 AS max_ms, clients, call_ids
		FROM g JOIN a USING (bn, protocol, text) JOIN dname USING (bn) ORDER BY slow DESC, total_ms DESC, 1, 2, 3`, text, fmt.Sprintf(terms.NormalSQL, "raw"), us, statement)
	rows, more, err := ask.Rows[SlowQuery](ctx, c, w.Limit, sql, w.Args...)
	f.Truncated = f.Truncated || more
	return rows, err
}

// Correlation is the correlation of body size and latency at one endpoint.
type Correlation struct {
	Dst      string   `json:"dst"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint"`
	Of       string   `json:"of" jsonschema:"request or response: the side with the body"`
	N        int64    `json:"n"`
	Pearson  *float64 `json:"pearson,omitempty" jsonschema:"linear correlation, -1 to 1"`
	Spearman *float64 `json:"spearman,omitempty" jsonschema:"rank correlation, -1 to 1: whether one grows with the other"`
	Words    string   `json:"words"`
	MsPerMB  *float64 `json:"ms_per_mb,omitempty" jsonschema:"slope of the least-squares line"`
	MinSize  int64    `json:"min_bytes"`
	MaxSize  int64    `json:"max_bytes"`
	KFL      string   `json:"kfl"`
}

// maxRanked is the highest number of calls that are ranked; only the latest are used.
const maxRanked = 400_000

// minPairs is the lowest number of calls for a correlation.
const minPairs = 8

// correlate computes the correlation of body size and latency for each endpoint.
func correlate(w *ask.Window, ctx context.Context, c *forensics.Case, f *ask.Frame) ([]Correlation, error) {
	w, since, err := w.Latest(ctx, c, terms.IsRequest+" AND elapsed_us IS NOT NULL", maxRanked)
	if err != nil {
		return nil, err
	}
	if since != "" {
		f.Note("size: only the latest %d requests, from %s on, were ranked", maxRanked, since)
	}
	known, err := ask.Nodes(ctx, c, "service")
	if err != nil {
		return nil, err
	}
	type row struct {
		Correlation
		Pb     string `json:"pb"`
		Asked  bool   `json:"asked"`
		Method string `json:"method"`
		Path   string `json:"tpl"`
	}
	sql := w.Ends(c, "service") + fmt.Sprintf(`, s AS (SELECT bn, far, protocol, coalesce(method, '') AS method, %s AS tpl, 'request' AS of, request_body_size AS size, elapsed_us, host FROM x WHERE %[2]s AND elapsed_us IS NOT NULL AND request_body_size > 0
			UNION ALL SELECT bn, far, protocol, coalesce(method, '') AS method, %[1]s AS tpl, 'response' AS of, response_body_size AS size, elapsed_us, host FROM x WHERE %[2]s AND elapsed_us IS NOT NULL AND response_body_size > 0),
		r AS (SELECT *, rank() OVER (PARTITION BY bn, far, protocol, method, tpl, of ORDER BY size) + (count(*) OVER (PARTITION BY bn, far, protocol, method, tpl, of, size) - 1) / 2.0 AS rs,
			rank() OVER (PARTITION BY bn, far, protocol, method, tpl, of ORDER BY elapsed_us) + (count(*) OVER (PARTITION BY bn, far, protocol, method, tpl, of, elapsed_us) - 1) / 2.0 AS re FROM s),
		g AS (SELECT bn, far, protocol, method, tpl, of, bool_or(`+terms.Asked+`) AS asked, count(*) AS n, min(size) AS low, max(size) AS high, stddev_pop(size) AS ds, stddev_pop(elapsed_us) AS de,
			covar_pop(size, elapsed_us) AS cov, covar_pop(rs, re) AS rcov, stddev_pop(rs) AS drs, stddev_pop(re) AS dre FROM r GROUP BY ALL HAVING count(*) >= %[3]d)
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, of, n, CASE WHEN ds > 0 AND de > 0 THEN cov / (ds * de) END AS pearson, CASE WHEN drs > 0 AND dre > 0 THEN rcov / (drs * dre) END AS spearman,
			CASE WHEN ds > 0 THEN cov / (ds * ds) * 1000 END AS ms_per_mb, low AS min_bytes, high AS max_bytes FROM g JOIN dname USING (bn)
		ORDER BY (ds > 0) DESC, abs(coalesce(spearman, 0)) DESC, n DESC, 1, 4, 5, 6, 7`, terms.PathTemplate, terms.IsRequest, minPairs)
	rows, more, err := ask.Rows[row](ctx, c, w.Limit, sql, w.Args...)
	f.Truncated = f.Truncated || more
	out := make([]Correlation, len(rows))
	for i, r := range rows {
		r.Endpoint = ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		r.KFL = ask.DstKFL(r.Dst, r.Pb, r.Asked, known) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path) + fmt.Sprintf(" and %s_body_size > 0 and elapsed_us", r.Of)
		for _, p := range []*float64{r.Pearson, r.Spearman, r.MsPerMB} {
			if p != nil {
				*p = ask.Round(*p)
			}
		}
		r.Words = correlationWords(r.Of, r.Spearman, r.N)
		out[i] = r.Correlation
	}
	return out, err
}

// noCorrelation bounds the rank correlations that matter: if the interval lies within, none was seen.
const noCorrelation = 0.3

// correlationWords describes a rank correlation of n pairs with its interval.
func correlationWords(of string, rho *float64, n int64) string {
	if rho == nil {
		return "all sizes or all times are equal, so there is no correlation"
	}
	r, v := math.Abs(*rho), stats.Correlation(*rho, n)
	interval := fmt.Sprintf(" (%s, 95 %% interval %s to %s)", hundredths(*rho), hundredths(v.Low), hundredths(v.High))
	way := "longer"
	if *rho < 0 {
		way = "shorter"
	}
	switch {
	case v.Low <= 0 && v.High >= 0 && v.Within(-noCorrelation, noCorrelation):
		return "no correlation seen" + interval
	case v.Low <= 0 && v.High >= 0:
		return "too few calls to be sure of a correlation" + interval
	case r < 0.3:
		return fmt.Sprintf("weak correlation: larger %ss take slightly %s", of, way) + interval
	case r < 0.6:
		return fmt.Sprintf("moderate correlation: larger %ss usually take %s", of, way) + interval
	}
	return fmt.Sprintf("strong correlation: larger %ss take %s", of, way) + interval
}

// hundredths writes a number with up to two decimal places.
func hundredths(v float64) string {
	return strconv.FormatFloat(math.Round(100*v)/100+0, 'f', -1, 64)
}

// Replicas is the load across the pods of a service.
type Replicas struct {
	Service  string    `json:"service"`
	Calls    int64     `json:"calls"`
	Pods     []PodLoad `json:"pods"`
	Balanced string    `json:"balanced" jsonschema:"yes, no, one_replica, or unknown: too few calls to be sure"`
	Words    string    `json:"words"`
	ChiSq    float64   `json:"chi_square,omitempty" jsonschema:"test for an even distribution"`
	P        *float64  `json:"p,omitempty" jsonschema:"probability of such a distribution by chance; calls on kept-alive connections come in runs, so the significance is overstated"`
	MaxShare float64   `json:"max_share"`
}

// PodLoad is the load of one pod.
type PodLoad struct {
	Pod         string   `json:"pod"`
	Calls       int64    `json:"calls"`
	Share       float64  `json:"share"`
	Connections int64    `json:"connections"`
	Failed      int64    `json:"failed"`
	P50Ms       *float64 `json:"p50_ms,omitempty"`
	P99Ms       *float64 `json:"p99_ms,omitempty"`
	KFL         string   `json:"kfl"`
}

// unevenShare is the lowest ratio of the busiest pod's share to an even share at which a service
// counts as unbalanced.
const unevenShare = 1.25

// enoughEach is the number of calls that each pod should have for the chi-square test.
const enoughEach = 5

// replicas compares the pods of each service.
func replicas(w *ask.Window, ctx context.Context, c *forensics.Case, f *ask.Frame) ([]Replicas, error) {
	type row struct {
		Service string `json:"service"`
		Pod     string `json:"pod"`
		Space   string `json:"space"`
		PodLoad
	}
	rows, _, err := ask.Rows[row](ctx, c, ask.MaxEdges, fmt.Sprintf(`WITH g AS (SELECT dst_id, %[1]s conn, count(*) AS calls, count(*) FILTER (failed) AS failed FROM %[7]s WHERE %[3]s AND %[4]s GROUP BY ALL),
		t AS (SELECT dst_pod AS its_pod, dst_namespace AS its_space, quantile_disc(`+terms.Took+`, [0.5, 0.99]) AS q FROM %[2]s WHERE %[3]s AND %[4]s AND dst_pod IS NOT NULL GROUP BY ALL)
		SELECT %[5]s AS service, e.pod AS pod, coalesce(namespace, '') AS space, sum(calls)::BIGINT AS calls, count(DISTINCT conn) AS connections, sum(failed)::BIGINT AS failed, any_value(q[1]) / 1000.0 AS p50_ms, any_value(q[2]) / 1000.0 AS p99_ms
		FROM g JOIN (SELECT * FROM endpoints WHERE pod IS NOT NULL) e ON e.endpoint_id = g.dst_id %[6]s JOIN t ON its_pod = e.pod AND its_space IS NOT DISTINCT FROM e.namespace GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2`,
		terms.Key(c, ""), "calls", w.Where, terms.IsRequest, terms.Who(""), map[bool]string{true: "AND e.bundle = g.bundle"}[c.Several()], ask.Joined(c, "calls")), w.Values(w.Args...)...)
	if err != nil {
		return nil, err
	}
	var out []Replicas
	for i := range rows {
		r := &rows[i]
		if len(out) == 0 || out[len(out)-1].Service != r.Service {
			out = append(out, Replicas{Service: r.Service})
		}
		s := &out[len(out)-1]
		r.PodLoad.Pod, r.KFL = r.Pod, "dst.pod == "+terms.QuoteKFL(r.Pod)+terms.NotCarriers
		if r.Space != "" {
			r.KFL = "dst.namespace == " + terms.QuoteKFL(r.Space) + " and " + r.KFL
		}
		s.Pods = append(s.Pods, r.PodLoad)
		s.Calls += r.Calls
	}
	for i := range out {
		out[i].judge()
	}
	sortReplicas(out)
	if len(out) == 0 {
		f.Note("replicas: no call was answered by a pod with a known name")
	}
	return append([]Replicas{}, out...), nil
}

// judge tests whether the calls are evenly distributed.
func (r *Replicas) judge() {
	k := len(r.Pods)
	even := float64(r.Calls) / float64(k)
	for i := range r.Pods {
		p := &r.Pods[i]
		p.Share = ask.Share(p.Calls, r.Calls)
		r.MaxShare = max(r.MaxShare, p.Share)
		r.ChiSq += (float64(p.Calls) - even) * (float64(p.Calls) - even) / even
	}
	r.ChiSq = ask.Round(r.ChiSq)
	if k == 1 {
		r.Balanced, r.Words, r.ChiSq = "one_replica", "one pod answered all calls", 0
		return
	}
	p := ask.Round(stats.ChiSquare(r.ChiSq, k-1))
	r.P = &p
	top := float64(r.Pods[0].Calls) / even
	v := stats.Share(float64(r.Pods[0].Calls), float64(r.Calls))
	share := fmt.Sprintf("%.0f %% of the calls (95 %% interval %.0f to %.0f %%); an even share is %.0f %%", 100*r.MaxShare, 100*v.Low, 100*v.High, 100/float64(k))
	switch double := min(2/float64(k), (1+1/float64(k))/2); { // with two pods, halfway to all calls
	case top >= unevenShare && (p < 0.01 && even >= enoughEach || v.Low > 1/float64(k)):
		r.Balanced, r.Words = "no", r.Pods[0].Pod+" has "+share
	case v.High < double:
		r.Balanced, r.Words = "yes", fmt.Sprintf("the busiest of %d pods has ", k)+share
	default:
		r.Balanced, r.Words = "unknown", fmt.Sprintf("the busiest of %d pods has ", k)+share+": too few calls to be sure"
	}
}

// Step is one time step of a series.
type Step struct {
	From   string   `json:"from"`
	Calls  int64    `json:"calls"`
	Failed int64    `json:"failed"`
	P50Ms  *float64 `json:"p50_ms,omitempty"`
	P99Ms  *float64 `json:"p99_ms,omitempty"`
}

// maxSteps is the highest number of steps in a time series.
const maxSteps = 200

// bucket parses the length of a step; the default is a fiftieth of the window.
func bucket(w *ask.Window, text string) (int64, error) {
	span := w.To - w.From + 1
	if text == "" {
		return max(1, (span+49)/50), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, ask.Malformed("bucket", "a duration such as 1m", text)
	}
	if span/int64(d) >= maxSteps {
		return 0, ask.Wrong("bucket", "%s divides this window into %d steps; at most %d are allowed", d, span/int64(d)+1, maxSteps)
	}
	return int64(d), nil
}

// series lists calls and latency by step, including steps without calls.
func series(w *ask.Window, ctx context.Context, c *forensics.Case, step int64, f *ask.Frame) ([]Step, error) {
	type row struct {
		No int64 `json:"no"`
		Step
	}
	rows, _, err := ask.Rows[row](ctx, c, maxSteps+1, fmt.Sprintf(`SELECT no, calls, failed, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p99_ms FROM (SELECT (ts_ns - %d) // %d AS no, count(*) AS calls, count(*) FILTER (failed) AS failed, quantile_disc(`+terms.Took+`, [0.5, 0.99]) AS p
		FROM %s WHERE %s AND %s GROUP BY 1) ORDER BY 1`, w.From, step, "calls", w.Where, terms.IsRequest), w.Args...)
	if err != nil || len(rows) == 0 {
		return []Step{}, err
	}
	var out []Step
	at := 0
	for no := int64(0); w.From+no*step <= w.To && no <= maxSteps; no++ {
		s := Step{}
		if at < len(rows) && rows[at].No == no {
			s = rows[at].Step
			at++
		}
		s.From = when.Stamp(w.From + no*step)
		out = append(out, s)
	}
	f.Note("series: steps of %s", time.Duration(step))
	return out, nil
}
