package download

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// live is the content to which questions refer.
var live = Content{Resource: resource.LiveConfigs.Resource, Name: resource.LiveName}

// answers passes questions to the MCP server next to the hub, which answers every client. For people who may see only
// some namespaces, it passes these too.
func (h *handler) answers(to *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = to.Host
			r.Out.Header.Del("Authorization") // the token of a person is not for another program
			r.Out.Header.Del("Cookie")
			r.Out.Header.Del("Origin")
			r.Out.Header.Del(offer.NamespacesHeader)
			if g, ok := r.In.Context().Value(grantKey{}).(Grant); !ok || !g.All {
				r.Out.Header.Set(offer.NamespacesHeader, strings.Join(g.Namespaces, ","))
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
		g, ok := h.person(w, r, live)
		if !ok {
			return
		}
		h.Log.Info("passed a question on", "path", r.URL.Path, "user", g.User, "namespaces", g.Namespaces, "from", r.RemoteAddr)
		ctx, stop := context.WithCancel(context.WithValue(r.Context(), grantKey{}, g))
		defer stop()
		go h.endWith(ctx, stop, bearer(r), g)
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
			r.Out.ContentLength = 0
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "the MCP server beside the hub does not answer", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" && !pageFile.MatchString(r.URL.Path) {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// pageFile matches the path of a file of the page.
var pageFile = regexp.MustCompile(`^/page/[a-z]+\.[a-z]+$`)

// grantKey has the rights by which a question is passed on.
type grantKey struct{}

// endWith ends a long answer, such as a tail, when the rights with which it began have changed.
func (h *handler) endWith(ctx context.Context, stop func(), token string, began Grant) {
	t := time.NewTicker(h.again)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		g, err := h.grant(ctx, token, live)
		if errors.Is(err, ErrUnknown) || errors.Is(err, ErrDenied) || err == nil && (g.All != began.All || !slices.Equal(g.Namespaces, began.Namespaces)) {
			h.Log.Info("ended an answer: the rights have changed", "user", began.User)
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
