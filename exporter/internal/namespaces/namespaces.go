// Package namespaces selects the connections within namespaces: the part of a bundle for people
// with rights in only these namespaces. It reads the tables, and does not check rights.
package namespaces

import (
	"context"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Set is a set of namespaces; nil is all of them.
type Set map[string]bool

// Of is the set of a list, of which nil is all.
func Of(list []string) Set {
	if list == nil {
		return nil
	}
	s := Set{}
	for _, name := range list {
		s[name] = true
	}
	return s
}

// Visible reports whether a name of this namespace may be shown. What is in no namespace, such as a
// node or an address outside the cluster, may.
func (s Set) Visible(namespace string) bool { return namespace == "" || s[namespace] }

// Comments reports whether the comments of an interface name nothing of another namespace.
func (s Set) Comments(texts []string) bool {
	for _, text := range texts {
		if c, ok := workload.ParseInterfaceComment(text); ok && !s.Visible(c.Identity.Namespace) {
			return false
		}
	}
	return true
}

// End is an endpoint as far as its namespace is concerned.
type End struct {
	Addr      netip.Addr
	Kind      string
	Namespace string // empty: the tables do not name one
	External  bool
}

// Endpoints lists the endpoints by number.
func Endpoints(ctx context.Context, tables map[string][]string) (map[int64]End, error) {
	of := map[int64]End{}
	err := parts.Each(ctx, tables["endpoints"], []string{"endpoint_id", "ip", "kind", "namespace", "external"}, func(v []any) error {
		id, ok := v[0].(int64)
		if !ok {
			return nil
		}
		var e End
		ip, _ := v[1].(string)
		e.Addr, _ = netip.ParseAddr(ip) // a name that is no address may be anybody's
		e.Kind, _ = v[2].(string)
		e.Namespace, _ = v[3].(string)
		e.External, _ = v[4].(bool)
		of[id] = e
		return nil
	})
	return of, err
}

// place is where an end is.
type place int

const (
	nowhere   place = iota // in no namespace: outside the cluster, or a node
	inside                 // in one of the set
	elsewhere              // in another, or perhaps: nobody knows whose address it was
)

// place decides by the end's name, else by what other sources know of its address.
func (s Set) place(e *End, o *bundle.Owners, began int64) place {
	list := []string{e.Namespace}
	if e.Namespace == "" {
		list = o.Of(e.Addr)
	}
	switch {
	case slices.ContainsFunc(list, func(name string) bool { return !s[name] }):
		return elsewhere
	case len(list) > 0:
		return inside
	case e.Kind == "node" || !o.MayOwn(e.Addr, e.External, began):
		return nowhere
	}
	return elsewhere
}

// Conns lists the connections within the namespaces: at least one end is in one of them, and no end, of the connection
// or of one of its calls, is or may be in another. Tables are those of bundle.TableParts.
func (s Set) Conns(ctx context.Context, tables map[string][]string, o *bundle.Owners) (map[int64]bool, error) {
	of, err := Endpoints(ctx, tables)
	if err != nil {
		return nil, err
	}
	var began map[int64]int64 // without a time until which all owners are known, it decides nothing
	if o != nil && o.Until > 0 {
		if began, err = begins(ctx, tables); err != nil {
			return nil, err
		}
	}
	in, out := map[int64]bool{}, map[int64]bool{}
	err = EachEnd(ctx, tables, func(conn, id int64) {
		e, known := of[id]
		at, ok := began[conn]
		if !ok {
			at = math.MaxInt64
		}
		switch at := s.place(&e, o, at); {
		case at == inside:
			in[conn] = true
		case at == elsewhere || !known:
			out[conn] = true
		}
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(in, func(conn int64, _ bool) bool { return out[conn] })
	return in, nil
}

// begins are the times of the first packets of connections, in ns since 1970 UTC.
func begins(ctx context.Context, tables map[string][]string) (map[int64]int64, error) {
	first := map[int64]int64{}
	err := parts.Each(ctx, tables["flows"], []string{"conn_id", "first_ns"}, func(v []any) error {
		conn, ok1 := v[0].(int64)
		at, ok2 := v[1].(int64)
		if old, seen := first[conn]; ok1 && ok2 && (!seen || at < old) {
			first[conn] = at
		}
		return nil
	})
	return first, err
}

// EachEnd visits the ends of connections and of their calls.
func EachEnd(ctx context.Context, tables map[string][]string, visit func(conn, end int64)) error {
	for name, files := range tables {
		if name != "flows" && !IsCalls(name) {
			continue
		}
		err := parts.Each(ctx, files, []string{"conn_id", "src_id", "dst_id"}, func(v []any) error {
			conn, ok := v[0].(int64)
			if !ok {
				return nil
			}
			for _, end := range v[1:] {
				if id, ok := end.(int64); ok {
					visit(conn, id)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// IsCalls reports whether a name of bundle.TableParts is that of a part of table calls, of which each protocol has one.
func IsCalls(name string) bool { return name == "calls" || strings.HasPrefix(name, "calls/") }
