package resource

import (
	"errors"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhichPodsAreSelected(t *testing.T) {
	web := Pod{Namespace: "shop", Name: "web-5d9-x", Kind: "Deployment", Owner: "web", Labels: map[string]string{"app": "web"}, Services: []string{"front"}}
	for _, tt := range []struct {
		name string
		s    Selection
		want bool
	}{
		{"its namespace", Selection{Namespaces: []string{"x", "shop"}}, true},
		{"another namespace", Selection{Namespaces: []string{"sho"}}, false},
		{"its name", Selection{Workloads: []string{"shop/web-5d9-x"}}, true},
		{"its name as a pod", Selection{Workloads: []string{"shop/pod/web-5d9-x"}}, true},
		{"its name as another kind", Selection{Workloads: []string{"shop/Deployment/web-5d9-x"}}, false},
		{"its owner", Selection{Workloads: []string{"x/y", "shop/web"}}, true},
		{"its owner by kind", Selection{Workloads: []string{"shop/deployment/web"}}, true},
		{"its owner of another kind", Selection{Workloads: []string{"shop/StatefulSet/web"}}, false},
		{"an owner of this name elsewhere", Selection{Workloads: []string{"payments/web"}}, false},
		{"a service in front of it", Selection{Workloads: []string{"shop/Service/front"}}, true},
		{"another service", Selection{Workloads: []string{"shop/Service/web"}}, false},
		{"its labels", Selection{Labels: "app in (web, api)"}, true},
		{"other labels", Selection{Labels: "app!=web"}, false},
		{"all must hold", Selection{Namespaces: []string{"shop"}, Labels: "app=api"}, false},
	} {
		if got := tt.s.Accepts()(&web); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	for name, s := range map[string]Selection{"nothing": {}, "filters": {Filter: "port 80", KFL: "http"}} {
		if s.Accepts() != nil {
			t.Errorf("%s selects pods", name)
		}
	}
	alone := Pod{Namespace: "shop", Name: "x"}
	if s := (&Selection{Workloads: []string{"shop/"}}); s.Accepts()(&alone) {
		t.Error("an empty name is that of no owner")
	}
	for _, p := range []Pod{web, alone} {
		if s := (&Selection{Workloads: []string{p.Workload()}}); s.Check() != nil || !s.Accepts()(&p) {
			t.Errorf("%s does not select its own pod", p.Workload())
		}
	}
}

func TestCaptures(t *testing.T) {
	pods := Selection{Workloads: []string{"shop/web"}}
	for _, tt := range []struct {
		name string
		spec CaptureSpec
		want string
	}{
		{"a minute of a workload", CaptureSpec{Select: pods}, ""},
		{"no pods", CaptureSpec{Select: Selection{Filter: "port 80"}}, "names no pods"},
		{"too long", CaptureSpec{Select: pods, Duration: duration(25 * time.Hour)}, "must be 1s to 24h"},
		{"no time", CaptureSpec{Select: pods, Duration: duration(0)}, "must be 1s to 24h"},
		{"a bad filter", CaptureSpec{Select: Selection{Namespaces: []string{"a"}, KFL: "("}}, "invalid filter"},
		{"a bad node", CaptureSpec{Select: pods, Nodes: []string{"../x"}}, "cannot be the name"},
	} {
		c := &Capture{ObjectMeta: meta.ObjectMeta{Name: "x", CreationTimestamp: meta.Time{Time: created}}, Spec: tt.spec}
		err := c.Check()
		if (err == nil) != (tt.want == "") || err != nil && (!errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		from, to, err := c.Snapshot().Window()
		if err != nil || from.String() != "2026-03-02T09:00:00.000000000Z" || to.String() != "2026-03-02T09:01:00.000000000Z" {
			t.Errorf("%s: %s to %s, %v", tt.name, from, to, err)
		}
	}
}
