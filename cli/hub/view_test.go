package hub

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// named is a bundle whose addresses a dump of Kubernetes names: api of the Deployment api and db-0 of the StatefulSet db
// call web, of namespace front, behind the service www.
func named(t *testing.T) string {
	t.Helper()
	pod := func(namespace, name, ip, kind, owner string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":%q,"name":%q,"uid":%q,"creationTimestamp":"2020-01-01T00:00:00Z","labels":{"app":%q},
			"ownerReferences":[{"kind":%q,"name":%q,"uid":"o-%s","controller":true}]},"spec":{},"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}]}}`, namespace, name, "u-"+name, owner, kind, owner, owner, ip, ip)
	}
	dump := filepath.Join(t.TempDir(), "kube.json")
	text := `{"apiVersion":"v1","kind":"List","items":[` + strings.Join([]string{pod("shop", "api-1", "10.1.1.5", "Deployment", "api"), pod("shop", "db-0", "10.1.1.10", "StatefulSet", "db"), pod("front", "web-1", "10.1.1.20", "DaemonSet", "web"),
		`{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"front","name":"www","uid":"u-www"},"spec":{"clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"],"selector":{"app":"web"},"ports":[{"port":80,"protocol":"TCP"}]}}`}, ",") + `]}`
	if err := os.WriteFile(dump, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "whole.pcapsule")
	if _, err := exporter.Run(t.Context(), []string{"../../samples/http1.pcapng"}, out, exporter.Options{Kube: []string{dump}}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestViewOfASelection cuts a bundle to what a snapshot selects.
func TestViewOfASelection(t *testing.T) {
	whole := named(t)
	x := &maker{memory: minMemory, turn: make(chan struct{}, 1)}
	for _, tt := range []struct {
		name    string
		v       download.View
		packets int64 // 0: nothing
		said    string
	}{
		{"a Deployment", download.View{Select: resource.Selection{Workloads: []string{"shop/Deployment/api"}}}, 153, "workloads shop/Deployment/api"},
		{"a pod by its name", download.View{Select: resource.Selection{Workloads: []string{"shop/db-0"}}}, 33, "workloads shop/db-0"},
		{"labels", download.View{Select: resource.Selection{Labels: "app in (db)"}}, 33, "labels app in (db)"},
		{"a Service", download.View{Select: resource.Selection{Workloads: []string{"front/Service/www"}}}, 140, "workloads front/Service/www"},
		{"a workload with a filter", download.View{Select: resource.Selection{Namespaces: []string{"shop"}, Filter: "host 10.1.1.10"}}, 33, "namespaces shop"},
		{"another kind", download.View{Select: resource.Selection{Workloads: []string{"shop/StatefulSet/api"}}}, 0, ""},
		{"a filter of nothing", download.View{Select: resource.Selection{Filter: "host 192.0.2.77"}}, 0, ""},
		{"the selected pods are in another namespace than the rights", download.View{Namespaces: []string{"payments"}, Select: resource.Selection{Namespaces: []string{"shop"}}}, 0, ""},
		{"rights to both ends", download.View{Namespaces: []string{"front", "shop"}, Select: resource.Selection{Workloads: []string{"shop/api"}}}, 153, "the snapshot's selection"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "view.pcapsule")
			cut, err := x.View(t.Context(), []string{whole}, tt.v, &offer.Owners{})
			if err == nil {
				err = cut(t.Context(), whole, to)
			}
			if tt.packets == 0 {
				if !errors.Is(err, download.ErrNothing) {
					t.Fatalf("%v, want %v", err, download.ErrNothing)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := bundle.Open(to)
			if err != nil {
				t.Fatal(err)
			}
			m := b.Manifest
			if m.Accounts.Packets != tt.packets || m.Derived.Kind != bundle.Cut || m.Derived.Cut.Pods != tt.said {
				t.Errorf("%d packets, %+v", m.Accounts.Packets, m.Derived)
			}
			if (m.Derived.From.TagManifest == nil) != (tt.v.Namespaces != nil) {
				t.Errorf("from %+v", m.Derived.From)
			}
			if rep, err := bundle.Verify(t.Context(), to, nil); err != nil || !rep.OK() {
				t.Errorf("%v, %v", rep, err)
			}
		})
	}
}
