package netpol_test

import (
	"net/netip"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/pcapsule/pcapsule/forensics/netpol"
)

func pod(namespace string, have map[string]string) *netpol.Pod {
	return &netpol.Pod{Namespace: namespace, Labels: netpol.Labels{Known: have},
		Space: netpol.Labels{Known: map[string]string{netpol.NamespaceName: namespace, "team": namespace + "-team"}}, Ports: map[string]int64{"tcp/http": 8080, "udp/dns": 53}}
}

func end(addr string, p *netpol.Pod) netpol.End {
	return netpol.End{Addr: netip.MustParseAddr(addr), Pod: p}
}

// TestRules holds each rule of the API for a connection from shop (app: web) to pay (app: db) at
// tcp/8080, and for one from outside.
func TestRules(t *testing.T) {
	const refused, allowed, unknown = netpol.Yes, netpol.No, netpol.Maybe
	web, db := pod("shop", map[string]string{"app": "web"}), pod("pay", map[string]string{"app": "db"})
	inside := netpol.Conn{Src: end("10.1.0.1", web), Dst: end("10.2.0.1", db), Transport: "tcp", Port: 8080}
	outside := netpol.Conn{Src: end("198.51.100.7", nil), Dst: end("10.2.0.1", db), Transport: "tcp", Port: 8080}
	nobody := netpol.Conn{Src: netpol.End{Addr: netip.MustParseAddr("10.1.0.9"), Unknown: "nobody knows"}, Dst: end("10.2.0.1", db), Transport: "tcp", Port: 8080}
	sctp := netpol.Conn{Src: end("10.1.0.1", web), Dst: end("10.2.0.1", db), Transport: "sctp", Port: 8080}
	for _, x := range []struct {
		name, spec    string
		inside, other netpol.Truth
		conn          netpol.Conn // of other
	}{
		{"default deny", `{"podSelector":{},"policyTypes":["Ingress"]}`, refused, refused, outside},
		{"policyTypes default to ingress", `{"podSelector":{}}`, refused, refused, outside},
		{"egress alone does not restrict ingress", `{"podSelector":{},"policyTypes":["Egress"],"ingress":[]}`, allowed, allowed, outside},
		{"another pod is selected", `{"podSelector":{"matchLabels":{"app":"cache"}}}`, allowed, allowed, outside},
		{"an empty rule allows everything", `{"podSelector":{},"ingress":[{}]}`, allowed, allowed, outside},
		{"empty lists are as missing ones", `{"podSelector":{},"ingress":[{"from":[],"ports":[]}]}`, allowed, allowed, outside},
		{"pods are those of the policy's namespace", `{"podSelector":{},"ingress":[{"from":[{"podSelector":{}}]}]}`, refused, refused, outside},
		{"every pod of every namespace", `{"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{}}]}]}`, allowed, refused, outside},
		{"an owner that is not known", `{"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{}}]}]}`, allowed, unknown, nobody},
		{"a namespace by its name", `{"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"shop"}}}]}]}`, allowed, refused, outside},
		{"both selectors must match", `{"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"shop-team"}},"podSelector":{"matchLabels":{"app":"api"}}}]}]}`, refused, refused, outside},
		{"one of two peers is enough", `{"podSelector":{},"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"api"}}},{"namespaceSelector":{"matchLabels":{"team":"shop-team"}}}]}]}`, allowed, refused, outside},
		{"one of two rules is enough", `{"podSelector":{},"ingress":[{"from":[{"podSelector":{}}]},{"ports":[{"port":8080}]}]}`, allowed, allowed, outside},
		{"a block", `{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"198.51.100.0/24"}}]}]}`, refused, allowed, outside},
		{"a block with an exception", `{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"0.0.0.0/0","except":["198.51.100.0/24"]}}]}]}`, allowed, refused, outside},
		{"two blocks, one of which excepts it", `{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"0.0.0.0/0","except":["198.51.100.0/24"]}},{"ipBlock":{"cidr":"198.51.100.7/32"}}]}]}`, allowed, allowed, outside},
		{"another port", `{"podSelector":{},"ingress":[{"ports":[{"port":8081}]}]}`, refused, refused, outside},
		{"a port is of TCP unless it says otherwise", `{"podSelector":{},"ingress":[{"ports":[{"port":8080}]}]}`, allowed, refused, sctp},
		{"SCTP", `{"podSelector":{},"ingress":[{"ports":[{"protocol":"SCTP","port":8080}]}]}`, refused, allowed, sctp},
		{"a range, whose end counts", `{"podSelector":{},"ingress":[{"ports":[{"port":8000,"endPort":8080}]}]}`, allowed, allowed, outside},
		{"a range that ends before", `{"podSelector":{},"ingress":[{"ports":[{"port":8000,"endPort":8079}]}]}`, refused, refused, outside},
		{"a protocol without a port", `{"podSelector":{},"ingress":[{"ports":[{"protocol":"SCTP"}]}]}`, refused, allowed, sctp},
		{"a named port", `{"podSelector":{},"ingress":[{"ports":[{"port":"http"}]}]}`, allowed, refused, sctp},
		{"a named port of another number", `{"podSelector":{},"ingress":[{"ports":[{"port":"dns","protocol":"UDP"}]}]}`, refused, refused, outside},
		{"a block that is not one", `{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"all"}}]}]}`, unknown, unknown, outside},
		{"an operator that is not one", `{"podSelector":{"matchExpressions":[{"key":"app","operator":"Like","values":["d"]}]}}`, unknown, unknown, outside},
	} {
		spec, err := netpol.Parse(x.spec)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		list := []netpol.Policy{{Namespace: "pay", Name: "p", Specs: []*netpol.Spec{spec}, Exists: netpol.Answer{Truth: netpol.Yes}}}
		for _, y := range []struct {
			conn netpol.Conn
			want netpol.Truth
		}{{inside, x.inside}, {x.conn, x.other}} {
			got, _ := y.conn.Refused(list, netpol.Ingress)
			if got.Truth != y.want || (got.Truth == unknown) != (got.Why != "") {
				t.Errorf("%s: %s is %+v, want %d", x.name, y.conn.Src.Addr, got, y.want)
			}
			if got, _ := y.conn.Refused(list, netpol.Egress); got.Truth != allowed {
				t.Errorf("%s: egress of another namespace is restricted", x.name)
			}
		}
	}
}

func TestEgress(t *testing.T) {
	web, db := pod("shop", map[string]string{"app": "web"}), pod("pay", map[string]string{"app": "db"})
	c := netpol.Conn{Src: end("10.1.0.1", web), Dst: end("10.2.0.1", db), Transport: "tcp", Port: 8080}
	for text, want := range map[string]netpol.Truth{
		`{"podSelector":{},"egress":[{"to":[{"podSelector":{}}]}]}`:                                                        netpol.Yes, // restricts both directions
		`{"podSelector":{},"egress":[{"to":[{"namespaceSelector":{}}],"ports":[{"port":"http"}]}]}`:                        netpol.No,
		`{"podSelector":{},"policyTypes":["Egress"]}`:                                                                      netpol.Yes,
		`{"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"10.2.0.0/16"}}]}]}`:               netpol.No,
		`{"podSelector":{},"egress":[]}`:                                                                                   netpol.No, // without rules it restricts only ingress
		`{"podSelector":{"matchExpressions":[{"key":"tier","operator":"Exists"}]},"policyTypes":["Egress"]}`:               netpol.No,
		`{"podSelector":{"matchExpressions":[{"key":"tier","operator":"NotIn","values":["a"]}]},"policyTypes":["Egress"]}`: netpol.Yes,
	} {
		spec, err := netpol.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list := []netpol.Policy{{Namespace: "shop", Name: "p", Specs: []*netpol.Spec{spec}, Exists: netpol.Answer{Truth: netpol.Yes}}}
		if got, _ := c.Refused(list, netpol.Egress); got.Truth != want {
			t.Errorf("%s: %+v, want %d", text, got, want)
		}
	}
}

// TestUnknown holds that what is unknown is never a refusal, and that policies add up.
func TestUnknown(t *testing.T) {
	deny, _ := netpol.Parse(`{"podSelector":{}}`)
	open, _ := netpol.Parse(`{"podSelector":{"matchLabels":{"app":"db"}},"ingress":[{}]}`)
	yes, perhaps := netpol.Answer{Truth: netpol.Yes}, netpol.Answer{Truth: netpol.Maybe, Why: "made at about that time"}
	db := pod("pay", map[string]string{"app": "db"})
	vague := pod("pay", nil)
	vague.Labels.Partial = "its labels are unknown"
	policy := func(exists netpol.Answer, specs ...*netpol.Spec) netpol.Policy {
		return netpol.Policy{Namespace: "pay", Name: "p", Specs: specs, Exists: exists}
	}
	for name, x := range map[string]struct {
		pod  *netpol.Pod
		list []netpol.Policy
		want netpol.Truth
	}{
		"one policy allows it":                     {db, []netpol.Policy{policy(yes, deny), policy(yes, open)}, netpol.No},
		"the allowing policy may not exist":        {db, []netpol.Policy{policy(yes, deny), policy(perhaps, open)}, netpol.Maybe},
		"the denying policy may not exist":         {db, []netpol.Policy{policy(perhaps, deny)}, netpol.Maybe},
		"it may have had another spec":             {db, []netpol.Policy{policy(yes, deny, open)}, netpol.Maybe},
		"both possible specs refuse":               {db, []netpol.Policy{policy(yes, deny, deny)}, netpol.Yes},
		"a policy could not be read":               {db, []netpol.Policy{policy(yes, deny), policy(yes, nil)}, netpol.Maybe},
		"the allowing policy may not select it":    {vague, []netpol.Policy{policy(yes, deny), policy(yes, open)}, netpol.Maybe},
		"every pod is selected, whatever it is":    {vague, []netpol.Policy{policy(yes, deny)}, netpol.Yes},
		"the only policy allows it, if it applies": {vague, []netpol.Policy{policy(perhaps, open)}, netpol.No},
		"no policy of the namespace":               {pod("shop", nil), []netpol.Policy{policy(yes, deny)}, netpol.No},
	} {
		c := netpol.Conn{Src: end("198.51.100.7", nil), Dst: end("10.2.0.1", x.pod), Transport: "tcp", Port: 80}
		if got, _ := c.Refused(x.list, netpol.Ingress); got.Truth != x.want {
			t.Errorf("%s: %+v, want %d", name, got, x.want)
		}
	}
}

// TestSelectorsAgreeWithTheLibrary compares selectors with those of Kubernetes' own library.
func TestSelectorsAgreeWithTheLibrary(t *testing.T) {
	sets := []map[string]string{{}, {"a": "1"}, {"a": "2"}, {"a": ""}, {"b": "1"}, {"a": "1", "b": "2"}}
	var all []string
	for _, op := range []string{"In", "NotIn", "Exists", "DoesNotExist"} {
		for _, values := range []string{`["1"]`, `["1","2"]`, `[""]`} {
			if op == "Exists" || op == "DoesNotExist" {
				values = "[]"
			}
			all = append(all, `{"matchExpressions":[{"key":"a","operator":"`+op+`","values":`+values+`}]}`,
				`{"matchLabels":{"b":"2"},"matchExpressions":[{"key":"a","operator":"`+op+`","values":`+values+`}]}`)
		}
	}
	all = append(all, `{}`, `{"matchLabels":{"a":"1","b":"2"}}`)
	for _, text := range all {
		var theirs metav1.LabelSelector
		if err := yaml.Unmarshal([]byte(text), &theirs); err != nil {
			t.Fatal(err)
		}
		oracle, err := metav1.LabelSelectorAsSelector(&theirs)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := netpol.Parse(`{"podSelector":` + text + `}`)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range sets {
			if got := spec.Selects(pod("x", set), netpol.Ingress); (got.Truth == netpol.Yes) != oracle.Matches(labels.Set(set)) || got.Truth == netpol.Maybe {
				t.Errorf("%s of %v: %+v", text, set, got)
			}
		}
	}
}
