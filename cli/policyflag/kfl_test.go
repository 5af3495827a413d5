package policyflag

import (
	"testing"

	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

func TestKFL(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs []string
		want  string // the part about the client; "" if refused
	}{
		{"a namespace", []string{"namespace", "shop"}, `(src.namespace == "shop")`},
		{"one of two", []string{"namespace", "shop", "namespace", "p?y-*"}, `(src.namespace == "shop" || src.namespace.matches("^p[^/]y-[^/]*$"))`},
		{"a pod in a namespace", []string{"pod", "shop/web-[0-9]"}, `((src.namespace == "shop" && src.pod.matches("^web-[0-9]$")))`},
		{"fields and labels must all fit", []string{"process", "nginx", "label", "app.kubernetes.io/name=web", "label", "tier=*"},
			`(src.process == "nginx") && src.labels["app.kubernetes.io/name"] == "web" && src.labels["tier"] != ""`},
		{"a process by number", []string{"process", "4711"}, `(src.pid == 4711)`},
		{"a container by id", []string{"container", "4f5e6d7c8b9a0f1e2d"}, `(src.container == "4f5e6d7c8b9a")`},
		{"a process by path", []string{"process", "/usr/sbin/nginx"}, ""},
		{"a condition in a name", []string{"pod", `a" || true`}, ""},
		{"a condition in a label", []string{"label", `a"]=b`}, ""},
	} {
		var s workload.Selector
		for i := 0; i < len(c.pairs); i += 2 {
			if err := s.Add(c.pairs[i], c.pairs[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		got, err := KFL(&s)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: %s", c.name, got)
			}
			continue
		}
		if err != nil || len(got) < len(c.want)+1 || got[1:len(c.want)+1] != c.want {
			t.Errorf("%s: %s, want %s; %v", c.name, got, c.want, err)
		}
		if _, err := kfl.Parse(got); err != nil {
			t.Errorf("%s: %s: %v", c.name, got, err)
		}
	}
	if text, err := KFL(&workload.Selector{}); text != "" || err != nil {
		t.Errorf("all owners: %q, %v", text, err)
	}
}
