// Package kube says who the workloads of one node are, as its Kubernetes API tells.
//
// It watches this node's pods, the services and endpoints that they may talk to, and the
// events about them, and keeps what answers need, for as long as packets of those who are
// gone may still arrive. It never waits for a server when asked, keeps to fixed limits,
// and goes on with what it knew while the API is away, saying since when. It reads
// nothing of secrets, environments, arguments or annotations but the two that it names.
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

// Limits on what is kept. What is beyond one is counted in State.Limited.
const (
	maxPods       = 20_000  // of this node, those that are gone included
	maxPeers      = 50_000  // addresses behind services, those that are gone included
	maxServices   = 20_000  // services, and endpoint slices
	maxSlice      = 1000    // endpoints of a slice; Kubernetes' own limit
	maxAddresses  = 16      // of one object
	maxContainers = 64      // of a pod
	maxIDs        = 64      // container ids of a pod, over all restarts
	maxPorts      = 64      // of a container or service
	maxLabels     = 32      // kept of an object
	maxServed     = 64      // services of a pod
	maxSpans      = 256     // times in which somebody had one address
	maxChanges    = 1 << 14 // that wait to be taken
	maxName       = 253     // bytes of a name
	maxText       = 320     // bytes of an image or a label
	maxMessage    = 1024    // bytes of a message
)

// API is the part of a client set that is used.
type API struct {
	Core      coreclient.CoreV1Interface
	Apps      appsclient.AppsV1Interface
	Batch     batchclient.BatchV1Interface
	Discovery discoveryclient.DiscoveryV1Interface
}

// DefaultLabels are the labels that are kept where nobody chose others.
const DefaultLabels = "app,k8s-app,version,app.kubernetes.io/*"

// Options of a Source.
type Options struct {
	Node    string                             // name of this node, as its object is called
	Labels  []string                           // labels that may be kept; a star at the end takes all that begin so
	Keep    time.Duration                      // how long those that are gone are remembered; 0 means 10 minutes
	NoPeers bool                               // do not watch services and endpoints
	OnError func(error)                        // is told when a feed breaks, and of what is refused
	OnBack  func(feed string, since time.Time) // is told when a feed that was broken since then goes on

	now     func() time.Time
	backoff time.Duration // first pause of a broken feed; 0 means client-go's
}

// Source is a workload.Source of one node. Its methods may be called from any goroutine.
type Source struct {
	api    API
	o      Options
	feeds  feeds
	owners *resolver

	mu       sync.RWMutex
	pods     map[string]*entry       // of this node, by uid and by what paths call static ones
	ids      map[string]contained    // by container id
	spans    map[netip.Addr][]span   // by address, in the order of learning
	gone     []*entry                // those that ended, in the order in which it was learned
	hostNet  map[*entry]struct{}     // pods on this node's network
	services map[name]*service       // by namespace and name
	slices   map[name]*slice         // by namespace and name
	served   map[string][]membership // services of a pod, by uid
	peers    map[peerKey]*entry      // pods of other nodes and outside names, behind services
	node     *entry
	early    earlyEvents
	changes  []Change
	lost     uint64
	allLost  uint64
	limited  uint64
	isSynced bool // pods of this node were listed once
}

// Change is what a Source hands over.
type Change = workload.Change

type name struct{ namespace, name string }

// New makes a Source, which knows nobody before Run.
func New(api API, o Options) *Source {
	if o.Keep <= 0 {
		o.Keep = 10 * time.Minute
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
	ctx = klog.NewContext(ctx, klog.Logger{}) // what client-go would log, OnError is told
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
	if !s.o.NoPeers {
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

// breathe lets those who ask go first, now and then in a long list: they stand between
// packets.
func (s *Source) breathe(i int) {
	if i%16 == 15 {
		s.mu.Unlock()
		s.mu.Lock()
	}
}

// forgetting drops those that are gone for long.
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

// Take hands over what was learned.
func (s *Source) Take(limit int) (changes []Change, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(max(limit, 0), len(s.changes))
	changes = slices.Clone(s.changes[:n])
	if n == len(s.changes) {
		s.changes = nil
	} else {
		clear(s.changes[:n]) // what was taken must not stay in memory
		s.changes = s.changes[n:]
	}
	lost, s.lost = s.lost, 0
	return changes, lost
}

// tell keeps a change until it is taken. It is called with the lock held.
func (s *Source) tell(c Change) {
	if len(s.changes) >= maxChanges {
		s.lost++
		s.allLost++
		return
	}
	c.At = s.now()
	s.changes = append(s.changes, c)
}

func (s *Source) tellEvent(e workload.Event) { s.tell(Change{Event: &e}) }

// State is how a Source stands.
type State struct {
	Synced   bool // this node's pods were listed
	Feeds    []Feed
	Pods     int // of this node that live
	Gone     int // that ended and are remembered
	Peers    int
	Services int
	Waiting  int    // changes that nobody has taken
	Lost     uint64 // changes that found no room
	Limited  uint64 // objects left out since there are too many
}

// State says how the Source stands.
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
