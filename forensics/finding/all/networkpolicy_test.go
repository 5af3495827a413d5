package all_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// Objects of a cluster: its traffic is of 2026-02-25T06:13:20Z.
const (
	early = "2026-01-01T00:00:00Z"
	after = "2026-02-25T07:00:00Z"
)

func kubePod(namespace, name, ip, labels string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%[2]q,"namespace":%[1]q,"uid":"%[1]s-%[2]s","creationTimestamp":%[5]q,"labels":{%[4]s}},
		"spec":{"nodeName":"n","containers":[{"name":"c","ports":[{"name":"http","containerPort":8080}]}]},"status":{"hostIP":"10.0.9.1","podIP":%[3]q,"podIPs":[{"ip":%[3]q}],"conditions":[{"lastTransitionTime":%[6]q}]}}`, namespace, name, ip, labels, early, after)
}

func kubeSpace(name, labels string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q,"uid":"ns-%[1]s","creationTimestamp":%q,"labels":{%s}}}`, name, early, labels)
}

func kubePolicy(namespace, name, made string, generation int, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":%q,"namespace":%q,"uid":"np-%[2]s-%[1]s","generation":%[4]d,"creationTimestamp":%[3]q},"spec":%[5]s}`, name, namespace, made, generation, spec)
}

// openCluster opens traffic with Kubernetes dumps, one for each list of objects.
func openCluster(t *testing.T, c *traffic.Capture, dumps ...[]string) *forensics.Case {
	t.Helper()
	dir := t.TempDir()
	o := exporter.Options{Release: "test", Repanic: true}
	for i, items := range dumps {
		dump := filepath.Join(dir, fmt.Sprintf("kube%d.json", i))
		if err := os.WriteFile(dump, []byte(`{"apiVersion":"v1","kind":"List","items":[`+strings.Join(items, ",")+`]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Kube = append(o.Kube, dump)
	}
	file, out := filepath.Join(dir, "made.pcap"), filepath.Join(dir, "made.pcapsule")
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	if _, err := exporter.Run(ctx, []string{file}, out, o); err != nil {
		t.Fatal(err)
	}
	k, err := forensics.Open(ctx, []string{out}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// policyFindings returns the findings of network-policy, as "kind confidence: what", and the notes.
func policyFindings(t *testing.T, k *forensics.Case) (list []string, notes string) {
	t.Helper()
	out, err := finding.Run(ctx, k, all.Analyzers(), finding.In{Scope: ask.Scope{Limit: 200}, Names: []string{"network-policy"}})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, f := range out.Findings {
		if ids[f.ID] {
			t.Errorf("two findings have the id of %+v", f)
		}
		ids[f.ID] = true
		list = append(list, f.Kind+" "+f.Confidence+": "+f.What)
		if len(f.FlowIDs) == 0 || f.ID == "" || f.First == "" {
			t.Errorf("not cited: %+v", f)
		}
	}
	return list, strings.Join(out.Notes, "\n")
}

var (
	get = traffic.HTTP("GET / HTTP/1.1", "Host: a", "")
	yes = traffic.HTTP("HTTP/1.1 200 OK", "", "")
)

// TestNetworkPolicy plants one connection for each kind of finding, and several that are not.
func TestNetworkPolicy(t *testing.T) {
	var c traffic.Capture
	n := 0
	call := func(client, server string) {
		n++
		c.Exchange(time.Duration(n)*10*ms, ms, fmt.Sprint(n), client, server, get, yes)
	}
	const web, db, api, batch, node = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.9.1"
	call(api, db+":8080")             // allowed by a named port
	call(web, db+":8080")             // refused at the server
	call("198.51.100.7", db+":8080")  // refused, from outside
	call("198.51.100.99", db+":8080") // in a block of addresses
	call(node, db+":8080")            // a node
	call(api, batch+":80")            // nothing restricts batch
	call("10.0.0.77", db+":8080")     // nobody knows whose address it is
	call(db, "203.0.113.1:443")       // egress to outside, which is refused
	c.Attempt(300*ms, web, db+":5432", true)
	c.Attempt(310*ms, web, db+":5433", false)
	call(db, "10.96.0.1:80") // a service in front of batch, which is allowed at its pods' port
	call(db, "10.96.0.1:81") // at another port it is not
	call(web, "10.0.0.5:80") // shop/late has a policy that was made meanwhile
	items := []string{kubeSpace("shop", `"team":"a"`), kubeSpace("pay", `"team":"b"`),
		kubePod("shop", "web", web, `"app":"web"`), kubePod("pay", "db", db, `"app":"db"`), kubePod("shop", "api", api, `"app":"api"`), kubePod("pay", "batch", batch, `"app":"batch"`), kubePod("shop", "late", "10.0.0.5", `"app":"late"`),
		`{"apiVersion":"v1","kind":"Node","metadata":{"name":"n","uid":"n","creationTimestamp":"` + early + `"},"status":{"addresses":[{"type":"InternalIP","address":"` + node + `"}]}}`,
		`{"apiVersion":"v1","kind":"Service","metadata":{"name":"batch","namespace":"pay","uid":"s","creationTimestamp":"` + early + `"},"spec":{"clusterIP":"10.96.0.1","selector":{"app":"batch"},"ports":[{"port":80,"targetPort":8080},{"port":81,"targetPort":8181}]}}`,
		kubePolicy("pay", "db", early, 1, `{"podSelector":{"matchLabels":{"app":"db"}},"policyTypes":["Ingress","Egress"],"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"a"}},"podSelector":{"matchExpressions":[{"key":"app","operator":"In","values":["api"]}]}},{"ipBlock":{"cidr":"198.51.100.0/24","except":["198.51.100.0/28"]}}],"ports":[{"port":"http"}]}],
			"egress":[{"to":[{"podSelector":{"matchLabels":{"app":"batch"}}}],"ports":[{"port":8080}]}]}`),
		kubePolicy("shop", "late", "2026-02-25T06:13:18Z", 1, `{"podSelector":{"matchLabels":{"app":"late"}}}`)}
	got, notes := policyFindings(t, openCluster(t, &c, items))
	by := fmt.Sprintf(", with %d bytes of payload, that network policy pay/db should have refused: made 2026-01-01T00:00:00.000000000Z and not changed since", len(get)+len(yes))
	want := []string{
		"not-enforced exact: (outside) connects to pay/db at tcp/8080 in 1 connection" + by,
		"not-enforced exact: pay/db connects to 203.0.113.1 at tcp/443 in 1 connection" + by,
		"not-enforced exact: pay/db connects to pay/batch at tcp/81 in 1 connection" + by,
		"not-enforced exact: shop/web connects to pay/db at tcp/8080 in 1 connection" + by,
		"unprotected exact: no network policy selects shop/api, which has 2 connections, so nothing restricts it",
		"unprotected exact: no network policy selects shop/web, which has 4 connections, so nothing restricts it",
		"unprotected exact: no network policy selects pay/batch, which has 1 connection, so nothing restricts it",
		"cannot-tell guess: 10.0.0.77 connects to pay/db at tcp/8080 in 1 connection; it is unknown whether the network policies allow them: the owner of 10.0.0.77 is unknown",
		"cannot-tell guess: shop/web connects to shop/late at tcp/80 in 1 connection; it is unknown whether the network policies allow them: network policy shop/late was made less than 10 seconds before",
		"blocked exact: shop/web connects to pay/db at tcp/5432 in 1 connection, none of which was accepted, as network policy pay/db declares",
		"blocked exact: shop/web connects to pay/db at tcp/5433 in 1 connection, none of which was accepted, as network policy pay/db declares",
	}
	same(t, got, want)
	for _, s := range []string{"4 connections are as the policies declare", "1 connection between pods and addresses of nodes was not judged"} {
		if !strings.Contains(notes, s) {
			t.Errorf("the notes lack %q:\n%s", s, notes)
		}
	}
}

// TestNetworkPolicyOverTime has two dumps: between them a policy was changed and another removed, and
// a third was made while a connection lasted.
func TestNetworkPolicyOverTime(t *testing.T) {
	const hour = time.Hour
	var c traffic.Capture
	const web, db = "10.0.0.1", "10.0.0.2"
	for i, at := range []time.Duration{0, 2 * hour, 5 * hour} { // before the first dump, between, and after the second
		c.Exchange(at, ms, fmt.Sprint("changed ", i), web, db+":80", get, yes)
		c.Exchange(at+ms*10, ms, fmt.Sprint("removed ", i), db, web+":81", get, yes)
	}
	c.Exchange(0, ms, "long", web, "10.0.0.3:82", get, yes)
	c.Exchange(3*hour, ms, "long", web, "10.0.0.3:82", get, yes)
	at := func(h int) string { return fmt.Sprintf("2026-02-25T%02d:13:20Z", 6+h) }
	dump := func(h int, extra ...string) []string {
		pods := []string{kubePod("shop", "web", web, `"app":"web"`), kubePod("pay", "db", db, `"app":"db"`), kubePod("new", "cache", "10.0.0.3", `"app":"cache"`)}
		for i := range pods {
			pods[i] = strings.ReplaceAll(pods[i], after, at(h))
		}
		return append(pods, extra...)
	}
	deny, allow := `{"podSelector":{}}`, `{"podSelector":{},"ingress":[{}]}`
	k := openCluster(t, &c, dump(1, kubePolicy("pay", "changed", early, 1, deny), kubePolicy("shop", "removed", early, 3, deny)),
		dump(4, kubePolicy("pay", "changed", early, 2, allow), kubePolicy("new", "later", at(2), 1, deny)))
	got, _ := policyFindings(t, k)
	with := fmt.Sprintf("with %d bytes of payload", len(get)+len(yes))
	want := []string{
		"not-enforced exact: shop/web connects to pay/db at tcp/80 in 1 connection, " + with + ", that network policy pay/changed should have refused: made 2026-01-01T00:00:00.000000000Z and not changed since",
		"not-enforced likely: pay/db connects to shop/web at tcp/81 in 1 connection, " + with + ", that network policy shop/removed should have refused: made 2026-01-01T00:00:00.000000000Z; whether it had this spec at that time is unknown",
		"predates-policy exact: shop/web connects to new/cache at tcp/82 in 1 connection that began before network policy new/later, which refuses new ones; the network plugin decides whether existing ones end",
		"cannot-tell guess: pay/db connects to shop/web at tcp/81 in 1 connection; it is unknown whether the network policies allow them: network policy shop/removed was removed at about that time",
		"cannot-tell guess: shop/web connects to pay/db at tcp/80 in 1 connection; it is unknown whether the network policies allow them: network policy pay/changed was changed at an unknown time",
	}
	same(t, got, want)
}

// TestNetworkPolicyAfterTheDump has the same violation before and after the dump: one finding.
func TestNetworkPolicyAfterTheDump(t *testing.T) {
	var c traffic.Capture
	c.Exchange(0, ms, "before", "10.0.0.1", "10.0.0.2:80", get, yes)
	c.Exchange(2*time.Hour, ms, "after", "10.0.0.1", "10.0.0.2:80", get, yes)
	got, _ := policyFindings(t, openCluster(t, &c, []string{kubePod("shop", "web", "10.0.0.1", `"app":"web"`), kubePod("pay", "db", "10.0.0.2", `"app":"db"`), kubePolicy("pay", "deny", early, 1, `{"podSelector":{}}`)}))
	same(t, got, []string{"unprotected exact: no network policy selects shop/web, which has 2 connections, so nothing restricts it",
		fmt.Sprintf("not-enforced exact: shop/web connects to pay/db at tcp/80 in 2 connections, with %d bytes of payload, that network policy pay/deny should have refused: made 2026-01-01T00:00:00.000000000Z and not changed since; others: made 2026-01-01T00:00:00.000000000Z, shown by the dump of 2026-02-25T07:00:00.000000000Z; later changes are unknown", 2*(len(get)+len(yes)))})
}

// TestNetworkPolicyLeavesOut has a pod on its node's network and a pod that uses its own service, which
// no policy is about, and a pod whose labels differ between dumps.
func TestNetworkPolicyLeavesOut(t *testing.T) {
	var c traffic.Capture
	c.Exchange(0, ms, "1", "10.0.9.1", "10.0.0.2:80", get, yes)
	c.Exchange(10*ms, ms, "2", "10.0.0.2", "10.96.0.1:80", get, yes)
	c.Exchange(20*ms, ms, "3", "10.0.0.2", "10.0.0.1:80", get, yes)
	c.Exchange(30*ms, ms, "4", "10.0.0.2", "10.0.9.1:9100", get, yes)
	agent := strings.Replace(kubePod("sys", "agent", "10.0.9.1", `"app":"agent"`), `"nodeName":"n"`, `"nodeName":"n","hostNetwork":true`, 1)
	agent = strings.Replace(agent, `"containerPort":8080`, `"containerPort":9100`, 1)
	items := func(label, at string) []string {
		web := strings.ReplaceAll(kubePod("shop", "web", "10.0.0.1", `"app":"`+label+`"`), after, at)
		return []string{web, kubePod("pay", "db", "10.0.0.2", `"app":"db"`), agent,
			`{"apiVersion":"v1","kind":"Node","metadata":{"name":"n","uid":"n","creationTimestamp":"` + early + `"},"status":{"addresses":[{"type":"InternalIP","address":"10.0.9.1"}]}}`,
			`{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"pay","uid":"s","creationTimestamp":"` + early + `"},"spec":{"clusterIP":"10.96.0.1","selector":{"app":"db"},"ports":[{"port":80,"targetPort":80}]}}`,
			kubePolicy("pay", "deny", early, 1, `{"podSelector":{},"policyTypes":["Ingress"]}`), kubePolicy("sys", "deny", early, 1, `{"podSelector":{}}`), kubePolicy("shop", "quarantine", early, 1, `{"podSelector":{"matchLabels":{"app":"quarantine"}}}`)}
	}
	got, notes := policyFindings(t, openCluster(t, &c, items("web", "2026-02-25T06:00:00Z"), items("quarantine", "2026-02-25T08:00:00Z")))
	same(t, got, []string{"cannot-tell guess: pay/db connects to shop/web at tcp/80 in 1 connection; it is unknown whether the network policies allow them: dumps show different labels of pod shop/web"})
	if !strings.Contains(notes, "2 connections between pods and addresses of nodes were not judged") {
		t.Error(notes)
	}
}

// TestNetworkPolicyNeedsThePolicies holds that nothing is claimed without policies, or without all of
// a namespace.
func TestNetworkPolicyNeedsThePolicies(t *testing.T) {
	var c traffic.Capture
	c.Exchange(0, ms, "1", "10.0.0.1", "10.0.0.2:80", get, yes)
	web, db := kubePod("shop", "web", "10.0.0.1", `"app":"web"`), kubePod("pay", "db", "10.0.0.2", `"app":"db"`)
	got, notes := policyFindings(t, openCluster(t, &c, []string{web, db}))
	if len(got) > 0 || !strings.Contains(notes, "have no network policies") {
		t.Errorf("%v\n%s", got, notes)
	}
	if got, _ := policyFindings(t, openCluster(t, &c, []string{web}, []string{db, kubePolicy("pay", "x", early, 1, `{"podSelector":{"matchLabels":{"app":"x"}}}`)})); len(got) != 1 || !strings.HasPrefix(got[0], "unprotected exact: no network policy selects pay/db") {
		t.Errorf("%v", got)
	}
	// Without its namespaces' labels a policy cannot be evaluated.
	got, _ = policyFindings(t, openCluster(t, &c, []string{web, db, kubePolicy("pay", "x", early, 1, `{"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"a"}}}]}]}`)}))
	if len(got) != 2 || !strings.Contains(strings.Join(got, "\n"), "allow them: no Kubernetes dump has the labels of namespace shop") {
		t.Errorf("%v", got)
	}
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	left := map[string]bool{}
	for _, s := range got {
		left[s] = true
	}
	for _, s := range want {
		if !left[s] {
			t.Errorf("missing: %s", s)
		}
		delete(left, s)
	}
	for s := range left {
		t.Errorf("unexpected: %s", s)
	}
}
