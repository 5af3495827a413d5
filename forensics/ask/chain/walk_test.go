package chain

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/relation"
)

func TestSelfTime(t *testing.T) {
	call := func(from, to int64) *Step { return &Step{Start: from, End: to, Protocol: "http1"} }
	s := call(0, 100)
	if got := SelfTime(s, []*Step{call(10, 40), call(20, 60), call(90, 150)}); got != 40 {
		t.Errorf("self time %d, want 40", got)
	}
	if got := SelfUntil(call(0, 500), nil, 100); got != 100 {
		t.Errorf("self time until the end %d", got)
	}
}

func TestHarmlessFailures(t *testing.T) {
	at := &party{Key: "address x", Who: "x"}
	call := func(start int64, protocol, host, path string, failed bool) *Step {
		return &Step{Start: start, Protocol: protocol, Failed: failed, Src: at, Dst: at, detail: detail{Host: host, Path: path, Same: path}}
	}
	search := call(1, "dns", "api.example.net.svc.cluster.local", "", true)
	found := call(2, "dns", "api.example.net", "", false)
	lost := call(1, "dns", "apo.example.net", "", true)
	if !Harmless(search, []*Step{search, found}) || Harmless(lost, []*Step{lost, found}) || Harmless(found, nil) {
		t.Error("look-ups")
	}
	within := call(1, "dns", "Web.shop.shop.svc.cluster.local", "", true)
	other := call(1, "dns", "web.shop.store.example.net", "", true)
	if service := call(2, "dns", "web.shop.svc.cluster.local", "", false); !Harmless(within, []*Step{within, service}) || Harmless(other, []*Step{other, service}) {
		t.Error("look-ups in Kubernetes")
	}
	again := call(3, "http1", "", "/a", false)
	if first := call(1, "http1", "", "/a", true); !Harmless(first, []*Step{first, again}) {
		t.Error("a call whose retry succeeded is blamed")
	}
	if first := call(1, "http1", "", "/b", true); Harmless(first, []*Step{first, again}) {
		t.Error("the success of another request excuses a failed one")
	}
	if late := call(1+relation.MaxPauseNs+10, "http1", "", "/a", false); Harmless(call(1, "http1", "", "/a", true), []*Step{late}) {
		t.Error("the same request much later excuses a failed one")
	}
	if last := call(5, "http1", "", "/a", true); Harmless(last, []*Step{again, last}) {
		t.Error("the last failed attempt is not blamed")
	}
}
