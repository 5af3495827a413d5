package exporter

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits of what is remembered about addresses.
const (
	maxEndpoints = 50_000  // endpoints known at once; the one unused longest is forgotten and would get a new row
	maxNames     = 100_000 // addresses with a name from DNS answers
	dnsFresh     = 30e9    // ns after a DNS answer within which a connection's look-up time counts
)

// identity names the ends of connections.
type identity struct {
	index     *workload.Index
	has       bool // the index holds anything
	endpoints map[endpointKey]*list.Element
	byUse     list.List // of *endpoint, the one used last in front
	next      int64
	made      []table.Endpoint // not yet written
	names     map[netip.Addr]dnsName
	namesBy   []netip.Addr // ring, oldest first from namesAt
	namesAt   int
	lookups   map[lookupKey]lookup
	sides     []bundle.SideInput
	warnings  []string
}

type endpointKey struct {
	addr  netip.Addr
	who   string // what tells two identities of one address apart
	valid int64
}

type endpoint struct {
	key endpointKey
	id  int64
}

type dnsName struct {
	name string
	at   int64
}

type lookupKey struct{ client, server netip.Addr }

type lookup struct{ at, us int64 }

// loadIdentity reads the files that say who addresses are and keeps what is used of
// them in the bundle.
func loadIdentity(b *bundle.Builder, o Options) (*identity, error) {
	w := &identity{index: workload.NewIndex(), endpoints: map[endpointKey]*list.Element{},
		names: map[netip.Addr]dnsName{}, lookups: map[lookupKey]lookup{}}
	for _, f := range []struct {
		kind  string
		paths []string
		add   func(string, io.Reader) (workload.Stats, error)
	}{{"kube", o.Kube, w.index.AddKube}, {"hosts", o.Hosts, w.index.AddHosts}} {
		for _, p := range f.paths {
			if err := w.load(f.kind, p, f.add); err != nil {
				return nil, err
			}
		}
	}
	if !w.has {
		return w, nil
	}
	var used bytes.Buffer
	if err := w.index.WriteUsed(&used); err != nil {
		return nil, fmt.Errorf("keeping what was used of the identity files: %w", err)
	}
	file, err := b.Create(usedPath)
	if err != nil {
		return nil, err
	}
	if _, err := file.Write(used.Bytes()); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	sum := bundle.Digest(sha256.Sum256(used.Bytes()))
	slices.SortFunc(w.sides, func(a, b bundle.SideInput) int { return bytes.Compare(a.SHA256Original[:], b.SHA256Original[:]) })
	for i := range w.sides {
		w.sides[i].SHA256, w.sides[i].Size = &sum, int64(used.Len())
	}
	return w, nil
}

// usedPath is where a bundle keeps what it used of kube and hosts files.
const usedPath = "data/inputs/identity.json"

func (w *identity) load(kind, path string, add func(string, io.Reader) (workload.Stats, error)) error {
	f, err := os.Open(path)
	if err != nil {
		return &InputError{path, err}
	}
	defer f.Close()
	h := sha256.New()
	name := filepath.Base(path)
	stats, err := add(name, io.TeeReader(f, h))
	var bad *workload.SyntaxError
	switch {
	case errors.As(err, &bad) && stats.Kept > 0:
		w.warnings = append(w.warnings, fmt.Sprintf("%s: %v; what stands before it is used", name, err))
	case err != nil:
		return &InputError{path, err}
	case stats.Kept == 0:
		w.warnings = append(w.warnings, name+": nothing in it names an address")
	}
	if _, err := io.Copy(h, f); err != nil {
		return &InputError{path, err}
	}
	side := bundle.SideInput{Kind: kind, Path: usedPath, Name: name, SizeOriginal: stats.Bytes}
	h.Sum(side.SHA256Original[:0])
	if info, err := f.Stat(); err == nil {
		side.SizeOriginal = info.Size()
	}
	w.sides = append(w.sides, side)
	w.has = w.has || stats.Kept > 0
	return nil
}

func (w *identity) describe(m *bundle.Manifest) {
	m.SideInputs = append(m.SideInputs, w.sides...)
	m.Warnings = append(m.Warnings, w.warnings...)
}

// hear takes what the captures of a round say about addresses.
func (w *identity) hear(list []said) {
	for i := range list {
		s := &list[i]
		switch {
		case s.iface != nil:
			w.index.AddInterface(*s.iface)
		case s.peer != nil:
			w.index.AddIdentity(s.addr, *s.peer)
		default:
			w.index.AddName(s.addr, s.name, s.source)
		}
		w.has = true
	}
}

// resolve is who stood behind an address at a time; owner is what the capture itself
// says of this conversation's local end, or nil. A segment's word goes before the dumps,
// ptcpdump's after them; what is missing in one is taken from the other where they do
// not contradict.
func (w *identity) resolve(a netip.Addr, port uint16, proto uint8, at int64, owner *workload.Identity) (id workload.Identity, known bool) {
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
		id.Process, id.PID = firstOf(id.Process, owner.Process), max(id.PID, owner.PID)
		id.Container, id.Image = firstOf(id.Container, owner.Container), firstOf(id.Image, owner.Image)
	}
	return id, known
}

func pick[T any](a, b []T) []T {
	if len(a) > 0 {
		return a
	}
	return b
}

// endpoint is the number of who stood behind an address at a time.
func (w *identity) endpoint(addr decode.Addr, port uint16, proto uint8, at int64, owner *workload.Identity) int64 {
	a := addr.Netip()
	id, known := w.resolve(a, port, proto, at, owner)
	dns := w.names[a].name
	key := endpointKey{addr: a}
	if known {
		key.who, key.valid = strings.Join([]string{id.Kind, id.Namespace, id.Name, id.PodUID, id.Container, id.Process}, "\x00"), id.ValidFrom
	} else {
		key.who = dns
	}
	if p := id.Program; p != nil {
		key.who += "\x00" + id.HowKnown + "\x00" + p.Key + "\x00" + strconv.FormatInt(id.PID, 10)
	}
	if e := w.endpoints[key]; e != nil {
		w.byUse.MoveToFront(e)
		return e.Value.(*endpoint).id
	}
	e := &endpoint{key, w.next}
	w.next++
	w.endpoints[key] = w.byUse.PushFront(e)
	if w.byUse.Len() > maxEndpoints {
		last := w.byUse.Back()
		delete(w.endpoints, last.Value.(*endpoint).key)
		w.byUse.Remove(last)
	}
	w.made = append(w.made, w.row(e.id, a, id, known, dns))
	return e.id
}

func (w *identity) row(no int64, a netip.Addr, id workload.Identity, known bool, dns string) table.Endpoint {
	r := table.Endpoint{EndpointID: no, IP: a.String(), Kind: "unknown", HowKnown: "none", External: w.index.External(a)}
	if dns != "" {
		r.DNSName, r.HowKnown = table.Some(dns), "dns"
	}
	if known {
		r.Kind, r.HowKnown, r.ValidFromNs = id.Kind, id.HowKnown, id.ValidFrom
		set(&r.Namespace, id.Namespace)
		set(&r.Pod, id.Pod)
		set(&r.PodUID, id.PodUID)
		set(&r.Workload, id.Workload)
		set(&r.WorkloadKind, id.WorkloadKind)
		set(&r.Container, id.Container)
		set(&r.Image, id.Image)
		set(&r.Node, id.Node)
		set(&r.Process, id.Process)
		set(&r.Hostname, id.Hostname)
		if id.PID != 0 {
			r.PID = table.Some(id.PID)
		}
		program(&r, &id)
		r.Services = id.Services
		if id.Kind == "service" {
			r.Services = []string{id.Name}
		}
		if len(r.Services) > 0 {
			r.Service = table.Some(r.Services[0])
		}
		for _, l := range id.Labels {
			r.Labels = append(r.Labels, table.Pair(l))
		}
	} else if r.External {
		r.Kind = "outside"
	}
	r.Name = firstOf(id.Pod, id.Name, r.Service.V, id.Process, dns, id.Hostname, r.IP)
	return r
}

// program writes what is known of the process that had a socket.
func program(r *table.Endpoint, id *workload.Identity) {
	p := id.Program
	if p == nil {
		return
	}
	r.OwnerGuess, r.Command = table.Some(id.Known.Guess()), p.Args
	set(&r.Exe, p.Exe)
	set(&r.User, userOf(p))
	set(&r.Cgroup, p.Cgroup)
	set(&r.ContainerID, p.Container)
	if p.Start != 0 {
		r.StartedNs = table.Some(p.Start)
	}
}

// userOf is a process's user by name, else by number.
func userOf(p *workload.Process) string {
	if p.User == "" && p.UID >= 0 {
		return strconv.FormatInt(p.UID, 10)
	}
	return p.User
}

func set(o *table.Opt[string], s string) {
	if s != "" {
		*o = table.Some(s)
	}
}

func firstOf(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// learn takes the name that a DNS answer gives an address, and remembers for the client
// that asked how long the look-up took.
func (w *identity) learn(client netip.Addr, name string, addr netip.Addr, at int64, tookUs table.Opt[int64]) {
	addr = addr.Unmap()
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, ok := w.names[addr]; !ok {
		if len(w.namesBy) < maxNames {
			w.namesBy = append(w.namesBy, addr)
		} else {
			delete(w.names, w.namesBy[w.namesAt])
			w.namesBy[w.namesAt] = addr
			w.namesAt = (w.namesAt + 1) % maxNames
		}
	}
	w.names[addr] = dnsName{name, at}
	if !tookUs.OK { // an answer whose question was not captured
		return
	}
	if len(w.lookups) >= maxNames {
		clear(w.lookups)
	}
	w.lookups[lookupKey{client, addr}] = lookup{at, tookUs.V}
}

// lookupTime is how long the name look-up took that led client to server, once.
func (w *identity) lookupTime(client, server netip.Addr, at int64) (us int64, ok bool) {
	k := lookupKey{client, server}
	l, ok := w.lookups[k]
	if !ok || at < l.at || at-l.at > dnsFresh {
		return 0, false
	}
	delete(w.lookups, k)
	return l.us, true
}
