package patterns_test

import (
	"reflect"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
)

// TestSharedCallsGiveTheSameFindings requests all kinds, which share loaded calls, and each kind by
// name, which reads its own calls.
func TestSharedCallsGiveTheSameFindings(t *testing.T) {
	one, other := asktest.Export(t, []string{asktest.Sample("shop.pcapng")}, exporter.Options{}), asktest.Export(t, []string{asktest.Sample("http1.pcapng")}, exporter.Options{})
	for _, q := range []struct{ paths, services []string }{
		{[]string{one}, []string{"", "gate*", "10.0.0.1", "nobody"}},
		{[]string{one, other}, []string{"", "shop/gateway"}},
	} {
		c := asktest.Bundles(t, forensics.Options{MaskSecrets: true}, q.paths...)
		for _, service := range q.services {
			kept, err := patterns.Ask(ctx, c, patterns.In{Scope: ask.Scope{Limit: 1000}, Service: service})
			if err != nil {
				t.Fatal(err)
			}
			read, err := patterns.Ask(ctx, c, patterns.In{Scope: ask.Scope{Limit: 1000}, Service: service, Kinds: patterns.Kinds()})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(kept, read) {
				t.Errorf("%d bundles, service %q: %d findings with shared calls, want %d", len(q.paths), service, len(kept.Findings), len(read.Findings))
			}
			if service == "" && len(kept.Findings) == 0 {
				t.Error("nothing was found to compare")
			}
		}
	}
}
