package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	certificatesclient "k8s.io/client-go/kubernetes/typed/certificates/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/pcapsule/pcapsule/recorder/internal/enroll"
	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// sweepEvery is how often pins that are no longer requested are removed.
const sweepEvery = 10 * time.Minute

// serviceNamespace is where a pod finds its namespace.
const serviceNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// podNamespace returns the given namespace or, without one, that of the pod.
func podNamespace(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	text, err := os.ReadFile(serviceNamespace)
	return strings.TrimSpace(string(text)), err
}

// Transfer configures how the hub reaches the ring.
type Transfer struct {
	Listen        string // address; empty: not at all
	Cert, Key, CA string // files that are read again when they change; empty: certificates from the cluster
	Namespace     string // of the hub, for certificates from the cluster; empty: the pod's own
	Rate          int64  // bytes per second of all connections; 0: no limit
	Rows          string // folder with rows that another program makes of the ring; empty: none
}

// transfer serves coverage, pins and their files to the hub. It returns a function that stops it.
func (a *agent) transfer(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	source, err := a.certificates(ctx)
	if err != nil {
		return nil, err
	}
	a.certificate.Store(&source)
	l, err := net.Listen("tcp", a.o.Transfer.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for the hub: %w", err)
	}
	store := pins.Open(a.o.Record.Ring.Dir, a.o.Record.Node)
	store.ServeRows(a.o.Transfer.Rows)
	go a.sweep(ctx, store)
	// No timeout for a whole response: files are large. A client that does not read is cut by
	// the write deadline of each piece.
	mux := http.NewServeMux()
	mux.Handle("/", store.Handler(a.o.Log))
	if a.config != nil {
		mux.Handle("GET "+pins.ConfigPath, pins.ConfigHandler(a.config.state))
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(a.o.Log.Handler(), slog.LevelWarn)}
	go func() {
		if err := server.Serve(tls.NewListener(transfer.Pace(l, a.o.Transfer.Rate), mutual.Server(source, mutual.Hub))); !errors.Is(err, http.ErrServerClosed) {
			a.o.Log.Error("serving the hub ended", "error", err)
		}
	}()
	a.o.Log.Info("listening for the hub", "address", l.Addr().String())
	return func() { cancel(); server.Close() }, nil
}

// certificates returns the source of this node's certificate, which is maintained until ctx ends.
func (a *agent) certificates(ctx context.Context) (mutual.Source, error) {
	if t := a.o.Transfer; t.Cert != "" {
		source := mutual.Files(t.Cert, t.Key, t.CA, func(err error) { a.o.Log.Warn("cannot read the certificate for the hub", "error", err) })
		_, err := source()
		return source, err
	}
	e, err := a.enroll()
	if err != nil {
		return nil, err
	}
	go e.Run(ctx)
	return e.Current, nil
}

// enroll prepares to get certificates from the cluster.
func (a *agent) enroll() (*enroll.Enrollment, error) {
	if a.o.Cluster == nil {
		return nil, errors.New("listening for the hub needs a certificate: give its files, or a Kubernetes API to request one")
	}
	namespace, err := podNamespace(a.o.Transfer.Namespace)
	if err != nil {
		return nil, fmt.Errorf("finding the hub's namespace: %w", err)
	}
	config := rest.CopyConfig(a.o.Cluster)
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("creating Kubernetes clients: %w", err)
	}
	signing, err := certificatesclient.NewForConfigAndClient(config, h)
	if err != nil {
		return nil, fmt.Errorf("creating Kubernetes clients: %w", err)
	}
	core, err := coreclient.NewForConfigAndClient(config, h)
	if err != nil {
		return nil, fmt.Errorf("creating Kubernetes clients: %w", err)
	}
	return enroll.New(enroll.Options{Node: a.o.Record.Node, Requests: signing.CertificateSigningRequests(), Maps: core.ConfigMaps(namespace),
		OnError:   func(err error) { a.o.Log.Warn("no certificate for the hub; recording continues", "error", err) },
		OnRenewed: func(until time.Time) { a.o.Log.Info("new certificate", "until", until.UTC()) }}), nil
}

// sweep removes abandoned pins until ctx ends.
func (a *agent) sweep(ctx context.Context, store *pins.Store) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		swept, err := store.Sweep(time.Now())
		if err != nil {
			a.o.Log.Error("removing abandoned pins", "error", err)
		}
		if len(swept) > 0 {
			a.o.Log.Info("removed abandoned pins", "pins", swept)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
