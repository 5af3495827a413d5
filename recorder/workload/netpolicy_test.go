package workload

import (
	"bytes"
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
	rows := x.Workloads()
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
	if stats, err := NewIndex().AddKube("cluster.json", strings.NewReader(large)); err != nil || stats.Kept != 1 || stats.Limited != 1 {
		t.Errorf("a policy that is too large: %+v, %v", stats, err)
	}
}
