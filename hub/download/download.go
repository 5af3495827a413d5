// Package download serves the bundles of snapshots to people. Kubernetes decides who has access to
// them.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// ErrNone means that there is no such snapshot.
var ErrNone = errors.New("there is no such snapshot")

// Errors of Options.Allow.
var (
	ErrUnknown = errors.New("the token is not valid")
	ErrDenied  = errors.New("not allowed")
)

// Options of a Handler.
type Options struct {
	// Find returns a snapshot and the folder of its bundles, or ErrNone. Without a namespace it is in the hub's.
	Find func(namespace, name string) (*resource.Snapshot, string, error)
	// List lists the snapshots of all namespaces; nil: none are listed.
	List func() ([]*resource.Snapshot, error)
	// Namespace is the hub's. A snapshot in another one has the traffic of its own namespace, whoever asks.
	Namespace string
	// Allow returns which part of some content the token's owner may have, with the owner's name even if that is
	// nothing: ErrUnknown, ErrDenied, or another error if that cannot be determined. namespaces lists those of the
	// content.
	Allow  func(ctx context.Context, token string, what Content, namespaces func() ([]string, error)) (Grant, error)
	Cutter Cutter
	// Answers is the MCP server that gets questions, with the namespaces of people who may not see all; nil: there is none.
	Answers *url.URL
	// Spaces lists the namespaces of what is recorded now.
	Spaces func() []string
	// Owners lists the addresses that pods and services had in a time range, as far as is remembered; nil: nothing is.
	Owners func(from, to time.Time) *offer.Owners
	// Record writes every request to the access log before it is answered. If it fails, the answer is an error. nil:
	// there is no log.
	Record func(Request) error
	// Read is called in the background when somebody got the list of a ready snapshot's bundles, and not again for the
	// same person within readAge; nil: nobody wants to know.
	Read func(s *resource.Snapshot, user string)
	Log  *slog.Logger
}

// Content is the subresource to which a right applies: content of an object. Namespace is empty if that is the hub's.
type Content struct{ Resource, Namespace, Name string }

type handler struct {
	Options
	mu    sync.Mutex
	lists map[string][]transfer.File // by the bundle's path; a finished bundle does not change

	grants map[[sha256.Size]byte]granted // by token and snapshot
	spaces map[string][]string           // namespaces, by the folder of bundles
	making map[string]*making            // views, by their folder
	reads  map[[2]string]time.Time       // the last ones that were announced, by snapshot and person
	again  time.Duration                 // after which the rights to a long answer are checked again
}

// Handler serves
//
//	GET /v1/snapshots/NAME                     the snapshot and its bundles, with their files
//	GET /v1/snapshots/NAME/bundles/NODE/FILE   a file, with If-Match and Range
//	GET /v1/namespaces/NAMESPACE/snapshots/…   the same of a snapshot in another namespace
//	/mcp, /mcp/..., /metrics                   questions about live calls, which the MCP server next to the hub answers
//	GET /mcp/snapshots                         the snapshots that the person may read, with the paths of their pages
//	/v1/snapshots/NAME/mcp, …/mcp/...          questions about a snapshot; also in another namespace
//	GET /, /page/FILE, /v1/snapshots/NAME/     the page, which asks these questions; its files have no data and need no token
func Handler(o Options) http.Handler {
	h := &handler{Options: o, again: grantAge, lists: map[string][]transfer.File{}, grants: map[[sha256.Size]byte]granted{}, spaces: map[string][]string{}, making: map[string]*making{}, reads: map[[2]string]time.Time{}}
	mux := http.NewServeMux()
	for _, in := range []string{"/v1", "/v1/namespaces/{namespace}"} {
		mux.HandleFunc("GET "+in+"/snapshots/{name}", h.describe)
		mux.HandleFunc("GET "+in+"/snapshots/{name}/bundles/{node}/{file...}", h.file)
	}
	if o.Answers != nil {
		page := pageOf(o.Answers)
		for _, path := range []string{"/mcp", "/mcp/", "/metrics"} {
			mux.Handle(path, h.answers(o.Answers, h.ofLive))
		}
		for _, in := range []string{"/v1", "/v1/namespaces/{namespace}"} {
			for _, path := range []string{"/mcp", "/mcp/"} {
				mux.Handle(in+"/snapshots/{name}"+path, h.answers(o.Answers, h.ofSnapshot))
			}
			mux.Handle("GET "+in+"/snapshots/{name}/{$}", page)
		}
		mux.HandleFunc("GET /mcp/snapshots", h.listed)
		mux.Handle("GET /{$}", page)
		mux.Handle("GET /page/{file}", page)
	}
	return h.audited(mux)
}

// snapshot is the content of a snapshot; without a namespace it is in the hub's.
func (h *handler) snapshot(namespace, name string) Content {
	what := Content{resource.Snapshots.Resource, namespace, name}
	if what.Namespace == h.Namespace {
		what.Namespace = ""
	}
	return what
}

// open finds a snapshot for a request that is allowed, or answers the request. dir is the folder of the bundles from
// which the request is answered; it has no others.
func (h *handler) open(w http.ResponseWriter, r *http.Request) (s *resource.Snapshot, dir string, g Grant, ok bool) {
	what := h.snapshot(r.PathValue("namespace"), r.PathValue("name"))
	if !resource.NodeName(what.Name) || what.Namespace != "" && !resource.NodeName(what.Namespace) {
		http.Error(w, "invalid name of a snapshot", http.StatusBadRequest)
		return nil, "", g, false
	}
	g, ok = h.person(w, r, what)
	if !ok {
		return nil, "", g, false
	}
	s, dir, err := h.Find(what.Namespace, what.Name)
	if err == nil {
		return s, dir, g, true
	}
	code := http.StatusInternalServerError
	if errors.Is(err, ErrNone) {
		code = http.StatusNotFound
	}
	http.Error(w, err.Error(), code)
	return nil, "", g, false
}

func (h *handler) describe(w http.ResponseWriter, r *http.Request) {
	s, dir, g, ok := h.open(w, r)
	if !ok {
		return
	}
	a := offer.Snapshot{Name: s.Name, Namespace: s.Namespace, UID: string(s.UID), Phase: s.Status.Phase, Ready: s.Status.Phase == resource.Ready,
		From: s.Status.From, To: s.Status.To, Missing: []offer.Gap{}, Bundles: []offer.Bundle{}, Namespaces: g.Namespaces}
	if g.All { // others could learn names of other namespaces
		a.Selected, a.KFL = s.Spec.Select.Text(), s.Spec.Select.KFL
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, resource.Done); c != nil && !a.Ready {
		a.Message = c.Message
	}
	v := viewOf(s, g)
	if !v.whole() && a.Ready {
		if err := h.view(r.Context(), s, dir, &v); errors.Is(err, errUnfinished) {
			a.Ready, a.Phase, a.Message = false, "Cutting", err.Error()
		} else if err != nil {
			http.Error(w, "the part of the bundles that was selected, or that you may see, cannot be made", http.StatusInternalServerError)
			return
		}
	}
	for _, n := range s.Status.Nodes {
		if n.Gone() {
			a.Missing = append(a.Missing, offer.Gap{Node: n.Name, Reason: n.Reason, Message: n.Message})
		}
		if n.Bundle == "" || !a.Ready || !resource.NodeName(n.Name) {
			continue
		}
		path, err := v.place(dir, &n)
		if err != nil {
			if g.All { // otherwise it would reveal that there is data of others
				a.Nothing = append(a.Nothing, n.Name)
			}
			continue
		}
		files, err := h.list(path)
		if err != nil {
			h.Log.Error("listing a bundle", "snapshot", s.Name, "node", n.Name, "error", err)
			http.Error(w, "the bundle of node "+n.Name+" cannot be read", http.StatusInternalServerError)
			return
		}
		a.Bundles = append(a.Bundles, offer.Bundle{Node: n.Name, Name: s.Name + "-" + n.Name + offer.Extension, Files: files})
	}
	if a.Ready {
		h.read(s, g.User)
	}
	h.Log.Info("served a snapshot", "namespace", s.Namespace, "snapshot", s.Name, "user", g.User, "namespaces", g.Namespaces, "from", r.RemoteAddr, "bundles", len(a.Bundles))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the client may have gone
}

// readAge is the time within which a person's reads of a snapshot are one.
const readAge = 10 * time.Minute

// read announces who reads a snapshot.
func (h *handler) read(s *resource.Snapshot, user string) {
	if h.Read == nil {
		return
	}
	key := [2]string{string(s.UID), user}
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.reads[key]) < readAge {
		return
	}
	if len(h.reads) >= maxLists {
		clear(h.reads)
	}
	h.reads[key] = time.Now()
	go h.Read(s, user)
}

func (h *handler) file(w http.ResponseWriter, r *http.Request) {
	s, dir, g, ok := h.open(w, r)
	if !ok {
		return
	}
	v := viewOf(s, g)
	n := s.Status.Find(r.PathValue("node"))
	if n == nil || n.Bundle == "" || !resource.NodeName(n.Name) {
		http.Error(w, "the snapshot has no bundle of this node", http.StatusNotFound)
		return
	}
	path, err := v.place(dir, n)
	var files []transfer.File
	if err == nil {
		files, err = h.list(path)
	}
	if errors.Is(err, ErrNothing) || !v.whole() && errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "there is no bundle of this node with what was selected and you may see; get the description of the snapshot first", http.StatusNotFound)
		return
	}
	if err != nil {
		h.Log.Error("listing a bundle", "snapshot", s.Name, "node", n.Name, "error", err)
		http.Error(w, "the bundle cannot be read", http.StatusInternalServerError)
		return
	}
	f, ok := transfer.Find(files, r.PathValue("file"))
	if !ok {
		http.Error(w, "the bundle has no such file", http.StatusNotFound)
		return
	}
	transfer.Serve(w, r, path, f)
}

// maxLists limits the memory for listings.
const maxLists = 1000

// list lists a bundle. It reads all of it, once.
func (h *handler) list(path string) ([]transfer.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, ok := h.lists[path]; ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			delete(h.lists, path)
			return nil, err
		}
		return l, nil
	}
	l, err := transfer.List(path, nil)
	if err != nil {
		return nil, err
	}
	if len(h.lists) >= maxLists {
		clear(h.lists)
	}
	h.lists[path] = l
	return l, nil
}

// Server returns a server for a handler. It waits for clients that read slowly, but not for those that send no request.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}
