package workload

import (
	"encoding/json"
	"errors"
	"io"
	"sort"
	"strings"
)

// ErrNothing is returned for an input without any object of its kind.
var ErrNothing = errors.New("the input contains no Kubernetes object")

// AddKube reads what `kubectl get pods,services,endpointslices,deployments,replicasets,nodes,
// namespaces,networkpolicies,events -A -o json` prints: a List, single objects, a file for each kind, documents one after
// another, or one on each line. Kinds that are not used are counted and skipped. Sightings of
// one object at several times are merged by its UID. The time of a sighting is the newest
// time inside its list. If the text becomes invalid, the error is a *SyntaxError, and the
// objects before that place are kept and counted.
func (x *Index) AddKube(name string, r io.Reader) (Stats, error) { return x.AddKubeAt(name, r, 0) }

// AddKubeAt is AddKube for a dump that was taken at a known time (ns); 0 means unknown.
func (x *Index) AddKubeAt(name string, r io.Reader, taken int64) (Stats, error) {
	in := &intake{x: x, source: cleanName(name), taken: taken, kinds: map[string]*KindCount{}}
	in.c.x = x
	s := splitter{r: r, object: in.object, refuse: in.refuse, endList: in.endList}
	err := s.run()
	in.commit(&in.loose, false)
	in.stats.Bytes = s.place()
	in.stats.Cut = in.c.cut
	for _, k := range in.kinds {
		in.stats.Kinds = append(in.stats.Kinds, *k)
	}
	sort.Slice(in.stats.Kinds, func(i, j int) bool { return in.stats.Kinds[i].Kind < in.stats.Kinds[j].Kind })
	if err == nil && in.stats.Objects == 0 && !in.lists {
		err = ErrNothing
	}
	if err != nil {
		return in.stats, &SyntaxError{Name: in.source, Offset: s.place(), Err: err}
	}
	return in.stats, nil
}

// intake is the state of reading one dump.
type intake struct {
	x      *Index
	c      converter
	source string
	taken  int64
	stats  Stats
	kinds  map[string]*KindCount
	list   unit
	loose  unit
	lists  bool // a list was found, possibly an empty one
}

func (in *intake) endList(whole bool) {
	in.lists = true
	in.commit(&in.list, whole)
}

func (in *intake) commit(u *unit, whole bool) {
	seen := in.taken
	if seen == 0 {
		seen = u.newest
	}
	in.stats.TakenNs = max(in.stats.TakenNs, seen)
	in.x.commit(u, in.source, seen, whole)
	*u = unit{}
}

func (in *intake) refuse(oversize bool) {
	in.stats.Objects++
	in.list.partial = true
	if oversize {
		in.stats.Oversize++
	} else {
		in.stats.Malformed++
	}
}

// object handles one object.
func (in *intake) object(raw []byte, listKind string, inList bool) {
	in.stats.Objects++
	var o wireObject
	err := json.Unmarshal(raw, &o)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		in.list.partial = true
		in.stats.Malformed++
		return
	}
	if o.Kind == "" && strings.HasSuffix(listKind, "List") {
		o.Kind = strings.TrimSuffix(listKind, "List") // the API omits the kind of items in a list
	}
	kind := kindOf(o.APIVersion, o.Kind)
	used := uses(kind, o.Kind, o.APIVersion == "")
	in.count(kind, used)
	switch {
	case !used:
		in.stats.Unused++
		return
	case err != nil && o.Kind == "NetworkPolicy" && o.Metadata.Name != "":
		o.Spec = nil // a policy that cannot be read may allow anything, so that it exists matters
		in.stats.Malformed++
	case err != nil || o.Metadata.Name == "" && o.Kind != ownDump:
		in.list.partial = true
		in.stats.Malformed++
		return
	}
	u := &in.loose
	if inList {
		u = &in.list
	}
	in.convert(u, &o)
}

func (in *intake) count(kind string, used bool) {
	kind = cleanName(kind)
	k := in.kinds[kind]
	if k == nil && len(in.kinds) >= maxKinds {
		kind = "other"
		k = in.kinds[kind]
	}
	if k == nil {
		k = &KindCount{Kind: kind, Used: used}
		in.kinds[kind] = k
	}
	k.Seen++
}

// uses reports whether a kind is read. The group matters: Knative also has a Service.
func uses(kind, bare string, noGroup bool) bool {
	switch kind {
	case "Pod", "Service", "Node", "Namespace", "Endpoints", "Event", "events.k8s.io/Event", "discovery.k8s.io/EndpointSlice",
		"apps/ReplicaSet", "extensions/ReplicaSet", "apps/Deployment", "extensions/Deployment", "batch/Job",
		"networking.k8s.io/ServiceCIDR", "networking.k8s.io/NetworkPolicy", ownGroup + "/" + ownDump, ownGroup + "/" + ownHost:
		return true
	}
	if noGroup {
		switch bare {
		case "EndpointSlice", "ReplicaSet", "Deployment", "Job", "ServiceCIDR", "NetworkPolicy":
			return true
		}
	}
	return false
}

// convert converts one object of a kind that is used, and adds it to its unit.
func (in *intake) convert(u *unit, o *wireObject) {
	if o.Kind == ownDump || o.Kind == ownHost {
		in.readOwn(u, o)
		return
	}
	c := &in.c
	c.newest = 0
	var made *common
	var add func()
	switch o.Kind {
	case "Pod":
		v := c.pod(o)
		made, add = &v.common, func() { u.pods = append(u.pods, v) }
	case "Service":
		v := c.service(o)
		made, add = &v.common, func() { u.services = append(u.services, v) }
	case "Node":
		v := c.node(o)
		made, add = &v.common, func() { u.nodes = append(u.nodes, v) }
	case "ReplicaSet", "Job", "Deployment":
		v := c.owner(o)
		made, add = &v.common, func() { u.owners = append(u.owners, v) }
	case "EndpointSlice", "Endpoints":
		v := c.backends(o)
		if v.name == "" {
			in.stats.Unused++ // a slice that belongs to no Service
			return
		}
		made, add = &v.common, func() { u.backends = append(u.backends, v) }
	case "ServiceCIDR":
		v := &cidrs{common: c.common(&o.Metadata)}
		if o.Spec != nil {
			v.prefixes = c.prefixes(o.Spec.CIDRs...)
		}
		made, add = &v.common, func() { u.cidrs = append(u.cidrs, v) }
	case "Namespace":
		v := c.common(&o.Metadata)
		made, add = &v, func() { u.spaces = append(u.spaces, &v) }
	case "NetworkPolicy":
		v := c.netpolicy(o)
		if v.text == "" && o.Spec != nil {
			in.stats.Limited++
		}
		made, add = &v.common, func() { u.netpolicies = append(u.netpolicies, v) }
	case "Event":
		v := c.event(o)
		made, add = &v.common, func() { u.events = append(u.events, v) }
	}
	if made.name == "" {
		in.stats.Malformed++ // no text remains of the name
		return
	}
	made.cost = c.cost
	if in.x.kept+made.cost > maxKept {
		u.partial = true
		in.stats.Limited++
		return
	}
	in.x.kept += made.cost
	if o.Own != nil {
		u.owned = true
		made.own, made.source, made.seen, made.other = true, c.name(o.Own.Source), parseTime(o.Own.Seen), parseTime(o.Own.Other)
		for _, w := range limited(c, o.Own.Were, maxAddresses) {
			if a, ok := parseAddr(w.Address); ok {
				made.addrs = mergeAddrs(made.addrs, []seenAddr{{a, parseTime(w.Seen)}})
			}
		}
	}
	u.newest = max(u.newest, c.newest)
	in.stats.Kept++
	add()
}
