package terms_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// TestSearchedNames compares names with those that were found.
func TestSearchedNames(t *testing.T) {
	c := asktest.Open(t, "dns.pcap")
	found := []string{"web.shop.svc.cluster.local", "api.example.net", "local"}
	for asked, want := range map[string]bool{
		"api.example.net.shop.svc.cluster.local": true, "web.shop.shop.svc.cluster.local": true, "api.example.net.corp": true,
		"web.shop.svc.cluster.local": false, "web.shop.store.example.net": false, "db.shop.shop.svc.cluster.local": false, "xapi.example.net.corp": false, "example.net": false, "local.": true, "": false,
		strings.Repeat("a.", 30) + "local": false,
	} {
		r, err := c.Query(t.Context(), forensics.Query{SQL: terms.Searched("(SELECT ? AS name, 'x' AS src)", "(SELECT unnest(?::VARCHAR[]) AS name, 'x' AS src)", "src, "), Args: []any{asked, found}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(r.Rows) == 1; got != want {
			t.Errorf("%q: %t, want %t", asked, got, want)
		}
		short := strings.Count(asked, ".") < 12 // SQL compares no others
		if got := slices.ContainsFunc(found, func(name string) bool { return terms.IsSearched(asked, name) }); short && got != want {
			t.Errorf("IsSearched %q: %t, want %t", asked, got, want)
		}
	}
}

// TestNothingMatchedSaysWhatWasAsked: names that are known and a text that is nowhere are reasons too.
func TestNothingMatchedSaysWhatWasAsked(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, v := range []struct{ question, in, want string }{
		{"get_pair", `{"src": "gateway", "dst": "postgres"}`, "no call in this time is between gateway and postgres themselves"},
		{"trace_request", `{"text": "no-such-order"}`, "no call that was searched contains the text"},
		{"search_content", `{"pattern": "no-such-[a-z]+er"}`, "no call that was searched matches the pattern"},
	} {
		notes, _ := json.Marshal(asktest.Put(t, c, v.question, v.in)["notes"])
		var list []string
		_ = json.Unmarshal(notes, &list)
		if !strings.Contains(strings.Join(list, "\n"), v.want) {
			t.Errorf("%s: %q, want %s", v.question, list, v.want)
		}
	}
}
