// Package namespaces selects the connections within namespaces: the part of a bundle for people
// with rights in only these namespaces. It reads the tables, and does not check rights.
package namespaces

import (
	"context"
	"maps"
	"strings"

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

// Endpoints lists the endpoints that are in a namespace.
func Endpoints(ctx context.Context, tables map[string][]string) (map[int64]string, error) {
	of := map[int64]string{}
	err := parts.Each(ctx, tables["endpoints"], []string{"endpoint_id", "namespace"}, func(v []any) error {
		id, ok := v[0].(int64)
		if name, in := v[1].(string); ok && in && name != "" {
			of[id] = name
		}
		return nil
	})
	return of, err
}

// Conns lists the connections within the namespaces: at least one end is in one of them, and no end,
// of the connection or of one of its calls, is in another. Tables are those of bundle.TableParts.
func (s Set) Conns(ctx context.Context, tables map[string][]string) (map[int64]bool, error) {
	of, err := Endpoints(ctx, tables)
	if err != nil {
		return nil, err
	}
	in, out := map[int64]bool{}, map[int64]bool{}
	err = EachEnd(ctx, tables, func(conn, end int64) {
		switch namespace, named := of[end]; {
		case !named:
		case s[namespace]:
			in[conn] = true
		default:
			out[conn] = true
		}
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(in, func(conn int64, _ bool) bool { return out[conn] })
	return in, nil
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
