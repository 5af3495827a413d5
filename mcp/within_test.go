package mcp

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestNamespacesOfAServerWithoutParts: a server that cannot limit its answers gives none.
func TestNamespacesOfAServerWithoutParts(t *testing.T) {
	h := serving(t, Options{}, bundled(t, "dns.pcap")).Handler(HTTPOptions{})
	for _, path := range []string{"/mcp", "/mcp/calls", "/metrics", "/connect", "/mcp/openapi.yaml"} {
		for _, value := range []string{"shop", ""} {
			r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
			r.Header.Set(NamespacesHeader, value)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest {
				t.Errorf("%s for %q: %d %.200s", path, value, w.Code, w.Body)
			}
		}
	}
}
