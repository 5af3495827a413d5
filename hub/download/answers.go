package download

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// live is the content to which questions refer.
var live = Content{Resource: resource.LiveConfigs.Resource, Name: resource.LiveName}

// asked is a question that a person may ask.
type asked struct {
	about   Content
	grant   Grant
	path    string   // to which it is passed on
	bundles []string // what it is about; empty: live calls
}

// ofLive lets people ask about live calls.
func (h *handler) ofLive(w http.ResponseWriter, r *http.Request) (q asked, ok bool) {
	g, ok := h.person(w, r, live)
	return asked{about: live, grant: g, path: r.URL.Path}, ok
}

// ofSnapshot lets people ask about the part of a snapshot that they may get.
func (h *handler) ofSnapshot(w http.ResponseWriter, r *http.Request) (q asked, ok bool) {
	s, dir, g, ok := h.open(w, r)
	if !ok {
		return q, false
	}
	if s.Status.Phase != resource.Ready {
		http.Error(w, "the snapshot is not ready", http.StatusConflict)
		return q, false
	}
	v := viewOf(s, g)
	list, err := h.parts(r.Context(), s, dir, &v)
	switch {
	case errors.Is(err, errUnfinished):
		w.Header().Set("Retry-After", "2")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return q, false
	case errors.Is(err, ErrNothing):
		http.Error(w, "the snapshot has nothing of what was selected and you may see", http.StatusNotFound)
		return q, false
	case err != nil:
		h.Log.Error("preparing a snapshot for questions", "snapshot", s.Name, "error", err)
		http.Error(w, "the part of the bundles that was selected, or that you may see, cannot be made", http.StatusInternalServerError)
		return q, false
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1"), "/snapshots/"+s.Name)
	return asked{about: h.snapshot(s.Namespace, s.Name), grant: g, path: path, bundles: list}, true
}

// maxGone limits the missing nodes in answers about a view: each is named in the header of a question.
const maxGone = 100

// parts lists the bundles of a view, or their folders. ErrNothing: it has none.
func (h *handler) parts(ctx context.Context, s *resource.Snapshot, dir string, v *View) (list []string, err error) {
	if v.whole() {
		return []string{dir}, nil
	}
	if err := h.view(ctx, s, dir, v); err != nil {
		return nil, err
	}
	folder := viewFolder(dir, v)
	some := false
	for _, n := range s.Status.Nodes {
		if n.Bundle == "" || !resource.NodeName(n.Name) {
			continue
		}
		path, err := v.place(dir, &n)
		switch {
		case err != nil:
		case filepath.Dir(path) == folder:
			some = true
		default:
			list = append(list, path)
		}
	}
	if some {
		list = append(list, folder)
	}
	switch {
	case len(list) == 0:
		return nil, ErrNothing
	case len(list) > maxGone:
		return nil, fmt.Errorf("%d nodes are missing; the answers could name %d", len(list), maxGone)
	}
	return list, nil
}

// answers passes questions to the MCP server next to the hub, which answers every client. For people who may see only
// some namespaces, it passes these too. may determines what is asked, or answers the request.
func (h *handler) answers(to *url.URL, may func(http.ResponseWriter, *http.Request) (asked, bool)) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			q, _ := r.In.Context().Value(askedKey{}).(asked)
			r.Out.URL.Path, r.Out.URL.RawPath = q.path, ""
			r.SetURL(to)
			r.Out.Host = to.Host
			r.Out.Header.Del("Authorization") // the token of a person is not for another program
			r.Out.Header.Del("Cookie")
			r.Out.Header.Del("Origin")
			r.Out.Header.Del(offer.NamespacesHeader)
			r.Out.Header.Del(offer.BundlesHeader)
			switch {
			case len(q.bundles) > 0:
				r.Out.Header[offer.BundlesHeader] = q.bundles
			case !q.grant.All:
				r.Out.Header.Set(offer.NamespacesHeader, strings.Join(q.grant.Namespaces, ","))
			}
		},
		FlushInterval: -1, // a tail is a stream
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				h.Log.Warn("passing a question on", "path", r.URL.Path, "error", err)
			}
			http.Error(w, "the MCP server beside the hub does not answer", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, ok := may(w, r)
		if !ok {
			return
		}
		h.Log.Info("passed a question on", "path", r.URL.Path, "user", q.grant.User, "namespaces", q.grant.Namespaces, "from", r.RemoteAddr)
		ctx, stop := context.WithCancel(context.WithValue(r.Context(), askedKey{}, q))
		defer stop()
		go h.endWith(ctx, stop, bearer(r), q)
		r = r.WithContext(ctx)
		proxy.ServeHTTP(w, r)
	})
}

// pageOf passes requests for files of the page to the MCP server next to the hub. They are the same for everybody, so
// nothing that says who asks is passed on.
func pageOf(to *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header = http.Header{}
			r.SetURL(to)
			r.Out.Host, r.Out.URL.RawQuery, r.Out.Body = to.Host, "", nil
			if !pageFile.MatchString(r.In.URL.Path) {
				r.Out.URL.Path = "/"
			}
			r.Out.ContentLength = 0
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "the MCP server beside the hub does not answer", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/") && !pageFile.MatchString(r.URL.Path) {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// pageFile matches the path of a file of the page.
var pageFile = regexp.MustCompile(`^/page/[a-z]+\.[a-z]+$`)

// askedKey has the question that is passed on.
type askedKey struct{}

// endWith ends a long answer, such as a tail, when the rights with which it began have changed.
func (h *handler) endWith(ctx context.Context, stop func(), token string, began asked) {
	t := time.NewTicker(h.again)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		g, err := h.grant(ctx, token, began.about)
		if errors.Is(err, ErrUnknown) || errors.Is(err, ErrDenied) || err == nil && (g.All != began.grant.All || !slices.Equal(g.Namespaces, began.grant.Namespaces)) {
			h.Log.Info("ended an answer: the rights have changed", "user", began.grant.User)
			stop()
			return
		}
	}
}

// bearer is the token of a request; empty if it has none.
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// person determines the rights of the owner of a request's token, or answers the request.
func (h *handler) person(w http.ResponseWriter, r *http.Request, what Content) (g Grant, ok bool) {
	token := bearer(r)
	if token == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "a token of Kubernetes is needed, such as of: kubectl create token", http.StatusUnauthorized)
		return g, false
	}
	g, err := h.grant(r.Context(), token, what)
	by(r, g.User)
	switch {
	case errors.Is(err, ErrUnknown):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, err.Error(), http.StatusUnauthorized)
	case errors.Is(err, ErrDenied):
		h.Log.Warn("refused content", "resource", what.Resource, "namespace", what.Namespace, "name", what.Name, "user", g.User, "from", r.RemoteAddr)
		http.Error(w, err.Error(), http.StatusForbidden)
	case err != nil:
		h.Log.Error("asking who may see content", "resource", what.Resource, "name", what.Name, "error", err)
		http.Error(w, "Kubernetes cannot be asked who may have this", http.StatusServiceUnavailable)
	default:
		return g, true
	}
	return g, false
}
