package reader

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/internal/cite"
	"github.com/pcapsule/pcapsule/forensics/shown"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/kfl"
)

// object is an answer, or a part of one.
type object map[string]any

// put adds a member with a value, unless it is empty.
func (o object) put(name string, v any) {
	switch v := v.(type) {
	case nil:
		return
	case string:
		if v == "" {
			return
		}
	case int64:
		if v == 0 {
			return
		}
	}
	o[name] = v
}

// number adds a member that is a number, if there is one.
func (o object) number(name string, v any) {
	if n, ok := v.(int64); ok {
		o[name] = n
	}
}

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int64 { n, _ := v.(int64); return n }

// listed are the columns of calls in a list.
var listed = strings.Fields(`call_id ts_ns src_ip src_port src_pod src_namespace src_service src_node src_name dst_ip dst_port dst_pod dst_namespace dst_service dst_node dst_name
	protocol method path status_code error elapsed_us conn_id flow_id headers request_bytes response_bytes summary failed outcome cites call_no`)

// orders compare calls. Calls without the value are last.
var orders = map[string]struct {
	column string
	desc   bool
}{"newest": {"ts_ns", true}, "slowest": {"elapsed_us", true}, "fastest": {"elapsed_us", false}, "largest": {"response_bytes", true}}

// listCalls answers /mcp/calls.
func (r *Reader) listCalls(q query) (any, error) {
	from, to := q.number("start")*int64(time.Millisecond), q.number("end")*int64(time.Millisecond)
	list, err := r.selected(q.text("kfl"), cmp.Or(from, math.MinInt64), cmp.Or(to, math.MaxInt64))
	if err != nil {
		return nil, err
	}
	if err := r.load(listed...); err != nil {
		return nil, err
	}
	if o, ok := orders[q.text("order")]; ok {
		sortBy(list, o.column, o.desc)
	}
	limit, at := q.limit(), 0
	if c := q.text("cursor"); c != "" {
		if at, err = strconv.Atoi(c); err != nil || at < 0 || at > len(list) {
			return nil, badRequest("cursor: is not of this question")
		}
	}
	coverage, err := r.coverage(from, to)
	if err != nil {
		return nil, err
	}
	out := object{"total": int64(len(list)), "truncated": at+limit < len(list), "coverage": ask.CoverageOf(coverage)}
	if at+limit < len(list) {
		out["next_cursor"] = strconv.Itoa(at + limit)
	}
	calls := []object{}
	for _, p := range list[at:min(at+limit, len(list))] {
		c, err := r.listedCall(p, q.text("format"))
		if err != nil {
			return nil, err
		}
		calls = append(calls, c)
	}
	out["calls"] = calls
	return out, nil
}

func sortBy(list []place, column string, desc bool) {
	sign := 1
	if desc {
		sign = -1
	}
	slices.SortStableFunc(list, func(a, b place) int {
		x, okX := a.of.at(column, a.row).(int64)
		y, okY := b.of.at(column, b.row).(int64)
		switch {
		case okX && okY:
			if less := sign * cmp.Compare(x, y); less != 0 || column != "ts_ns" {
				return less
			}
			return sign * cmp.Compare(a.of.int("call_no", a.row), b.of.int("call_no", b.row))
		case okX:
			return -1
		case okY:
			return 1
		}
		return 0
	})
}

func (r *Reader) listedCall(p place, format string) (object, error) {
	value := func(name string) any { return r.value(p, name) }
	packets, err := r.cite(citesOf(p.of.at("cites", p.row)))
	if err != nil {
		return nil, err
	}
	failed, _ := value("failed").(bool)
	c := object{"id": hexOf(value("call_id")), "ts": number(value("ts_ns")) / int64(time.Millisecond), "src": end(value, "src_"), "dst": end(value, "dst_"), "proto": text(value("protocol")),
		"failed": failed, "packets": packets}
	c.put("method", text(value("method")))
	c.put("path", ask.Clip(text(value("path")), shown.MaxCell))
	c.put("error", text(value("error")))
	c.put("outcome", text(value("outcome")))
	c.number("status", value("status_code"))
	if us, ok := value("elapsed_us").(int64); ok {
		c["latency_ms"] = float64(us) / 1000
	}
	if format != "full" && format != "list" {
		return c, nil
	}
	c.number("conn_id", value("conn_id"))
	c.number("flow_id", value("flow_id"))
	c.number("req_size", value("request_bytes"))
	c.number("resp_size", value("response_bytes"))
	c.put("summary", ask.Clip(text(value("summary")), 300))
	if format == "list" {
		return c, nil
	}
	var headers []object
	list, _ := value("headers").([]any)
	for _, x := range list {
		if h, ok := x.(forensics.Struct); ok {
			headers = append(headers, object{"name": text(h.Get("name")), "value": ask.Clip(text(h.Get("value")), shown.MaxCell), "kind": text(h.Get("kind"))})
		}
	}
	if headers != nil {
		c["headers"] = headers
	}
	return c, nil
}

// end is one end of a call or flow.
func end(value func(name string) any, side string) object {
	e := object{"ip": text(value(side + "ip"))}
	e.put("port", number(value(side+"port")))
	for name, column := range map[string]string{"pod": "pod", "ns": "namespace", "svc": "service", "node": "node", "name": "name"} {
		e.put(name, text(value(side+column)))
	}
	return e
}

// between is the time of a chart: from and to in milliseconds, both inclusive.
func (r *Reader) between(q query) (from, to int64, err error) {
	from, to, _ = r.window()
	start, stop := q.number("start"), q.number("end")
	if start != 0 {
		from = start * int64(time.Millisecond)
	}
	if stop != 0 {
		to = (stop+1)*int64(time.Millisecond) - 1
	}
	switch {
	case from <= to:
	case stop == 0:
		to = from
	case start == 0:
		from = to
	default:
		return 0, 0, badRequest("from must not be after to")
	}
	return from, to, nil
}

// charted lists the calls of a chart, with its time.
func (r *Reader) charted(q query, columns ...string) (list []place, from, to int64, err error) {
	if from, to, err = r.between(q); err != nil {
		return nil, 0, 0, err
	}
	since, until := int64(math.MinInt64), int64(math.MaxInt64)
	if q.number("start") != 0 {
		since = from
	}
	if q.number("end") != 0 {
		until = to
	}
	if list, err = r.selected(q.text("kfl"), since, until); err == nil {
		err = r.load(append(columns, "failed", "elapsed_us")...)
	}
	return list, from, to, err
}

// tally counts calls.
type tally struct {
	calls, failed int64
	took          []int64
	first, last   int64
}

func (t *tally) add(p place) {
	ns := p.of.int("ts_ns", p.row)
	if t.calls == 0 {
		t.first = ns
	}
	t.last = ns
	t.calls++
	if p.of.at("failed", p.row) == true {
		t.failed++
	}
	if us, ok := p.of.at("elapsed_us", p.row).(int64); ok {
		t.took = append(t.took, us)
	}
}

// into writes the counts; quantiles are values that occurred.
func (t *tally) into(o object) object {
	slices.Sort(t.took)
	o["calls"], o["failed"], o["p50_ms"], o["p99_ms"] = t.calls, t.failed, nil, nil
	if n := len(t.took); n > 0 {
		o["p50_ms"], o["p99_ms"] = float64(t.took[max(1, n-n/2)-1])/1000, float64(t.took[max(1, n-n/100)-1])/1000
	}
	return o
}

func millis(ns int64) float64 { return float64(ns) / 1e6 }

// buckets answers /mcp/calls/buckets.
func (r *Reader) buckets(q query) (any, error) {
	list, from, to, err := r.charted(q)
	if err != nil {
		return nil, err
	}
	each := max(1, (to-from)/cmp.Or(q.number("steps"), 120)+1)
	of := map[int64]*tally{}
	var calls, failed int64
	for _, p := range list {
		no := floorDiv(p.of.int("ts_ns", p.row)-from, each)
		if of[no] == nil {
			of[no] = &tally{}
		}
		of[no].add(p)
	}
	buckets := []object{}
	for _, no := range slices.Sorted(maps.Keys(of)) {
		calls, failed = calls+of[no].calls, failed+of[no].failed
		buckets = append(buckets, of[no].into(object{"no": no}))
	}
	coverage, err := r.coverage(from, to)
	if err != nil {
		return nil, err
	}
	gaps := []object{}
	for _, h := range coverage.Holes {
		g := object{"from_ms": millis(h.From), "to_ms": millis(h.To), "reason": h.Reason}
		g.put("packets", h.Packets)
		g.put("source", h.Source)
		gaps = append(gaps, g)
	}
	return object{"from_ms": millis(from), "to_ms": millis(to), "length_ms": millis(each), "buckets": buckets, "calls": calls, "failed": failed, "gaps": gaps, "coverage": ask.CoverageOf(coverage)}, nil
}

func floorDiv(a, b int64) int64 {
	if a < 0 && a%b != 0 {
		return a/b - 1
	}
	return a / b
}

// groups answers /mcp/calls/groups.
func (r *Reader) groups(q query) (any, error) {
	by := cmp.Or(q.text("by"), "to")
	field, err := ask.GroupingBy(by)
	if err != nil {
		return nil, badRequest(err.Error())
	}
	list, from, to, err := r.charted(q, field.Column)
	if err != nil {
		return nil, err
	}
	of, shown := map[string]*tally{}, map[string]string{}
	for _, p := range list {
		value := ""
		if v := r.raw(p, field.Column); v != nil {
			value = fmt.Sprint(v)
		}
		if of[value] == nil {
			of[value] = &tally{}
			shown[value] = value
			if masked, ok := r.value(p, field.Column).(string); ok {
				shown[value] = masked
			}
		}
		of[value].add(p)
	}
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(cmp.Compare(of[b].calls, of[a].calls), cmp.Compare(a, b)) })
	limit := q.limit()
	groups := []object{}
	for _, value := range names[:min(limit, len(names))] {
		t := of[value]
		g := object{"value": shown[value], "first": when.Stamp(t.first), "last": when.Stamp(t.last)}
		g.put("kfl", field.KFL(shown[value]))
		groups = append(groups, t.into(g))
	}
	coverage, err := r.coverage(from, to)
	return object{"by": by, "groups": groups, "truncated": len(names) > limit, "coverage": ask.CoverageOf(coverage)}, err
}

// flows answers /mcp/flows: one flow of each connection, the largest first.
func (r *Reader) flows(q query) (any, error) {
	t, err := r.table("flows", "flow_id")
	if err == nil {
		err = t.load(t.names()...)
	}
	if err != nil {
		return nil, err
	}
	conns, err := r.table("connections", "conn_id")
	if err == nil {
		err = conns.load("flow_id")
	}
	if err != nil {
		return nil, err
	}
	once := map[int64]bool{}
	for row := range conns.rows {
		once[conns.int("flow_id", row)] = true
	}
	var rows []int
	value := func(row int) func(name string) any {
		p := place{t, row}
		return func(name string) any { return r.value(p, name) }
	}
	for row := range t.rows {
		v := value(row)
		if !once[t.int("flow_id", row)] || q.text("l4proto") != "" && v("transport") != q.text("l4proto") || q.text("ip") != "" && v("src_ip") != q.text("ip") && v("dst_ip") != q.text("ip") {
			continue
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b int) int {
		return cmp.Or(cmp.Compare(t.int("src_bytes", b)+t.int("dst_bytes", b), t.int("src_bytes", a)+t.int("dst_bytes", a)), cmp.Compare(t.int("flow_id", a), t.int("flow_id", b)))
	})
	limit := q.limit()
	list := []object{}
	for _, row := range rows[:min(limit, len(rows))] {
		v := value(row)
		n := func(name string) int64 { return number(v(name)) }
		client, server := end(v, "src_"), end(v, "dst_")
		delete(client, "port") // it is ephemeral
		stats := func(members ...any) object {
			o := object{}
			for i := 0; i < len(members); i += 2 {
				o.put(members[i].(string), members[i+1])
			}
			return o
		}
		mine := stats("tx_pkts", n("src_packets"), "rx_pkts", n("dst_packets"), "tx_bytes", n("src_bytes"), "rx_bytes", n("dst_bytes"))
		mine.number("tcp_handshake_us", v("handshake_us"))
		mine.number("retransmissions", v("retransmissions"))
		f := object{"proto": text(v("transport")), "client": client, "server": server, "client_stats": mine,
			"server_stats": stats("tx_pkts", n("dst_packets"), "rx_pkts", n("src_packets"), "tx_bytes", n("dst_bytes"), "rx_bytes", n("src_bytes")),
			"totals":       stats("pkts", n("src_packets")+n("dst_packets"), "bytes", n("src_bytes")+n("dst_bytes")),
			"flow_id":      n("flow_id"), "first_ts": n("first_ns") / int64(time.Millisecond), "last_ts": n("last_ns") / int64(time.Millisecond)}
		f.put("state", text(v("state")))
		list = append(list, f)
	}
	coverage, err := r.coverage(0, 0)
	return object{"flows": list, "total": int64(len(rows)), "truncated": len(rows) > limit, "coverage": ask.CoverageOf(coverage)}, err
}

// completions answers /mcp/kfl/complete.
func (r *Reader) completions(q query) (any, error) {
	at := len(q.text("text"))
	if q.text("pos") != "" {
		at = int(q.number("pos"))
	}
	list := []object{}
	for _, c := range kfl.CompleteIn(q.text("text"), at, r.env) {
		if len(list) == 50 {
			break
		}
		o := object{"text": c.Text, "kind": c.Kind, "start": c.Start, "end": c.End}
		o.put("doc", ask.Clip(c.Doc, 200))
		list = append(list, o)
	}
	return object{"completions": list}, nil
}

// cite writes packets as files and frames.
func (r *Reader) cite(list []citeRange) (string, error) {
	p, err := r.packetTable()
	if err != nil {
		return "", err
	}
	var out []cite.Frames
	for _, c := range list {
		out = append(out, cite.Of(p.runs, c.First, c.Last, p.labels)...)
	}
	return cite.Text(cite.Join(out)), nil
}
