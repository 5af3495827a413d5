// Package agent is the recorder of a cluster node. It combines package recorder, which does not use
// Kubernetes, with what the API knows about this node's workloads. It reports its state to
// Prometheus and to the kubelet's probes.
//
// Recording has priority. Without an API, packets are recorded with only the data of their control
// groups, and the state reports that.
package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/internal/kube"
	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// DefaultLabels are the labels of pods that are kept by default.
const DefaultLabels = kube.DefaultLabels

// Options of an agent.
type Options struct {
	Record   recorder.Options // its Ring must be set; the agent sets Source and OnError
	Cluster  *rest.Config     // connection to the API; nil: no Kubernetes
	Labels   []string         // labels of pods that may be written; a star at the end matches any rest
	Peers    string           // which objects of other nodes are watched: services, the default, pods or none
	Keep     time.Duration    // how long ended workloads are remembered; 0 means 10 minutes
	Patience time.Duration    // how long to wait for the API before recording starts; 0 means 5 s
	Listen   string           // address of metrics and health; empty: none
	Transfer Transfer         // for the hub
	Config   Config           // a RecorderConfig that is applied without a restart

	// ChooseKeys parses the part of a RecorderConfig about keys: the values of the flags --keys,
	// --keys-to and --plaintext.
	ChooseKeys func(of, to, plaintext []string, r ring.Options, headersOnly bool) (*recorder.Keys, error)

	Log *slog.Logger
}

// ErrNoCluster means that there is no configuration for an API.
var ErrNoCluster = errors.New("no Kubernetes API: there is neither a kubeconfig nor a service account")

// Cluster returns the connection to the API: that of a kubeconfig or, without one, that of
// the pod's service account.
func Cluster(kubeconfig, program string) (*rest.Config, error) {
	var c *rest.Config
	var err error
	if kubeconfig != "" {
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	} else if c, err = rest.InClusterConfig(); errors.Is(err, rest.ErrNotInCluster) || errors.Is(err, os.ErrNotExist) {
		err = ErrNoCluster
	}
	if err != nil {
		return nil, fmt.Errorf("reaching Kubernetes: %w", err)
	}
	c.UserAgent = strings.ReplaceAll(program, " ", "/")
	c.QPS, c.Burst = 20, 50 // owners are requested one by one, for a full node all at the start
	c.ContentType, c.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	return c, nil
}

// agent is one run.
type agent struct {
	o       Options
	source  atomic.Pointer[kube.Source] // nil without Kubernetes
	config  *config                     // nil without a RecorderConfig
	began   time.Time
	started atomic.Pointer[recorder.Started]
	stats   atomic.Pointer[lastStats]
	errors  atomic.Uint64

	certificate atomic.Pointer[mutual.Source] // for the hub; nil: it is not served
}

// lastStats is the last statistics of a recording, with their time.
type lastStats struct {
	recorder.Stats
	at      time.Time
	unsaved time.Time // when packets were last lost because they could not be written; zero: never
}

// next is the state after new statistics.
func (l *lastStats) next(s recorder.Stats, at time.Time) *lastStats {
	n := &lastStats{Stats: s, at: at}
	if l != nil {
		n.unsaved = l.unsaved
		if s.Unwritten() > l.Unwritten() {
			n.unsaved = at
		}
	}
	return n
}

// Run records until ctx ends, and returns the result of recorder.Run. It writes the packets
// that are still in the kernel's buffer before it returns.
func Run(ctx context.Context, o Options) (recorder.Stats, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Record.Ring == nil {
		return recorder.Stats{}, errors.New("no ring to record to")
	}
	a := &agent{o: o, began: time.Now()}
	if o.Listen != "" {
		stop, err := a.listen()
		if err != nil {
			return recorder.Stats{}, err
		}
		defer stop()
	}
	if o.Config.Name != "" {
		var err error
		if a.config, err = openConfig(o.Record.Ring.Dir); err != nil {
			return recorder.Stats{}, err
		}
		follow, stop := context.WithCancel(ctx)
		defer stop()
		if err := a.follow(follow); err != nil {
			return recorder.Stats{}, err
		}
	}
	if o.Transfer.Listen != "" {
		stop, err := a.transfer(ctx)
		if err != nil {
			return recorder.Stats{}, err
		}
		defer stop()
	}
	if a.config != nil {
		return a.configured(ctx)
	}
	return a.session(ctx, o)
}

// session records with fixed options until ctx ends.
func (a *agent) session(ctx context.Context, o Options) (recorder.Stats, error) {
	if o.Cluster != nil {
		stop, err := a.watch(ctx, o)
		if err != nil {
			return recorder.Stats{}, err
		}
		defer stop()
	}
	return a.record(ctx, o.Record)
}

// watch starts to watch the API, and waits briefly for its first response, so that
// interfaces have names from the first packet on.
func (a *agent) watch(ctx context.Context, o Options) (stop func(), err error) {
	api, err := clients(o.Cluster)
	if err != nil {
		return nil, err
	}
	source := kube.New(api, kube.Options{Node: o.Record.Node, Labels: o.Labels, Keep: o.Keep, Peers: kube.Peers(o.Peers),
		OnError: func(err error) { a.o.Log.Warn("Kubernetes does not respond; recording continues", "error", err) },
		OnBack: func(feed string, since time.Time) {
			a.o.Log.Info("Kubernetes responds again", "feed", feed, "away", time.Since(since).Round(time.Millisecond))
		}})
	a.source.Store(source)
	// It outlives ctx, so that packets that are drained at the end have names too.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		source.Run(run)
	}()
	wait := time.NewTimer(a.o.Patience)
	defer wait.Stop()
	for !source.State().Synced {
		select {
		case <-ctx.Done():
		case <-wait.C:
			a.o.Log.Warn("Kubernetes has not responded; recording starts without names", "waited", a.o.Patience)
		case <-time.After(20 * time.Millisecond):
			continue
		}
		break
	}
	return func() { cancel(); <-done }, nil
}

// fingerprint names the signing key, "" if there is none.
func fingerprint(key ed25519.PrivateKey) string {
	if key == nil {
		return ""
	}
	return ring.Fingerprint(key)
}

func (a *agent) record(ctx context.Context, o recorder.Options) (recorder.Stats, error) {
	source := a.source.Load()
	if source != nil {
		o.Source = source
	}
	onStart, onStats := o.OnStart, o.OnStats
	o.OnStart = func(s recorder.Started) {
		a.started.Store(&s)
		if onStart != nil {
			defer onStart(s)
		}
		if s.Instead != nil {
			a.o.Log.Warn("cannot record sockets on this machine; recording frames of network interfaces instead, without owners", "error", s.Instead)
		}
		if x := s.Resumed; x != nil {
			a.o.Log.Info("the kernel went on while no recorder ran", "waiting", x.Waiting, "lost", x.Lost, "detail", x.Detail)
		}
		a.o.Log.Info("recording", "where", s.Where, "ring", s.Ring, "folder", o.Ring.Dir, "filter", s.Filter, "only", s.Only, "policy", s.Policy, "own", s.Own, "open_sockets", s.Sockets, "degraded", strings.Join(s.Degraded, "; "), "signed_with", fingerprint(o.Ring.Key))
	}
	o.OnError = func(err error) {
		a.errors.Add(1)
		a.o.Log.Error("recording continues after an error", "error", err)
	}
	o.OnStats = func(s recorder.Stats) {
		a.stats.Store(a.stats.Load().next(s, time.Now()))
		if onStats != nil {
			onStats(s)
		}
	}
	warnKeys(a.o.Log, o.Keys, source != nil)
	s, err := recorder.Run(ctx, o)
	a.logKeys(s.Keys)
	if err != nil && a.started.Load() == nil {
		return s, err // nothing was recorded that could end
	}
	a.o.Log.Info("ended", "seen", s.Seen, "filtered", s.Filtered, "delivered", s.Delivered, "dropped", s.Dropped, "balanced", s.Balanced(), "bytes", s.Bytes)
	return s, err
}

var _ workload.Source = (*kube.Source)(nil)

// listen serves metrics and health. It returns a function that stops it.
func (a *agent) listen() (stop func(), err error) {
	l, err := net.Listen("tcp", a.o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for metrics: %w", err)
	}
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(a.o.Log.Handler(), slog.LevelDebug)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.o.Log.Error("serving metrics ended", "error", err)
		}
	}()
	a.o.Log.Info("listening", "address", l.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close() // a client is slow; the recording has ended
		}
		<-done
	}, nil
}
