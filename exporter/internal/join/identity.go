package join

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits of the memory for addresses.
const (
	maxEndpoints = 50_000  // endpoints known at once; the one unused longest is forgotten and would get a new row
	maxNames     = 200_000 // names of addresses from DNS answers
	dnsFresh     = 30e9    // ns after a DNS answer within which a connection's look-up time counts
)

// Identity names the ends of connections.
type Identity struct {
	index     *workload.Index
	has       bool // the index holds anything
	endpoints map[endpointKey]*list.Element
	byUse     list.List // of *endpoint, the one used last in front
	next      int64
	made      []table.Endpoint // not yet written
	keepRows  bool             // endpoints keep their rows, see Joiner.Remember
	names     map[lookup]dnsName
	namesBy   []lookup // ring, oldest first from namesAt
	namesAt   int
	limit     memory.Limit

	kube, hosts unmet
}

// unmet are addresses that files name and that no packet has had so far.
type unmet struct {
	all  int // addresses that the files name
	left map[netip.Addr]struct{}
}

func newUnmet(list []netip.Addr) unmet {
	u := unmet{len(list), make(map[netip.Addr]struct{}, len(list))}
	for _, a := range list {
		u.left[a] = struct{}{}
	}
	return u
}

type endpointKey struct {
	addr  netip.Addr
	who   string // distinguishes two identities of one address
	valid int64
}

type endpoint struct {
	key endpointKey
	id  int64
	row *table.Endpoint // only if Identity.keepRows
}

// lookup is a client and an address that a DNS answer named to it. Without a client it is
// the newest answer to anyone.
type lookup struct{ client, addr netip.Addr }

type dnsName struct {
	name   string
	at     int64
	tookUs table.Opt[int64] // until a connection has it
}

// NewIdentity makes an identity from index; has reports that index is not empty.
func NewIdentity(index *workload.Index, has bool) *Identity {
	w := &Identity{index: index, has: has, endpoints: map[endpointKey]*list.Element{}, names: map[lookup]dnsName{}}
	if has {
		kube, hosts := index.Named()
		w.kube, w.hosts = newUnmet(kube), newUnmet(hosts)
	}
	return w
}

// hear records what the inputs of a round say about addresses.
func (w *Identity) hear(list []round.Name) {
	for i := range list {
		switch s := &list[i]; {
		case s.Interface != nil:
			w.index.AddInterface(*s.Interface)
		case s.Peer != nil:
			w.index.AddIdentity(s.Addr, *s.Peer)
		default:
			w.index.AddName(s.Addr, s.Text, s.Source)
		}
		w.has = true
	}
}

// resolve returns the owner of an address at a time; owner is the one that the capture itself states for this
// conversation's local end, or nil. A segment takes precedence over dumps, and dumps over ptcpdump. Fields that one
// lacks come from the other if the two do not contradict each other.
func (w *Identity) resolve(a netip.Addr, port uint16, proto uint8, at int64, owner *workload.Identity) (id workload.Identity, known bool) {
	if w.has {
		id, known = w.index.Lookup(a, port, proto, at)
	}
	switch {
	case owner == nil:
	case !known:
		id, known = *owner, true
	case owner.HowKnown == "segment" || owner.Program != nil:
		other := id
		id = *owner
		if other.PodUID == id.PodUID && other.Pod == id.Pod {
			id.Services, id.Labels = pick(id.Services, other.Services), pick(id.Labels, other.Labels)
		}
		id.Fill(&other)
	case id.Pod == "" || owner.Pod == "" || id.Pod == owner.Pod:
		id.Process, id.PID = cmp.Or(id.Process, owner.Process), max(id.PID, owner.PID)
		id.Container, id.Image = cmp.Or(id.Container, owner.Container), cmp.Or(id.Image, owner.Image)
	}
	return id, known
}

func pick[T any](a, b []T) []T {
	if len(a) > 0 {
		return a
	}
	return b
}

// nameFor is the name under which peer looked an address up. Many names may share an
// address, so the answers to others are only a guess.
func (w *Identity) nameFor(peer, a netip.Addr) (name, how string) {
	if n, ok := w.names[lookup{peer, a}]; ok {
		return n.name, "dns"
	}
	return w.names[lookup{addr: a}].name, "dns_other"
}

// party is one side of a connection.
type party struct {
	side    int         // 0 for the client, 1 for the server
	end     flow.End    // its end, as a flow shows it
	dialled [2]flow.End // client and server, as dialled
	proto   uint8
	at      int64 // ns
}

// service is the service that names a party. What the client dialled is certain. Otherwise the port decides, and a
// client has one name, whatever its port.
func (w *Identity) service(p *party, id *workload.Identity) string {
	switch {
	case id.Kind == "service":
		return id.Name
	case p.side == 0:
		return id.MainService()
	}
	if d := p.dialled[1]; d != p.end {
		front, ok := w.index.Lookup(d.Addr.Netip(), d.Port, p.proto, p.at)
		switch {
		case !ok || front.Namespace != id.Namespace:
		case front.Kind == "service":
			return front.Name
		case front.Pod != "" && front.Pod == id.Pod: // whose sidecar intercepts the port
			if name := id.ServiceAt(d.Port, p.proto); name != "" {
				return name
			}
		}
	}
	if name := id.ServiceAt(p.end.Port, p.proto); name != "" {
		return name
	}
	client := p.dialled[0]
	if other, ok := w.index.Lookup(client.Addr.Netip(), client.Port, p.proto, p.at); ok && other.Reached(client.Port, p.proto) {
		return id.MainService() // the rest of a connection that it dialled itself
	}
	return ""
}

// endpoint is the number of the owner of an address at a time, as its peer names it.
func (w *Identity) endpoint(p party, owner *workload.Identity) int64 {
	a := p.end.Addr.Netip()
	id, known := w.resolve(a, p.end.Port, p.proto, p.at, owner)
	dns, how := w.nameFor(p.dialled[1-p.side].Addr.Netip(), a)
	key := endpointKey{addr: a}
	service := ""
	if known {
		service = w.service(&p, &id)
		key.who, key.valid = strings.Join([]string{id.Kind, id.Namespace, id.Name, id.PodUID, id.Container, id.Process, service}, "\x00"), id.ValidFrom
	} else {
		key.who = dns + "\x00" + how
	}
	if p := id.Program; p != nil {
		key.who += "\x00" + id.HowKnown + "\x00" + p.Key + "\x00" + strconv.FormatInt(id.PID, 10)
	}
	if e := w.endpoints[key]; e != nil {
		w.byUse.MoveToFront(e)
		return e.Value.(*endpoint).id
	}
	met := a.Unmap().WithZone("")
	delete(w.kube.left, met)
	delete(w.hosts.left, met)
	e := &endpoint{key: key, id: w.next}
	w.next++
	w.endpoints[key] = w.byUse.PushFront(e)
	if w.byUse.Len() > w.limit.Scale(maxEndpoints) {
		last := w.byUse.Back()
		delete(w.endpoints, last.Value.(*endpoint).key)
		w.byUse.Remove(last)
	}
	w.made = append(w.made, w.row(e.id, a, id, known, service, dns, how))
	if w.keepRows {
		row := w.made[len(w.made)-1]
		e.row = &row
	}
	return e.id
}

func (w *Identity) row(no int64, a netip.Addr, id workload.Identity, known bool, service, dns, how string) table.Endpoint {
	r := table.Endpoint{EndpointID: no, IP: a.String(), Kind: "unknown", HowKnown: "none", External: w.index.External(a)}
	if dns != "" {
		r.DNSName, r.HowKnown = table.Some(dns), how
	}
	if known {
		r.Kind, r.HowKnown, r.ValidFromNs = id.Kind, id.HowKnown, id.ValidFrom
		r.Namespace = table.NonEmpty(id.Namespace)
		r.Pod = table.NonEmpty(id.Pod)
		r.PodUID = table.NonEmpty(id.PodUID)
		r.Workload = table.NonEmpty(id.Workload)
		r.WorkloadKind = table.NonEmpty(id.WorkloadKind)
		r.Container = table.NonEmpty(id.Container)
		r.Image = table.NonEmpty(id.Image)
		r.Node = table.NonEmpty(id.Node)
		r.Process = table.NonEmpty(id.Process)
		r.Hostname = table.NonEmpty(id.Hostname)
		if id.PID != 0 {
			r.PID = table.Some(id.PID)
		}
		program(&r, &id)
		r.Services, r.Service = id.Services, table.NonEmpty(service)
		switch {
		case id.Kind == "service":
			r.Services = []string{id.Name}
		case service != "" && !slices.Contains(id.Services, service):
			r.Services = append(slices.Clone(id.Services), service)
			slices.Sort(r.Services)
		}
		if id.Kind == "host" && len(id.Services) > 0 {
			if id.Name = service; service == "" {
				r.Namespace = table.Opt[string]{} // of the services
			}
		}
		for _, l := range id.Labels {
			r.Labels = append(r.Labels, table.Pair(l))
		}
	} else if r.External {
		r.Kind = "outside"
	}
	r.Name = cmp.Or(id.Pod, id.Name, r.Service.V, id.Process, dns, id.Hostname, r.IP)
	r.Who = who(&r)
	return r
}

// who is the name of a workload that is the same on both sides of a call, however many pods
// it has.
func who(r *table.Endpoint) string {
	name := cmp.Or(r.Service.V, r.Workload.V, r.Pod.V, r.Name)
	if r.External && !r.Service.OK {
		name = cmp.Or(r.DNSName.V, r.Hostname.V, r.Name)
	}
	if r.Namespace.OK {
		return r.Namespace.V + "/" + name
	}
	return name
}

// program writes what is known of the process that had a socket.
func program(r *table.Endpoint, id *workload.Identity) {
	p := id.Program
	if p == nil {
		return
	}
	r.OwnerGuess, r.Command = table.Some(id.Known.Guess()), p.Args
	r.Exe = table.NonEmpty(p.Exe)
	r.User = table.NonEmpty(p.UserName())
	r.Cgroup = table.NonEmpty(p.Cgroup)
	r.ContainerID = table.NonEmpty(p.Container)
	if p.Start != 0 {
		r.StartedNs = table.Some(p.Start)
	}
}

// learn records the name of an address in a DNS answer, and how long the client waited for it.
func (w *Identity) learn(client netip.Addr, name string, addr netip.Addr, at int64, tookUs table.Opt[int64]) {
	addr = addr.Unmap()
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	w.keep(lookup{addr: addr}, dnsName{name: name, at: at})
	w.keep(lookup{client, addr}, dnsName{name, at, tookUs})
}

func (w *Identity) keep(k lookup, n dnsName) {
	if _, ok := w.names[k]; !ok {
		if len(w.namesBy) < w.limit.Scale(maxNames) {
			w.namesBy = append(w.namesBy, k)
		} else {
			delete(w.names, w.namesBy[w.namesAt])
			w.namesBy[w.namesAt] = k
			w.namesAt = (w.namesAt + 1) % len(w.namesBy)
		}
	}
	w.names[k] = n
}

// lookupTime is how long the name look-up took that led client to server, once.
func (w *Identity) lookupTime(client, server netip.Addr, at int64) (us int64, ok bool) {
	k := lookup{client, server}
	n := w.names[k]
	if !n.tookUs.OK || at < n.at || at-n.at > dnsFresh {
		return 0, false
	}
	us, n.tookUs = n.tookUs.V, table.Opt[int64]{}
	w.names[k] = n
	return us, true
}
