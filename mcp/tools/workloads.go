package tools

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/mcp/store"
)

var (
	toolListWorkloads = Tool{Name: "list_workloads", set: "network", Short: true, title: "Workloads and their addresses",
		doc: "List pods, services and other workloads with namespace, labels and addresses over time."}
	toolListIPs = Tool{Name: "list_ips", set: "network", Short: true, title: "Owners of addresses",
		doc: "List the owners of addresses over time. An address may have had several owners, one after another."}
)

type listWorkloadsIn struct {
	Name       string            `json:"name,omitempty"`
	Namespace  string            `json:"namespace,omitempty"`
	Namespaces []string          `json:"namespaces,omitempty"`
	NameRegex  string            `json:"name_regex,omitempty" jsonschema:"regular expression (RE2) on the name"`
	Labels     map[string]string `json:"labels,omitempty" jsonschema:"labels that a workload must all have"`
	Type       string            `json:"type,omitempty" jsonschema:"kind of workload"`
	Timestamp  int64             `json:"timestamp,omitempty" jsonschema:"only owners at this time, milliseconds since 1970 UTC"`
}

type workloadOut struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace,omitempty"`
	Kind      string            `json:"kind"`
	Owner     string            `json:"owner,omitempty" jsonschema:"kind/name of the topmost owner"`
	Service   string            `json:"service,omitempty"`
	Node      string            `json:"node,omitempty"`
	Labels    map[string]string `json:"labels"`
	IPs       []addressOut      `json:"ips"`
}

type addressOut struct {
	IP   string `json:"ip"`
	From string `json:"from,omitempty" jsonschema:"first time of this assignment, RFC 3339"`
}

type listWorkloadsOut struct {
	Workloads []workloadOut `json:"workloads"`
	Total     int           `json:"total"`
	page
}

const endpointColumns = `ip, valid_from_ns, name, kind, namespace, workload_kind, workload, service, node, labels`

// endpoints reads the owners of addresses, with the filters that both tools share. Owners that several bundles know are
// there once, and an address that one of them cannot name has the name that another knows.
func (s *Invocation) endpoints(ctx context.Context, namespaces []string, name, nameRegex, kind string, at int64) (*forensics.Result, error) {
	where, args := "true", []any{}
	add := func(cond string, values ...any) { where, args = where+" AND "+cond, append(args, values...) }
	if name != "" {
		add("(name = ? OR pod = ? OR service = ? OR workload = ?)", name, name, name, name)
	}
	if nameRegex != "" {
		if _, err := regexp.Compile(nameRegex); err != nil {
			return nil, store.BadRequest("name_regex: %v", err)
		}
		add("regexp_matches(name, ?)", nameRegex)
	}
	if len(namespaces) > 0 {
		marks := ""
		for i, ns := range namespaces {
			if i > 0 {
				marks += ", "
			}
			marks += "?"
			args = append(args, ns)
		}
		where += " AND namespace IN (" + marks + ")"
	}
	if kind != "" {
		add("kind = ?", kind)
	}
	if at != 0 {
		add("valid_from_ns <= ?", at*int64(time.Millisecond))
	}
	return s.Case.Query(ctx, forensics.Query{SQL: "SELECT DISTINCT " + endpointColumns + " FROM (FROM endpoints QUALIFY name <> ip OR NOT bool_or(name <> ip) OVER (PARTITION BY ip, valid_from_ns)) WHERE " + where +
		" ORDER BY namespace NULLS LAST, name, ip, valid_from_ns", Args: args, Limit: ask.MaxAll})
}

func (s *Invocation) listWorkloads(ctx context.Context, in listWorkloadsIn) (listWorkloadsOut, error) {
	out := listWorkloadsOut{Workloads: []workloadOut{}}
	if in.Namespace != "" {
		in.Namespaces = append(in.Namespaces, in.Namespace)
	}
	r, err := s.endpoints(ctx, in.Namespaces, in.Name, in.NameRegex, in.Type, in.Timestamp)
	if err != nil {
		return out, err
	}
	at := map[[3]string]int{}
	for _, row := range r.Rows {
		w := workloadOut{Name: text(row[2]), Namespace: text(row[4]), Kind: text(row[3]), Service: text(row[7]), Node: text(row[8]), Labels: labelsOf(row[9]), IPs: []addressOut{}}
		if text(row[6]) != "" {
			w.Owner = text(row[5]) + "/" + text(row[6])
		}
		has := true
		for name, value := range in.Labels {
			has = has && w.Labels[name] == value
		}
		if !has {
			continue
		}
		i, ok := at[[3]string{w.Name, w.Namespace, w.Kind}]
		if !ok {
			i = len(out.Workloads)
			at[[3]string{w.Name, w.Namespace, w.Kind}] = i
			out.Workloads = append(out.Workloads, w)
		}
		if a := address(row); !slices.Contains(out.Workloads[i].IPs, a) {
			out.Workloads[i].IPs = append(out.Workloads[i].IPs, a)
		}
	}
	out.Total = len(out.Workloads)
	out.page = s.page(ctx, r)
	out.Cursor = "" // it would continue the addresses, not the list
	return out, nil
}

func address(row []any) addressOut {
	a := addressOut{IP: text(row[0])}
	if from := number(row[1]); from > 0 {
		a.From = when.Stamp(from)
	}
	return a
}

func labelsOf(v any) map[string]string {
	out := map[string]string{}
	list, _ := v.([]any)
	for _, e := range list {
		if p, ok := e.(forensics.Struct); ok {
			out[text(p.Get("name"))] = text(p.Get("value"))
		}
	}
	return out
}

type listIPsIn struct {
	IP         string            `json:"ip,omitempty"`
	Namespaces []string          `json:"namespaces,omitempty"`
	NameRegex  string            `json:"name_regex,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Timestamp  int64             `json:"timestamp,omitempty" jsonschema:"milliseconds since 1970 UTC"`
}

type ipOut struct {
	IP      string     `json:"ip"`
	Records []ipRecord `json:"records" jsonschema:"owners, the earliest first"`
}

type ipRecord struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Kind      string `json:"kind"`
	From      string `json:"from,omitempty" jsonschema:"first time of this assignment, RFC 3339"`
}

type listIPsOut struct {
	IPs   []ipOut `json:"ips"`
	Total int     `json:"total"`
	page
}

func (s *Invocation) listIPs(ctx context.Context, in listIPsIn) (listIPsOut, error) {
	out := listIPsOut{IPs: []ipOut{}}
	r, err := s.endpoints(ctx, in.Namespaces, "", in.NameRegex, "", in.Timestamp)
	if err != nil {
		return out, err
	}
	at := map[string]int{}
	for _, row := range r.Rows {
		ip := text(row[0])
		if in.IP != "" && ip != in.IP {
			continue
		}
		labels, has := labelsOf(row[9]), true
		for name, value := range in.Labels {
			has = has && labels[name] == value
		}
		if !has {
			continue
		}
		i, ok := at[ip]
		if !ok {
			i = len(out.IPs)
			at[ip] = i
			out.IPs = append(out.IPs, ipOut{IP: ip})
		}
		if owner := (ipRecord{text(row[2]), text(row[4]), text(row[3]), address(row).From}); !slices.Contains(out.IPs[i].Records, owner) {
			out.IPs[i].Records = append(out.IPs[i].Records, owner)
		}
	}
	out.Total = len(out.IPs)
	out.page = s.page(ctx, r)
	out.Cursor = "" // it would continue the addresses, not the list
	return out, nil
}
