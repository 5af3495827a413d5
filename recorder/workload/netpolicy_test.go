package workload

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const policyDump = `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"db","uid":"u-1","creationTimestamp":"2026-01-02T03:04:05Z","annotations":{"note":"not kept"}},
 "spec":{"podSelector":{"matchLabels":{"app":"db"}},"policyTypes":["Ingress","Egress"],"other":1,
  "ingress":[{"from":[{"podSelector":{"matchExpressions":[{"key":"app","operator":"In","values":["web","api"]}]},"namespaceSelector":{}}],"ports":[{"protocol":"TCP","port":5432},{"port":"metrics"},{"port":8000,"endPort":8010}]}],
  "egress":[{},{"to":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}}]}]}},
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"deny","uid":"u-2"},"spec":{"podSelector":{},"ingress":[]}},
{"apiVersion":"crd.projectcalico.org/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"calico"},"spec":{"selector":"all()","ingress":"x"}}]}`

// TestNetworkPoliciesAreKept reads network policies, writes the used part and reads that.
func TestNetworkPoliciesAreKept(t *testing.T) {
	x := NewIndex()
	stats, err := x.AddKube("cluster.json", strings.NewReader(policyDump))
	if err != nil || stats.Kept != 2 || stats.Unused != 1 {
		t.Fatalf("%+v, %v", stats, err)
	}
	const want = `{"podSelector":{"matchLabels":{"app":"db"}},"policyTypes":["Ingress","Egress"],` +
		`"ingress":[{"from":[{"podSelector":{"matchExpressions":[{"key":"app","operator":"In","values":["web","api"]}]},"namespaceSelector":{}}],"ports":[{"protocol":"TCP","port":5432},{"port":"metrics"},{"port":8000,"endPort":8010}]}],` +
		`"egress":[{},{"to":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}}]}]}`
	rows := slices.Collect(x.EachWorkload())
	if len(rows) != 2 || rows[0].Kind != "networkpolicy" || rows[0].Name != "db" || rows[0].Spec != want || rows[1].Spec != `{"podSelector":{}}` {
		t.Errorf("%+v", rows)
	}
	var used, again bytes.Buffer
	if err := x.WriteUsed(&used); err != nil {
		t.Fatal(err)
	}
	y := NewIndex()
	if _, err := y.AddKube("identity.json", bytes.NewReader(used.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := y.WriteUsed(&again); err != nil || !bytes.Equal(used.Bytes(), again.Bytes()) || !strings.Contains(used.String(), want) || strings.Contains(used.String(), "not kept") {
		t.Errorf("%v\n%s\n%s", err, &used, &again)
	}
	large := strings.Replace(policyDump, "10.1.0.0/16", strings.Repeat("x", maxPolicy), 1)
	odd := strings.Replace(policyDump, `"ingress":[]`, `"ingress":"x"`, 1)
	for text, want := range map[string]string{large: "db", odd: "deny"} { // its name is kept, because it may allow anything
		z := NewIndex()
		stats, err := z.AddKube("cluster.json", strings.NewReader(text))
		if err != nil || stats.Kept != 2 || stats.Limited+stats.Malformed != 1 {
			t.Errorf("a policy that cannot be used: %+v, %v", stats, err)
		}
		for _, w := range slices.Collect(z.EachWorkload()) {
			if (w.Spec == "") != (w.Name == want) {
				t.Errorf("%s has the spec %q", w.Name, w.Spec)
			}
		}
	}
}

// dumpAt is a dump of two namespaces with a policy and a pod, whose newest time is at the minute.
func dumpAt(minute, team, app, spec string) string {
	if spec != "" {
		spec = `,{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"db","uid":"u-1","generation":1,"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":` + spec + `}`
	}
	return `{"kind":"List","items":[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","uid":"n-1","creationTimestamp":"2026-01-01T00:00:00Z","labels":{"team":"` + team + `"}}},
		{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"db-0","uid":"p-1","labels":{"app":"` + app + `"}},"status":{"conditions":[{"lastTransitionTime":"2026-01-02T03:` + minute + `:00Z"}]}},
		{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"pay","name":"other","uid":"u-2"},"spec":{"podSelector":{}}}` + spec + `]}`
}

// TestChangesBetweenDumps reads dumps in every order: each spec of a policy and all labels of a
// namespace are rows with their newest sighting, and a pod says since when its labels are known.
func TestChangesBetweenDumps(t *testing.T) {
	dumps := []string{dumpAt("10", "a", "db", `{"podSelector":{}}`), dumpAt("20", "a", "db", `{"podSelector":{}}`), dumpAt("30", "b", "quarantine", `{"policyTypes":["Egress"]}`), dumpAt("40", "b", "quarantine", "")}
	const minute = 60_000_000_000
	base := parseTime("2026-01-02T03:00:00Z")
	var first []Workload
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}} {
		x := NewIndex()
		for _, i := range order {
			if _, err := x.AddKube("cluster.json", strings.NewReader(dumps[i])); err != nil {
				t.Fatal(err)
			}
		}
		var used bytes.Buffer
		if err := x.WriteUsed(&used); err != nil {
			t.Fatal(err)
		}
		again := NewIndex()
		if _, err := again.AddKube("identity.json", &used); err != nil {
			t.Fatal(err)
		}
		rows := slices.Collect(x.EachWorkload())
		if first == nil {
			first = rows
		}
		if !reflect.DeepEqual(rows, first) || !reflect.DeepEqual(slices.Collect(again.EachWorkload()), first) {
			t.Fatalf("order %v\n%+v\n%+v\n%+v", order, rows, slices.Collect(again.EachWorkload()), first)
		}
	}
	var got []string
	for _, w := range first {
		if w.Name != "other" {
			got = append(got, fmt.Sprintf("%s %s %v %s seen %d to %d since %d", w.Kind, w.Name, w.Labels, w.Spec, (w.Seen-base)/minute, max(0, w.ValidTo-base)/minute, max(0, w.Since-base)/minute))
			if w.Kind == "networkpolicy" && w.Since != w.ValidFrom {
				t.Errorf("policy of generation 1 is known since %d", w.Since)
			}
		}
	}
	want := []string{"namespace shop [{team a}]  seen 20 to 0 since 0", "namespace shop [{team b}]  seen 40 to 0 since 0",
		`networkpolicy db [] {"podSelector":{}} seen 20 to 30 since 0`, `networkpolicy db [] {"policyTypes":["Egress"]} seen 30 to 40 since 0`,
		"pod db-0 [{app quarantine}]  seen 40 to 0 since 40"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
