package download

import (
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// live is the content that questions are about.
var live = Content{resource.LiveConfigs.Resource, resource.LiveName}

// answers passes questions to the MCP server beside the hub, which answers everybody who reaches it.
func (h *handler) answers(to *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = to.Host
			r.Out.Header.Del("Authorization") // the token of a person is not for another program
			r.Out.Header.Del("Cookie")
			r.Out.Header.Del("Origin")
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
		if !g.All {
			h.Log.Warn("refused a question", "path", r.URL.Path, "user", g.User, "from", r.RemoteAddr)
			http.Error(w, "questions to the hub need the right to the traffic of all namespaces; make a snapshot, fetch your part of it, and ask that", http.StatusForbidden)
			return
		}
		h.Log.Info("passed a question on", "path", r.URL.Path, "user", g.User, "from", r.RemoteAddr)
		proxy.ServeHTTP(w, r)
	})
}

// person determines the rights of the owner of a request's token, or answers the request.
func (h *handler) person(w http.ResponseWriter, r *http.Request, what Content) (g Grant, ok bool) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || token == "" {
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
		h.Log.Warn("refused content", "resource", what.Resource, "name", what.Name, "user", g.User, "from", r.RemoteAddr)
		http.Error(w, err.Error(), http.StatusForbidden)
	case err != nil:
		h.Log.Error("asking who may see content", "resource", what.Resource, "name", what.Name, "error", err)
		http.Error(w, "Kubernetes cannot be asked who may have this", http.StatusServiceUnavailable)
	default:
		return g, true
	}
	return g, false
}
