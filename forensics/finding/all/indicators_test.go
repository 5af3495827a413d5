package all_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/indicator"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// compared opens a bundle with lists of indicators.
func compared(t *testing.T, w *traffic.Capture, masked bool, lists ...string) *forensics.Case {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "made.pcap"), filepath.Join(dir, "made.pcapsule")
	if err := w.Write(file); err != nil {
		t.Fatal(err)
	}
	if _, err := exporter.Run(ctx, []string{file}, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	return listed(t, masked, out, lists...)
}

func listed(t *testing.T, masked bool, bundle string, lists ...string) *forensics.Case {
	t.Helper()
	var paths []string
	for i, text := range lists {
		paths = append(paths, filepath.Join(t.TempDir(), fmt.Sprintf("list%d", i+1)))
		if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := indicator.Read(paths)
	if err != nil {
		t.Fatal(err)
	}
	k, err := forensics.Open(ctx, []string{bundle}, forensics.Options{Threads: 2, Indicators: set, MaskSecrets: masked})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	finding.Bind(k, all.Analyzers())
	return k
}

// webCapture has a request to a server, and an attempt that nobody answers.
func webCapture() *traffic.Capture {
	var w traffic.Capture
	w.Exchange(0, ms, "a", "10.0.0.1", "203.0.113.9:8080", traffic.HTTP("GET /gate%2Ephp?id=1 HTTP/1.1", "Host: Cdn.Evil.example:8080\r\nUser-Agent: Bad/1.0", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/octet-stream", program))
	w.Exchange(time.Second, ms, "b", "198.51.100.7", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: shop.example", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	return &w
}

// TestIndicators compares traffic with one line of a list each.
func TestIndicators(t *testing.T) {
	sum1, sum256 := sha1.Sum([]byte(program)), sha256.Sum256([]byte(program))
	for _, tt := range []struct{ name, line, want string }{
		{"the address of a server", "203.0.113.9", "high: 10.0.0.1 and 203.0.113.9: 203.0.113.9 of the list list1 was seen as address of a connection's server (1)"},
		{"its network", "203.0.113.0/24", "high: 10.0.0.1 and 203.0.113.9: 203.0.113.0/24 of"},
		{"its port", "203.0.113.9:8080", "high: 10.0.0.1 and 203.0.113.9: 203.0.113.9, port 8080 of"},
		{"another port", "203.0.113.9:80", ""},
		{"the address of a client", "198.51.100.7", "medium: 198.51.100.7 and 10.0.0.2: 198.51.100.7 of the list list1 was seen as address of a connection's client (1)"},
		{"a private address", "10.0.0.1", ""},
		{"the domain above a host", "evil.example", "high: 10.0.0.1 and 203.0.113.9: evil.example of the list list1 was seen as host of HTTP (1)"},
		{"a domain with the port", "cdn.evil.example:8080", "high: 10.0.0.1 and 203.0.113.9: cdn.evil.example, port 8080"},
		{"a domain with another port", "cdn.evil.example:443", ""},
		{"a name that ends alike", "vil.example", ""},
		{"a URL", "hxxp://cdn[.]evil[.]example:8080/gate.php", "was seen as URL (1)"},
		{"a URL with the query", "cdn.evil.example:8080/gate.php?id=1", "was seen as URL (1)"},
		{"a URL with another query", "http://cdn.evil.example:8080/gate.php?id=2", ""},
		{"a URL on another port", "http://cdn.evil.example/gate.php", ""},
		{"a user agent", "user-agent: Bad/1.0", "medium: 10.0.0.1 and 203.0.113.9: Bad/1.0 of the list list1 was seen as user agent (1)"},
		{"a file by SHA-256", hex.EncodeToString(sum256[:]), "was seen as body of a response (1), downloaded file (1)"},
		{"a file by SHA-1", hex.EncodeToString(sum1[:]), "was seen as downloaded file (1)"},
		{"a certificate with the hash of the file", "certificate:" + hex.EncodeToString(sum256[:]), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := of(t, compared(t, webCapture(), false, tt.line), "indicator")
			if tt.want == "" {
				hold(t, got)
				return
			}
			hold(t, got, tt.want)
		})
	}
}

// TestIndicatorsOfNames are seen in questions and answers of DNS, in mail and behind a proxy.
func TestIndicatorsOfNames(t *testing.T) {
	k := listed(t, false, bundleOf(t, "dns.pcap", "smtp.pcapng", "tls.pcapng", "ssh.pcapng", "socks.pcapng"), "shop.example\nann@example.org\nexample.org\nalias.example.net\nhassh:472b5de333ad665af5cbf10ff892c4df\n")
	text := strings.Join(of(t, k, "indicator"), "\n")
	for _, want := range []string{"alias.example.net of the list list1 was seen as answer of DNS (", "question of DNS (", "domain of a mail address (", "ann@example.org of the list list1 was seen as header of mail", "recipient of mail (", "server name of TLS (", "HASSH of the client (1)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

func bundleOf(t *testing.T, samples ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "t.pcapsule")
	var paths []string
	for _, s := range samples {
		paths = append(paths, filepath.Join("..", "..", "..", "samples", s))
	}
	if _, err := exporter.Run(ctx, paths, dir, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestIndicatorsOutsideTheirValidity are findings of severity info.
func TestIndicatorsOutsideTheirValidity(t *testing.T) {
	list := "indicator,name,valid_from,valid_until\nevil.example,old,,2026-02-25T06:13:20Z\n203.0.113.9,now,2026-02-25T06:13:20Z,2026-02-25T06:13:21Z\n198.51.100.7,new,2026-03-01,\n"
	got := find(t, compared(t, webCapture(), false, list), finding.In{Names: []string{"indicator"}})
	hold(t, strings.Split(strings.TrimSpace(what(got)), "\n"), "203.0.113.9 of the list list1 (now)", "evil.example of the list list1 (old) was seen as host of HTTP (1), when the indicator was not valid (until 2026-02-25T06:13:20.000000000Z)", "198.51.100.7 of the list list1 (new) was seen as address of a connection's client (1), when the indicator was not valid (from 2026-03-01T00:00:00.000000000Z)")
	if got[0].Severity != finding.High || !got[0].Listed.Valid || got[0].Listed.Line != 3 || got[0].Listed.Until == "" || len(got[0].CallIDs) != 1 || got[1].Severity != finding.Info || got[1].Listed.Valid {
		t.Errorf("%+v\n%+v", got[0], got[1])
	}
}

// TestIndicatorsInKFL select the calls behind findings, and only with lists.
func TestIndicatorsInKFL(t *testing.T) {
	k := compared(t, webCapture(), false, "evil.example\n198.51.100.7")
	if n := count(t, k, `finding == "indicator"`); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	if n := count(t, k, `finding == "indicator/domain"`); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	none := openTraffic(t, webCapture())
	if _, err := finding.Run(ctx, none, all.Analyzers(), finding.In{Names: []string{"indicator"}}); err == nil || !strings.Contains(err.Error(), "use --indicators FILE") {
		t.Errorf("without lists: %v", err)
	}
	out, err := finding.Run(ctx, none, all.Analyzers(), finding.In{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "Not looked for: matches of lists of indicators (no indicators were given)."; !strings.Contains(out.Searched, want) || strings.Contains(out.Searched, "not asked") {
		t.Errorf("%s\nwant %s", out.Searched, want)
	}
	for _, s := range out.Summary {
		if s.Finding == "indicator" {
			t.Error("without lists the analyzer is in the summary")
		}
	}
}

// TestIndicatorsOfMaskedCases are compared with what was sent.
func TestIndicatorsOfMaskedCases(t *testing.T) {
	var w traffic.Capture
	w.Exchange(0, ms, "a", "10.0.0.1", "203.0.113.9:80", traffic.HTTP("GET /a?password=hunter2hunter2 HTTP/1.1", "Host: evil.example", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	hold(t, of(t, compared(t, &w, true, "http://evil.example/a?password=hunter2hunter2"), "indicator"), "was seen as URL (1)")
}

// TestNotesOfIndicators name the lists, and what was left out.
func TestNotesOfIndicators(t *testing.T) {
	k := compared(t, webCapture(), false, "evil.example\n10.0.0.1\n192.168.0.0/16\n", "# empty\n")
	out, err := finding.Run(ctx, k, all.Analyzers(), finding.In{Names: []string{"indicator"}})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(out.Notes, "\n")
	for _, want := range []string{"indicator: compared with 1 indicator of list1 (SHA-256 ", "); left out: 2 private, local or multicast address (first in line 2)", "compared with 0 indicators of list2"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%s is missing in\n%s", want, notes)
		}
	}
}

// TestCursorsBelongToTheLists: with other lists the same filter has other calls.
func TestCursorsBelongToTheLists(t *testing.T) {
	dir := bundleOf(t, "dns.pcap")
	a, b := listed(t, false, dir, "shop.example\n"), listed(t, false, dir, "other.example\n")
	page, err := a.Query(ctx, forensics.Query{KFL: "dns", Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	if _, err := b.Query(ctx, forensics.Query{KFL: "dns", Limit: 1, Cursor: page.Next}); !errors.Is(err, forensics.ErrCursor) {
		t.Errorf("with other lists: %v", err)
	}
}
