package acceptance

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"

	"github.com/pcapsule/pcapsule/exporter"
)

// knownJA4 are disagreements with the reference implementation, with the reason.
var knownJA4 = map[[2]string]string{
	{"arkime-https-connect.pcap", "t12i860500_e18388e7f3a3_a1e935682795"}:       "inside an HTTP tunnel (CONNECT), where the reference does not look",
	{"arkime-socks-https-example.pcap", "t10d230100_6a57a6f57151_000000000000"}: "the first of three comes behind SOCKS 4 bytes that stay undecided until the ServerHello",
	{"ja4-tls-non-ascii-alpn.pcapng", "t13d151699_8daaf6152771_e5627efa2ab1"}:   "an older rule; for names that are not alphanumeric the definition now takes digits of the hexadecimal form",
	{"ja4-tls-non-ascii-alpn.pcapng", "t13d1516bd_8daaf6152771_e5627efa2ab1"}:   "first and last digit of ba ad",
}

// TestJA4OfQUIC compares fingerprints of QUIC with those of other implementations.
func TestJA4OfQUIC(t *testing.T) {
	dir := captures.Dir(t)
	fingerprint := regexp.MustCompile(`"(q13[di][0-9a-z]+_[0-9a-f]{12}_[0-9a-f]{12})"`)
	db := duckdbtest.Open(t)
	checked := 0
	for _, peer := range []string{"ja4/*.wireshark.json", "suricata/*.json"} {
		expected, err := filepath.Glob(filepath.Join(dir, "expected", peer))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range expected {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			wants := fingerprint.FindAllSubmatch(data, -1)
			if len(wants) == 0 {
				continue
			}
			base := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".json"), ".wireshark")
			found, _ := filepath.Glob(filepath.Join(dir, "*", base))
			if len(found) != 1 {
				t.Errorf("%s: %d captures of that name", base, len(found))
				continue
			}
			out := filepath.Join(t.TempDir(), "a.pcapsule")
			m, err := exporter.Run(context.Background(), found, out, exporter.Options{Release: "acceptance", Jobs: 1, Repanic: true})
			if err != nil {
				t.Fatal(err)
			}
			c := &comparison{t: t, db: db, name: base, m: m, tables: filepath.Join(out, "data", "tables")}
			got, err := c.ask([]fact{{name: "ja4", sql: "select tls_ja4, count(*) from {calls} where protocol = 'tls' and transport = 'quic' and tls_ja4 is not null group by 1"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range wants {
				checked++
				if got["ja4"][string(w[1])] == 0 {
					t.Errorf("%s: no row with %s; rows %v", base, w[1], got["ja4"])
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no fingerprint was compared")
	}
}

// TestJA4 compares fingerprints of TLS over TCP and of DTLS with those of the reference
// implementation. A second ClientHello counts only if the HelloRetryRequest was not captured, because
// then each has its own row.
func TestJA4(t *testing.T) {
	dir := captures.Dir(t)
	expected, err := filepath.Glob(filepath.Join(dir, "expected", "ja4", "*.python.json"))
	if err != nil || len(expected) == 0 {
		t.Fatal(len(expected), err)
	}
	db := duckdbtest.Open(t)
	for _, path := range expected {
		base := strings.TrimSuffix(filepath.Base(path), ".python.json")
		found, _ := filepath.Glob(filepath.Join(dir, "*", base))
		if len(found) != 1 {
			t.Errorf("%s: %d captures of that name", base, len(found))
			continue
		}
		t.Run(base, func(t *testing.T) {
			want, second := expectedJA4(t, path)
			out := filepath.Join(t.TempDir(), "a.pcapsule")
			m, err := exporter.Run(context.Background(), found, out, exporter.Options{Release: "acceptance", Jobs: 1, Repanic: true})
			if err != nil {
				t.Fatal(err)
			}
			c := &comparison{t: t, db: db, name: base, m: m, tables: filepath.Join(out, "data", "tables")}
			got, err := c.ask([]fact{{name: "ja4", sql: "select tls_ja4, count(*) from {calls} where protocol = 'tls' and transport <> 'quic' and tls_ja4 is not null group by 1"}})
			if err != nil {
				t.Fatal(err)
			}
			for v, n := range want {
				if got["ja4"][v] != n && knownJA4[[2]string{base, v}] == "" {
					t.Errorf("%s: %d rows, want %d", v, got["ja4"][v], n)
				}
			}
			for v, n := range got["ja4"] {
				if _, ok := want[v]; !ok && n > second[v] && knownJA4[[2]string{base, v}] == "" {
					t.Errorf("%s: %d rows, want none", v, n)
				}
			}
		})
	}
}

// expectedJA4 counts the fingerprints of first and second ClientHellos.
func expectedJA4(t *testing.T, path string) (first, second counts) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var streams []map[string]any
	if err := json.Unmarshal(data, &streams); err != nil {
		t.Fatal(err)
	}
	first, second = counts{}, counts{}
	for _, s := range streams {
		for _, key := range []string{"JA4", "JA4.1"} {
			if v, ok := s[key].(string); ok {
				first[v]++
			}
		}
		if v, ok := s["JA4.2"].(string); ok {
			second[v]++
		}
	}
	return first, second
}
