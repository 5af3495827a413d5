//go:build cgo && linux

package seal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

// softToken makes a token with one key per algorithm, and returns the begin of its URIs.
func softToken(t *testing.T, keys map[string]string) string {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		t.Skip("needs softhsm2-util")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nobjectstore.backend = file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("softhsm2-util", "--init-token", "--free", "--label", "examiners", "--pin", "1234", "--so-pin", "5678")
	pin := filepath.Join(dir, "pin")
	if err := os.WriteFile(pin, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	for label, options := range keys {
		file := filepath.Join(dir, label+".pem")
		run("openssl", append([]string{"genpkey", "-out", file}, strings.Fields(options)...)...)
		n++
		run("softhsm2-util", "--import", file, "--token", "examiners", "--label", label, "--id", fmt.Sprintf("%02x", n), "--pin", "1234")
	}
	return "?module-path=" + softHSM + "&pin-source=file:" + pin
}

// TestTokensSeal signs with keys that do not leave a token, and verifies without it.
func TestTokensSeal(t *testing.T) {
	query := softToken(t, map[string]string{"ec": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "rsa": "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"})
	b := made(t, "http1.pcapng")
	for _, label := range []string{"ec", "rsa"} {
		s, done, err := seal.PKCS11Signer("Ann", "pkcs11:token=examiners;object="+label+query)
		if err != nil {
			t.Fatalf("%s: %v", label, err)
		}
		if _, err := seal.Sign(ctx, b, seal.Options{Entry: bundle.Entry{User: "Ann"}, Signers: []seal.Signer{s}}); err != nil {
			t.Fatalf("%s: %v", label, err)
		}
		done()
		r, err := b.Verify(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed := false
		for _, v := range seal.Check(ctx, r, seal.Trust{Signers: []seal.Party{s.Party}}) {
			signed = signed || v.State == seal.Yes
			if v.State == seal.No {
				t.Errorf("%s: %v", label, v)
			}
		}
		if !signed {
			t.Errorf("%s: not signed", label)
		}
	}
}

// TestTokenErrors gives URIs that lead to no key.
func TestTokenErrors(t *testing.T) {
	query := softToken(t, map[string]string{"ec": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"})
	for uri, want := range map[string]string{
		"file:key.pem":                                                                "PKCS #11 URI",
		"pkcs11:object=ec" + query:                                                    "token or serial is missing",
		"pkcs11:token=examiners" + query:                                              "object or id is missing",
		"pkcs11:token=examiners;object=ec":                                            "module-path",
		"pkcs11:token=others;object=ec" + query:                                       "PKCS #11 token",
		"pkcs11:token=examiners;object=no" + query:                                    "0 keys have object",
		"pkcs11:token=examiners;object=ec?module-path=/none.so&pin-value=1":           "/none.so",
		"pkcs11:token=examiners;object=ec?module-path=" + softHSM + "&pin-value=0000": "PKCS #11 token",
		"pkcs11:token=examiners;object=ec?module-path=" + softHSM:                     "pin-source",
	} {
		if _, _, err := seal.PKCS11Signer("", uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", uri, err, want)
		}
	}
}
