package exporter

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
)

// TestPodsOfACut cuts a bundle to the connections of pods, and to those with packets that match a filter.
func TestPodsOfACut(t *testing.T) {
	b := twoSpaces(t)
	paths := []string{"/of-shop ", "/of-catalog-and-shop ", "/of-payments ", "/of-shop-and-payments ", "/of-the-node "}
	shop := func(p derive.Pod) bool { return p.Namespace == "shop" && p.Name == "web-1" }
	for _, tt := range []struct {
		name string
		c    derive.Choice
		want string // paths of calls
	}{
		{"a pod with all whom it talks to", derive.Choice{Pods: shop, Said: bundle.DerivedCut{Pods: "shop/web-1"}}, "/of-shop /of-catalog-and-shop /of-shop-and-payments "},
		{"a pod and a filter", derive.Choice{Pods: shop, Filter: "src host 10.1.9.9", Said: bundle.DerivedCut{Pods: "shop/web-1", Packets: "src host 10.1.9.9"}}, "/of-catalog-and-shop "},
		{"whole connections of one packet that matches", derive.Choice{Filter: "tcp[13] = 2 and dst host 10.1.0.2", Said: bundle.DerivedCut{Packets: "tcp[13] = 2 and dst host 10.1.0.2"}}, "/of-payments /of-shop-and-payments "},
		{"a pod, of which only what is within a namespace", derive.Choice{Pods: shop, Said: bundle.DerivedCut{Pods: "shop/web-1", Namespaces: []string{"shop"}}}, "/of-shop "},
		{"a pod that is not there", derive.Choice{Pods: func(derive.Pod) bool { return false }}, ""},
		{"a filter that matches nothing", derive.Choice{Filter: "host 192.0.2.77", Said: bundle.DerivedCut{Packets: "host 192.0.2.77"}}, ""},
		{"a filter that needs another link type", derive.Choice{Filter: "wlan host 00:00:5e:00:53:01", Said: bundle.DerivedCut{Packets: "wlan host 00:00:5e:00:53:01"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "cut.pcapsule")
			_, err := derive.Cut(t.Context(), b, out, tt.c, derive.Options{Exporter: deriver{Options{Release: "test", Repanic: true}}})
			if tt.want == "" {
				if !errors.Is(err, derive.ErrNothing) {
					t.Fatalf("%v, want %v", err, derive.ErrNothing)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d, err := bundle.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := Rederive(t.Context(), d, Options{Release: "test"}); err != nil || !r.OK() {
				t.Errorf("it does not rederive: %v, %+v", err, r)
			}
			all := string(contents(t, out))
			for _, p := range paths {
				if got, want := strings.Contains(all, p), strings.Contains(tt.want, p); got != want {
					t.Errorf("%q is in the bundle: %v, want %v", p, got, want)
				}
			}
			if said := d.Manifest.Derived.Cut; said.Pods != tt.c.Said.Pods || said.Packets != tt.c.Said.Packets {
				t.Errorf("it says %+v", said)
			}
		})
	}
}
