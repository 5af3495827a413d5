package service_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// severalServices is a dump with a pod behind the services api and public, on a port of its own each.
const severalServices = `{"kind":"List","apiVersion":"v1","items":[
{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"b-0","uid":"b-0","labels":{"app":"b"}},"spec":{"containers":[{"name":"c"}]},"status":{"podIP":"10.2.0.1","phase":"Running"}},
{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"db-0","uid":"db-0"},"spec":{"containers":[{"name":"c"}]},"status":{"podIP":"10.2.0.2","phase":"Running"}},
{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"web","name":"user","uid":"user"},"spec":{"containers":[{"name":"c"}]},"status":{"podIP":"10.2.0.3","phase":"Running"}},
{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"ops","name":"admin","uid":"admin"},"spec":{"containers":[{"name":"c"}]},"status":{"podIP":"10.2.0.4","phase":"Running"}},
{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"api"},"spec":{"clusterIP":"10.3.0.1","selector":{"app":"b"},"ports":[{"port":80,"targetPort":8080}]}},
{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"public"},"spec":{"clusterIP":"10.3.0.2","selector":{"app":"b"},"ports":[{"port":80,"targetPort":8081}]}}]}`

// TestDependenciesOfPodsBehindSeveralServices: the pod is a server under two names, but makes its calls under one. What it
// calls is a dependency of both services, and so of the callers of both.
func TestDependenciesOfPodsBehindSeveralServices(t *testing.T) {
	var w traffic.Capture
	call := func(s int, client, server string) {
		w.Exchange(time.Duration(s)*time.Second, 3*time.Millisecond, client+server, client, server, traffic.HTTP("GET / HTTP/1.1", "Host: x", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "ok"))
	}
	call(1, "10.2.0.3", "10.2.0.1:8081")
	call(2, "10.2.0.4", "10.2.0.1:8080")
	call(3, "10.2.0.1", "10.2.0.2:7000")
	dump := filepath.Join(t.TempDir(), "cluster.json")
	if err := os.WriteFile(dump, []byte(severalServices), 0o600); err != nil {
		t.Fatal(err)
	}
	c := asktest.OpenMade(t, &w, dump)
	for _, tt := range []struct{ name, direct, transitive, calls string }{
		{"shop/public", "web/user", "", "shop/db-0"},
		{"shop/api", "ops/admin", "", "shop/db-0"},
		{"b-0", "ops/admin web/user", "", "shop/db-0"},
		{"db-0", "shop/api", "ops/admin web/user", ""},
		{"user", "", "", "shop/public shop/db-0"},
		{"admin", "", "", "shop/api shop/db-0"},
	} {
		d := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: tt.name, Blast: true}))
		var calls []string
		for _, e := range d.Downstream {
			calls = append(calls, e.Dst)
		}
		slices.Sort(d.Transitive)
		if got := strings.Join(d.Direct, " ") + ", " + strings.Join(d.Transitive, " ") + ", " + strings.Join(calls, " "); got != tt.direct+", "+tt.transitive+", "+tt.calls {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	var dialled traffic.Capture // the clients' ends of calls to the addresses of the services
	for i, x := range [][2]string{{"10.2.0.3", "10.3.0.2:80"}, {"10.2.0.4", "10.3.0.1:80"}, {"10.2.0.1", "10.2.0.2:7000"}} {
		dialled.Exchange(time.Duration(i+1)*time.Second, 3*time.Millisecond, x[0]+x[1], x[0], x[1], traffic.HTTP("GET / HTTP/1.1", "Host: x", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "ok"))
	}
	front := asktest.OpenMade(t, &dialled, dump)
	for name, want := range map[string]string{"b-0": "ops/admin web/user", "10.2.0.1": "ops/admin web/user", "public": "web/user", "api": "ops/admin"} {
		d := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, front, servicemap.DependenciesIn{Service: name}))
		if got := strings.Join(d.Direct, " "); got != want {
			t.Errorf("%s, which clients reach through services: %s call it, want %s", name, got, want)
		}
	}
	via := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: "db-0", Via: "public"}))
	if len(via.Bypass) != 0 || via.ThroughVia != 1 {
		t.Errorf("the pod behind the layer bypasses it: %+v", via.Bypass)
	}
	m := asktest.Must[*servicemap.ServiceMap](t)(servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{FromNamespace: "web"}))
	if len(m.Reachable) != 2 || m.Reachable[1].Name != "shop/db-0" {
		t.Errorf("web reaches %+v", m.Reachable)
	}
	s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: "public"}))
	if s.In.Calls != 1 || !slices.Equal(s.Names, []string{"shop/public"}) || !slices.Contains(s.Notes, "its pods make their calls under another name: shop/api") {
		t.Errorf("%v has %d calls, %q", s.Names, s.In.Calls, s.Notes)
	}
}
