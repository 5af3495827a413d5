package exporter

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// TestProtocolsAreSelected leaves out each protocol of each sample, and finds each one alone.
func TestProtocolsAreSelected(t *testing.T) {
	for _, c := range []struct {
		file, keys    string
		only, without string
		want          string // protocols of the calls, without those that nobody dissects
	}{
		{"shop.pcapng", "", "", "", "dns grpc http1 postgresql redis tls"},
		{"shop.pcapng", "", "http1,dns", "", "dns http1"},
		{"shop.pcapng", "", "", "http1,tls,http2", "dns postgresql redis"},
		{"grpc.pcapng", "", "http2", "", "grpc"},
		{"grpc.pcapng", "", "grpc,http2", "", "grpc"},
		{"grpc.pcapng", "", "", "http2", ""},
		{"web.pcapng", "", "", "ws", "http1"},
		{"tls.pcapng", "tls.keylog", "", "http1", "http2 tls"},
		{"tls.pcapng", "tls.keylog", "http1,http2", "", ""},
		{"secrets/quicgo-v1-aes-128-gcm-sha256-http3.pcap", "secrets/quicgo-v1-aes-128-gcm-sha256-http3.keylog", "http3,quic", "", "http3 quic tls"},
		{"secrets/quicgo-v1-aes-128-gcm-sha256-http3.pcap", "secrets/quicgo-v1-aes-128-gcm-sha256-http3.keylog", "", "http3", "quic tls"},
	} {
		out := filepath.Join(t.TempDir(), "a.pcapsule")
		o := Options{Release: "test", Repanic: true, Only: split(c.only), Without: split(c.without)}
		if c.keys != "" {
			o.Keys = []string{"../samples/" + c.keys}
		}
		m, err := Run(t.Context(), []string{"../samples/" + c.file}, out, o)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.DeleteFunc(slices.Sorted(maps.Keys(m.Calls)), func(name string) bool { return !slices.Contains(names(), name) })
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s, only %q without %q: %v, want %s", c.file, c.only, c.without, got, c.want)
		}
		if c.keys != "" {
			continue
		}
		b, err := bundle.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Rederive(t.Context(), b, Options{Release: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Differences) > 0 {
			t.Errorf("%s, only %q without %q: %v", c.file, c.only, c.without, r.Differences)
		}
	}
}

func names() (list []string) {
	for _, p := range Protocols() {
		list = append(list, p.Name)
	}
	return list
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

func TestSelectionsAreChecked(t *testing.T) {
	for _, c := range []struct{ only, without, want string }{
		{"nosuch", "", `unknown protocol "nosuch"`},
		{"", "nosuch", `unknown protocol "nosuch"`},
		{"dns", "dns", "leaves no protocol"},
		{"grpc", "", "grpc is read only inside http1 or http2 or http3"},
		{"http3", "", "http3 is read only inside quic"},
		{"ws", "", "ws is read only inside http1 or http2 or http3"},
		{"graphql", "", "graphql is a part of rows of http and ws"},
		{"", "s3", "s3 is a part of rows of http"},
		{"", "grpc", "grpc is a part of http1, http2, http3"},
	} {
		_, err := Run(t.Context(), []string{"../samples/dns.pcap"}, filepath.Join(t.TempDir(), "a.pcapsule"), Options{Release: "test", Only: split(c.only), Without: split(c.without)})
		if bad := (*ProtocolsError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("only %q without %q: %v, want %s", c.only, c.without, err, c.want)
		}
	}
}

// TestDecodeAsIsChecked: shards begin with their first packet, so a wrong name must be found before.
func TestDecodeAsIsChecked(t *testing.T) {
	for _, name := range []string{"nosuch", "", "grpc", "http1"} {
		as := []dissect.DecodeAs{{Transport: dissect.UDP, Port: 53, Protocol: "dns"}, {Transport: dissect.TCP, Port: 9, Protocol: name}}
		_, err := Run(t.Context(), []string{"../samples/dns.pcap"}, filepath.Join(t.TempDir(), "a.pcapsule"), Options{Release: "test", DecodeAs: as})
		if known := name == "http1"; known != (err == nil) || err != nil && !strings.Contains(err.Error(), "no such protocol") {
			t.Errorf("decoding as %q: %v", name, err)
		}
	}
}
