//go:build amd64 || arm64

package keys

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// certificateFiles makes a self-signed certificate with its key.
func certificateFiles(t *testing.T) string {
	t.Helper()
	needTools(t, "openssl")
	pem := filepath.Join(t.TempDir(), "both.pem")
	if b, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
		"-subj", "/CN=127.0.0.1", "-keyout", pem, "-out", pem+".crt").CombinedOutput(); err != nil {
		t.Fatalf("making a certificate: %s", b)
	}
	cert, err := os.ReadFile(pem + ".crt")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pem, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(cert); err != nil {
		t.Fatal(err)
	}
	return pem
}

func (s *space) openssl(t *testing.T, pem string, port int, flags ...string) {
	t.Helper()
	s.serve(t, func(line string) bool { return strings.HasPrefix(line, "ACCEPT") },
		append([]string{"openssl", "s_server", "-accept", fmt.Sprint(port), "-cert", pem, "-key", pem, "-www"}, flags...)...)
}

func TestOpenSSLKeysMatchItsKeyLog(t *testing.T) {
	needTools(t, "openssl", "curl")
	s := newSpace(t)
	pem := certificateFiles(t)
	layouts := t.TempDir()
	port := 4400
	for _, v := range []struct {
		name           string
		server, client []string
	}{
		{"TLS 1.3", nil, []string{"--tlsv1.3"}},
		{"TLS 1.3 with SHA-256", []string{"-ciphersuites", "TLS_AES_128_GCM_SHA256"}, []string{"--tlsv1.3"}},
		{"TLS 1.2", []string{"-no_tls1_3"}, nil},
		{"TLS 1.2 with CBC", []string{"-no_tls1_3", "-cipher", "ECDHE-ECDSA-AES128-SHA"}, nil},
	} {
		t.Run(v.name, func(t *testing.T) {
			port++
			sink := &list{}
			tr := start(t, Options{Select: s.own(), Sink: sink, Captured: s.talks, Layouts: layouts})
			log := filepath.Join(t.TempDir(), "keys.log")
			s.openssl(t, pem, port, append(v.server, "-keylogfile", log)...)
			probed(t, tr, "openssl")
			for range 8 {
				s.run(t, append([]string{"curl", "-sk", "--ciphers", "ALL:@SECLEVEL=0", fmt.Sprintf("https://127.0.0.1:%d/", port)}, v.client...)...)
			}
			want := withoutExporter(truth(t, log))
			eventually(t, "all keys", func() bool { return len(sink.lines(0)) >= len(want) })
			compare(t, sink.lines(0), want)
			if n := len(of(tr, "curl")); n != 8 {
				t.Errorf("%d clients, want 8", n)
			}
			eventually(t, "all verified", func() bool {
				for _, p := range append(of(tr, "openssl"), of(tr, "curl")...) {
					if p.State != Verified || p.Library != OpenSSL {
						return false
					}
				}
				return true
			})
			if t.Failed() {
				t.Logf("%+v", tr.Processes())
				for _, k := range sink.keys {
					client, server, ok := s.talks.Records([32]byte(k.ID))
					t.Logf("process %d, random %x: captured %v, %d and %d bytes", k.PID, k.ID[:4], ok, len(client), len(server))
				}
			}
			c, err := tr.Counters()
			if err != nil || c.Lost+c.Unread != 0 {
				t.Errorf("%+v, %v", c, err)
			}
			t.Logf("%+v; %d logged lines", c, len(want))
		})
	}
}

// withoutExporter drops the exporter secrets, which open no record and are not read.
func withoutExporter(lines []string) (out []string) {
	for _, l := range lines {
		if !strings.HasPrefix(l, "EXPORTER_SECRET") {
			out = append(out, l)
		}
	}
	return out
}
