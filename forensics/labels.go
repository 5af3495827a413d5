package forensics

import (
	"container/heap"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// PacketLabel is the comment of every packet of a slice with CallComments. It contains a hash of the inputs, so no
// comment of an input can imitate it.
func (c *Case) PacketLabel() string { return "pcapsule:" + c.id }

// Labels of packets, which follow PacketLabel in a comment of their own.
const (
	LabelMatch       = "match"       // a call that was selected cites it
	LabelFailed      = "failed"      // one of its calls failed
	LabelUndelivered = "undelivered" // the request or the response of one was not delivered
	LabelResent      = "resent"      // segments of one were sent again
)

// NoValue is the comment of a packet without a call, or without a known process.
const NoValue = "-"

const (
	maxLabelText = 200     // bytes of a comment
	maxTold      = 4       // calls of one packet that its comments name; more are counted
	maxOpenCalls = 4096    // calls that cite one packet; more have no label
	maxWaiting   = 1 << 20 // ranges of packets that wait for their packet; later ones have no label
	maxFlowList  = 50_000  // flows that a query names; of more it reads the calls of all flows
)

// sideNames are the columns of both ends of a flow or call.
var sideNames = []string{"src_who", "dst_who", "src_process", "src_pid", "dst_process", "dst_pid"}

// sideSQL lists sideNames of a view, null if a bundle lacks them.
func (c *Case) sideSQL(name, prefix string) string {
	var list []string
	for _, col := range sideNames {
		kind := "VARCHAR"
		if strings.HasSuffix(col, "pid") {
			kind = "BIGINT"
		}
		value := prefix + col
		if v := c.views[name]; v == nil || !v.has(col) {
			value = "NULL"
		}
		list = append(list, value+"::"+kind)
	}
	return strings.Join(list, ", ")
}

// endTexts are the workloads and the processes of both ends, as comments write them.
type endTexts struct{ service, process string }

// readSides reads sideNames from a row.
func readSides(rows *duck.Rows, at int) endTexts {
	process := func(name, pid int) string {
		switch text, id := rows.Text(at+name), rows.Int(at+pid); {
		case text == "":
			return NoValue
		case id == 0:
			return text
		default:
			return text + "[" + strconv.FormatInt(id, 10) + "]"
		}
	}
	both := func(from, to string) string {
		if from == NoValue && to == NoValue {
			return NoValue
		}
		return from + " → " + to
	}
	name := func(i int) string {
		if text := rows.Text(at + i); text != "" {
			return text
		}
		return NoValue
	}
	return endTexts{both(name(0), name(1)), both(process(2, 3), process(4, 5))}
}

// labelledCall is what comments say about a call.
type labelledCall struct {
	endTexts
	call, outcome               string
	failed, undelivered, resent bool
}

// citedRange are packets that a call cites.
type citedRange struct {
	first, last int64
	call        *labelledCall
}

// waitingRanges are ranges by their first packet.
type waitingRanges []citedRange

func (w waitingRanges) Len() int           { return len(w) }
func (w waitingRanges) Less(i, j int) bool { return w[i].first < w[j].first }
func (w waitingRanges) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waitingRanges) Push(x any)        { *w = append(*w, x.(citedRange)) }
func (w *waitingRanges) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

// callsByPacket finds the calls that cite a packet of one bundle. Packets must be asked for in order of their numbers.
type callsByPacket struct {
	label   string
	cited   *numbers
	rows    *duck.Rows
	more    bool
	next    table.Cites // of the call at rows
	waiting waitingRanges
	open    []citedRange // those that have begun
}

// callsByPacket queries the calls of the flows that have marked packets.
func (c *Case) callsByPacket(ctx context.Context, m *marks, b int) (*callsByPacket, error) {
	v := c.views["calls"]
	if v == nil {
		return nil, nil
	}
	one := &m.bundles[b]
	column := func(name, kind string) string {
		if !v.has(name) {
			return "NULL::" + kind
		}
		return quote.Ident(name)
	}
	sql := "SELECT cites, lower(hex(call_id)), protocol, " + column("endpoint", "VARCHAR") + ", outcome, CASE WHEN failed THEN 1 ELSE 0 END::BIGINT, " +
		"coalesce(status_code, -1)::BIGINT, " + column("status_text", "VARCHAR") + ", " + column("request_delivered", "VARCHAR") + ", " + column("response_delivered", "VARCHAR") + ", " +
		"coalesce(" + column("resent_segments", "BIGINT") + ", 0)::BIGINT + coalesce(" + column("response_resent_segments", "BIGINT") + ", 0)::BIGINT, " +
		c.sideSQL("calls", "") + " FROM calls WHERE len(cites) > 0" + c.ofBundle(b)
	var args []any
	if flows := len(one.flows) + len(one.whole); !m.all && flows <= maxFlowList {
		list := slices.AppendSeq(slices.Collect(maps.Keys(one.flows)), maps.Keys(one.whole))
		slices.Sort(list)
		sql, args = sql+" AND flow_id IN (SELECT unnest(?))", append(args, slices.Compact(list))
	}
	columns := slices.Concat([]string{"cites", "call_id", "protocol", "endpoint", "outcome", "failed", "status_code", "status_text", "request_delivered", "response_delivered",
		"resent_segments", "response_resent_segments", "flow_id", "bundle"}, sideNames)
	columns = slices.DeleteFunc(columns, func(name string) bool { return !v.has(name) })
	p := &plan{db: c.db, sel: &selection{view: v}}
	p.names(columns)
	rows, err := c.run(ctx, p, sql+" ORDER BY cites[1].first, call_no", args)
	if err != nil {
		return nil, err
	}
	k := &callsByPacket{label: m.labels, cited: &one.cited, rows: rows}
	return k, k.advance()
}

// advance reads the next call.
func (k *callsByPacket) advance() error {
	if k.more = k.rows.Next(); !k.more {
		return k.rows.Err()
	}
	cites, err := k.rows.Value(0)
	k.next = readRanges(cites)
	return err
}

// call reads the call at rows.
func (k *callsByPacket) call() *labelledCall {
	r := k.rows
	c := &labelledCall{endTexts: readSides(r, 11), failed: r.Int(5) != 0, resent: r.Int(10) > 0}
	c.call = clip.Cut(r.Text(1), 12) + " " + r.Text(2)
	if endpoint := r.Text(3); endpoint != "" && endpoint != r.Text(2) {
		c.call += " " + endpoint
	}
	c.outcome = r.Text(4)
	if code := r.Int(6); code >= 0 {
		c.outcome += " " + strconv.FormatInt(code, 10)
	}
	if text := r.Text(7); text != "" {
		c.outcome += " " + text
	}
	for i, what := range []string{"request", "response"} {
		if r.Text(8+i) == "no" {
			c.undelivered = true
			c.outcome += ", " + what + " not delivered"
		}
	}
	if c.resent {
		c.outcome += ", " + plural.Count(r.Int(10), "segment", "segments") + " resent"
	}
	return c
}

// of returns the calls that cite a packet, in order of their first packets.
func (k *callsByPacket) of(packet int64) ([]*labelledCall, error) {
	for k.more && (len(k.next) == 0 || k.next[0].First <= packet) {
		var call *labelledCall
		for _, r := range k.next {
			if r.Last < packet || len(k.waiting) >= maxWaiting {
				continue
			}
			if call == nil {
				call = k.call()
			}
			heap.Push(&k.waiting, citedRange{r.First, r.Last, call})
		}
		if err := k.advance(); err != nil {
			return nil, err
		}
	}
	k.open = slices.DeleteFunc(k.open, func(r citedRange) bool { return r.last < packet })
	for len(k.waiting) > 0 && k.waiting[0].first <= packet {
		if r := heap.Pop(&k.waiting).(citedRange); r.last >= packet && len(k.open) < maxOpenCalls {
			k.open = append(k.open, r)
		}
	}
	var list []*labelledCall
	for _, r := range k.open {
		if !slices.Contains(list, r.call) {
			list = append(list, r.call)
		}
	}
	return list, nil
}

// comments are the comments of a packet: one for each label, the label alone, and then four: service, process,
// call and outcome. flow are the ends of its flow, for a packet that no call cites.
func (k *callsByPacket) comments(packet int64, flow endTexts) ([]string, error) {
	calls, err := k.of(packet)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{LabelMatch: k.cited.has(packet)}
	var services, processes, told, outcomes []string
	for _, c := range calls {
		has[LabelFailed] = has[LabelFailed] || c.failed
		has[LabelUndelivered] = has[LabelUndelivered] || c.undelivered
		has[LabelResent] = has[LabelResent] || c.resent
		for list, text := range map[*[]string]string{&services: c.service, &processes: c.process} {
			if !slices.Contains(*list, text) {
				*list = append(*list, text)
			}
		}
		told, outcomes = append(told, c.call), append(outcomes, c.outcome)
	}
	if len(calls) == 0 {
		services, processes = []string{flow.service}, []string{flow.process}
	}
	var out []string
	for _, label := range []string{LabelMatch, LabelFailed, LabelUndelivered, LabelResent} {
		if has[label] {
			out = append(out, k.label+" "+label)
		}
	}
	return append(out, k.label, labelText(services), labelText(processes), labelText(told), labelText(outcomes)), nil
}

// labelText joins the values of several calls.
func labelText(list []string) string {
	if len(list) == 0 {
		return NoValue
	}
	more := ""
	if n := len(list); n > maxTold {
		list, more = list[:maxTold], fmt.Sprintf("; %d more", n-maxTold)
	}
	each := (maxLabelText - len(more)) / len(list)
	var out []string
	for _, text := range list {
		out = append(out, clip.Text(strings.Map(visible, text), each))
	}
	return strings.Join(out, "; ") + more
}
