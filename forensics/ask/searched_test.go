package ask_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// TestSearchedNames compares names with those that were found.
func TestSearchedNames(t *testing.T) {
	c := open(t, "dns.pcap")
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
