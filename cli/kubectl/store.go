package kubectl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/mcp/cases"
	"github.com/pcapsule/pcapsule/mcp/store"
)

const (
	maxCapture = time.Hour // of an assistant
	running    = "running"
	completed  = "completed"
	failedRun  = "failed"
)

// Store is the store of a cluster's snapshots: the resources, with the rights of the kubeconfig's user. A dissection is
// the fetched bundles.
type Store struct {
	e   *env
	ctx context.Context
	end context.CancelFunc
	all sync.WaitGroup

	mu      sync.Mutex
	fetched map[string]store.Dissection // by snapshot
}

var _ store.Store = (*Store)(nil)

// NewStore opens the store of the hub in a namespace. Close ends what is being fetched.
func NewStore(s *console.Streams, namespace string) *Store {
	x := &Store{e: (&env{Streams: s, namespace: namespace}).quietly(), fetched: map[string]store.Dissection{}}
	x.ctx, x.end = context.WithCancel(context.Background())
	return x
}

// Close ends what is being fetched.
func (x *Store) Close() { x.end(); x.all.Wait() }

// errRequest makes an error of kubectl one that is safe to send: it has only what kubectl says of the request.
func errRequest(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return store.BadRequest("%v", err)
}

// Boundaries implements store.Store.
func (x *Store) Boundaries(context.Context) ([]store.Boundary, error) {
	return nil, store.BadRequest("the nodes of a cluster do not list what they have: create a snapshot of the time; its coverage lists what is missing")
}

// Snapshots implements store.Store.
func (x *Store) Snapshots(ctx context.Context) ([]store.Snapshot, error) {
	text, err := x.e.output(ctx, nil, "get", snapshots, "-o", "json")
	if err != nil {
		return nil, errRequest(err)
	}
	var list struct{ Items []snapshot }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("reading the snapshots of the cluster: %w", err)
	}
	var out []store.Snapshot
	for i := range list.Items {
		out = append(out, x.describe(&list.Items[i]))
	}
	slices.SortStableFunc(out, func(a, b store.Snapshot) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	return out, nil
}

// describe is a snapshot as assistants see it.
func (x *Store) describe(s *snapshot) store.Snapshot {
	v := store.Snapshot{Name: x.e.name(s), Status: "recording", CreatedAt: s.Metadata.Created, From: s.Status.From, To: s.Status.To, Nodes: len(s.Status.Nodes),
		Packets: s.Status.Packets, Bytes: s.Status.Bytes, Filter: s.Spec.Select.text(), Dissections: []string{}}
	from, err1 := time.Parse(time.RFC3339Nano, v.From)
	to, err2 := time.Parse(time.RFC3339Nano, v.To)
	if err1 == nil && err2 == nil {
		v.StartMs, v.EndMs, v.DurationMs = from.UnixMilli(), to.UnixMilli(), to.Sub(from).Milliseconds()
	}
	switch s.Status.Phase {
	case "Ready":
		v.Status = completed
	case "Failed", "Lost":
		v.Status = failedRun
		v.Error, _ = s.condition("Ready", "False")
	}
	for _, n := range s.Status.Nodes {
		if n.State == "Missing" || n.State == "Failed" {
			v.Missing = append(v.Missing, "node "+n.Name+": "+n.Message)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.fetched[v.Name]; ok {
		v.Dissections = []string{v.Name + "/" + cases.MainDissection}
	}
	return v
}

// text describes a selection.
func (s *selection) text() string {
	return strings.Join(slices.DeleteFunc(slices.Concat(s.Namespaces, s.Workloads, []string{s.Labels, s.Filter, s.KFL}), func(t string) bool { return t == "" }), "; ")
}

// CreateSnapshot implements store.Store.
func (x *Store) CreateSnapshot(ctx context.Context, r store.SnapshotRequest) (store.Snapshot, error) {
	var q request
	if q.Last = length(r.Last); r.Last == 0 {
		q.From, q.To = when.Stamp(r.From), when.Stamp(cmp.Or(r.To, time.Now().UnixNano()))
	}
	s, err := x.e.create(ctx, "Snapshot", strings.ToLower(r.Name), "", q)
	if err != nil {
		return store.Snapshot{}, errRequest(err)
	}
	return x.describe(s), nil
}

// DeleteSnapshot implements store.Store. A Capture goes with its snapshot.
func (x *Store) DeleteSnapshot(ctx context.Context, name string) error {
	namespace, plain, ok := offer.Split(name)
	if !ok {
		return store.BadRequest("%.100q is not the name of a snapshot", name)
	}
	x.mu.Lock()
	delete(x.fetched, name)
	x.mu.Unlock()
	kind := snapshots
	if capture, ok := strings.CutPrefix(plain, "capture-"); ok {
		kind, plain = captures, capture
	}
	_, err := x.e.in(namespace).output(ctx, nil, "delete", kind, plain, "--wait=false")
	return errRequest(err)
}

// SnapshotPCAP implements store.Store.
func (x *Store) SnapshotPCAP(context.Context, string, store.PCAPRequest, io.Writer) (store.PCAPReport, error) {
	return store.PCAPReport{}, store.BadRequest("packets of a cluster's snapshot come from its bundles: start_snapshot_dissection, then export_pcap with its db")
}

// Capture implements store.Store.
func (x *Store) Capture(ctx context.Context, r store.CaptureRequest) (store.Snapshot, error) {
	var none store.Snapshot
	if r.Duration < time.Second || r.Duration > maxCapture {
		return none, store.BadRequest("duration %s: must be 1s to %s", r.Duration, maxCapture)
	}
	q := request{Duration: r.Duration.String(), Select: selection{Filter: r.Filter}}
	if err := q.Select.owners(r.Owners); err != nil {
		return none, err
	}
	name := strings.TrimPrefix(strings.ToLower(r.Name), "capture-")
	if !offer.Plain(name) {
		return none, store.BadRequest("%.100q is not the name of a recording", r.Name)
	}
	if _, err := x.e.create(ctx, "Capture", name, "", q); err != nil {
		return none, errRequest(err)
	}
	now := time.Now().UTC()
	return store.Snapshot{Name: "capture-" + name, Status: "recording", CreatedAt: now.Format(time.RFC3339), DurationMs: r.Duration.Milliseconds(), Filter: q.Select.text(), Dissections: []string{}}, nil
}

// owners selects the pods of owners as assistants name them.
func (s *selection) owners(list []string) error {
	var labels []string
	for _, o := range list {
		field, value, _ := strings.Cut(o, "=")
		switch {
		case value != "" && field == "namespace":
			s.Namespaces = append(s.Namespaces, value)
		case value != "" && field == "pod":
			s.Workloads = append(s.Workloads, value)
		case value != "" && field == "label":
			labels = append(labels, value)
		default:
			return store.BadRequest("owner %.100q: in a cluster, use namespace=NAME, pod=NAMESPACE/NAME (of a pod or its workload) or label=NAME=VALUE", o)
		}
	}
	if s.Labels = strings.Join(labels, ","); len(list) == 0 {
		return store.BadRequest("missing owners: in a cluster, a recording is about pods, such as namespace=shop or pod=shop/web")
	}
	return nil
}

// StartDissection implements store.Store: it begins to fetch the bundles.
func (x *Store) StartDissection(_ context.Context, name, dissection string) (store.Dissection, error) {
	if dissection != cases.MainDissection {
		return store.Dissection{}, store.BadRequest("dissection %.100q: a cluster's snapshot has one, %s", dissection, cases.MainDissection)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if d, ok := x.fetched[name]; ok && d.Status != failedRun {
		return d, nil
	}
	d := store.Dissection{DB: name + "/" + dissection, Snapshot: name, Name: dissection, Status: running, Protocols: map[string]int64{}}
	x.fetched[name] = d
	x.all.Go(func() {
		done := d
		paths, err := x.e.cached(x.ctx, name)
		if err == nil {
			err = count(paths, &done)
		}
		if done.Status, done.Progress, done.Paths = completed, 100, paths; err != nil {
			done.Status, done.Progress, done.Error = failedRun, 0, err.Error()
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if _, ok := x.fetched[name]; ok {
			x.fetched[name] = done
		}
	})
	return d, nil
}

// count adds up the numbers of bundles.
func count(paths []string, d *store.Dissection) error {
	d.Protocols = map[string]int64{}
	for _, p := range paths {
		b, err := bundle.Open(p)
		if err != nil {
			return err
		}
		a := b.Manifest.Accounts
		d.Stats.Files, d.Stats.Bytes, d.Stats.Packets = d.Stats.Files+int64(len(b.Manifest.Inputs)), d.Stats.Bytes+a.Bytes, d.Stats.Packets+a.Packets
		for protocol, n := range b.Manifest.Calls {
			d.Protocols[protocol] += n
			d.Stats.Calls += n
		}
	}
	return nil
}

// Dissections implements store.Store.
func (x *Store) Dissections(_ context.Context, name string) ([]store.Dissection, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []store.Dissection
	for _, d := range x.fetched {
		if name == "" || d.Snapshot == name {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b store.Dissection) int { return cmp.Compare(a.DB, b.DB) })
	return list, nil
}

var errLive = store.BadRequest("db live is that of the MCP server in the cluster: kubectl pcapsule mcp, or kubectl pcapsule tail")

// Live implements store.Store.
func (x *Store) Live(context.Context, time.Duration) ([]string, error) { return nil, errLive }

// LiveAfter implements store.Store.
func (x *Store) LiveAfter(context.Context, int64) ([]string, int64, error) { return nil, 0, errLive }
