package all_test

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/access"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestAccessesAndFindingsAgree compares the calls with personal data that audit_access lists with those behind the findings
// sensitive-data, by call.
func TestAccessesAndFindingsAgree(t *testing.T) {
	var made traffic.Capture
	for i, request := range []string{
		traffic.HTTP("POST /pay HTTP/1.1", "Content-Type: application/json", `{"cvv":"123","amount":5}`),
		traffic.HTTP("POST /swipe HTTP/1.1", "Content-Type: text/plain", "%B4111111111111111^DOE/ANN^29121010000000000000?"),
		traffic.HTTP("GET /by/ann@example.com HTTP/1.1", "", ""),
		traffic.HTTP("GET /state?x="+base64.URLEncoding.EncodeToString([]byte(`{"card":"4111111111111111"}`))+" HTTP/1.1", "", ""),
		traffic.HTTP("GET /trace HTTP/1.1", "X-Datadog-Trace-Id: 4752409876543212239", ""),
		traffic.HTTP("GET /from HTTP/1.1", "From: ann@example.com", ""),
	} {
		made.Exchange(time.Duration(i)*time.Second, ms, "a", "10.0.0.1", "10.0.0.2:80", request, traffic.HTTP("HTTP/1.1 200 OK", "", "fine"))
	}
	for name, c := range map[string]*forensics.Case{
		"made": openMade(t, &made), "shop": open(t, true, "shop.pcapng"), "mail": open(t, false, "smtp.pcapng"), "sip": open(t, false, "sip.pcapng"), "apis": open(t, false, "apis.pcapng"), "mysql": open(t, false, "mysql.pcapng"),
	} {
		finding.Bind(c, all.Analyzers())
		a, err := access.AskAccess(ctx, c, access.AccessIn{PII: true, Scope: ask.Scope{Limit: 1000}})
		if err != nil {
			t.Fatal(err)
		}
		var listed, found []string
		for _, x := range a.Calls {
			listed = append(listed, x.CallID)
		}
		for _, f := range find(t, c, finding.In{Names: []string{"sensitive-data"}, Scope: ask.Scope{Limit: 1000}}) {
			if !strings.Contains(f.What, "(personal)") {
				continue
			}
			r, err := c.Query(ctx, forensics.Query{KFL: f.KFL, Columns: []string{"call_id"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range r.Rows {
				found = append(found, hex.EncodeToString(row[0].([]byte)))
			}
		}
		slices.Sort(listed)
		slices.Sort(found)
		found = slices.Compact(found)
		if !slices.Equal(listed, found) || name == "made" && len(listed) != 5 {
			t.Errorf("%s: audit_access lists %d calls %+v, the findings have %d", name, len(listed), a.Kinds, len(found))
		}
	}
}
