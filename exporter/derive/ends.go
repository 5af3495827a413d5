package derive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/namespaces"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
	bpf "github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Pod is the end of a connection that is a pod.
type Pod struct {
	Namespace, Name string
	Kind, Workload  string // of its topmost owner
	Labels          map[string]string
	Services        []string // in front of it
}

// narrow reduces a choice to the connections of its pods and of packets that match its filter.
func (c *Choice) narrow(ctx context.Context, b *bundle.Bundle, tables map[string][]string) error {
	if c.Pods != nil {
		conns, err := connsOf(ctx, tables, c.Pods)
		if err != nil {
			return err
		}
		c.both(conns)
	}
	if c.Filter != "" {
		conns, err := matching(ctx, b, tables, c.Filter)
		if err != nil {
			return err
		}
		c.both(conns)
	}
	return nil
}

// both reduces a choice to connections.
func (c *Choice) both(conns map[int64]bool) {
	if c.Conns != nil {
		maps.DeleteFunc(conns, func(conn int64, _ bool) bool { return !c.Conns[conn] })
	}
	c.Conns = conns
}

// connsOf lists the connections of which an end, or an end of one of their calls, is an accepted pod.
func connsOf(ctx context.Context, tables map[string][]string, accept func(Pod) bool) (map[int64]bool, error) {
	ids := map[int64]bool{}
	err := parts.Each(ctx, tables["endpoints"], []string{"endpoint_id", "namespace", "pod", "workload_kind", "workload", "labels", "services"}, func(v []any) error {
		p := Pod{Labels: map[string]string{}}
		for i, to := range []*string{&p.Namespace, &p.Name, &p.Kind, &p.Workload} {
			*to, _ = v[i+1].(string)
		}
		labels, _ := v[5].([]table.Pair)
		p.Services, _ = v[6].([]string)
		for _, l := range labels {
			p.Labels[l.Name] = l.Value
		}
		if id, ok := v[0].(int64); ok && p.Name != "" && accept(p) {
			ids[id] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	conns := map[int64]bool{}
	err = namespaces.EachEnd(ctx, tables, func(conn, end int64) {
		if ids[end] {
			conns[conn] = true
		}
	})
	return conns, err
}

// matching lists the connections that have a packet that matches an expression in tcpdump's syntax. An expression that
// cannot be applied to the packets of a link type matches none of these.
func matching(ctx context.Context, b *bundle.Bundle, tables map[string][]string, expr string) (map[int64]bool, error) {
	found := map[int32]map[int64]bool{}
	for i := range b.Manifest.Inputs {
		in := &b.Manifest.Inputs[i]
		list, err := matches(b.Path(in.Path), expr)
		if err != nil {
			return nil, err
		}
		found[in.FileID] = list
	}
	flows := map[int64]bool{}
	err := eachPacket(ctx, tables, func(p *packetRow) {
		if found[p.file][p.index] {
			flows[p.flow] = true
		}
	})
	if err != nil {
		return nil, err
	}
	conns := map[int64]bool{}
	err = parts.Each(ctx, tables["flows"], []string{"flow_id", "conn_id"}, func(v []any) error {
		flow, ok1 := v[0].(int64)
		conn, ok2 := v[1].(int64)
		if ok1 && ok2 && flows[flow] {
			conns[conn] = true
		}
		return nil
	})
	return conns, err
}

// matches lists the packets of a file that match an expression.
func matches(path, expr string) (map[int64]bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		return nil, err
	}
	list := map[int64]bool{}
	programs := map[uint16]*bpf.Program{}
	for b := (pcapng.Batch{}); ; {
		if err := r.Next(&b); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("filtering packets: %w", err)
		}
		for i := range b.Packets {
			p := &b.Packets[i]
			program, seen := programs[p.LinkType]
			if !seen {
				program, _ = bpf.Compile(expr, p.LinkType, 0) // nil if the link type lacks what it needs
				programs[p.LinkType] = program
			}
			if program != nil && program.Match(p.Data, p.OrigLen) {
				list[p.Index] = true
			}
		}
	}
}
