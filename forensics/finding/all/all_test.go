package all_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

var ctx = context.Background()

func open(t testing.TB, masked bool, inputs ...string) *forensics.Case {
	t.Helper()
	return openAs(t, forensics.Options{MaskSecrets: masked}, inputs...)
}

// openAs opens a bundle of samples.
func openAs(t testing.TB, as forensics.Options, inputs ...string) *forensics.Case {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "t.pcapsule")
	o := exporter.Options{Release: "test", Repanic: true}
	var paths []string
	for _, in := range inputs {
		paths = append(paths, filepath.Join("..", "..", "..", "samples", in))
		if in == "shop.pcapng" {
			o.Kube = []string{filepath.Join("..", "..", "..", "samples", "shop.kube.json")}
		}
	}
	if _, err := exporter.Run(ctx, paths, dir, o); err != nil {
		t.Fatal(err)
	}
	as.Threads = 2
	c, err := forensics.Open(ctx, []string{dir}, as)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	finding.Bind(c, all.Analyzers())
	return c
}

// find returns findings. It checks that what the steps of analyzers need hides none.
func find(t testing.TB, c *forensics.Case, in finding.In) []finding.Finding {
	t.Helper()
	out := run(t, c, all.Analyzers(), in)
	if hidden := differs(t, c, all.Analyzers(), in); hidden != "" {
		t.Error(hidden)
	}
	return out.Findings
}

func run(t testing.TB, c *forensics.Case, analyzers []finding.Analyzer, in finding.In) *finding.Out {
	t.Helper()
	out, err := finding.Run(ctx, c, analyzers, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// differs compares an answer with that in which every step of the analyzers runs. It returns both if they differ.
func differs(t testing.TB, c *forensics.Case, analyzers []finding.Analyzer, in finding.In) string {
	t.Helper()
	var texts [2]string
	for i, thorough := range []bool{false, true} {
		in.Thorough = thorough
		text, err := json.MarshalIndent(run(t, c, analyzers, in), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	if texts[0] == texts[1] {
		return ""
	}
	return "needs of analyzers hide something:\n" + texts[0] + "\nall steps:\n" + texts[1]
}

// what lists findings briefly.
func what(list []finding.Finding) string {
	var b strings.Builder
	for _, f := range list {
		b.WriteString(f.Finding + " " + f.Severity + ": " + f.What + " " + strings.Join(f.Evidence, " ") + "\n")
	}
	return b.String()
}

func TestEveryAnalyzerIsDescribed(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "guide", "findings.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range all.Analyzers() {
		if seen[a.Name] {
			t.Errorf("analyzer %s is listed twice: remove one from Analyzers in forensics/finding/all/all.go", a.Name)
		}
		if a.Title == "" || len(a.Doc) < 40 {
			t.Errorf("analyzer %s is not described: set Title and Doc, 40 bytes or more, of the finding.Analyzer in its folder below forensics/finding", a.Name)
		}
		if row := "| `" + a.Name + "` |"; !strings.Contains(string(page), row) {
			t.Errorf("analyzer %s is not in docs/guide/findings.md: add the row %s WHAT IT REPORTS | SEVERITY | to its table", a.Name, row)
		}
		seen[a.Name] = true
	}
}

func TestFindingsOfTheShop(t *testing.T) {
	for _, masked := range []bool{false, true} {
		found := find(t, open(t, masked, "shop.pcapng", "tls.pcapng"), finding.In{Scope: ask.Scope{Limit: 1000}})
		of := func(name string) (list []finding.Finding) {
			for _, f := range found {
				if f.Finding == name {
					list = append(list, f)
				}
			}
			return list
		}
		for _, v := range []struct{ name, want string }{
			{"plaintext-credentials", "shop/frontend sends credentials (bearer) to shop/payment over http1 without encryption in 11 calls"},
			{"sensitive-data", "card (personal) in the request body of POST /v1/payments, shop/frontend to shop/payment 6 × card 4000 00** **** 0119 4 × card"},
			{"sensitive-data", "email (personal) in the request body of POST /v1/send"},
			{"no-auth", "shop/frontend uses http1 to shop/catalogue without authentication: none of 16 calls"},
			{"forwarded-token", "shop/frontend forwards header authorization, which it received from shop/gateway, to shop/payment: 11 calls, 3 different values"},
			{"certificate", "was about to expire (valid to 2026-11-21T09:17:50Z): 4 handshakes"},
		} {
			list := of(v.name)
			if !strings.Contains(what(list), v.want) {
				t.Errorf("masked %v, %s: want %s in\n%s", masked, v.name, v.want, what(list))
			}
			for _, f := range list {
				if len(f.CallIDs)+len(f.FlowIDs) == 0 || len(f.CallIDs) > 3 || f.Count == 0 || f.First == "" {
					t.Errorf("no citation: %+v", f)
				}
			}
		}
		for _, name := range []string{"weak-tls", "scan", "dns-tunnel", "beacon", "egress", "missing-auth", "dns-failure"} {
			if list := of(name); len(list) > 0 {
				t.Errorf("%s has a false positive:\n%s", name, what(list))
			}
		}
		for _, secret := range []string{"4111111111111111", "eyJ"} {
			if strings.Contains(what(found), secret) {
				t.Errorf("%s is shown", secret)
			}
		}
	}
}

// TestAlgorithmsAreNoAddresses: algorithms of SSH are named like chacha20-poly1305@openssh.com.
func TestAlgorithmsAreNoAddresses(t *testing.T) {
	c := open(t, true, "ssh.pcapng")
	if r, err := c.Query(ctx, forensics.Query{KFL: `ssh and ssh_mac contains "@openssh.com"`, Count: true}); err != nil || r.Rows[0][0] == int64(0) {
		t.Fatalf("the sample has no such name: %v, %v", r, err)
	}
	hold(t, of(t, c, "sensitive-data"))
}

// TestSensitiveDataInFields finds addresses in the columns of a protocol, each call once.
func TestSensitiveDataInFields(t *testing.T) {
	list := find(t, open(t, true, "smtp.pcapng"), finding.In{Names: []string{"sensitive-data"}})
	n := int64(0)
	for _, f := range list {
		if strings.Contains(f.What, "email (personal) in the fields of MAIL") {
			n += f.Count
		}
	}
	if n != 4 || !strings.Contains(what(list), "2 × email a***@example.org") {
		t.Errorf("%d calls in\n%s", n, what(list))
	}
}

func TestEgressOutsideTheList(t *testing.T) {
	c := open(t, false, "shop.pcapng")
	allowed := find(t, c, finding.In{Names: []string{"egress"}, Allow: []string{"*.example.net"}})
	if len(allowed) > 0 {
		t.Errorf("allowed, but reported:\n%s", what(allowed))
	}
	list := find(t, c, finding.In{Names: []string{"egress"}, Allow: []string{"api.cards.example.net"}})
	if len(list) != 1 || !strings.Contains(what(list), "mail.example.net") || list[0].Severity != finding.High {
		t.Errorf("%s", what(list))
	}
	if _, err := finding.Run(ctx, c, all.Analyzers(), finding.In{Allow: []string{"not a domain!"}}); err == nil {
		t.Error("an invalid allow-list is accepted")
	}
}

func TestKFLNamesFindings(t *testing.T) {
	c := open(t, true, "shop.pcapng")
	r, err := c.Query(ctx, forensics.Query{KFL: `finding == "sensitive-data"`, Count: true})
	if err != nil {
		t.Fatal(err)
	}
	by, err := c.Query(ctx, forensics.Query{KFL: `finding == "sensitive-data" && path == "/v1/payments"`, Count: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range find(t, c, finding.In{Scope: ask.Scope{KFL: "http", Limit: 1000}}) {
		if len(f.CallIDs) == 0 {
			continue
		}
		one, err := c.Query(ctx, forensics.Query{KFL: f.KFL, Count: true})
		if err != nil || one.Rows[0][0] != f.Count {
			t.Errorf("%s: %v, %v calls, want %d: %s", f.KFL, err, one, f.Count, f.What)
		}
	}
	if _, err := c.Query(ctx, forensics.Query{KFL: `finding == "sensitive-data/000000000000"`, Count: true}); err == nil || !strings.Contains(err.Error(), "none of") {
		t.Errorf("an unknown finding: %v", err)
	}
	if r.Rows[0][0].(int64) <= 11 || by.Rows[0][0] != int64(11) {
		t.Errorf("%v calls, %v payments", r.Rows, by.Rows)
	}
}

// count returns the number of calls that match a KFL filter.
func count(t testing.TB, c *forensics.Case, kfl string) int64 {
	t.Helper()
	r, err := c.Query(ctx, forensics.Query{KFL: kfl, Count: true})
	if err != nil {
		t.Fatal(err)
	}
	return r.Rows[0][0].(int64)
}
