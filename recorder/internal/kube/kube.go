// Package kube identifies the workloads of one node through its Kubernetes API.
//
// It watches this node's pods, the services and endpoints with which they may exchange packets, and
// their events. It keeps the data of ended workloads as long as packets of them may still arrive. A
// lookup never waits for a server. It has fixed limits. If the API is unavailable, it continues
// with the last data and states since when. It reads no secrets, environments or arguments, and
// only the two annotations that it names.
package kube

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	appsclient "k8s.io/client-go/kubernetes/typed/apps/v1"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/klog/v2"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits on memory. Objects beyond a limit are counted in State.Limited.
const (
	maxPods       = 20_000  // of this node, including ended ones
	maxPeers      = 50_000  // pods of other nodes and addresses behind services, including ended ones
	maxServices   = 20_000  // services, and endpoint slices
	maxSlice      = 1000    // endpoints of a slice; Kubernetes' own limit
	maxAddresses  = 16      // of one object
	maxContainers = 64      // of a pod
	maxIDs        = 64      // container IDs of a pod, over all restarts
	maxPorts      = 64      // of a container or slice
	maxLabels     = 32      // kept of an object
	maxServed     = 64      // services of a pod
	maxSpans      = 256     // time spans of the owners of one address
	maxChanges    = 1 << 14 // waiting for Take
	maxName       = 253     // bytes of a name
	maxText       = 320     // bytes of an image or a label
	maxMessage    = 1024    // bytes of a message
)

// API is the used part of a client set.
type API struct {
	Core      coreclient.CoreV1Interface
	Apps      appsclient.AppsV1Interface
	Batch     batchclient.BatchV1Interface
	Discovery discoveryclient.DiscoveryV1Interface
}

// DefaultLabels are the labels that are kept by default.
const DefaultLabels = "app,k8s-app,version,app.kubernetes.io/*"

// Options of a Source.
type Options struct {
	Node    string                             // name of this node in the API
	Labels  []string                           // labels to keep; a star at the end matches any rest
	Keep    time.Duration                      // how long ended workloads are remembered; 0 means 10 minutes
	Peers   Peers                              // which objects of other nodes are watched
	OnError func(error)                        // called when a feed fails or a request is rejected
	OnBack  func(feed string, since time.Time) // called when a feed that has failed since then works again

	now     func() time.Time
	backoff time.Duration // first pause of a broken feed; 0 means client-go's
}

// Peers are the objects of other nodes that are watched, because packets come from them and go to them.
type Peers string

const (
	ServicePeers Peers = "services" // services and the pods behind them
	PodPeers     Peers = "pods"     // all pods too
	NoPeers      Peers = "none"
)

// Source is a workload.Source of one node. Its methods can be called from any goroutine.
type Source struct {
	api    API
	o      Options
	feeds  feeds
	owners *resolver

	mu       sync.RWMutex
	pods     map[string]*entry       // of this node, by UID, and static pods also by the UID in paths
	ids      map[string]contained    // by container ID
	spans    map[netip.Addr][]span   // by address, in the order in which they became known
	gone     []*entry                // ended ones, in the order in which that became known
	hostNet  map[*entry]struct{}     // pods on this node's network
	services map[name]*service       // by namespace and name
	slices   map[name]*slice         // by namespace and name
	served   map[string][]membership // services of a pod, by UID
	peers    map[peerKey]*entry      // pods of other nodes, and outside addresses behind services
	node     *entry
	early    earlyEvents
	changes  []Change
	lost     uint64
	allLost  uint64
	limited  uint64
	isSynced bool // pods of this node were listed at least once
}

// Change is a change that Take returns.
type Change = workload.Change

type name struct{ namespace, name string }

// New returns a Source, which is empty before Run.
func New(api API, o Options) *Source {
	if o.Keep <= 0 {
		o.Keep = 10 * time.Minute
	}
	if o.Peers == "" {
		o.Peers = ServicePeers
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.OnBack == nil {
		o.OnBack = func(string, time.Time) {}
	}
	if o.now == nil {
		o.now = time.Now
	}
	s := &Source{
		api: api, o: o,
		pods: map[string]*entry{}, ids: map[string]contained{}, spans: map[netip.Addr][]span{}, hostNet: map[*entry]struct{}{},
		services: map[name]*service{}, slices: map[name]*slice{}, served: map[string][]membership{}, peers: map[peerKey]*entry{},
	}
	s.feeds = feeds{now: o.now, onError: o.OnError, onBack: o.OnBack, by: map[string]*feedState{}}
	s.owners = newResolver(s)
	return s
}

// Run watches until ctx ends.
func (s *Source) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.Logger{}) // errors go to OnError instead of client-go's log
	var all sync.WaitGroup
	here := func(options *metav1.ListOptions, field string) {
		options.FieldSelector = fields.OneTermEqualSelector(field, s.o.Node).String()
	}
	s.follow(ctx, &all, "pods", &corev1.Pod{}, podStore{s},
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			here(&o, "spec.nodeName")
			return s.api.Core.Pods("").List(ctx, o)
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			here(&o, "spec.nodeName")
			return s.api.Core.Pods("").Watch(ctx, o)
		})
	s.follow(ctx, &all, "node", &corev1.Node{}, nodeStore{s},
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			here(&o, "metadata.name")
			return s.api.Core.Nodes().List(ctx, o)
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			here(&o, "metadata.name")
			return s.api.Core.Nodes().Watch(ctx, o)
		})
	if s.o.Peers == PodPeers {
		elsewhere := fields.OneTermNotEqualSelector("spec.nodeName", s.o.Node).String()
		s.follow(ctx, &all, peerPods, &corev1.Pod{}, peerPodStore{s},
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				o.FieldSelector = elsewhere
				return s.api.Core.Pods("").List(ctx, o)
			},
			func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.FieldSelector = elsewhere
				return s.api.Core.Pods("").Watch(ctx, o)
			})
	}
	if s.o.Peers != NoPeers {
		s.follow(ctx, &all, "services", &corev1.Service{}, serviceStore{s},
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return s.api.Core.Services("").List(ctx, o)
			},
			func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return s.api.Core.Services("").Watch(ctx, o)
			})
		s.follow(ctx, &all, "endpoints", &discoveryv1.EndpointSlice{}, sliceStore{s},
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return s.api.Discovery.EndpointSlices("").List(ctx, o)
			},
			func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return s.api.Discovery.EndpointSlices("").Watch(ctx, o)
			})
	}
	all.Go(func() { s.followEvents(ctx, "pod events", fields.OneTermEqualSelector("involvedObject.kind", "Pod")) })
	all.Go(func() {
		s.followEvents(ctx, "node events", fields.AndSelectors(
			fields.OneTermEqualSelector("involvedObject.kind", "Node"), fields.OneTermEqualSelector("involvedObject.name", s.o.Node)))
	})
	all.Go(func() { s.owners.run(ctx) })
	all.Go(func() { s.forgetting(ctx) })
	all.Wait()
}

// yield unlocks the Source now and then during a long list, so that lookups can proceed: the
// recorder waits for them.
func (s *Source) yield(i int) {
	if i%16 == 15 {
		s.mu.Unlock()
		s.mu.Lock()
	}
}

// forgetting removes workloads that ended long ago.
func (s *Source) forgetting(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.mu.Lock()
			s.forget(s.now() - int64(s.o.Keep))
			s.mu.Unlock()
		}
	}
}

func (s *Source) now() int64 { return s.o.now().UnixNano() }

// Take returns up to limit changes since the last call.
func (s *Source) Take(limit int) (changes []Change, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(max(limit, 0), len(s.changes))
	changes = slices.Clone(s.changes[:n])
	if n == len(s.changes) {
		s.changes = nil
	} else {
		clear(s.changes[:n]) // returned changes must not stay in memory
		s.changes = s.changes[n:]
	}
	lost, s.lost = s.lost, 0
	return changes, lost
}

// report queues a change for Take. It is called with the lock held.
func (s *Source) report(c Change) {
	if len(s.changes) >= maxChanges {
		s.lost++
		s.allLost++
		return
	}
	c.At = s.now()
	s.changes = append(s.changes, c)
}

func (s *Source) reportEvent(e workload.Event) { s.report(Change{Event: &e}) }

// State is the state of a Source.
type State struct {
	Synced   bool // this node's pods were listed
	Feeds    []Feed
	Pods     int // of this node that have not ended
	Gone     int // ended, but remembered
	Peers    int
	Services int
	Waiting  int    // changes waiting for Take
	Lost     uint64 // changes lost because too many were waiting
	Limited  uint64 // objects ignored because there were too many
}

// State returns the current state.
func (s *Source) State() State {
	feeds := s.feeds.state()
	s.mu.RLock()
	defer s.mu.RUnlock()
	own := 0
	for uid, e := range s.pods {
		if e.gone == 0 && uid == e.uid {
			own++
		}
	}
	return State{Synced: s.isSynced, Feeds: feeds, Pods: own, Gone: len(s.gone), Peers: len(s.peers), Services: len(s.services),
		Waiting: len(s.changes), Lost: s.allLost, Limited: s.limited}
}
