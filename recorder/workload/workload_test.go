package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(t testing.TB, clock string) int64 {
	t.Helper()
	ns := parseTime("2026-03-02T" + clock + "Z")
	if ns == 0 {
		t.Fatalf("%q is not a time", clock)
	}
	return ns
}

func addFile(t testing.TB, x *Index, name string) Stats {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stats, err := x.AddKube(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func both(t testing.TB) *Index {
	x := NewIndex()
	addFile(t, x, "shop-1000.json")
	addFile(t, x, "shop-1030.json")
	return x
}

const (
	tcp = 6
	udp = 17
)

func TestLookup(t *testing.T) {
	x := both(t)
	brief := func(id Identity) string {
		s := fmt.Sprintf("%s %s/%s", id.Kind, id.Namespace, id.Name)
		for _, f := range []string{id.WorkloadKind + ":" + id.Workload, id.Container, id.Node, strings.Join(id.Services, "+")} {
			if f != "" && f != ":" {
				s += " " + f
			}
		}
		if id.OwnerDerived {
			s += " derived"
		}
		return s
	}
	for _, c := range []struct {
		name  string
		addr  string
		port  uint16
		proto uint8
		clock string
		want  string // empty: no owner
	}{
		{"pod behind services, container by port", "10.244.1.5", 8080, tcp, "10:00:00", "pod shop/web-7d4b9c6f5d-aaaaa Deployment:web web node-a web+web-headless"},
		{"the other container of the same pod", "10.244.1.5", 15001, tcp, "10:00:00", "pod shop/web-7d4b9c6f5d-aaaaa Deployment:web proxy node-a web+web-headless"},
		{"client port of a pod with two containers identifies no container", "10.244.1.5", 40000, tcp, "10:00:00", "pod shop/web-7d4b9c6f5d-aaaaa Deployment:web node-a web+web-headless"},
		{"IPv4-mapped form of the address", "::ffff:10.244.1.5", 8080, tcp, "10:00:00", "pod shop/web-7d4b9c6f5d-aaaaa Deployment:web web node-a web+web-headless"},
		{"before the pod started", "10.244.1.5", 8080, tcp, "08:59:00", ""},
		{"just before it started, within the clock slack", "10.244.1.5", 8080, tcp, "08:59:59", "pod shop/web-7d4b9c6f5d-aaaaa Deployment:web web node-a web+web-headless"},
		{"second address family of a dual-stack pod", "fd00:10:244:2::7", 5432, tcp, "10:00:00", "pod shop/db-0 StatefulSet:db postgres node-b db"},
		{"address reuse: a job's pod at its time, with its cron job", "10.244.1.9", 0, 0, "09:35:00", "pod shop/report-29500-k2k2k CronJob:report report node-a"},
		{"address reuse: no owner between the two", "10.244.1.9", 6379, tcp, "09:45:00", ""},
		{"address reuse: the next pod, without its ReplicaSet", "10.244.1.9", 6379, tcp, "09:51:00", "pod shop/cache-66d9f4-zzzzz Deployment:cache redis node-a derived"},
		{"address of a pod missing from the later dump, early", "10.244.1.6", 8080, tcp, "10:05:00", "pod shop/web-7d4b9c6f5d-bbbbb Deployment:web web node-a web+web-headless"},
		{"address of a pod missing from the later dump, reused", "10.244.1.6", 0, 0, "10:12:00", "pod shop/batch-1 main node-a"},
		{"deleted pod, after its deletion", "10.244.1.6", 0, 0, "10:31:00", ""},
		{"evicted pod before its eviction", "10.244.2.30", 0, 0, "10:19:00", "pod shop/evicted-1 main node-b"},
		{"evicted pod after its eviction", "10.244.2.30", 0, 0, "10:25:00", ""},
		{"cluster address of a service", "10.96.12.7", 80, tcp, "10:00:00", "service shop/web web"},
		{"second cluster address of a service", "fd00:10:96::40", 5432, tcp, "10:00:00", "service shop/db db"},
		{"load balancer's address", "198.51.100.20", 80, tcp, "10:00:00", "service shop/web web"},
		{"node", "192.168.10.2", 50000, tcp, "10:00:00", "node /node-b node-b"},
		{"node by its external address", "203.0.113.10", 22, tcp, "10:00:00", "node /node-a node-a"},
		{"node port", "192.168.10.2", 30080, tcp, "10:00:00", "service shop/web node-b web"},
		{"node port with another protocol identifies the node", "192.168.10.2", 30080, udp, "10:00:00", "node /node-b node-b"},
		{"pod on its node's network by its port", "192.168.10.1", 9100, tcp, "10:00:00", "pod kube-system/node-exporter-aaaaa DaemonSet:node-exporter node-exporter node-a"},
		{"another port on a node's network identifies the node", "192.168.10.1", 2379, tcp, "10:00:00", "node /node-a node-a"},
		{"host port of a pod with its own address", "192.168.10.2", 15432, tcp, "10:00:00", "pod shop/db-0 StatefulSet:db postgres node-b db"},
		{"backend of a service that is not a pod", "203.0.113.77", 1521, tcp, "10:00:00", "host shop/legacy legacy"},
		{"API server behind the service kubernetes", "192.168.10.100", 6443, tcp, "10:00:00", "host default/kubernetes kubernetes"},
		{"unknown address", "192.0.2.99", 80, tcp, "10:00:00", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, ok := x.Lookup(netip.MustParseAddr(c.addr), c.port, c.proto, at(t, c.clock))
			got := ""
			if ok {
				got = brief(id)
				if id.HowKnown != "kube" || id.Source == "" {
					t.Errorf("how %q, source %q", id.HowKnown, id.Source)
				}
			}
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLookupWithoutTime(t *testing.T) {
	x := both(t)
	if id, ok := x.Lookup(netip.MustParseAddr("10.244.1.5"), 8080, tcp, 0); !ok || id.Pod != "web-7d4b9c6f5d-aaaaa" {
		t.Errorf("only owner: %+v, %v", id, ok)
	}
	if id, ok := x.Lookup(netip.MustParseAddr("10.244.1.9"), 0, 0, 0); ok {
		t.Errorf("two owners over time: %+v", id)
	}
}

func TestStats(t *testing.T) {
	stats := addFile(t, NewIndex(), "shop-1000.json")
	if stats.Malformed != 0 || stats.Unused != 3 || stats.Kept+stats.Unused != stats.Objects {
		t.Errorf("%+v", stats)
	}
	if stats.TakenNs != at(t, "10:00:00") {
		t.Errorf("taken %s, want the newest time inside", formatTime(stats.TakenNs))
	}
	var kinds []string
	for _, k := range stats.Kinds {
		if !k.Used {
			kinds = append(kinds, k.Kind)
		}
	}
	if want := []string{"ConfigMap", "apps/StatefulSet", "serving.knative.dev/Service"}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("unused kinds %v, want %v", kinds, want)
	}
}

// answers is everything that an index returns, for comparison.
func answers(x *Index) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.Encode(slices.Collect(x.EachWorkload()))
	enc.Encode(x.Events())
	enc.Encode(x.Ranges())
	for _, w := range slices.Collect(x.EachWorkload()) {
		for _, s := range w.Addresses {
			for _, p := range []uint16{0, 53, 80, 8080, 9100, 5432, 6379, 15432, 30080} {
				for h := 8; h < 12; h++ {
					for m := 0; m < 60; m += 5 {
						ts := time.Date(2026, 3, 2, h, m, 0, 0, time.UTC).UnixNano()
						id, ok := x.Lookup(netip.MustParseAddr(s), p, tcp, ts)
						enc.Encode(ok)
						enc.Encode(id)
					}
				}
			}
		}
	}
	return b.String()
}

func TestDumpOrderDoesNotMatter(t *testing.T) {
	x, y := both(t), NewIndex()
	addFile(t, y, "shop-1030.json")
	addFile(t, y, "shop-1000.json")
	if answers(x) != answers(y) {
		t.Error("the two orders give different answers")
	}
}

func TestUsedDumpGivesTheSameIndex(t *testing.T) {
	x := both(t)
	hosts, err := os.ReadFile("testdata/hosts")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.AddHosts("hosts", bytes.NewReader(hosts)); err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := x.WriteUsed(&first); err != nil {
		t.Fatal(err)
	}
	y := NewIndex()
	if stats, err := y.AddKube("other name.json", bytes.NewReader(first.Bytes())); err != nil || stats.Kept != stats.Objects {
		t.Fatalf("%+v, %v", stats, err)
	}
	if err := y.WriteUsed(&second); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("the reduced dump changes when it is read again:\n%s\n%s", first.String(), second.String())
	}
	if answers(x) != answers(y) {
		t.Error("the reduced dump gives different answers")
	}
	if id, ok := y.Lookup(netip.MustParseAddr("192.0.2.10"), 25, tcp, at(t, "10:00:00")); !ok || id.Hostname != "mail.example.org" {
		t.Errorf("hosts file: %+v", id)
	}
	if !json.Valid(first.Bytes()) {
		t.Error("the reduced dump is not JSON")
	}
}

func TestUsedDumpHasNoSecrets(t *testing.T) {
	raw, err := os.ReadFile("testdata/shop-1000.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2-env", "hunter2-arg", "hunter2-annotation", "hunter2-template", "hunter2-configmap"} {
		if !bytes.Contains(raw, []byte(secret)) {
			t.Fatalf("the test's dump does not contain %s", secret)
		}
	}
	var used bytes.Buffer
	if err := both(t).WriteUsed(&used); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"hunter2", "DB_PASSWORD", `"env"`, `"args"`, `"annotations"`, "livenessProbe", "volume"} {
		if strings.Contains(used.String(), word) {
			t.Errorf("the reduced dump contains %q", word)
		}
	}
}

func TestEvents(t *testing.T) {
	var got []string
	for _, e := range both(t).Events() {
		got = append(got, fmt.Sprintf("%s %s %s %s x%d %s", formatTime(e.TsNs)[11:], e.Type, e.Reason, e.Name, e.Count, e.Source))
	}
	want := []string{
		"09:00:02.5Z Normal Scheduled web-7d4b9c6f5d-aaaaa x3 default-scheduler",
		"09:40:00Z Normal Completed report-29500-k2k2k x1 pod status",
		"09:55:00Z Warning OOMKilled cache-66d9f4-zzzzz x1 pod status",
		"09:55:10Z Warning Restarted cache-66d9f4-zzzzz x2 pod status",
		"10:01:30Z Warning Unhealthy web-7d4b9c6f5d-bbbbb x9 kubelet",
		"10:20:01Z Warning Evicted evicted-1 x1 pod status",
		"10:29:40Z Normal Deleted batch-1 x1 pod status",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWorkloadsAreSortedWithEnds(t *testing.T) {
	rows := slices.Collect(both(t).EachWorkload())
	for i := 1; i < len(rows); i++ {
		if compareWorkloads(rows[i-1], rows[i]) >= 0 {
			t.Errorf("row %d is out of order", i)
		}
	}
	ends := map[string]string{}
	for _, w := range rows {
		ends[w.Kind+" "+w.Name] = formatTime(w.ValidTo)
	}
	for name, want := range map[string]string{
		"pod web-7d4b9c6f5d-aaaaa": "",
		"pod web-7d4b9c6f5d-bbbbb": "2026-03-02T10:30:00Z",
		"pod report-29500-k2k2k":   "2026-03-02T09:40:01Z",
		"pod batch-1":              "2026-03-02T10:30:11Z",
		"service web":              "",
		"node node-a":              "",
	} {
		if got, ok := ends[name]; !ok || got != want {
			t.Errorf("%s ends %q (%v), want %q", name, got, ok, want)
		}
	}
}

func TestPortsBehindServices(t *testing.T) {
	dump := `{"kind":"List","items":[
	{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"web-1","uid":"1","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","ports":[{"name":"http","containerPort":8080},{"name":"http","containerPort":5353,"protocol":"UDP"}]}]},"status":{"podIP":"10.0.0.1"}},
	{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"api-1","uid":"2","labels":{"app":"api"}},"spec":{"containers":[{"name":"c","ports":[{"name":"http","containerPort":9090}]}]},"status":{"podIP":"10.0.0.2"}},
	{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"web-2","uid":"4","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","ports":[{"name":"http","containerPort":8090}]}]},"status":{"podIP":"10.0.0.3"}},
	{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"web","uid":"3"},"spec":{"clusterIP":"10.96.0.1","selector":{"app":"web"},"ports":[
		{"port":80,"targetPort":"http"},{"port":443,"targetPort":8443},{"port":9000},{"port":53,"protocol":"UDP","targetPort":"http"},{"port":81,"targetPort":"gone"},{"port":82,"targetPort":99999},{"port":83,"targetPort":[1]}]}}]}`
	x, again := NewIndex(), NewIndex()
	var used bytes.Buffer
	if _, err := x.AddKube("dump", strings.NewReader(dump)); err != nil {
		t.Fatal(err)
	}
	if err := x.WriteUsed(&used); err != nil {
		t.Fatal(err)
	}
	if _, err := again.AddKube("used", &used); err != nil {
		t.Fatal(err)
	}
	want := []ServicePort{{"UDP", 53, 5353, ""}, {"TCP", 80, 8080, ""}, {"TCP", 80, 8090, ""}, {"TCP", 81, 0, ""}, {"TCP", 82, 82, ""}, {"TCP", 83, 83, ""}, {"TCP", 443, 8443, ""}, {"TCP", 9000, 9000, ""}}
	for _, w := range append(slices.Collect(x.EachWorkload()), slices.Collect(again.EachWorkload())...) {
		switch {
		case w.Kind == "service" && !slices.Equal(w.Ports, want):
			t.Errorf("ports %v, want %v", w.Ports, want)
		case w.Kind == "pod" && w.Name == "web-1" && !slices.Equal(w.Ports, []ServicePort{{"TCP", 0, 8080, "http"}, {"UDP", 0, 5353, "http"}}):
			t.Errorf("named ports %v", w.Ports)
		case w.Kind == "pod" && w.Name == "web-1" && !slices.Equal(w.Services, []string{"web"}):
			t.Errorf("services %v", w.Services)
		}
	}
}

// Connections to a service without a selector reach the ports of its slices.
func TestPortsBehindServicesWithoutSelector(t *testing.T) {
	for _, tc := range []struct {
		name, slice string
		want        uint16
	}{
		{"no slice", "", 9000},
		{"another port", `[{"port":9443}]`, 9443},
		{"the target among others", `[{"port":9000},{"port":9443}]`, 9000},
		{"several other ports", `[{"port":9001},{"port":9443}]`, 0},
		{"a port of another protocol", `[{"port":9443,"protocol":"UDP"}]`, 9000},
	} {
		dump := `{"kind":"List","items":[{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"db","uid":"3"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":90,"targetPort":9000}]}}`
		if tc.slice != "" {
			dump += `,{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"namespace":"shop","name":"db-1","labels":{"kubernetes.io/service-name":"db"}},"endpoints":[{"addresses":["198.51.100.9"]}],"ports":` + tc.slice + `}`
		}
		x := NewIndex()
		if _, err := x.AddKube("dump", strings.NewReader(dump+"]}")); err != nil {
			t.Fatal(err)
		}
		for _, w := range slices.Collect(x.EachWorkload()) {
			if w.Kind == "service" && !slices.Equal(w.Ports, []ServicePort{{"TCP", 90, tc.want, ""}}) {
				t.Errorf("%s: ports %v, want %d", tc.name, w.Ports, tc.want)
			}
		}
	}
}

func TestExternal(t *testing.T) {
	x := both(t)
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2001:4860:4860::8888": true, "203.0.113.77": true, "::ffff:8.8.8.8": true,
		"10.1.2.3": false, "172.31.0.1": false, "192.168.1.1": false, "100.64.0.1": false, "127.0.0.1": false,
		"169.254.1.1": false, "fe80::1": false, "fd00::1": false, "::1": false, "224.0.0.251": false, "ff02::fb": false,
		"0.0.0.0": false, "255.255.255.255": false,
		"203.0.113.10":  false, // a node of the cluster
		"198.51.100.20": false, // a service of the cluster
	} {
		if got := x.External(netip.MustParseAddr(addr)); got != want {
			t.Errorf("External(%s) = %v", addr, got)
		}
	}
	if x.External(netip.Addr{}) {
		t.Error("the zero address is external")
	}
}

func TestClusterRangesAreInside(t *testing.T) {
	x := NewIndex()
	if !x.External(netip.MustParseAddr("198.18.4.4")) {
		t.Error("an address is inside before any range is known")
	}
	_, err := x.AddKube("nodes", strings.NewReader(`{"kind":"Node","metadata":{"name":"n"},"spec":{"podCIDR":"198.18.4.0/24","podCIDRs":["198.18.4.0/24","0.0.0.0/0"]}}
{"apiVersion":"networking.k8s.io/v1","kind":"ServiceCIDR","metadata":{"name":"kubernetes"},"spec":{"cidrs":["198.19.0.0/16"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"198.18.4.4": false, "198.18.5.4": true, "198.19.9.9": false} {
		if x.External(netip.MustParseAddr(addr)) != want {
			t.Errorf("External(%s) = %v", addr, !want)
		}
	}
	want := Ranges{Pods: []netip.Prefix{netip.MustParsePrefix("198.18.4.0/24")}, Services: []netip.Prefix{netip.MustParsePrefix("198.19.0.0/16")}}
	if got := x.Ranges(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDumpFormats(t *testing.T) {
	const pod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"n","uid":"u"},"status":{"podIP":"10.0.0.1","startTime":"2026-03-02T09:00:00Z"}}`
	bare := strings.Replace(pod, `"kind":"Pod","apiVersion":"v1",`, "", 1)
	for _, c := range []struct {
		name, text string
		kept       int64
		wrong      string // part of the error; empty without one
	}{
		{"a single object", pod, 1, ""},
		{"a List", `{"apiVersion":"v1","items":[` + pod + `],"kind":"List"}`, 1, ""},
		{"a PodList of the API, whose items have no kind", `{"kind":"PodList","apiVersion":"v1","items":[` + bare + `]}`, 1, ""},
		{"an array", "[" + pod + "," + pod + "]", 2, ""},
		{"JSON lines", pod + "\n" + pod + "\n", 2, ""},
		{"documents without a separator", pod + pod, 2, ""},
		{"a JSON text sequence", "\x1e" + pod + "\n\x1e" + pod, 2, ""},
		{"a byte order mark", "\xef\xbb\xbf" + pod, 1, ""},
		{"an empty List", `{"kind":"List","items":[]}`, 0, ""},
		{"an empty file", "", 0, "no Kubernetes object"},
		{"YAML", "apiVersion: v1\nkind: Pod\n", 0, "YAML"},
		{"UTF-16", "\xff\xfe{\x00}\x00", 0, "UTF-16"},
		{"an error page", "<html>", 0, "at 0"},
		{"a List truncated in its second item", `{"items":[` + pod + `,{"kind":"Po`, 1, "ends inside"},
		{"garbage after an object", pod + "}", 1, "found '}'"},
		{"an object without a name", `{"kind":"Pod","metadata":{}}`, 0, ""},
		{"a field of another type", `{"kind":"Pod","metadata":{"name":7}}`, 0, ""},
		{"invalid inside but balanced", `{"kind":"Pod",,"metadata":{"name":"x"}}`, 1, ""},
		{"an invalid literal", `{"kind":"Pod","x":tru}` + pod, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			stats, err := NewIndex().AddKube("dump", strings.NewReader(c.text))
			if stats.Kept != c.kept {
				t.Errorf("kept %d, want %d", stats.Kept, c.kept)
			}
			var syntax *SyntaxError
			switch {
			case c.wrong == "" && err != nil:
				t.Errorf("error %v", err)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
				t.Errorf("error %v, want one with %q", err, c.wrong)
			case err != nil && !errors.As(err, &syntax):
				t.Errorf("error %v has no place", err)
			}
		})
	}
}

func TestLimitsOfOneObject(t *testing.T) {
	const good = `{"kind":"Pod","metadata":{"name":"p"}}`
	for _, c := range []struct {
		name, text string
		check      func(Stats) bool
	}{
		{"too many bytes", `{"kind":"Pod","metadata":{"name":"` + strings.Repeat("x", maxObject) + `"}}`, func(s Stats) bool { return s.Oversize == 1 }},
		{"too many values", `{"kind":"Pod","spec":{"containers":[` + strings.Repeat("{},", maxValues) + `{}]}}`, func(s Stats) bool { return s.Oversize == 1 }},
		{"too deep", `{"kind":"Pod","a":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, func(s Stats) bool { return s.Oversize+s.Malformed == 1 }},
	} {
		for _, form := range []string{"%s%s", `{"items":[%s,%s]}`} {
			stats, err := NewIndex().AddKube("dump", strings.NewReader(fmt.Sprintf(form, c.text, good)))
			if err != nil || stats.Kept != 1 || !c.check(stats) {
				t.Errorf("%s: %+v, %v", c.name, stats, err)
			}
		}
	}
}

func TestInputTextIsCleaned(t *testing.T) {
	x := NewIndex()
	stats, err := x.AddKube("dump\x1b[31m", strings.NewReader(`{"kind":"Pod","metadata":{"name":"p\u001b[2J\u202e\n`+strings.Repeat("é", 400)+`","uid":"u"},"status":{"podIP":"10.0.0.1"}}`))
	if err != nil || stats.Cut == 0 {
		t.Fatal(stats, err)
	}
	id, ok := x.Lookup(netip.MustParseAddr("10.0.0.1"), 0, 0, 1)
	if !ok || len(id.Name) > maxName || strings.ContainsAny(id.Name+id.Source, "\x1b\u202e\n") || !strings.HasPrefix(id.Name, "p[2J é") {
		t.Errorf("%q %q", id.Name, id.Source)
	}
}

func TestNewAddressOfAPodReplacesTheOld(t *testing.T) {
	x := NewIndex()
	for _, c := range []struct{ addr, clock string }{{"10.0.0.2", "11:00:00"}, {"10.0.0.1", "10:00:00"}} {
		_, err := x.AddKubeAt("dump "+c.clock, strings.NewReader(`{"kind":"Pod","metadata":{"name":"p","uid":"u"},"status":{"startTime":"2026-03-02T09:00:00Z","podIP":"`+c.addr+`"}}`), at(t, c.clock))
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		addr, clock string
		want        bool
	}{{"10.0.0.1", "10:30:00", true}, {"10.0.0.1", "11:30:00", false}, {"10.0.0.2", "11:30:00", true}} {
		if _, ok := x.Lookup(netip.MustParseAddr(c.addr), 0, 0, at(t, c.clock)); ok != c.want {
			t.Errorf("%s at %s: %v", c.addr, c.clock, ok)
		}
	}
}

func TestHosts(t *testing.T) {
	x := both(t)
	text, err := os.ReadFile("testdata/hosts")
	if err != nil {
		t.Fatal(err)
	}
	stats, err := x.AddHosts("hosts", bytes.NewReader(text))
	if err != nil || stats.Objects != 9 || stats.Kept != 6 || stats.Malformed != 2 || stats.Unused != 1 || stats.Bytes != int64(len(text)) {
		t.Errorf("%+v, %v", stats, err)
	}
	x.AddName(netip.MustParseAddr("192.0.2.10"), "stored.example.org", "a.pcapng")
	x.AddName(netip.MustParseAddr("192.0.2.20"), "stored.example.org", "a.pcapng")
	for _, c := range []struct{ addr, kind, name, hostname, how string }{
		{"192.0.2.10", "host", "mail.example.org", "mail.example.org", "hosts"},
		{"192.0.2.20", "host", "stored.example.org", "stored.example.org", "nrb"},
		{"fe80::1", "host", "router.lab", "router.lab", "hosts"},
		{"10.244.1.5", "pod", "web-7d4b9c6f5d-aaaaa", "web-a.lab", "kube"},
	} {
		id, ok := x.Lookup(netip.MustParseAddr(c.addr), 0, 0, at(t, "10:00:00"))
		if !ok || id.Kind != c.kind || id.Name != c.name || id.Hostname != c.hostname || id.HowKnown != c.how {
			t.Errorf("%s: %+v", c.addr, id)
		}
	}
	if _, err := x.AddHosts("h", strings.NewReader(strings.Repeat("x", maxLine+1))); !errors.Is(err, errLongLine) {
		t.Errorf("long line: %v", err)
	}
}

func BenchmarkLookup(b *testing.B) {
	x := both(b)
	addr, ts := netip.MustParseAddr("10.244.1.5"), at(b, "10:00:00")
	for b.Loop() {
		x.Lookup(addr, 8080, tcp, ts)
	}
}

func BenchmarkAddKube(b *testing.B) {
	text, err := os.ReadFile("testdata/shop-1000.json")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := NewIndex().AddKube("dump", bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestListWithRefusedObjectsEndsNoPod(t *testing.T) {
	pod := func(ns, name string) string {
		return `{"kind":"Pod","metadata":{"name":"` + name + `","namespace":"` + ns + `","uid":"` + name + `"},"status":{"startTime":"2026-03-02T09:00:00Z","podIP":"10.0.0.` + name + `"}}`
	}
	for _, c := range []struct {
		name, later string
		want        bool // pod 1 still has its address
	}{
		{"complete list without the pod", pod("a", "2") + "," + pod("b", "3"), false},
		{"list of one namespace", pod("a", "2") + "," + pod("a", "3"), true},
		{"list with an object that could not be read", pod("a", "2") + "," + pod("b", "3") + `,{"kind":"Pod","metadata":{"name":7}}`, true},
		{"list with a value that is not an object", pod("a", "2") + "," + pod("b", "3") + `,7`, true},
	} {
		x := NewIndex()
		for i, items := range []string{pod("a", "1") + "," + pod("b", "2"), c.later} {
			if _, err := x.AddKubeAt("dump", strings.NewReader(`{"items":[`+items+`]}`), at(t, fmt.Sprintf("1%d:00:00", i))); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := x.Lookup(netip.MustParseAddr("10.0.0.1"), 0, 0, at(t, "12:00:00")); ok != c.want {
			t.Errorf("%s: found %v, want %v", c.name, ok, c.want)
		}
	}
}

func TestIndexStaysWithinLimit(t *testing.T) {
	x := NewIndex()
	x.kept = maxKept - 4*fixedCost
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, `{"kind":"Pod","metadata":{"name":"p%d"}}`, i)
	}
	stats, err := x.AddKube("dump", strings.NewReader(text.String()))
	if err != nil || stats.Limited == 0 || stats.Kept == 0 || stats.Kept+stats.Limited != 20 || x.kept > maxKept {
		t.Errorf("%+v, %v, kept %d", stats, err, x.kept)
	}
}
