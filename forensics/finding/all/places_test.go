package all_test

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/geoip"
)

// TestPlaces of the outside addresses in an answer are those of a file, which the answer names.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	capture, bundle, file := filepath.Join(dir, "made.pcap"), filepath.Join(dir, "made.pcapsule"), filepath.Join(dir, "asn.mmdb")
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-ASN", RecordSize: 24, BuildEpoch: 1767225600, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"203.0.113.0/24", "198.51.100.0/24", "10.0.0.0/8", "192.0.2.0/24"} {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(n, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("DE")}, "autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String("Example")}); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := webCapture().Write(capture); err != nil {
		t.Fatal(err)
	}
	if _, err := exporter.Run(ctx, []string{capture}, bundle, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	places, err := geoip.Read([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []*geoip.Set{places, nil} {
		k, err := forensics.Open(ctx, []string{bundle}, forensics.Options{Threads: 2, GeoIP: set})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Close() })
		finding.Bind(k, all.Analyzers())
		for _, q := range all.Questions() {
			if q.Name != "list_findings" && q.Name != "find_external_dependencies" && q.Name != "service_map" {
				continue
			}
			answer, err := q.Ask(ctx, k, nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			list := answer.(interface{ Located() []ask.Place }).Located()
			switch named := strings.Contains(string(text), "places are what asn.mmdb says (Test-ASN of 2026-01-01, SHA-256 "+places.Files[0].SHA256); {
			case set == nil:
				if len(list) > 0 || named {
					t.Errorf("%s: places without a file: %v", q.Name, list)
				}
			case len(list) == 0 || !named:
				t.Errorf("%s: no places in %s", q.Name, text)
			default:
				for _, p := range list {
					if p.Address != "203.0.113.9" && p.Address != "198.51.100.7" || p.Country != "DE" || p.ASN != 64500 || p.Operator != "Example" {
						t.Errorf("%s: %+v", q.Name, p)
					}
				}
			}
		}
	}
}
