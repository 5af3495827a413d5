package kubectl_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"time"

	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// fakeHub offers one bundle.
type fakeHub struct {
	offer  offer.Snapshot
	tenant bool // the snapshot is in the namespace shop
	bundle string
	change func(name string, w http.ResponseWriter) bool
	ca     string
	url    string
}

func newHub(t *testing.T) *fakeHub {
	t.Helper()
	h := &fakeHub{bundle: filepath.Join(t.TempDir(), "a.pcapsule")}
	if _, err := exporter.Run(t.Context(), []string{"../../samples/dns.pcap"}, h.bundle, exporter.Options{}); err != nil {
		t.Fatal(err)
	}
	files, err := transfer.List(h.bundle, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.offer = offer.Snapshot{Name: "x", Ready: true, Phase: "Ready", From: "2026-03-02T09:00:00Z", To: "2026-03-02T09:01:00Z",
		Missing: []offer.Gap{{Node: "b", Reason: "missing", Message: "it does not answer"}}, Bundles: []offer.Bundle{{Node: "a", Name: "x-a.pcapsule", Files: files}}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if rest, ok := strings.CutPrefix(path, "/v1/namespaces/shop/"); ok && h.tenant {
			path = "/v1/" + rest
		}
		file, isFile := strings.CutPrefix(path, "/v1/snapshots/x/bundles/a/")
		f, listed := transfer.Find(files, file)
		switch {
		case r.Header.Get("Authorization") != "Bearer good":
			http.Error(w, "the token is not valid", http.StatusUnauthorized)
		case path == "/v1/snapshots/x" && (path != r.URL.Path) == h.tenant:
			json.NewEncoder(w).Encode(h.offer)
		case !isFile || !listed:
			http.Error(w, "there is no such snapshot", 404)
		case h.change != nil && h.change(file, w):
		default:
			transfer.Serve(w, r, h.bundle, f)
		}
	}))
	certificate := hubCertificate(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	h.url, h.ca = server.URL, filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	if err := os.WriteFile(h.ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PCAPSULE_TOKEN", "good")
	return h
}

// hubCertificate is one for the hub's name in the cluster and for the loopback address.
func hubCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"pcapsule-hub.pcapsule.svc"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	raw, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// fetch runs the command.
func (h *fakeHub) fetch(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	return clitest.Run(append([]string{"fetch"}, args...)...)
}

// alter changes a byte of a file on the hub's disk.
func alter(h *fakeHub) {
	path := filepath.Join(h.bundle, "bagit.txt")
	text, err := os.ReadFile(path)
	if err == nil {
		text[0] ^= 1
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		panic(err)
	}
}

func TestFetch(t *testing.T) {
	h := newHub(t)
	dir := filepath.Join(t.TempDir(), "incident")
	for _, again := range []bool{false, true} {
		code, out, errOut := h.fetch(t, h.url, "x", "--ca", h.ca, "-o", dir)
		if code != exit.Done || !strings.Contains(out, "1 bundle") || !strings.Contains(errOut, "coverage gap: node b") {
			t.Fatalf("again %v: %d %s%s", again, code, out, errOut)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != "x-a.pcapsule" {
		t.Errorf("%v, %v", list, err)
	}
	if code, out, errOut := clitest.Run("query", filepath.Join(dir, "x-a.pcapsule"), "dns", "--count"); code != 0 || strings.TrimSpace(out) == "0" {
		t.Errorf("%d %s%s", code, out, errOut)
	}
}

func TestFetchThatIsInterrupted(t *testing.T) {
	h := newHub(t)
	dir := filepath.Join(t.TempDir(), "incident")
	sent := 0
	h.change = func(_ string, w http.ResponseWriter) bool {
		if sent++; sent == 4 {
			w.WriteHeader(http.StatusForbidden) // the token has expired
			return true
		}
		return false
	}
	if code, _, errOut := h.fetch(t, h.url, "x", "--ca", h.ca, "-o", dir); code == exit.Done {
		t.Fatalf("%d %s", code, errOut)
	}
	if _, err := os.Stat(filepath.Join(dir, "x-a.pcapsule")); err == nil {
		t.Fatal("an unfinished bundle has its name")
	}
	before := sent
	if code, _, errOut := h.fetch(t, h.url, "x", "--ca", h.ca, "-o", dir); code != exit.Done {
		t.Fatalf("%d %s", code, errOut)
	}
	if got, all := sent-before, len(h.offer.Bundles[0].Files); got >= all {
		t.Errorf("%d files were sent again, of %d", got, all)
	}
}

func TestFetchRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(h *fakeHub)
		args   func(h *fakeHub, dir string) []string
		code   int
		want   string
	}{
		{"an altered file", func(h *fakeHub) { alter(h) }, nil, exit.Verify, "was altered"},
		{"a name with a path", func(h *fakeHub) { h.offer.Bundles[0].Name = "../x.pcapsule" }, nil, exit.Other, "lists a bundle"},
		{"a hidden name", func(h *fakeHub) { h.offer.Bundles[0].Name = ".x.pcapsule" }, nil, exit.Other, "lists a bundle"},
		{"a name without the ending", func(h *fakeHub) { h.offer.Bundles[0].Name = "x" }, nil, exit.Other, "lists a bundle"},
		{"a file with a path", func(h *fakeHub) { h.offer.Bundles[0].Files[0].Name = "../../x" }, nil, exit.Other, "invalid list of files"},
		{"a bundle that lacks a file", func(h *fakeHub) { h.offer.Bundles[0].Files = h.offer.Bundles[0].Files[1:] }, nil, -1, ""},
		{"not ready", func(h *fakeHub) { h.offer.Ready, h.offer.Phase = false, "Collecting" }, nil, exit.Limit, "not ready"},
		{"failed", func(h *fakeHub) { h.offer.Ready, h.offer.Phase, h.offer.Message = false, "Failed", "no window" }, nil, exit.Other, "no window"},
		{"another authority", nil, func(h *fakeHub, dir string) []string { return []string{h.url, "x", "-o", dir} }, exit.Other, "certificate"},
		{"an unknown snapshot", nil, func(h *fakeHub, dir string) []string { return []string{h.url, "y", "--ca", h.ca, "-o", dir} }, exit.Other, "no such snapshot"},
		{"a snapshot with a path", nil, func(h *fakeHub, dir string) []string { return []string{h.url, "../y", "--ca", h.ca, "-o", dir} }, exit.Usage, "not the name"},
		{"no TLS", nil, func(h *fakeHub, dir string) []string { return []string{"http://127.0.0.1:1", "x", "-o", dir} }, exit.Usage, "use https"},
		{"no output", nil, func(h *fakeHub, dir string) []string { return []string{h.url, "x"} }, exit.Usage, "missing output"},
		{"no token", nil, func(h *fakeHub, dir string) []string {
			return []string{h.url, "x", "-o", dir, "--token-file", os.DevNull}
		}, exit.NotCapture, "contains no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t)
			if tt.change != nil {
				tt.change(h)
			}
			dir := filepath.Join(t.TempDir(), "incident")
			args := []string{h.url, "x", "--ca", h.ca, "-o", dir}
			if tt.args != nil {
				args = tt.args(h, dir)
			}
			code, _, errOut := h.fetch(t, args...)
			if tt.code >= 0 && code != tt.code || code == exit.Done || !strings.Contains(errOut, tt.want) {
				t.Errorf("%d, want %d: %s", code, tt.code, errOut)
			}
			list, _ := filepath.Glob(filepath.Join(dir, "*.pcapsule"))
			if len(list) > 0 {
				t.Errorf("%v has a final name", list)
			}
		})
	}
}

// TestFetchWithTheFilterOfASnapshot cuts each bundle to it. A bundle that states a gap stays.
func TestFetchWithTheFilterOfASnapshot(t *testing.T) {
	for _, tt := range []struct {
		name, kfl  string
		gone       bool
		code       int
		derived    string // kind of the bundle; none: there is none
		note       string
		bundleCall int64
	}{
		{"nothing", "http", false, exit.Done, "", "recorded nothing that the snapshot selects", 0},
		{"all of a protocol", "dns", false, exit.Done, bundle.Cut, "calls that match dns", 21},
		{"nothing of a node whose part is missing", "http", true, exit.Done, "whole", "coverage gap: node a", 21},
		{"an unknown field", "http && statuscode == 1", false, exit.Syntax, "", "statuscode", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t)
			h.offer.KFL = tt.kfl
			if tt.gone {
				h.offer.Missing = []offer.Gap{{Node: "a", Reason: "missing", Message: "away"}}
			}
			dir := t.TempDir()
			for range 2 { // the second time it is there
				if code, out, errOut := h.fetch(t, h.url, "x", "--ca", h.ca, "-o", dir); code != tt.code || !strings.Contains(out+errOut, tt.note) {
					t.Fatalf("%d %s%s", code, out, errOut)
				}
			}
			b, err := bundle.Open(filepath.Join(dir, "x-a.pcapsule"))
			switch {
			case tt.derived == "":
				if err == nil {
					t.Error("there is a bundle")
				}
				return
			case err != nil:
				t.Fatal(err)
			case (b.Manifest.Derived != nil) != (tt.derived == bundle.Cut) || b.Manifest.Calls["dns"] != tt.bundleCall:
				t.Errorf("%+v", b.Manifest)
			}
			if tt.derived == bundle.Cut && b.Manifest.Derived.Cut.Filter != tt.kfl {
				t.Errorf("%+v", b.Manifest.Derived)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
}

// TestFetchFromAnotherNamespace: NAMESPACE/NAME is a snapshot outside the hub's namespace, and no other.
func TestFetchFromAnotherNamespace(t *testing.T) {
	h := newHub(t)
	h.tenant = true
	for name, want := range map[string]int{"shop/x": exit.Done, "x": exit.Other, "payments/x": exit.Other, "shop/x/y": exit.Usage, "/x": exit.Usage} {
		dir := filepath.Join(t.TempDir(), "out")
		code, _, errOut := h.fetch(t, h.url, name, "--ca", h.ca, "-o", dir)
		if _, err := os.Stat(filepath.Join(dir, "x-a.pcapsule")); code != want || (err == nil) != (want == exit.Done) {
			t.Errorf("%s: %d %s, want %d", name, code, errOut, want)
		}
	}
}
