// Package workload identifies the owner of an address at a time.
//
// An Index combines dumps of a Kubernetes API, hosts files, names stored in captures, and
// comments of recorders. It keeps only the fields that lookups need (never a container's
// environment or arguments), within a fixed memory limit, and resolves reuse of an address by
// time. The results depend on what was added, but not on the order of adding, the clock or the
// machine. It never guesses between two equal candidates.
package workload

import (
	"strconv"
)

// Limits on input. What exceeds one is counted in Stats.
const (
	maxObject    = 4 << 20   // bytes of one JSON object without white space; etcd refuses above 1.5 MiB
	maxValues    = 1 << 16   // objects and arrays inside one object
	maxDepth     = 128       // nested objects; Kubernetes' own types stay below 20
	maxKept      = 256 << 20 // estimated bytes that an Index keeps
	fixedCost    = 1200      // bytes of an object without its texts, including what Lookup needs
	maxAddresses = 64        // addresses of one object
	maxLabels    = 128       // labels of one object
	maxContained = 64        // containers of a pod, ports of a container, services in front of a pod
	maxPorts     = 256       // ports of one service
	maxShared    = 256       // services, or pods of one port, at one address
	maxTargets   = 20_000    // backends of one service
	maxPast      = 64        // container terminations remembered for a pod
	maxKinds     = 128       // kinds counted by name; others are counted as "other"
	maxName      = 320       // bytes of a name, label or image; the longest label name has 317
	maxMessage   = 1024      // bytes of a message; Kubernetes' own limit for events
	maxLine      = 64 << 10  // bytes of a line in a hosts file
)

// Label is one label of an object.
type Label struct {
	Name, Value string
}

// Identity is the owner of an address at a time. Its slices are shared and read only.
type Identity struct {
	Kind         string   // pod, service, node, process or host
	Name         string   // name of the object of that kind
	Namespace    string   // Kubernetes namespace
	Pod          string   // pod name
	PodUID       string   // pod UID
	Services     []string // services in front of it, sorted
	Fronts       []Front  // ports on which these reach it, sorted
	Workload     string   // topmost owner: Deployment, StatefulSet, DaemonSet, Job, CronJob, …
	WorkloadKind string   // kind of that owner
	OwnerDerived bool     // Workload was derived from the name of the ReplicaSet or Job, because that is unknown
	Container    string   // container, if the port or the pod leaves one choice
	Image        string   // its image
	Node         string   // node it runs on
	Labels       []Label  // sorted by name
	Process      string   // process name
	PID          int64    // process id on its node
	Hostname     string   // name from a hosts file or a Name Resolution Block
	ValidFrom    int64    // ns since 1970 UTC; 0 if unknown
	ValidTo      int64    // ns, excluded; 0 if open or unknown
	HowKnown     string   // segment, kube, peer, ptcpdump, hosts or nrb; a kind of Knowledge if Program is set
	Source       string   // input that named it

	Program *Process  // the process, if known from its socket; read only
	Known   Knowledge // how Program is known
}

// Workload is one object with addresses, for the time it was known.
type Workload struct {
	Kind         string // pod, service, node, namespace or networkpolicy
	Namespace    string
	Name         string
	UID          string
	Addresses    []string // RFC 5952, sorted as text
	ValidFrom    int64    // ns; 0 if unknown
	ValidTo      int64    // ns; 0 if it was still alive when last seen
	Owner        string   // topmost owner
	OwnerKind    string
	OwnerDerived bool // see Identity
	Node         string
	Labels       []Label // sorted by name
	Ports        []ServicePort
	Services     []string // in front of a pod, sorted
	Spec         string   // of a network policy, JSON; empty if it could not be read
	Seen         int64    // newest dump that shows it with these labels and this spec; 0 if unknown
	Since        int64    // time from which labels and spec are known to be these; 0 if no dump shows it
	Source       string
}

// ServicePort is a port of a service, and the port on which its pods listen; or a port of a pod with
// its name.
type ServicePort struct {
	Protocol string // TCP, UDP or SCTP
	Port     uint16
	Target   uint16 // 0 if unknown
	Name     string // of a pod's port; then Port is 0
}

// Event is a Kubernetes event about an object, or an event derived from a pod's status.
type Event struct {
	TsNs      int64 // when it last happened
	FirstNs   int64 // when it first happened; 0 if unknown
	Type      string
	Reason    string
	Message   string
	Kind      string // of the object, like the next three fields
	Namespace string
	Name      string
	UID       string
	Count     int64
	Source    string // component that reported it; "pod status" for derived events
	Node      string // node of the reporter
	Derived   bool   // derived from a status, not an Event object
}

// KindCount is the number of objects of one kind in an input.
type KindCount struct {
	Kind string // group and kind, such as apps/Deployment; core kinds have no group
	Seen int64
	Used bool // the kind is one that Index uses
}

// Stats counts the content of one input by result.
type Stats struct {
	Bytes     int64       // bytes read
	Objects   int64       // JSON objects, or lines with an address in a hosts file
	Kept      int64       // of these, added to the index
	Unused    int64       // of a kind that is not used
	Malformed int64       // invalid, without a name, or nested too deeply
	Oversize  int64       // larger than the limit for one object
	Limited   int64       // dropped because the index is full
	Cut       int64       // values shortened, or lists cut, at a limit
	Kinds     []KindCount // sorted by kind
	TakenNs   int64       // newest time inside: the earliest time at which the dump was taken
}

// SyntaxError is the place where an input becomes invalid. What precedes it is kept.
type SyntaxError struct {
	Name   string // input
	Offset int64  // byte of the error
	Err    error
}

func (e *SyntaxError) Error() string {
	return "reading " + e.Name + " at " + strconv.FormatInt(e.Offset, 10) + ": " + e.Err.Error()
}

func (e *SyntaxError) Unwrap() error { return e.Err }
