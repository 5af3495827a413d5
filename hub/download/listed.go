package download

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// mostListed limits the snapshots about whose rights Kubernetes is asked for one list.
const mostListed = 100

// listed lists the snapshots of which a person may read something, the newest first. It has the form of the list of
// snapshots of an MCP server.
func (h *handler) listed(w http.ResponseWriter, r *http.Request) {
	token, user := bearer(r), ""
	if token == "" {
		_, _ = h.person(w, r, live) // says so
		return
	}
	all, err := h.snapshots()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	a := offer.Listed{Snapshots: []offer.ListedSnapshot{}, Unasked: max(0, len(all)-mostListed)}
	for _, s := range all[:min(len(all), mostListed)] {
		what := h.snapshot(s.Namespace, s.Name)
		g, err := h.grant(r.Context(), token, what)
		switch {
		case errors.Is(err, ErrDenied):
			continue
		case err != nil:
			_, _ = h.person(w, r, what) // says what is wrong
			return
		}
		user = g.User
		x := offer.ListedSnapshot{Name: s.Namespace + "/" + s.Name, Status: listedStatus(s), From: s.Status.From, To: s.Status.To, CreatedAt: s.CreationTimestamp.UTC().Format(time.RFC3339),
			Dissections: []string{}, Page: "/v1/namespaces/" + s.Namespace + "/snapshots/" + s.Name + "/"}
		if g.All {
			x.Nodes = len(s.Status.Nodes)
		}
		a.Snapshots = append(a.Snapshots, x)
	}
	if user == "" { // nobody was let in: say why, unless there are no snapshots
		g, err := h.grant(r.Context(), token, live)
		if err != nil && !errors.Is(err, ErrDenied) {
			_, _ = h.person(w, r, live)
			return
		}
		user = g.User
	}
	by(r, user)
	a.Total = len(a.Snapshots)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the client may have gone
}

// snapshots lists all snapshots, the newest first.
func (h *handler) snapshots() ([]*resource.Snapshot, error) {
	if h.List == nil {
		return nil, nil
	}
	all, err := h.List()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *resource.Snapshot) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return all, nil
}

// listedStatus is the status of a snapshot in words of MCP: only a ready one can be asked about.
func listedStatus(s *resource.Snapshot) string {
	switch s.Status.Phase {
	case resource.Ready:
		return "completed"
	case resource.Failed, resource.Lost:
		return "failed"
	}
	return "recording"
}
