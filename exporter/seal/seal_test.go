package seal_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

var ctx = context.Background()

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// made makes a bundle from a sample.
func made(t testing.TB, sample string) *bundle.Bundle {
	t.Helper()
	return makeWith(t, sample, nil)
}

// makeWith makes a bundle that states the program that made it.
func makeWith(t testing.TB, sample string, program func() *bundle.Digest) *bundle.Bundle {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.pcapsule")
	_, err := exporter.Run(ctx, []string{filepath.Join("../../samples", sample)}, path, exporter.Options{Release: "test", Custody: bundle.CreateOptions{Program: program}})
	if err != nil {
		t.Fatal(err)
	}
	return must(bundle.Open(path))(t)
}

func signer(t testing.TB, name string, key crypto.Signer) seal.Signer {
	t.Helper()
	return must(seal.NewSigner(name, key))(t)
}

func ed(t testing.TB, name string) seal.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer(t, name, key)
}

// authority is a time-stamp authority.
type authority struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func newAuthority(t testing.TB, use ...x509.ExtKeyUsage) *authority {
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	now := time.Now()
	der := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stamps"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), ExtKeyUsage: use, IsCA: true, BasicConstraintsValid: true},
		&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stamps"}}, key.Public(), key))(t)
	return &authority{must(x509.ParseCertificate(der))(t), key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) answer(t testing.TB, request []byte) []byte {
	r := must(timestamp.ParseRequest(request))(t)
	s := timestamp.Timestamp{HashAlgorithm: r.HashAlgorithm, HashedMessage: r.HashedMessage, Nonce: r.Nonce, Time: time.Now(), Policy: []int{1, 2, 3}, AddTSACertificate: true}
	return must(s.CreateResponseWithOpts(a.cert, a.key, crypto.SHA256))(t)
}

// renewed puts another certificate of the authority, which is valid a day earlier, into an answer.
func (a *authority) renewed(t testing.TB, answer []byte) []byte {
	c := *a.cert
	c.NotBefore = c.NotBefore.Add(-24 * time.Hour)
	der := must(x509.CreateCertificate(rand.Reader, &c, &c, a.key.Public(), a.key))(t)
	if len(der) != len(a.cert.Raw) || !bytes.Contains(answer, a.cert.Raw) {
		t.Fatalf("%d bytes instead of %d", len(der), len(a.cert.Raw))
	}
	return bytes.Replace(answer, a.cert.Raw, der, 1)
}

// sealed is a bundle with two signers and a time stamp, and what a reader trusts.
func sealed(t testing.TB) (*bundle.Bundle, seal.Trust) {
	t.Helper()
	b := made(t, "http1.pcapng")
	ann, bob := ed(t, "Ann"), signer(t, "Bob", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t))
	_, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann, bob}, Request: seal.Request{CaseID: "4711"}, Entry: bundle.Entry{User: "ann"}})
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t, x509.ExtKeyUsageTimeStamping)
	request := must(seal.StampRequest(b, "seal-000.dsse.json", 0))(t)
	must(seal.AddStamp(b, "seal-000.dsse.json", 0, request, a.answer(t, request), bundle.Entry{}))(t)
	return b, seal.Trust{Signers: []seal.Party{ann.Party, bob.Party}, Authorities: a.pool()}
}

// faults verifies a bundle as a reader does and lists what is wrong.
func faults(t testing.TB, dir string, trust seal.Trust) (list []string) {
	t.Helper()
	r := must(bundle.Verify(ctx, dir, nil))(t)
	for _, p := range r.Problems {
		list = append(list, p.String())
	}
	for _, v := range seal.Check(ctx, r, trust) {
		if v.State == seal.No {
			list = append(list, v.Place+": "+v.Detail)
		}
	}
	return list
}

func TestSealedBundleVerifies(t *testing.T) {
	b, trust := sealed(t)
	if f := faults(t, b.Dir, trust); len(f) > 0 {
		t.Errorf("an intact bundle: %q", f)
	}
	if _, _, err := b.AppendCustody(bundle.Entry{Event: "received"}); err != nil {
		t.Fatal(err)
	}
	if f := faults(t, b.Dir, trust); len(f) > 0 {
		t.Errorf("an intact bundle with a longer log: %q", f)
	}
	if _, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ed(t, "Cid")}}); err != nil {
		t.Fatal(err)
	}
	if f := faults(t, b.Dir, trust); len(f) > 0 {
		t.Errorf("an intact bundle with two seals: %q", f)
	}
	trust.Signers = append(trust.Signers, ed(t, "Dot").Party)
	if f := faults(t, b.Dir, trust); len(f) != 1 || !strings.Contains(f[0], "Dot") {
		t.Errorf("a trusted key that did not sign: %q", f)
	}
}

// tampering is one change to a bundle.
type tampering struct {
	name  string
	place string // part of the fault that must be named
	do    func(t *testing.T, dir string)
}

// tamperings are changes to each file: at its begin, middle and end, its length, its existence.
func tamperings(t *testing.T, dir string) (list []tampering) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel := filepath.ToSlash(must(filepath.Rel(dir, path))(t))
		edit := func(name string, f func(data []byte) []byte) {
			list = append(list, tampering{name + " of " + rel, "", func(t *testing.T, dir string) {
				p := filepath.Join(dir, rel)
				data := must(os.ReadFile(p))(t)
				if err := os.WriteFile(p, f(data), 0o644); err != nil {
					t.Fatal(err)
				}
			}})
		}
		edit("first byte", func(d []byte) []byte { d[0] ^= 1; return d })
		edit("middle byte", func(d []byte) []byte { d[len(d)/2] ^= 4; return d })
		edit("last byte", func(d []byte) []byte { d[len(d)-1] ^= 2; return d })
		edit("last byte removed", func(d []byte) []byte { return d[:len(d)-1] })
		edit("byte added", func(d []byte) []byte { return append(d, ' ') })
		edit("all content", func([]byte) []byte { return nil })
		list = append(list, tampering{"removal of " + rel, rel, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, rel)); err != nil {
				t.Fatal(err)
			}
		}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// lines edits the lines of a file.
func lines(rel string, f func(l [][]byte) [][]byte) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		p := filepath.Join(dir, rel)
		l := bytes.SplitAfter(must(os.ReadFile(p))(t), []byte("\n"))
		if err := os.WriteFile(p, bytes.Join(f(l[:len(l)-1]), nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func put(t *testing.T, dir, rel, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, rel), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryTamperingIsFound changes a sealed bundle in each way and verifies it with the keys
// of the signers.
func TestEveryTamperingIsFound(t *testing.T) {
	b, trust := sealed(t)
	other, _ := sealed(t)
	list := tamperings(t, b.Dir)
	log, first := "custody/log.jsonl", "custody/seal-000.dsse.json"
	more := []tampering{
		{"a log line removed", log, lines(log, func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) })},
		{"the last log line removed", "seal-000.tsr", lines(log, func(l [][]byte) [][]byte { return l[:len(l)-1] })},
		{"log lines swapped", log, lines(log, func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l })},
		{"a log line twice", log, lines(log, func(l [][]byte) [][]byte { return append(l, l[2]) })},
		{"the log of another bundle", first, func(t *testing.T, dir string) {
			put(t, dir, log, string(must(os.ReadFile(filepath.Join(other.Dir, log)))(t)))
		}},
		{"the seal of another bundle", first, func(t *testing.T, dir string) {
			put(t, dir, first, string(must(os.ReadFile(filepath.Join(other.Dir, first)))(t)))
		}},
		{"the seal under another name", "seal-001", func(t *testing.T, dir string) {
			put(t, dir, "custody/seal-001.dsse.json", string(must(os.ReadFile(filepath.Join(dir, first)))(t)))
		}},
		{"a signature removed", first, envelope(first, func(e map[string]any) { e["signatures"] = e["signatures"].([]any)[:1] })},
		{"signatures swapped", first, envelope(first, func(e map[string]any) { slices.Reverse(e["signatures"].([]any)) })},
		{"another type of payload", first, envelope(first, func(e map[string]any) { e["payloadType"] = "text/plain" })},
		{"the envelope written again", first, envelope(first, func(map[string]any) {})},
		{"a file added", "data/extra", func(t *testing.T, dir string) { put(t, dir, "data/extra", "x") }},
		{"a seal removed, and an entry that its writing failed", "seal-000.tsr", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, first))
			b := must(bundle.Open(dir))(t)
			if _, _, err := b.AppendCustody(bundle.Entry{Event: seal.EventFailed, Details: map[string]string{"file": first}}); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file added in custody", "custody/extra", func(t *testing.T, dir string) { put(t, dir, "custody/extra", "x") }},
		{"a table replaced with remade manifests and log", first, remade},
	}
	if list = append(list, more...); len(list) < 150 {
		t.Errorf("only %d tamperings", len(list))
	}
	for _, tt := range list {
		dir := filepath.Join(t.TempDir(), "b.pcapsule")
		if err := os.CopyFS(dir, os.DirFS(b.Dir)); err != nil {
			t.Fatal(err)
		}
		tt.do(t, dir)
		_, err := bundle.Verify(ctx, dir, nil)
		if errors.Is(err, bundle.ErrNotBundle) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if f := faults(t, dir, trust); len(f) == 0 || !strings.Contains(strings.Join(f, "\n"), tt.place) {
			t.Errorf("%s: %q, want a fault that names %q", tt.name, f, tt.place)
		}
	}
}

// envelope edits the JSON of an envelope.
func envelope(rel string, f func(e map[string]any)) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		p := filepath.Join(dir, rel)
		var e map[string]any
		if err := json.Unmarshal(must(os.ReadFile(p))(t), &e); err != nil {
			t.Fatal(err)
		}
		f(e)
		put(t, dir, rel, string(must(json.Marshal(e))(t)))
	}
}

// remade replaces the bundle's content with that of another capture, with manifests that fit,
// and keeps the seals. A log that fits as well makes everything consistent, but for the seal.
func remade(t *testing.T, dir string) {
	forged := made(t, "dns.pcap")
	custody := filepath.Join(dir, "custody")
	for _, e := range must(os.ReadDir(custody))(t) {
		if e.Name() == "log.jsonl" {
			continue
		}
		put(t, forged.Dir, "custody/"+e.Name(), string(must(os.ReadFile(filepath.Join(custody, e.Name())))(t)))
	}
	for _, event := range []struct{ event, file string }{{seal.EventSealed, "custody/seal-000.dsse.json"}, {seal.EventTimestamped, "custody/seal-000.tsr"}} {
		if _, _, err := forged.AppendCustody(bundle.Entry{Event: event.event, Details: map[string]string{"file": event.file}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(forged.Dir)); err != nil {
		t.Fatal(err)
	}
}

// TestTamperingsOfTwoSeals removes and exchanges seals of a bundle that was sealed twice, and of a copy that another
// person sealed.
func TestTamperingsOfTwoSeals(t *testing.T) {
	b := made(t, "dns.pcap")
	sign := func(b *bundle.Bundle, s seal.Signer) {
		if _, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{s}}); err != nil {
			t.Fatal(err)
		}
	}
	const log, first, second = "custody/log.jsonl", "custody/seal-000.dsse.json", "custody/seal-001.dsse.json"
	sign(b, ed(t, "Ann"))
	fork := filepath.Join(t.TempDir(), "b.pcapsule")
	if err := os.CopyFS(fork, os.DirFS(b.Dir)); err != nil {
		t.Fatal(err)
	}
	sign(b, ed(t, "Bob"))
	other := must(bundle.Open(fork))(t)
	sign(other, ed(t, "Eve"))
	read := func(dir, rel string) string { return string(must(os.ReadFile(filepath.Join(dir, rel)))(t)) }
	fail := func(file string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			b := must(bundle.Open(dir))(t)
			if _, _, err := b.AppendCustody(bundle.Entry{Event: seal.EventFailed, Details: map[string]string{"file": file}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []tampering{
		{"the first seal removed", first, func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, first)) }},
		{"the first seal removed, and an entry that its writing failed", first, fail(first)},
		{"the seals exchanged", first, func(t *testing.T, dir string) {
			a, b := read(dir, first), read(dir, second)
			put(t, dir, first, b)
			put(t, dir, second, a)
		}},
		{"the second seal of the other copy", second, func(t *testing.T, dir string) { put(t, dir, second, read(fork, second)) }},
		{"the log of the other copy", second, func(t *testing.T, dir string) { put(t, dir, log, read(fork, log)) }},
		{"the second seal of the other copy as a third", "seal-002", func(t *testing.T, dir string) { put(t, dir, "custody/seal-002.dsse.json", read(fork, second)) }},
		{"both logs", log, func(t *testing.T, dir string) {
			l := strings.SplitAfter(read(fork, log), "\n")
			put(t, dir, log, read(dir, log)+l[2])
		}},
		{"a seal with a number like another", "seal-01", func(t *testing.T, dir string) { put(t, dir, "custody/seal-01.dsse.json", read(dir, first)) }},
		{"a seal in capitals", "SEAL-000", func(t *testing.T, dir string) { put(t, dir, "custody/SEAL-000.dsse.json", read(dir, first)) }},
		{"a seal in a folder", "x/seal-000", func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "custody/x"), 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, dir, "custody/x/seal-000.dsse.json", read(dir, first))
		}},
		{"a proof of a log of another file", "seal-000.tlog-proof", func(t *testing.T, dir string) { put(t, dir, "custody/seal-000.tlog-proof", "x") }},
	} {
		dir := filepath.Join(t.TempDir(), "b.pcapsule")
		if err := os.CopyFS(dir, os.DirFS(b.Dir)); err != nil {
			t.Fatal(err)
		}
		tt.do(t, dir)
		if f := faults(t, dir, seal.Trust{}); !strings.Contains(strings.Join(f, "\n"), tt.place) {
			t.Errorf("%s: %q, want a fault that names %q", tt.name, f, tt.place)
		}
	}
	for _, dir := range []string{b.Dir, fork} {
		if f := faults(t, dir, seal.Trust{}); len(f) > 0 {
			t.Errorf("an intact bundle: %q", f)
		}
	}
}

func TestKeys(t *testing.T) {
	for name, key := range map[string]crypto.Signer{
		"ecdsa-sha2-nistp256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t),
		"ecdsa-sha2-nistp384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t),
		"ecdsa-sha2-nistp521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(t),
		"rsassa-pss-sha256":   must(rsa.GenerateKey(rand.Reader, 2048))(t),
	} {
		s := signer(t, "", key)
		if s.Party.Algorithm != name {
			t.Errorf("%s: algorithm %s", name, s.Party.Algorithm)
		}
		sig := must(s.Sign(ctx, []byte("text")))(t)
		p := must(seal.ParsePublic("", []byte(s.Party.PublicKey)))(t)
		if err := p.Verify(ctx, []byte("text"), sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.Verify(ctx, []byte("Text"), sig) == nil {
			t.Errorf("%s: another text verifies", name)
		}
	}
	weak := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	if _, err := seal.NewParty("", weak); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("a short RSA key: %v", err)
	}
	if _, err := seal.NewSigner("", must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))(t)); err == nil {
		t.Error("a curve that SSH does not know was accepted")
	}
}

func TestStampsOfOthersAreRefused(t *testing.T) {
	b, _ := sealed(t)
	name := "seal-001.dsse.json"
	if _, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ed(t, "Cid")}}); err != nil {
		t.Fatal(err)
	}
	request := must(seal.StampRequest(b, name, 0))(t)
	stamps := newAuthority(t, x509.ExtKeyUsageTimeStamping)
	for _, tt := range []struct {
		name              string
		request, response []byte
		want              string
	}{
		{"for another seal", nil, stamps.answer(t, must(seal.StampRequest(b, "seal-000.dsse.json", 0))(t)), "not for this seal"},
		{"the answer to another request", request, stamps.answer(t, must(seal.StampRequest(b, name, 0))(t)), "another request"},
		{"a certificate for web servers", request, newAuthority(t, x509.ExtKeyUsageServerAuth).answer(t, request), "not for time stamps"},
		{"no time stamp", request, []byte("<html>"), ""},
		{"another certificate of the same key", request, stamps.renewed(t, stamps.answer(t, request)), "not the one that the time stamp names"},
	} {
		if _, err := seal.AddStamp(b, name, 0, tt.request, tt.response, bundle.Entry{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	entries, _, err := b.Custody()
	if err != nil || len(entries) != 4 {
		t.Errorf("%d entries, %v: refused stamps left entries", len(entries), err)
	}
}

func TestDamagedBundleIsNotSealed(t *testing.T) {
	b := made(t, "dns.pcap")
	put(t, b.Dir, "data/extra", "x")
	if _, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ed(t, "Ann")}}); !errors.Is(err, bundle.ErrVerification) {
		t.Errorf("sealing a bundle with an added file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "custody/seal-000.dsse.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a seal was left: %v", err)
	}
}

func TestReadRequest(t *testing.T) {
	r := must(seal.ReadRequest([]byte("case_id: '4711'\npurpose: outage of 14:15\nimages: [sha256:00]\n")))(t)
	if r.CaseID != "4711" || r.Purpose != "outage of 14:15" || len(r.Images) != 1 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"case: 4711", "- a", "case_id: [", strings.Repeat("#", 300<<10)} {
		if _, err := seal.ReadRequest([]byte(bad)); err == nil {
			t.Errorf("%.20q was read", bad)
		}
	}
}
