package exporter

import (
	"context"
	"path/filepath"
	"testing"
)

// TestWaitingRequestsGetTheirResponses sends 30,000 requests on as many connections before the
// first response. In the default memory limit, none may be given up.
func TestWaitingRequestsGetTheirResponses(t *testing.T) {
	const conns = 30_000
	m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Stdin: crowd(5 * conns), Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Calls["http1"]; got != conns {
		t.Errorf("%d calls of %d connections: requests and responses were not paired; %v", got, conns, m.Accounts)
	}
}
