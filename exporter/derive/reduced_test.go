package derive

import (
	"strings"
	"testing"
)

// TestReducedDumpsKeepWhatPoliciesSelect cuts a dump to one pod: its namespace and the policies that
// may select it stay, and no name of another namespace.
func TestReducedDumpsKeepWhatPoliciesSelect(t *testing.T) {
	dump := `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"web","uid":"1","labels":{"app":"web"}},"status":{"podIP":"10.0.0.1"}},
{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"pay","name":"db","uid":"2","labels":{"app":"db"}},"status":{"podIP":"10.0.0.2"}},
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"of-web","uid":"3"},"spec":{"podSelector":{"matchLabels":{"app":"web"}}}},
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"unreadable","uid":"4"}},
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"of-api","uid":"5"},"spec":{"podSelector":{"matchLabels":{"app":"api"}}}},
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"pay","name":"of-db","uid":"6"},"spec":{"podSelector":{}}},
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","uid":"7"}},
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"pay","uid":"8"}}
]}
`
	got := string(reduced([]byte(dump), map[string]bool{"10.0.0.1": true}))
	for name, want := range map[string]bool{"web": true, "db": false, "of-web": true, "unreadable": true, "of-api": false, "of-db": false, "shop": true, "pay": false} {
		if strings.Contains(got, `"name":"`+name+`"`) != want {
			t.Errorf("%s is there: %v\n%s", name, !want, got)
		}
	}
}
