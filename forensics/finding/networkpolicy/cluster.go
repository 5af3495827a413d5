package networkpolicy

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/netpol"
	"github.com/pcapsule/pcapsule/internal/when"
)

// settle is the time that a network plugin gets for a new policy, and that clocks of nodes may differ.
const settle = 10_000_000_000

// object is a row of workloads.
type object struct {
	Bundle    int64    `json:"bundle"`
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	UID       string   `json:"uid"`
	Addresses []string `json:"addresses"`
	From      int64    `json:"valid_from_ns"`
	To        int64    `json:"valid_to_ns"`
	Labels    []pair   `json:"labels"`
	Services  []string `json:"services"`
	Ports     []pair   `json:"ports"`
	Spec      string   `json:"spec"`
	Seen      int64    `json:"seen_ns"`
	Since     int64    `json:"since_ns"`
	Source    string   `json:"source"`

	spec *netpol.Spec
}

type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (o *object) path() string { return o.Namespace + "/" + o.Name }

// end is a row of endpoints.
type end struct {
	Bundle    int64  `json:"bundle"`
	ID        int64  `json:"endpoint_id"`
	IP        string `json:"ip"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	UID       string `json:"pod_uid"`
	Workload  string `json:"workload"`
	Service   string `json:"service"`
	External  bool   `json:"external"`
	Who       string `json:"who"`
	As        string `json:"as"` // as a client

	addr netip.Addr
}

func (e *end) podName() string { return e.Namespace + "/" + e.Pod }

func (e *end) workload() string { return e.Namespace + "/" + cmp.Or(e.Workload, e.Pod) }

// cluster is the data of a bundle's dumps.
type cluster struct {
	ends     map[int64]*end
	pods     map[string][]*object // by UID and by namespace/name
	spaces   map[string][]*object // by name
	policies map[string][]*object // the specs of each policy, by sighting
	names    []string             // keys of policies, sorted
	services map[string]*object
	behind   map[string][]*object // pods by namespace/service
	nodes    map[netip.Addr]bool
	covered  map[string]bool // namespaces whose policies the dumps have; "" for all

	at   int64 // time of list
	list []netpol.Policy
}

// load reads the endpoints of the case and its workloads, by bundle.
func load(ctx context.Context, l *finding.Look) (map[int64]*cluster, error) {
	bundle := terms.BundleOf(l.Case, "")
	rows, more, err := ask.Rows[object](ctx, l.Case, maxGroups, "SELECT DISTINCT "+bundle+", kind, coalesce(namespace, '') AS namespace, name, coalesce(uid, '') AS uid, addresses, valid_from_ns, coalesce(valid_to_ns, 0) AS valid_to_ns, labels, services, ports, coalesce(spec, '') AS spec, seen_ns, coalesce(since_ns, 0) AS since_ns, source FROM workloads_raw ORDER BY bundle, kind, namespace, name, seen_ns, uid, spec")
	if err != nil {
		return nil, err
	}
	if more {
		return nil, fmt.Errorf("the Kubernetes dumps have more than %d objects", maxGroups)
	}
	clusters := map[int64]*cluster{}
	for i := range rows {
		k := clusters[rows[i].Bundle]
		if k == nil {
			k = &cluster{ends: map[int64]*end{}, pods: map[string][]*object{}, spaces: map[string][]*object{}, policies: map[string][]*object{}, services: map[string]*object{}, behind: map[string][]*object{}, nodes: map[netip.Addr]bool{}, covered: map[string]bool{}, at: -1}
			clusters[rows[i].Bundle] = k
		}
		k.add(&rows[i])
	}
	ends, _, err := ask.Rows[end](ctx, l.Case, maxGroups, "SELECT "+bundle+", endpoint_id, ip, kind, coalesce(namespace, '') AS namespace, coalesce(pod, '') AS pod, coalesce(pod_uid, '') AS pod_uid, coalesce(workload, '') AS workload, coalesce(service, '') AS service, coalesce(external, false) AS external, "+
		terms.Who("")+` AS who, `+terms.Client("")+` AS "as" FROM endpoints_raw ORDER BY bundle, endpoint_id`)
	if err != nil {
		return nil, err
	}
	for i := range ends {
		e := &ends[i]
		e.addr, _ = netip.ParseAddr(e.IP)
		if k := clusters[e.Bundle]; k != nil {
			k.ends[e.ID] = e
			if e.Kind == "node" {
				k.nodes[e.addr] = true
			}
		}
	}
	for _, k := range clusters {
		k.cover(rows)
	}
	return clusters, nil
}

// add adds an object. Objects come in the order of their sightings.
func (k *cluster) add(o *object) {
	switch o.Kind {
	case "pod":
		k.pods[o.path()] = append(k.pods[o.path()], o)
		if o.UID != "" {
			k.pods[o.UID] = append(k.pods[o.UID], o)
		}
		for _, s := range o.Services {
			k.behind[o.Namespace+"/"+s] = append(k.behind[o.Namespace+"/"+s], o)
		}
	case "namespace":
		k.spaces[o.Name] = append(k.spaces[o.Name], o)
	case "service":
		k.services[o.path()] = o
	case "node":
		for _, a := range o.Addresses {
			if addr, err := netip.ParseAddr(a); err == nil {
				k.nodes[addr] = true
			}
		}
	case "networkpolicy":
		if o.Spec != "" {
			if spec, err := netpol.Parse(o.Spec); err == nil {
				o.spec = spec
			}
		}
		key := o.path() + "\x00" + cmp.Or(o.UID, fmt.Sprint(o.From))
		if k.policies[key] == nil {
			k.names = append(k.names, key)
		}
		k.policies[key] = append(k.policies[key], o)
	}
}

// cover finds the namespaces whose policies the dumps have: those with a policy, and all if a dump
// with policies has objects of several namespaces.
func (k *cluster) cover(rows []object) {
	spaces, sources := map[string]map[string]bool{}, map[string]bool{}
	for i := range rows {
		o := &rows[i]
		if o.Namespace == "" {
			continue
		}
		if spaces[o.Source] == nil {
			spaces[o.Source] = map[string]bool{}
		}
		spaces[o.Source][o.Namespace] = true
		if o.Kind == "networkpolicy" {
			sources[o.Source], k.covered[o.Namespace] = true, true
		}
	}
	for s := range sources {
		if len(spaces[s]) > 1 {
			k.covered[""] = true
		}
	}
}

func (k *cluster) covers(namespace string) bool { return k.covered[""] || k.covered[namespace] }

// changes are the times at which the state in the dumps may change, for the judgement of
// connections.
func (k *cluster) changes() []int64 {
	var out []int64
	for _, list := range k.policies {
		for _, o := range list {
			out = append(out, o.From, o.From+settle, o.Seen+1, o.To)
		}
	}
	for _, list := range k.spaces {
		for _, o := range list {
			if len(list) > 1 {
				out = append(out, o.Seen+1)
			}
		}
	}
	for _, list := range k.pods {
		for _, o := range list {
			if o.Since > 0 {
				out = append(out, o.Since)
			}
		}
	}
	return slices.DeleteFunc(out, func(t int64) bool { return t <= 0 })
}

// atNode reports whether an end has an address of a node, as pods on the node's network have, or one
// that is not routed between pods.
func (k *cluster) atNode(e *end) bool {
	return k.nodes[e.addr] || e.addr.IsLinkLocalUnicast() || e.addr.IsLoopback() || e.addr.IsMulticast()
}

// possible returns the sightings of an object that may be those of a time: the last one before it and
// the first one after it.
func possible(list []*object, at int64) (out []*object) {
	for i, o := range list {
		if o.Seen >= at || o.Seen == 0 {
			return append(out, o)
		}
		if i+1 == len(list) || list[i+1].Seen >= at {
			out = append(out, o)
		}
	}
	return out
}

// policiesAt returns the policies that may be in force at a time.
func (k *cluster) policiesAt(at int64) []netpol.Policy {
	if k.at == at {
		return k.list
	}
	k.at, k.list = at, nil
	for _, key := range k.names {
		list := k.policies[key]
		last, first := list[len(list)-1], list[0].From
		p := netpol.Policy{Namespace: last.Namespace, Name: last.Name, Exists: netpol.Answer{Truth: netpol.Yes}}
		switch {
		case first > 0 && at < first, last.To > 0 && at >= last.To:
			continue
		case first == 0 && at <= last.Seen || first == 0 && last.Seen == 0:
			p.Exists = netpol.Answer{Truth: netpol.Maybe, Why: "it is unknown when network policy " + last.path() + " was made"}
		case at < first+settle:
			p.Exists = netpol.Answer{Truth: netpol.Maybe, Why: "network policy " + last.path() + " was made less than 10 seconds before"}
		case last.To > 0 && at > last.Seen:
			p.Exists = netpol.Answer{Truth: netpol.Maybe, Why: "network policy " + last.path() + " was removed at about that time"}
		}
		for _, o := range possible(list, at) {
			p.Specs = append(p.Specs, o.spec)
		}
		k.list = append(k.list, p)
	}
	return k.list
}

// age describes the age of policies at a time, as far as the dumps show it. likely is true if the
// specs may have been others.
func (k *cluster) age(names []string, at int64) (text string, likely bool) {
	var made []string
	for _, key := range k.names {
		for _, o := range possible(k.policies[key], at) {
			if !slices.Contains(names, o.path()) {
				continue
			}
			one := "made " + when.Stamp(o.From)
			switch {
			case o.From == 0:
				one, likely = "made at an unknown time", true
			case o.Since > 0 && at <= o.Seen:
				one += " and not changed since"
			case at > o.Seen:
				one, likely = one+", shown by the dump of "+when.Stamp(o.Seen)+"; later changes are unknown", true
			default:
				one, likely = one+"; whether it had this spec at that time is unknown", true
			}
			if !slices.Contains(made, one) {
				made = append(made, one)
			}
		}
	}
	return strings.Join(made, ", "), likely
}

// podAt returns the pod at an end.
func (k *cluster) podAt(e *end, at int64) *netpol.Pod {
	list := k.pods[e.UID]
	if e.UID == "" || len(list) == 0 {
		list = k.pods[e.podName()]
	}
	for _, o := range list {
		if len(list) == 1 || (o.From == 0 || o.From <= at) && (o.To == 0 || at < o.To) {
			return k.podOf(o, at)
		}
	}
	return &netpol.Pod{Namespace: e.Namespace, Labels: netpol.Labels{Partial: "no Kubernetes dump has the labels of pod " + e.podName()}, Space: k.space(e.Namespace, at)}
}

func (k *cluster) podOf(o *object, at int64) *netpol.Pod {
	p := &netpol.Pod{Namespace: o.Namespace, Labels: netpol.Labels{Known: asMap(o.Labels)}, Space: k.space(o.Namespace, at), Ports: map[string]int64{}}
	if at < o.Since {
		p.Labels = netpol.Labels{Partial: "dumps show different labels of pod " + o.path()}
	}
	for _, port := range o.Ports {
		var n int64
		fmt.Sscan(port.Value, &n)
		p.Ports[port.Name] = n
	}
	return p
}

// space returns the labels of a namespace.
func (k *cluster) space(name string, at int64) netpol.Labels {
	out := netpol.Labels{Known: map[string]string{}, Partial: "no Kubernetes dump has the labels of namespace " + name}
	list := possible(k.spaces[name], at)
	if len(list) == 1 {
		out = netpol.Labels{Known: asMap(list[0].Labels)}
	} else if len(list) > 1 {
		out.Partial = "the labels of namespace " + name + " were changed at an unknown time"
	}
	out.Known[netpol.NamespaceName] = name
	return out
}

func asMap(list []pair) map[string]string {
	out := make(map[string]string, len(list))
	for _, p := range list {
		out[p.Name] = p.Value
	}
	return out
}
