package workload

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
)

// common has the fields that pods, services, nodes and owners share.
type common struct {
	namespace, name, uid string
	created, deleted     int64 // ns; 0 if unknown
	labels               []Label
	other                int64      // newest sighting of a pod with other labels; 0 if there is none
	addrs                []seenAddr // sorted by address
	source               string     // input of the newest sighting
	seen                 int64      // time of the newest sighting
	own                  bool       // source and seen are those of the object in a reduced dump
	cost                 int64      // estimated bytes
}

// seenAddr is an address of an object and the time of its newest sighting.
type seenAddr struct {
	addr netip.Addr
	seen int64
}

type portKey struct {
	port  uint16
	proto uint8
}

type containerPort struct {
	portKey
	host uint16 // port on the node; 0 without one
	name string
}

type container struct {
	name, image string
	init        bool // runs alongside the others only if it is a sidecar
	sidecar     bool
	ports       []containerPort
}

type termination struct {
	container, reason, message string
	exit, signal               int64
	started, finished          int64
}

type containerStatus struct {
	name     string
	init     bool
	restarts int64
	running  int64 // start of the running container; 0 if none runs
	ended    *termination
}

type ref struct{ kind, namespace, name, uid string }

type pod struct {
	common
	node            string
	hostNetwork     bool
	hostAddrs       []netip.Addr
	containers      []container
	owner           ref
	started         int64
	grace           int64
	phase           string
	reason, message string
	condition       int64 // newest change of a condition
	statuses        []containerStatus
	past            []termination // of all sightings, sorted
}

// servicePort is a port of a service and the port on which its pods listen.
type servicePort struct {
	portKey
	target uint16 // 0 if name defines it
	name   string // of the container's port
}

type service struct {
	common
	ports     []servicePort
	nodePorts []portKey
	selector  []Label
}

type node struct {
	common
	cidrs   []netip.Prefix
	derived bool // known only from its pods
}

// owner is a ReplicaSet, a Job or a Deployment.
type owner struct {
	common
	kind  string
	owner ref
}

// backends are the targets of one service, from all its slices in all dumps.
type backends struct {
	common                           // of the service: namespace and name
	targets map[ref][]portKey        // with the ports that its slices state, sorted
	plain   map[netip.Addr][]portKey // addresses without a target object
}

// cidrs are the ranges of a ServiceCIDR object.
type cidrs struct {
	common
	prefixes []netip.Prefix
}

// list is a list that contained all objects of a kind.
type list struct {
	of     string
	seen   int64
	source string
}

// newer reports whether sighting c is later than old; of equal ones, the later in the input is.
func (c *common) newer(old *common) bool {
	if c.seen != old.seen {
		return c.seen > old.seen
	}
	return c.source >= old.source
}

// key identifies an object: by its UID, or by its name and creation time.
func (c *common) key() string {
	if c.uid != "" {
		return c.uid
	}
	return c.namespace + "\x00" + c.name + "\x00" + formatTime(c.created)
}

// allAddrs returns every address the object ever had.
func (c *common) allAddrs() []netip.Addr {
	out := make([]netip.Addr, len(c.addrs))
	for i, a := range c.addrs {
		out[i] = a.addr
	}
	return out
}

// mergeAddrs merges two sorted lists and keeps the newest sighting of each address.
func mergeAddrs(a, b []seenAddr) []seenAddr {
	out := append(slices.Clone(a), b...)
	sort.Slice(out, func(i, j int) bool {
		if c := out[i].addr.Compare(out[j].addr); c != 0 {
			return c < 0
		}
		return out[i].seen > out[j].seen
	})
	out = slices.CompactFunc(out, func(x, y seenAddr) bool { return x.addr == y.addr })
	if len(out) > maxAddresses {
		out = out[:maxAddresses]
	}
	return out
}

// mergePast merges two lists of terminations and keeps the newest ones.
func mergePast(a, b []termination) []termination {
	out := append(slices.Clone(a), b...)
	slices.SortFunc(out, func(x, y termination) int {
		return cmp.Or(
			cmp.Compare(x.finished, y.finished), cmp.Compare(x.container, y.container), cmp.Compare(x.started, y.started),
			cmp.Compare(x.exit, y.exit), cmp.Compare(x.reason, y.reason), cmp.Compare(x.message, y.message),
		)
	})
	out = slices.CompactFunc(out, func(x, y termination) bool {
		return x.container == y.container && x.finished == y.finished && x.started == y.started && x.exit == y.exit
	})
	if len(out) > maxPast {
		out = out[len(out)-maxPast:]
	}
	return out
}

// textEnd is the end of a time stamp's unit: stamps without a fraction are cut to seconds,
// so the event may have happened at any time until the end of the second.
func textEnd(ns int64) int64 {
	if ns != 0 && ns%1e9 == 0 {
		return ns + 1e9
	}
	return ns
}

// ended is when the pod released its addresses; 0 if it still had them.
func (p *pod) ended() int64 {
	var finished, running int64
	regular := 0
	for _, s := range p.statuses {
		if s.init {
			continue
		}
		regular++
		if s.ended != nil {
			finished = max(finished, s.ended.finished)
		} else {
			running++
		}
	}
	over := p.phase == "Succeeded" || p.phase == "Failed"
	if regular > 0 && running == 0 && finished > 0 && (over || p.deleted > 0) {
		return textEnd(finished)
	}
	if over {
		// Evicted before its containers reported anything.
		if p.condition > 0 {
			return textEnd(p.condition)
		}
		if p.deleted > 0 {
			return textEnd(p.deleted)
		}
		return p.seen
	}
	return textEnd(p.deleted)
}

// from is the start of the pod's life.
func (p *pod) from() int64 {
	if p.started != 0 {
		return p.started
	}
	return p.created
}
