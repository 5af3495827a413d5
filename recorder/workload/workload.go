// Package workload says who an address is at a time.
//
// An Index takes what others know: dumps of a Kubernetes API, hosts files, names stored
// in captures, comments that recorders left. It keeps only the fields that answers need
// (never a container's environment or arguments), within a fixed budget, and resolves
// reuse of an address by time. Answers depend on what was added, not on the order of
// adding, the clock or the machine. It never guesses between two equal candidates.
package workload

import (
	"strconv"
)

// Limits on what comes from outside. What is beyond one is counted in Stats.
const (
	maxObject    = 4 << 20   // bytes of one JSON object without white space; etcd refuses above 1.5 MiB
	maxValues    = 1 << 16   // objects and arrays inside one object
	maxDepth     = 128       // objects in objects; Kubernetes' own types stay below 20
	maxKept      = 256 << 20 // bytes that an Index keeps, by its own account
	fixedCost    = 1200      // bytes that an object costs beside its texts, what Lookup needs included
	maxAddresses = 64        // addresses of one object
	maxLabels    = 128       // labels of one object
	maxContained = 64        // containers of a pod, ports of a container, services in front of a pod
	maxPorts     = 256       // ports of one service
	maxShared    = 256       // services, or pods of one port, at one address
	maxTargets   = 20_000    // backends of one service
	maxPast      = 64        // container terminations remembered for a pod
	maxKinds     = 128       // different kinds counted by name; the rest is counted as "other"
	maxName      = 320       // bytes of a name, label or image; the longest label name has 317
	maxMessage   = 1024      // bytes of a message; Kubernetes' own limit for events
	maxLine      = 64 << 10  // bytes of a line in a hosts file
)

// Label is one label of an object.
type Label struct {
	Name, Value string
}

// Identity is who stood behind an address at a time. Slices in it are shared: read only.
type Identity struct {
	Kind         string   // pod, service, node, process or host
	Name         string   // name of what Kind says
	Namespace    string   // Kubernetes namespace
	Pod          string   // pod name
	PodUID       string   // pod UID
	Services     []string // services in front of it, sorted
	Workload     string   // topmost owner: Deployment, StatefulSet, DaemonSet, Job, CronJob, …
	WorkloadKind string   // kind of that owner
	OwnerDerived bool     // Workload was read out of the ReplicaSet's name; the ReplicaSet itself is not known
	Container    string   // container, where the port or the pod leaves one choice
	Image        string   // its image
	Node         string   // node it runs on
	Labels       []Label  // sorted by name
	Process      string   // process name
	PID          int64    // process id on its node
	Hostname     string   // name from a hosts file or a Name Resolution Block
	ValidFrom    int64    // ns since 1970 UTC; 0 where unknown
	ValidTo      int64    // ns, excluded; 0 where open or unknown
	HowKnown     string   // segment, kube, ptcpdump, hosts or nrb; a kind of Knowledge where Program is set
	Source       string   // input that named it

	Program *Process  // the process, where it is known from its socket; read only
	Known   Knowledge // how it is known
}

// Workload is one object with addresses, for as long as it was known.
type Workload struct {
	Kind         string // pod, service or node
	Namespace    string
	Name         string
	UID          string
	Addresses    []string // RFC 5952, sorted as text
	ValidFrom    int64    // ns; 0 where unknown
	ValidTo      int64    // ns; 0 where it still lived when last seen
	Owner        string   // topmost owner
	OwnerKind    string
	OwnerDerived bool // see Identity
	Node         string
	Labels       []Label // sorted by name
	Ports        []ServicePort
	Services     []string // in front of a pod, sorted
	Source       string
}

// ServicePort is a port of a service, and the port on which the pods behind it listen.
type ServicePort struct {
	Protocol string // TCP, UDP or SCTP
	Port     uint16
	Target   uint16 // 0 if no dump says it
}

// Event is something Kubernetes said about an object, or a fact read from a pod's status.
type Event struct {
	TsNs      int64 // when it last happened
	FirstNs   int64 // when it first happened; 0 where unknown
	Type      string
	Reason    string
	Message   string
	Kind      string // of the object, as are the next three
	Namespace string
	Name      string
	UID       string
	Count     int64
	Source    string // component that reported it; "pod status" for facts read from a status
	Node      string // node of the reporter
	Derived   bool   // read from a status, not an Event object
}

// KindCount is how many objects of one kind an input held.
type KindCount struct {
	Kind string // group and kind, such as apps/Deployment; core kinds stand alone
	Seen int64
	Used bool // the kind is one that Index uses
}

// Stats says what became of one input.
type Stats struct {
	Bytes     int64       // bytes read
	Objects   int64       // JSON objects, or lines with an address in a hosts file
	Kept      int64       // of these, taken into the index
	Unused    int64       // of a kind that is not used
	Malformed int64       // not of the form they should have, without a name, or nested too deep
	Oversize  int64       // beyond the limit of one object
	Limited   int64       // dropped since the index is full
	Cut       int64       // values shortened, or lists cut, at a limit
	Kinds     []KindCount // sorted by kind
	TakenNs   int64       // newest time inside: when the dump was taken, at the earliest
}

// SyntaxError is a place where an input stops making sense. What came before it is kept.
type SyntaxError struct {
	Name   string // input
	Offset int64  // byte where the trouble is
	Err    error
}

func (e *SyntaxError) Error() string {
	return "reading " + e.Name + " at " + strconv.FormatInt(e.Offset, 10) + ": " + e.Err.Error()
}

func (e *SyntaxError) Unwrap() error { return e.Err }
