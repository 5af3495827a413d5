package join_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

const (
	servicePod = `{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":%[1]q,"uid":%[1]q,"labels":{"app":%[2]q},"ownerReferences":[{"kind":"StatefulSet","name":%[3]q,"controller":true}]},"spec":{"nodeName":"n","containers":[{"name":"c","ports":[{"name":"web","containerPort":8080},{"name":"prom","containerPort":9090}]}]},"status":{"podIP":%[4]q,"hostIP":"10.0.0.5","phase":"Running"}}`
	serviceIn  = `{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":%[1]q,"uid":%[1]q},"spec":{"clusterIP":%[2]q,"selector":%[3]s,"ports":%[4]s}}`
)

// servicesDump is a dump with pods behind several services, in an order of its own for each seed.
func servicesDump(t *testing.T, seed int64) string {
	items := []string{
		fmt.Sprintf(servicePod, "b-0", "b", "backend", "10.2.0.1"), fmt.Sprintf(servicePod, "b-1", "b", "backend", "10.2.0.2"),
		fmt.Sprintf(servicePod, "c-0", "c", "client", "10.2.0.9"), fmt.Sprintf(servicePod, "d-0", "d", "d", "10.2.0.30"),
		fmt.Sprintf(servicePod, "w-0", "w", "web", "10.2.0.40"), fmt.Sprintf(servicePod, "s-0", "s", "sliced", "10.2.0.50"),
		fmt.Sprintf(serviceIn, "api", "10.3.0.1", `{"app":"b"}`, `[{"port":80,"targetPort":8080}]`),
		fmt.Sprintf(serviceIn, "metrics", "10.3.0.2", `{"app":"b"}`, `[{"port":80,"targetPort":"prom","nodePort":30090}]`),
		fmt.Sprintf(serviceIn, "zeta", "10.3.0.3", `{"app":"b"}`, `[{"port":80,"targetPort":"web"}]`),
		fmt.Sprintf(serviceIn, "nothing", "10.3.0.4", `{"app":"b"}`, `[{"port":80,"targetPort":"gone"}]`),
		fmt.Sprintf(serviceIn, "d", "None", `{"app":"d"}`, `[{"port":6000}]`), fmt.Sprintf(serviceIn, "all", "None", `{"app":"d"}`, `[]`),
		fmt.Sprintf(serviceIn, "admin", "10.3.0.5", `{"app":"w"}`, `[{"port":8080}]`), fmt.Sprintf(serviceIn, "web", "10.3.0.6", `{"app":"w"}`, `[{"port":8080}]`),
		`{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"a-name"},"spec":{"type":"ExternalName","externalName":"db.example.com","selector":{"app":"b"},"ports":[{"port":8080}]}}`,
		// This pod uses the network of its node, and declares no port.
		`{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"h-0","uid":"h-0"},"spec":{"nodeName":"n","hostNetwork":true,"containers":[{"name":"c"}]},"status":{"podIP":"10.0.0.5","hostIP":"10.0.0.5","phase":"Running"}}`,
		`{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"namespace":"shop","name":"host-1","labels":{"kubernetes.io/service-name":"host"}},"endpoints":[{"addresses":["10.0.0.5"],"targetRef":{"kind":"Pod","name":"h-0","uid":"h-0"}}],"ports":[{"port":7100}]}`,
		fmt.Sprintf(serviceIn, "ext-a", "10.3.0.7", `{}`, `[{"port":5432}]`), fmt.Sprintf(serviceIn, "ext-b", "10.3.0.8", `{}`, `[{"port":5433}]`),
		`{"kind":"Endpoints","apiVersion":"v1","metadata":{"namespace":"shop","name":"ext-a"},"subsets":[{"addresses":[{"ip":"198.51.100.9"}],"ports":[{"port":5432}]}]}`,
		`{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"namespace":"shop","name":"ext-b-1","labels":{"kubernetes.io/service-name":"ext-b"}},"endpoints":[{"addresses":["198.51.100.9"]}],"ports":[{"port":5433}]}`,
		// Of these services only slices are known.
		`{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"namespace":"shop","name":"one-1","labels":{"kubernetes.io/service-name":"one"}},"endpoints":[{"addresses":["10.2.0.50"],"targetRef":{"kind":"Pod","name":"s-0","uid":"s-0"}}],"ports":[{"port":7001},{"port":7001,"protocol":"UDP"}]}`,
		`{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"namespace":"shop","name":"two-1","labels":{"kubernetes.io/service-name":"two"}},"endpoints":[{"addresses":["10.2.0.50"],"targetRef":{"kind":"Pod","name":"s-0","uid":"s-0"}}],"ports":[{"port":7002}]}`,
	}
	r := rand.New(rand.NewSource(seed))
	r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	text := `{"kind":"List","apiVersion":"v1","items":[` + strings.Join(items, ",\n") + `]}`
	if !json.Valid([]byte(text)) {
		t.Fatal(text)
	}
	path := filepath.Join(t.TempDir(), "cluster.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestServerIsNamedByItsPortWithoutDump: the recorder knew the ports of services, or an older one only their names.
func TestServerIsNamedByItsPortWithoutDump(t *testing.T) {
	for server, want := range map[string][2]string{"10.2.0.1:8080": {"shop/api", "shop/api"}, "10.2.0.1:9090": {"shop/metrics", "shop/api"}, "10.2.0.1:7777": {"shop/b-0", "shop/api"}} {
		for i, fronts := range [][]workload.Front{{{Service: "api", Port: 8080, Proto: 6}, {Service: "metrics", Port: 9090, Proto: 6}}, nil} {
			s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/b", Addresses: []netip.Addr{netip.MustParseAddr("10.2.0.1")},
				Identity: workload.Identity{Pod: "b-0", PodUID: "b-0", Namespace: "shop", Services: []string{"api", "metrics"}, Fronts: fronts}})
			s.TCP(0, 0, false, "10.2.0.9:40001", server, 100, 0, 2, "")
			s.TCP(0, 1, true, server, "10.2.0.9:40001", 500, 101, 0x12, "")
			_, got := exportertest.Proven(t, exporter.Options{}, []string{s.Write(t.TempDir(), "a", nil)}, "select d.who from connections c join endpoints d on d.endpoint_id = c.dst_id")
			if got[0] != want[i] {
				t.Errorf("%s with %v is %q, want %q", server, fronts, got[0], want[i])
			}
		}
	}
}

// TestServerIsNamedByItsPort: a pod stands behind several services. The port of a call decides which of them names its
// server, and the address that the client dialled decides if it is known. A client has one name.
func TestServerIsNamedByItsPort(t *testing.T) {
	for _, tt := range []struct{ name, client, dialled, server, want string }{
		{"number", "10.2.0.9:40001", "10.2.0.1:8080", "", "shop/client shop/api api"},
		{"name of a port", "10.2.0.9:40002", "10.2.0.1:9090", "", "shop/client shop/metrics metrics"},
		{"another pod", "10.2.0.9:40003", "10.2.0.2:9090", "", "shop/client shop/metrics metrics"},
		{"cluster address", "10.2.0.9:40004", "10.3.0.2:80", "", "shop/client shop/metrics metrics"},
		{"translated", "10.2.0.9:40005", "10.3.0.2:80", "10.2.0.2:9090", "shop/client shop/metrics metrics"},
		{"translated, of two services with one target", "10.2.0.9:40006", "10.3.0.3:80", "10.2.0.1:8080", "shop/client shop/zeta zeta"},
		{"node port", "10.2.0.9:40007", "10.0.0.5:30090", "10.2.0.1:9090", "shop/client shop/metrics metrics"},
		{"node port alone", "10.2.0.9:40008", "10.0.0.5:30090", "", "shop/client shop/metrics metrics"},
		{"port that a sidecar intercepts", "10.2.0.9:40021", "10.2.0.1:9090", "10.2.0.1:15006", "shop/client shop/metrics metrics"},
		{"in the network of the node", "10.2.0.9:40022", "10.0.0.5:7100", "", "shop/client shop/host host"},
		{"the node itself", "10.2.0.9:40023", "10.0.0.5:7101", "", "shop/client n "},
		{"client that looks like the server", "10.2.0.1:8080", "10.2.0.40:50000", "", "shop/api shop/web web"},
		{"no service", "10.2.0.9:40009", "10.2.0.1:7777", "", "shop/client shop/backend "},
		{"headless", "10.2.0.9:40010", "10.2.0.30:6000", "", "shop/client shop/d d"},
		{"headless without ports", "10.2.0.9:40011", "10.2.0.30:6001", "", "shop/client shop/all all"},
		{"one port, named after the workload", "10.2.0.9:40012", "10.2.0.40:8080", "", "shop/client shop/web web"},
		{"client of several", "10.2.0.1:40013", "10.2.0.30:6000", "", "shop/api shop/d d"},
		{"client of several, from a target's port", "10.2.0.2:9090", "10.2.0.30:6000", "", "shop/api shop/d d"},
		{"client, named after the workload", "10.2.0.40:40014", "10.2.0.30:6000", "", "shop/web shop/d d"},
		{"Endpoints without pods", "10.2.0.9:40015", "198.51.100.9:5432", "", "shop/client shop/ext-a ext-a"},
		{"slice without pods", "10.2.0.9:40016", "198.51.100.9:5433", "", "shop/client shop/ext-b ext-b"},
		{"neither", "10.2.0.9:40017", "198.51.100.9:5434", "", "shop/client 198.51.100.9 "},
		{"first slice", "10.2.0.9:40018", "10.2.0.50:7001", "", "shop/client shop/one one"},
		{"second slice", "10.2.0.9:40019", "10.2.0.50:7002", "", "shop/client shop/two two"},
		{"no slice", "10.2.0.9:40020", "10.2.0.50:7003", "", "shop/client shop/sliced "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/node"})
			servers := []string{tt.dialled}
			if tt.server != "" {
				servers = append(servers, tt.server)
			}
			const ask, answer = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			const n, m = uint32(len(ask)), uint32(len(answer))
			for i, p := range []struct {
				back     bool
				seq, ack uint32
				flags    byte
				text     string
			}{{false, 100, 0, 2, ""}, {true, 500, 101, 0x12, ""}, {false, 101, 501, 0x10, ""}, {false, 101, 501, 0x18, ask}, {true, 501, 101 + n, 0x18, answer}, {false, 101 + n, 501 + m, 0x11, ""}} {
				list := slices.Clone(servers)
				if p.back {
					slices.Reverse(list)
				}
				for j, server := range list {
					from, to := tt.client, server
					if p.back {
						from, to = to, from
					}
					s.TCP(0, int64(10*i+j), p.back, from, to, p.seq, p.ack, p.flags, p.text)
				}
			}
			input := s.Write(t.TempDir(), "a", nil)
			const names = "select string_agg(concat_ws(' ', s.who, d.who, coalesce(d.service, '')), ', ') from calls c join endpoints s on s.endpoint_id = c.src_id join endpoints d on d.endpoint_id = c.dst_id"
			const rows = "select string_agg(concat_ws(' ', endpoint_id, name, who, service, services), ', ' order by endpoint_id) from endpoints"
			_, got := exportertest.Proven(t, exporter.Options{Kube: []string{servicesDump(t, 1)}}, []string{input}, names, rows)
			if got[0] != tt.want {
				t.Errorf("named %q, want %q; %s", got[0], tt.want, got[1])
			}
			if _, again := exportertest.Proven(t, exporter.Options{Kube: []string{servicesDump(t, 2)}}, []string{input}, names, rows); !slices.Equal(got, again) {
				t.Errorf("objects in another order give %q, want %q", again, got)
			}
		})
	}
}
