// Package spans gives calls as spans of OpenTelemetry, in the messages of OTLP.
//
// A call is two spans: of kind client at the program that made it, and of kind server, its child, at the one that
// answered. Ids follow from the call's content, so the same call has the same spans in every bundle, and exports of
// different calls fit together. Relations between calls are those of package chain, with their confidence. Texts are
// those of the case, so a masked case gives masked spans.
package spans

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
)

// Limits.
const (
	perMessage = 512     // calls of one message
	maxSteps   = 100_000 // calls that one search for parents remembers
)

// ofCall are the columns of calls that a span needs.
var ofCall = []string{"call_id", "call_no", "ts_ns", "elapsed_us", "waited_us", "protocol", "transport", "endpoint", "method", "host", "path", "query_string", "status_code", "status_text",
	"error", "outcome", "failed", "trace_id", "span_id", "src_ip", "src_port", "dst_ip", "dst_port", "request_body_size", "response_body_size", "decrypted_by", "http1_version", "http2_scheme", "grpc_status", "kafka_topics", "kafka_group"}

// ofEnd are the columns of an end.
var ofEnd = []string{"ip", "name", "kind", "namespace", "pod", "pod_uid", "service", "workload", "workload_kind", "container", "image", "node", "labels", "process", "pid", "exe", "container_id", "dns_name", "hostname"}

// columns are those of a query for spans. Statements have a column for each database.
func columns(c *forensics.Case) []string {
	list := append(slices.Clone(ofCall), bundleColumn(c)...)
	for _, d := range table.Databases() {
		list = append(list, d.Column("query"))
	}
	for _, side := range []string{"src_", "dst_"} {
		for _, name := range ofEnd {
			list = append(list, side+name)
		}
	}
	return list
}

// Each calls f with the spans of the calls that match a query, in the order of their times, some hundred at a time.
// release is the program's. The result says which part of the time was recorded; calls is their number.
func Each(ctx context.Context, c *forensics.Case, q forensics.Query, release string, f func(*tracepb.TracesData) error) (res *forensics.Result, calls int, err error) {
	q.Columns = append([]string{"call_no"}, bundleColumn(c)...)
	var keys []ask.Key
	res, err = c.Each(ctx, q, func([]forensics.Column) error { return nil }, func(cols []forensics.Column, values []any) error {
		if k := rowOf(cols, values).key(); k.No < bundle.FirstOpenCall { // a span is about what has ended
			keys = append(keys, k)
		}
		return nil
	})
	if err != nil {
		return res, 0, err
	}
	e := &export{ctx: ctx, c: c, release: release}
	for some := range slices.Chunk(keys, perMessage) {
		t, err := e.message(some)
		if err == nil {
			err = f(t)
		}
		if err != nil {
			return res, calls, err
		}
		calls += len(some)
	}
	return res, calls, nil
}

func bundleColumn(c *forensics.Case) []string {
	if c.Several() {
		return []string{"bundle"}
	}
	return nil
}

// row is a call with its ends.
type row map[string]any

func rowOf(cols []forensics.Column, values []any) row {
	r := row{}
	for i := range cols {
		r[cols[i].Name] = values[i]
	}
	return r
}

func (r row) text(name string) string { s, _ := r[name].(string); return s }

func (r row) number(name string) (int64, bool) {
	switch v := r[name].(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	}
	return 0, false
}

func (r row) id() string {
	id, _ := r["call_id"].([]byte)
	return hex.EncodeToString(id)
}

func (r row) key() ask.Key {
	no, _ := r.number("call_no")
	bundle, _ := r.number("bundle")
	return ask.Key{Bundle: bundle, No: no}
}

// export is one export.
type export struct {
	ctx     context.Context
	c       *forensics.Case
	release string
	chains  *chain.Builder
}

// read reads calls, in the order of their keys.
func (e *export) read(keys []ask.Key) ([]row, error) {
	found := map[ask.Key]row{}
	err := ask.ByRuns(e.c, keys, func(where string) error {
		q := forensics.Query{SQL: "SELECT " + strings.Join(columns(e.c), ", ") + " FROM calls k WHERE " + where, Named: true}
		_, err := e.c.Each(e.ctx, q, func([]forensics.Column) error { return nil }, func(cols []forensics.Column, values []any) error {
			r := rowOf(cols, values)
			found[r.key()] = r
			return nil
		})
		return err
	})
	var list []row
	for _, key := range keys {
		if r := found[key]; r != nil {
			list = append(list, r)
		}
	}
	return list, err
}

// parents finds the parents of calls, and those of the parents.
func (e *export) parents(keys []ask.Key) error {
	if e.chains == nil || len(e.chains.Steps) > maxSteps {
		k, err := chain.New(e.ctx, e.c.Unmasked()) // only ids and confidences get into spans
		if err != nil {
			return err
		}
		e.chains = k
	}
	found, err := e.chains.Load(keys)
	if err == nil {
		err = e.chains.Above(found)
	}
	if err != nil {
		return fmt.Errorf("finding the parents of calls: %w", err)
	}
	return nil
}

// message makes the spans of some calls.
func (e *export) message(keys []ask.Key) (*tracepb.TracesData, error) {
	list, err := e.read(keys)
	if err == nil {
		err = e.parents(keys)
	}
	if err != nil {
		return nil, err
	}
	g := groups{release: e.release, by: map[string]*tracepb.ScopeSpans{}}
	for _, r := range list {
		x := placeOf(r, e.chains.Steps[r.key()])
		g.add(r, "src_", client(r, &x))
		g.add(r, "dst_", server(r, &x))
	}
	return &g.out, nil
}
