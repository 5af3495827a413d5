package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	core "k8s.io/api/core/v1"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/recorder/mutual"
)

// TestFewRequestsForManyNodes: the hub finds the recorders of 1,000 nodes, each three times and all at once, with the
// requests of one listing. A client of the API is limited to 50 requests a second.
func TestFewRequestsForManyNodes(t *testing.T) {
	const nodes, page = 1000, 500
	requests := atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		first, token := 0, r.URL.Query().Get("continue")
		if token != "" {
			first = page
		}
		next := map[string]string{"": "more"}[token]
		var list any
		if r.URL.Path == "/api/v1/nodes" {
			l := &core.NodeList{TypeMeta: v1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}, ListMeta: v1.ListMeta{Continue: next}}
			for i := range page {
				l.Items = append(l.Items, core.Node{ObjectMeta: v1.ObjectMeta{Name: fmt.Sprint("node-", first+i)}})
			}
			list = l
		} else {
			l := &core.PodList{TypeMeta: v1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: v1.ListMeta{Continue: next}}
			for i := first; i < first+page; i++ {
				p := core.Pod{Spec: core.PodSpec{NodeName: fmt.Sprint("node-", i)}, Status: core.PodStatus{Phase: core.PodRunning, PodIP: "10.0.0.1"}}
				if i%100 == 7 {
					p.Status.Phase = core.PodPending
				}
				l.Items = append(l.Items, p)
			}
			list = l
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(server.Close)
	client, err := coreclient.NewForConfig(&rest.Config{Host: server.URL, QPS: 50, Burst: 100})
	if err != nil {
		t.Fatal(err)
	}
	f := &finder{hub: &hub{Options: Options{Namespace: "pcapsule"}, core: client}, source: func() (*mutual.Pair, error) { return nil, mutual.ErrNone }, clients: map[string]*http.Client{}}
	var all sync.WaitGroup
	for range 3 {
		for i := range nodes + 1 { // the last one does not exist
			all.Go(func() {
				c, err := f.find(context.Background(), fmt.Sprint("node-", i))
				var missing *collect.MissingError
				switch {
				case i == nodes || i%100 == 7:
					if !errors.As(err, &missing) || missing.Final != (i == nodes) {
						t.Errorf("node %d: %v", i, err)
					}
				case err != nil || c.URL.Host != "10.0.0.1:9465":
					t.Errorf("node %d: %v, %v", i, c, err)
				}
			})
		}
	}
	all.Wait()
	if n := requests.Load(); n > 8 { // two pages of pods and of nodes; twice if it takes long
		t.Errorf("%d requests", n)
	}
	if list, err := f.recorders(t.Context()); err != nil || len(list) != nodes {
		t.Errorf("%d recorders, %v", len(list), err)
	}
}
