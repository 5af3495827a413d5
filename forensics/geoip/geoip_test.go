package geoip_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/pcapsule/pcapsule/forensics/geoip"
)

// made writes a file with a record for one network.
func made(t testing.TB, kind, network string, record mmdbtype.Map) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, BuildEpoch: 1767225600, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, n, err := net.ParseCIDR(network)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Insert(n, record); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "places.mmdb")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFind reads the records of several publishers.
func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name, network, address string
		record                 mmdbtype.Map
		want                   geoip.Place
	}{
		{"a country of MaxMind", "203.0.113.0/24", "203.0.113.9", mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("DE")}}, geoip.Place{Country: "DE"}},
		{"the country of registration", "203.0.113.0/24", "203.0.113.9", mmdbtype.Map{"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("FR")}}, geoip.Place{Country: "FR"}},
		{"an operator of MaxMind", "2001:db8::/32", "2001:db8::1", mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String("Example\nNet")}, geoip.Place{ASN: 64500, Operator: "Example Net"}},
		{"both of IPinfo", "203.0.113.0/24", "203.0.113.9", mmdbtype.Map{"country": mmdbtype.String("US"), "asn": mmdbtype.String("AS64501"), "as_name": mmdbtype.String("Other")}, geoip.Place{Country: "US", ASN: 64501, Operator: "Other"}},
		{"another network", "203.0.113.0/24", "198.51.100.1", mmdbtype.Map{"country": mmdbtype.String("US")}, geoip.Place{}},
		{"a record of something else", "203.0.113.0/24", "203.0.113.9", mmdbtype.Map{"country": mmdbtype.Bool(true), "asn": mmdbtype.String("x")}, geoip.Place{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := geoip.Read([]string{file(t, made(t, "Test", tt.network, tt.record))})
			if err != nil {
				t.Fatal(err)
			}
			got, found := s.Find(netip.MustParseAddr(tt.address))
			if got != tt.want || found != (tt.want != geoip.Place{}) {
				t.Errorf("got %+v, %v", got, found)
			}
			if f := s.Files[0]; f.Name != "places.mmdb" || f.Date != "2026-01-01" || f.Type != "Test" || len(f.SHA256) != 64 {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestFilesComplementEachOther: one has countries, the other has operators.
func TestFilesComplementEachOther(t *testing.T) {
	a := file(t, made(t, "Country", "203.0.113.0/24", mmdbtype.Map{"country": mmdbtype.String("US")}))
	b := file(t, made(t, "ASN", "203.0.113.0/24", mmdbtype.Map{"country": mmdbtype.String("DE"), "asn": mmdbtype.String("AS1")}))
	s, err := geoip.Read([]string{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := s.Find(netip.MustParseAddr("203.0.113.1")); p != (geoip.Place{Country: "US", ASN: 1}) {
		t.Errorf("%+v", p)
	}
}

// TestOtherFiles are errors that name the file.
func TestOtherFiles(t *testing.T) {
	var bad *geoip.Error
	if _, err := geoip.Read([]string{file(t, []byte("hello"))}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "places.mmdb") {
		t.Error(err)
	}
	if _, err := geoip.Read([]string{"none.mmdb"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzRead reads damaged files, and looks addresses up in them.
func FuzzRead(f *testing.F) {
	f.Add(made(f, "Test", "203.0.113.0/24", mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("DE")}, "asn": mmdbtype.String("AS1")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := geoip.Read([]string{file(t, b)})
		if err != nil {
			return
		}
		for _, a := range []string{"203.0.113.9", "0.0.0.0", "255.255.255.255", "::", "2001:db8::1"} {
			if p, found := s.Find(netip.MustParseAddr(a)); found == (p == geoip.Place{}) {
				t.Error("a place without anything, or nothing with something")
			}
		}
	})
}
