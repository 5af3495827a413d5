package access_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/access"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
)

// TestHalfNamedBundlesSaySo asks about a bundle with owners and a copy without them: each call counts once, and the
// answer says why a service has two names.
func TestHalfNamedBundlesSaySo(t *testing.T) {
	var dirs []string
	for _, kube := range [][]string{{asktest.Sample("shop.kube.json")}, nil} {
		dirs = append(dirs, asktest.Export(t, []string{asktest.Sample("shop.pcapng")}, exporter.Options{Kube: kube}))
	}
	c := asktest.Bundles(t, forensics.Options{}, dirs...)
	for c, want := range map[*forensics.Case]bool{c: true, asktest.Twice(t, forensics.Options{}): false} {
		out := asktest.Put(t, c, "get_service_map", `{}`)
		if got := strings.Contains(fmt.Sprint(out["notes"]), "appear under two names"); got != want || out["total_calls"] != 368.0 {
			t.Errorf("%v calls, notes %v: want a note %v", out["total_calls"], out["notes"], want)
		}
	}
}

func TestACallInTwoBundlesIsOneCall(t *testing.T) {
	one, two := asktest.Open(t, "shop.pcapng"), asktest.Twice(t, forensics.Options{})
	for _, q := range [][2]string{
		{"find_failures", `{"list_calls":true,"limit":200}`},
		{"trace_request", `{"text":"12345"}`},
		{"trace_request", `{"kfl":"status_code == 503 && src.external"}`},
		{"audit_access", `{"service":"postgres","limit":200}`},
		{"get_pair", `{"src":"frontend","dst":"payment"}`},
		{"search_content", `{"text":"12345"}`},
		{"get_timeline", `{"workload":"payment"}`},
		{"describe_service", `{"service":"frontend"}`},
	} {
		a, b := asktest.Put(t, one, q[0], q[1]), asktest.Put(t, two, q[0], q[1])
		for _, key := range []string{"failed_calls", "calls", "calls_found", "calls_traced", "total_chains", "total_calls", "forth", "back", "in", "out", "groups", "causes", "origins", "clients", "failed", "activity"} {
			x, y := plain(t, a[key]), plain(t, b[key])
			if x != y {
				t.Errorf("%s %s: %s is %.300s, of two bundles %.300s", q[0], q[1], key, x, y)
			}
		}
	}
}

// plain writes a value without packet numbers, which differ between bundles.
func plain(t *testing.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMaskedCasesShowNoCredentials(t *testing.T) {
	c := asktest.Twice(t, forensics.Options{MaskSecrets: true})
	for _, q := range [][2]string{
		{"audit_access", `{"service":"payment","limit":100}`}, {"get_pair", `{"src":"*","dst":"payment"}`}, {"describe_service", `{"service":"payment"}`},
		{"search_content", `{"pattern":"(?i)bearer|api-key","limit":20}`}, {"trace_request", `{"text":"12345"}`},
	} {
		if text := plain(t, asktest.Put(t, c, q[0], q[1])); strings.Contains(text, "eyJ") || strings.Contains(text, "sk_live") {
			t.Errorf("%s shows a credential", q[0])
		}
	}
}

func TestAccessIsCompleteAndPaged(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	in := access.AccessIn{Service: "postgres", Scope: ask.Scope{Limit: 7}}
	seen := map[string]bool{}
	total := int64(0)
	for page := 0; ; page++ {
		a := asktest.Must[*access.Access](t)(access.AskAccess(ctx, c, in))
		if page == 0 {
			total = a.Total
			sum := int64(0)
			for _, x := range a.Clients {
				sum += x.Calls
			}
			if sum != total || len(a.Hours) == 0 || len(a.Servers) != 1 {
				t.Errorf("%d calls by client, %d in all", sum, total)
			}
		}
		for _, x := range a.Calls {
			if seen[x.CallID] {
				t.Errorf("%s is listed twice", x.CallID)
			}
			seen[x.CallID] = true
		}
		if in.Cursor = a.Next; in.Cursor == "" {
			break
		}
	}
	if int64(len(seen)) != total || total == 0 {
		t.Errorf("%d calls in pages, %d in all", len(seen), total)
	}
	outside := asktest.Must[*access.Access](t)(access.AskAccess(ctx, c, access.AccessIn{External: true}))
	if outside.UnreadTotal != 1 || !strings.Contains(outside.Unread[0].Why, "encrypted") || len(outside.Unread[0].CallIDs) != 1 {
		t.Errorf("unread %+v", outside.Unread)
	}
	for _, bad := range []access.AccessIn{{}, {Service: "x", Cursor: "y"}} {
		if _, err := access.AskAccess(ctx, c, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if p := asktest.Must[*access.Access](t)(access.AskAccess(ctx, c, access.AccessIn{Service: "nobody"})); p.Matched != "nothing_matched" {
		t.Errorf("matched %s", p.Matched)
	}
}

func TestNoCrashWithoutASign(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	tl := asktest.Must[*service.Timeline](t)(service.AskTimeline(ctx, c, service.TimelineIn{Workload: "payment"})) // its probes failed, it went on
	if tl.Crash != nil || !strings.Contains(strings.Join(tl.Notes, " "), "no sign of a crash") || tl.Calls == 0 {
		t.Errorf("%+v %v", tl.Crash, tl.Notes)
	}
	sum, rate := int64(0), int64(0)
	for _, a := range tl.Activity {
		sum += a.Calls
	}
	for _, r := range tl.Rate {
		rate += r.In + r.Out
	}
	if rate != tl.Calls || sum > tl.Calls {
		t.Errorf("%d calls by kind, %d over time, %d in all", sum, rate, tl.Calls)
	}
	for _, bad := range []service.TimelineIn{{At: "noon"}, {Workload: "x", At: "noon"}, {Workload: "x", Before: "-1m"}} {
		if _, err := service.AskTimeline(ctx, c, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// TestAccessesAreToData counts the statements of databases and the commands of stores, without logins, prepared statements and
// requests for encryption, which are marked.
func TestAccessesAreToData(t *testing.T) {
	for _, v := range []struct {
		sample, kfl       string
		accesses, without int64
	}{
		{"postgresql.pcapng", "postgresql", 33, 15},
		{"postgresql.pcapng", `postgresql_kind in ["ssl_request", "prepare", "startup"]`, 0, 11},
		{"mysql.pcapng", "mysql", 33, 26},
		{"shop.pcapng", "redis", 7, 7},
		{"shop.pcapng", "http && dst.service == 'payment'", 21, 0},
	} {
		c := asktest.Open(t, v.sample)
		a := asktest.Must[*access.Access](t)(access.AskAccess(ctx, c, access.AccessIn{Scope: ask.Scope{KFL: v.kfl, Limit: 100}}))
		var marked, of int64
		for _, x := range a.Calls {
			if x.NoData {
				marked++
			}
		}
		for _, x := range a.Clients {
			of += x.Access
		}
		if a.Accesses != v.accesses || a.Total != v.accesses+v.without || marked != v.without || of != v.accesses {
			t.Errorf("%s: %d accesses of %d calls, %d marked, %d of clients; want %d and %d", v.kfl, a.Accesses, a.Total, marked, of, v.accesses, v.without)
		}
	}
}

// TestPersonalDataInFields finds personal data in the columns of a protocol: senders and recipients of mails.
func TestPersonalDataInFields(t *testing.T) {
	c := asktest.Open(t, "smtp.pcapng")
	got := asktest.Must[*access.Access](t)(access.AskAccess(ctx, c, access.AccessIn{PII: true}))
	calls := map[string]int64{}
	for _, k := range got.Kinds {
		calls[k.Place] = k.Calls
	}
	if calls["email in fields"] != 5 || calls["email in request body"] != 3 {
		t.Errorf("%v", calls)
	}
}
