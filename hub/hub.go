// Package hub is the program of a cluster that collects the rings of its nodes: it signs the
// certificates of recorders, serves the resource Snapshot, and serves the bundles.
//
// One hub works at a time; others wait for its Lease.
package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	batch "k8s.io/api/batch/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	certificatesclient "k8s.io/client-go/kubernetes/typed/certificates/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/pcapsule/pcapsule/hub/authority"
	"github.com/pcapsule/pcapsule/hub/capture"
	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/control"
	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/jobs"
	"github.com/pcapsule/pcapsule/hub/pods"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/rollout"
	"github.com/pcapsule/pcapsule/hub/schedule"
	"github.com/pcapsule/pcapsule/hub/served"
	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

const (
	leaseName    = "pcapsule-hub"
	serviceName  = "pcapsule-hub"
	refreshEvery = 5 * time.Minute // of the authority
)

// Snapshots is the folder of the collected snapshots, in that of the hub.
const Snapshots = "snapshots"

// Anchors is the folder with the countersignatures of rings, in that of the hub.
const Anchors = "anchors"

// Options of a hub.
type Options struct {
	Cluster   *rest.Config
	Namespace string
	Dir       string // for collected files
	Listen    string // address for downloads of bundles
	Rate      int64  // bytes per second of all downloads; 0: no limit
	Health    string // address of /healthz and /readyz; empty: none
	Identity  string // of this hub among several, such as the pod's name
	Release   string
	Log       *slog.Logger

	Make  func(ctx context.Context, from, to string, window [2]ring.Time) error // makes a bundle; nothing is left behind if it fails
	Count func(bundle string) (collect.Counts, error)
	Stamp func(bundle string, s collect.Seen) error // adds the hub's statement about a ring to the custody log; nil: it is not added
	// Job is the template of the Jobs that bundle snapshots of more than Large bytes; nil: the hub bundles all.
	Job   *batch.Job
	Large int64
	// LiveBytes limits the copies of the rings that are followed, all together; 0: none is followed.
	LiveBytes int64
	// Answers is the MCP server next to the hub, to which questions are passed on; nil: there is none.
	Answers *url.URL
	// Record writes requests for bundles and questions to the access log; nil: there is none.
	Record func(download.Request) error
	// Store gets the bundles of finished snapshots; nil: they are in Dir only.
	Store control.Store
	// Tenants are the limits of snapshots in other namespaces.
	Tenants control.Tenants
	// Cutter makes the views of people who may not see everything; nil refuses them.
	Cutter download.Cutter
}

// hub is one run.
type hub struct {
	Options
	core      *coreclient.CoreV1Client
	signing   *certificatesclient.CertificatesV1Client
	review    *authenticationclient.AuthenticationV1Client
	access    *authorizationclient.AuthorizationV1Client
	leases    *coordinationclient.CoordinationV1Client
	batch     *batchclient.BatchV1Client
	objects   *dynamic.DynamicClient
	authority *authority.Authority
	state     state
	phases    atomic.Pointer[func() map[string]int] // counts snapshots; nil: another hub works
}

// Run works until ctx ends.
func Run(ctx context.Context, o Options) error {
	h := &hub{Options: o}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	if err := h.connect(); err != nil {
		return fmt.Errorf("creating Kubernetes clients: %w", err)
	}
	if o.Health != "" {
		stop, err := h.health()
		if err != nil {
			return err
		}
		defer stop()
	}
	lock := &resourcelock.LeaseLock{LeaseMeta: meta.ObjectMeta{Name: leaseName, Namespace: o.Namespace}, Client: h.leases, LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity}}
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true, Name: leaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lead context.Context) {
				failed <- h.lead(lead)
				cancel()
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				h.state.set(func(s *facts) { s.Leader = identity })
				if identity != o.Identity {
					o.Log.Info("another hub is working; waiting for it to end", "hub", identity)
				}
			},
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	if !h.state.get().Leading {
		return nil // it never worked
	}
	lost := ctx.Err() == nil
	cancel()
	select {
	case err := <-failed:
		if lost && err == nil {
			err = errors.New("another hub may be working: the Lease was not renewed in time")
		}
		return err
	case <-time.After(time.Minute):
		return errors.New("the hub did not end in time")
	}
}

func (h *hub) connect() error {
	c := h.Cluster
	client, err := rest.HTTPClientFor(c)
	if err == nil {
		h.core, err = coreclient.NewForConfigAndClient(c, client)
	}
	if err == nil {
		h.signing, err = certificatesclient.NewForConfigAndClient(c, client)
	}
	if err == nil {
		h.review, err = authenticationclient.NewForConfigAndClient(c, client)
	}
	if err == nil {
		h.access, err = authorizationclient.NewForConfigAndClient(c, client)
	}
	if err == nil {
		h.leases, err = coordinationclient.NewForConfigAndClient(c, client)
	}
	if err == nil {
		h.batch, err = batchclient.NewForConfigAndClient(c, client)
	}
	if err == nil {
		h.objects, err = dynamic.NewForConfigAndClient(dynamic.ConfigFor(c), client)
	}
	return err
}

// lead does the hub's work until ctx ends or a part of it fails.
func (h *hub) lead(ctx context.Context) (err error) {
	h.state.set(func(s *facts) { s.Leading = true })
	h.Log.Info("working", "namespace", h.Namespace, "folder", h.Dir)
	for {
		if h.authority, err = authority.Open(ctx, h.core, h.Namespace); err == nil {
			break
		}
		h.Log.Error("starting; trying again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Second):
		}
	}
	nodes := h.finder()
	known := pods.New(h.objects, h.Log)
	witness := &collect.Witness{Dir: filepath.Join(h.Dir, Anchors), Key: h.authority.Witness, Name: "pcapsule-hub"}
	controller := control.New(control.Options{Client: h.objects, Namespace: h.Namespace, Tenants: h.Tenants, Dir: filepath.Join(h.Dir, Snapshots), Nodes: h.nodes,
		Ran: known.Nodes, Owners: known.Owners, Collector: h.collector(nodes, witness), Store: h.Store, Temporary: h.temporary(ctx), Jobs: h.jobs(), Large: h.Large, Log: h.Log})
	count := controller.Phases
	h.phases.Store(&count)
	defer h.phases.Store(nil)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, err := h.download(controller, known)
	if err != nil {
		return err
	}
	defer stop()
	var all sync.WaitGroup
	start := func(run func(context.Context) error) {
		all.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	start(func(ctx context.Context) error {
		return h.authority.Serve(ctx, h.signing.CertificateSigningRequests(), h.Log)
	})
	start(h.refresh)
	start(controller.Run)
	start(func(ctx context.Context) error {
		return rollout.Run(ctx, rollout.Options{Client: h.objects, Namespace: h.Namespace, Recorders: nodes.recorders, Log: h.Log})
	})
	start(known.Run)
	start(func(ctx context.Context) error {
		return schedule.Run(ctx, schedule.Options{Client: h.objects, Namespace: h.Namespace, Incidents: known.Incidents, Bursts: schedule.CountedBy(h.Answers), Log: h.Log})
	})
	start(func(ctx context.Context) error {
		return capture.Run(ctx, capture.Options{Client: h.objects, Namespace: h.Namespace, Log: h.Log})
	})
	if h.LiveBytes > 0 {
		follower := h.follower(nodes, known)
		start(follower.Run)
		start(func(ctx context.Context) error { return h.sayLive(ctx, follower) })
	}
	h.state.set(func(s *facts) { s.Ready = true })
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (h *hub) refresh(ctx context.Context) error {
	t := time.NewTicker(refreshEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := h.authority.Refresh(ctx); err != nil && ctx.Err() == nil {
			h.Log.Error("reading the certificate authority", "error", err)
		}
	}
}

// download serves bundles. It returns a function that stops it.
func (h *hub) download(c *control.Controller, known *pods.Memory) (stop func(), err error) {
	l, err := net.Listen("tcp", h.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for downloads: %w", err)
	}
	service := serviceName + "." + h.Namespace + ".svc"
	source := h.authority.Own(true, serviceName, serviceName+"."+h.Namespace, service, service+".cluster.local", "localhost")
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		p, err := source()
		if err != nil {
			return nil, err
		}
		return &p.Certificate, nil
	}}
	read := func(s *resource.Snapshot, user string) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		x := *s // the answer still reads s
		if u, err := x.Object(); err == nil {
			served.Event(ctx, h.objects, u, "Normal", "Fetch", "Fetched", "its bundles were handed out to "+user)
		}
	}
	server := download.Server(download.Handler(download.Options{Find: c.Find, List: c.List, Namespace: h.Namespace, Allow: h.allow, Cutter: h.Cutter, Answers: h.Answers, Spaces: known.Namespaces, Owners: known.Owners, Record: h.Record, Read: read, Log: h.Log}), h.Log)
	go func() {
		if err := server.Serve(tls.NewListener(transfer.Pace(l, h.Rate), config)); !errors.Is(err, http.ErrServerClosed) {
			h.Log.Error("serving downloads ended", "error", err)
		}
	}()
	h.Log.Info("listening for downloads", "address", l.Addr().String())
	return func() { server.Close() }, nil
}

// finder finds this cluster's recorders.
func (h *hub) finder() *finder {
	return &finder{hub: h, source: h.authority.Own(false, mutual.Hub), clients: map[string]*http.Client{}}
}

// collector collects from this cluster's nodes.
func (h *hub) collector(f *finder, w *collect.Witness) *collect.Collector {
	return &collect.Collector{Find: f.find, Make: h.Make, Count: h.Count, Witness: w, Stamp: h.Stamp, Hub: "pcapsule-hub " + h.Release, Retry: 2 * time.Second, Log: h.Log}
}

// jobs runs Jobs in the hub's namespace.
func (h *hub) jobs() *jobs.Runner {
	if h.Job == nil {
		return nil
	}
	return &jobs.Runner{Jobs: h.batch.Jobs(h.Namespace), Pods: h.core.Pods(h.Namespace), Template: h.Job}
}
