package handover_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// scene is a bundle that Ann sealed and an authority stamped, handed over in a package with a report, and what the receiver
// trusts. Eve has the package and a key of her own, but neither Ann's nor the authority's.
type scene struct {
	t           *testing.T
	dir         string // of the package
	name        string // of the bundle
	trust       seal.Trust
	fingerprint bundle.Digest
	eve         seal.Signer
	tsa         *x509.Certificate
	tsaKey      *rsa.PrivateKey
	other       *bundle.Bundle // another bundle of Eve
}

func key(t testing.TB, name string) seal.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.NewSigner(name, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ok ends the test if there is an error.
func (s *scene) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func bundled(t testing.TB, sample, path string) *bundle.Bundle {
	t.Helper()
	if _, err := exporter.Run(ctx, []string{"../../samples/" + sample}, path, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stamp adds a time stamp.
func (s *scene) stamp(b *bundle.Bundle, number int, cert *x509.Certificate, k crypto.Signer, at time.Time) error {
	request, err := seal.StampRequest(b, "seal-000.dsse.json", number)
	if err != nil {
		return err
	}
	_, err = seal.AddStamp(b, "seal-000.dsse.json", number, request, s.answer(request, cert, k, at), bundle.Entry{})
	return err
}

func (s *scene) answer(request []byte, cert *x509.Certificate, k crypto.Signer, at time.Time) []byte {
	r, err := timestamp.ParseRequest(request)
	s.ok(err)
	x := timestamp.Timestamp{HashAlgorithm: r.HashAlgorithm, HashedMessage: r.HashedMessage, Nonce: r.Nonce, Time: at, Policy: []int{1, 2, 3}, AddTSACertificate: true}
	data, err := x.CreateResponseWithOpts(cert, k, crypto.SHA256)
	s.ok(err)
	return data
}

func authorityOf(t testing.TB) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stamps"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, k
}

// newScene makes the intact package.
func newScene(t *testing.T) *scene {
	s := &scene{t: t, name: "shop.pcapsule", eve: key(t, "Ann")} // Eve calls herself Ann
	work := t.TempDir()
	b := bundled(t, "http1.pcapng", filepath.Join(work, s.name))
	ann := key(t, "Ann")
	_, _, err := b.AppendCustody(bundle.Entry{Event: handover.EventHandedOver, Details: map[string]string{"to": "A. Auditor"}})
	s.ok(err)
	_, err = seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann}})
	s.ok(err)
	s.tsa, s.tsaKey = authorityOf(t)
	s.ok(s.stamp(b, 0, s.tsa, s.tsaKey, time.Now()))
	s.ok(s.stamp(b, 1, s.tsa, s.tsaKey, time.Now().Add(time.Minute)))
	pool := x509.NewCertPool()
	pool.AddCert(s.tsa)
	s.trust = seal.Trust{Signers: []seal.Party{ann.Party}, Authorities: pool}
	report := filepath.Join(work, "outage.html")
	s.ok(os.WriteFile(report, []byte("<p>89 of 369 calls failed</p>"), 0o600))
	s.dir = filepath.Join(work, "package")
	_, err = handover.Pack(ctx, b, s.dir, handover.Options{Part: handover.MinPart, Reports: []string{report}})
	s.ok(err)
	s.ok(os.Mkdir(filepath.Join(work, "other"), 0o700))
	s.other = bundled(t, "dns.pcap", filepath.Join(work, "other", s.name))
	r, err := b.Verify(ctx, nil)
	s.ok(err)
	s.fingerprint = r.TagManifest
	return s
}

// receive is what a careful receiver sees: everything that is not as it should be.
func (s *scene) receive(trust seal.Trust) (seen []string) {
	p, err := handover.Open(ctx, s.dir)
	if err != nil {
		return []string{err.Error()}
	}
	defer p.Close()
	r, err := p.Unpack(ctx, filepath.Join(s.t.TempDir(), p.Name), nil)
	if err != nil {
		return []string{err.Error()}
	}
	verdicts, signed := seal.CheckSigned(ctx, r, trust)
	for _, v := range append(verdicts, p.Compare(r)...) {
		if v.State != seal.Yes {
			seen = append(seen, v.Check+": "+v.Detail)
		}
	}
	return append(seen, seal.Uncovered(r, signed, trust)...)
}

// repack lets Eve change the bundle, and makes the package again as handover does. Reports and sheets are rewritten.
func (s *scene) repack(change func(b *bundle.Bundle)) {
	s.t.Helper()
	work := s.t.TempDir()
	p, err := handover.Open(ctx, s.dir)
	s.ok(err)
	_, err = p.Unpack(ctx, filepath.Join(work, s.name), nil)
	p.Close()
	s.ok(err)
	b, err := bundle.Open(filepath.Join(work, s.name))
	s.ok(err)
	change(b)
	b, err = bundle.Open(b.Dir)
	s.ok(err)
	s.pack(b)
}

// pack replaces the package by one of another bundle.
func (s *scene) pack(b *bundle.Bundle) {
	s.t.Helper()
	report := filepath.Join(s.t.TempDir(), "outage.html")
	s.ok(os.WriteFile(report, []byte("<p>89 of 369 calls failed</p>"), 0o600))
	s.dir = filepath.Join(s.t.TempDir(), "package")
	_, err := handover.Pack(ctx, b, s.dir, handover.Options{Part: handover.MinPart, Reports: []string{report}})
	if err != nil { // handover refuses to pack it: found
		s.dir = filepath.Join(s.t.TempDir(), err.Error())
	}
}

// edit changes a file of the package, and its line in SHA256SUMS if listed is true.
func (s *scene) edit(name string, listed bool, f func(string) string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	data, err := os.ReadFile(path)
	s.ok(err)
	now := []byte(f(string(data)))
	if bytes.Equal(now, data) {
		s.t.Fatalf("%s was not changed", name)
	}
	s.ok(os.WriteFile(path, now, 0o600))
	if listed {
		s.sums(func(text string) string {
			old, sum := sha256.Sum256(data), sha256.Sum256(now)
			return strings.Replace(text, hex.EncodeToString(old[:])+"  "+name, hex.EncodeToString(sum[:])+"  "+name, 1)
		})
	}
}

func (s *scene) sums(f func(string) string) { s.t.Helper(); s.edit(handover.SumsName, false, f) }

// sheets replaces the bundle by another one, and keeps the sheets of the first.
func (s *scene) under() {
	first := s.dir
	s.pack(s.other)
	for _, name := range []string{"cover.html", "cover.pdf", "cover.jsonld"} {
		data, err := os.ReadFile(filepath.Join(first, name))
		s.ok(err)
		s.edit(name, true, func(string) string { return string(data) })
	}
}

// rewrite changes a file of a bundle. If remade is true, the manifests are made again.
func rewrite(s *scene, rel string, remade bool, f func(string) string) func(*bundle.Bundle) {
	return func(b *bundle.Bundle) {
		path := filepath.Join(b.Dir, rel)
		data, err := os.ReadFile(path)
		s.ok(err)
		now := []byte(f(string(data)))
		s.ok(os.WriteFile(path, now, 0o600))
		if !remade {
			return
		}
		for _, m := range []string{"manifest-sha256.txt", "tagmanifest-sha256.txt"} {
			text, err := os.ReadFile(filepath.Join(b.Dir, m))
			s.ok(err)
			for _, name := range []string{rel, "manifest-sha256.txt"} {
				file, err := os.ReadFile(filepath.Join(b.Dir, name))
				s.ok(err)
				sum := sha256.Sum256(file)
				text = regexp.MustCompile(`(?m)^[0-9a-f]{64}  `+regexp.QuoteMeta(name)+`$`).ReplaceAll(text, []byte(hex.EncodeToString(sum[:])+"  "+name))
			}
			s.ok(os.WriteFile(filepath.Join(b.Dir, m), text, 0o600))
		}
	}
}

func lines(f func(l []string) []string) func(string) string {
	return func(text string) string {
		return strings.Join(f(strings.Split(strings.TrimSuffix(text, "\n"), "\n")), "\n") + "\n"
	}
}

const custodyLog, firstSeal = "custody/log.jsonl", "custody/seal-000.dsse.json"

// TestTamperings lists what Eve may do with a package, and whether a receiver who has Ann's key and the authority's
// certificate sees it. What is not seen is what nothing signed covers; docs/format/handover.md says so.
func TestTamperings(t *testing.T) {
	entry := func(e bundle.Entry) func(s *scene) {
		return func(s *scene) { s.repack(func(b *bundle.Bundle) { _, _, err := b.AppendCustody(e); s.ok(err) }) }
	}
	file := func(rel string, remade bool, f func(string) string) func(s *scene) {
		return func(s *scene) { s.repack(rewrite(s, rel, remade, f)) }
	}
	remove := func(names ...string) func(s *scene) {
		return func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				for _, n := range names {
					s.ok(os.Remove(filepath.Join(b.Dir, n)))
				}
			})
		}
	}
	sealed := func(b *bundle.Bundle, s *scene) {
		_, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{s.eve}})
		s.ok(err)
	}
	add := func(name, text string) func(s *scene) {
		return func(s *scene) { s.ok(os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600)) }
	}
	replace := func(old, now string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, now, 1) }
	}
	first := newScene(t)
	if seen := first.receive(first.trust); len(seen) > 0 {
		t.Fatalf("the intact package: %q", seen)
	}
	all, found := 0, 0
	for _, tt := range []struct {
		name  string
		do    func(s *scene)
		found bool
	}{
		{"nothing is changed", func(s *scene) { s.repack(func(*bundle.Bundle) {}) }, false},
		// The custody log and the seals.
		{"an entry is added", entry(bundle.Entry{Event: "copied"}), true},
		{"an entry is added and sealed by Eve", func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				_, _, err := b.AppendCustody(bundle.Entry{Event: "copied"})
				s.ok(err)
				sealed(b, s)
			})
		}, true},
		{"Eve seals it", func(s *scene) { s.repack(func(b *bundle.Bundle) { sealed(b, s) }) }, true},
		{"Eve seals it twice", func(s *scene) { s.repack(func(b *bundle.Bundle) { sealed(b, s); sealed(b, s) }) }, true},
		{"an entry is dated back", entry(bundle.Entry{Event: "reviewed", Time: 1}), true},
		{"a legal hold is added", entry(bundle.Entry{Event: bundle.EventLegalHold}), true},
		{"a receipt is added", entry(bundle.Entry{Event: handover.EventReceived}), true},
		{"a seal is claimed", entry(bundle.Entry{Event: seal.EventSealed, Details: map[string]string{"file": "custody/seal-001.dsse.json"}}), true},
		{"a time stamp is claimed", entry(bundle.Entry{Event: seal.EventTimestamped, Details: map[string]string{"file": "custody/seal-001.tsr"}}), true},
		{"a proof of a log is claimed", entry(bundle.Entry{Event: seal.EventLogged, Details: map[string]string{"file": "custody/seal-000.tlog-proof"}}), true},
		{"the receiver's name is changed", file(custodyLog, false, replace("A. Auditor", "B. Auditor")), true},
		{"the log ends before the seal", file(custodyLog, false, lines(func(l []string) []string { return l[:2] })), true},
		{"the log begins after the first line", file(custodyLog, false, lines(func(l []string) []string { return l[1:] })), true},
		{"two lines are swapped", file(custodyLog, false, lines(func(l []string) []string { l[1], l[2] = l[2], l[1]; return l })), true},
		{"a line is repeated", file(custodyLog, false, lines(func(l []string) []string { return append(l, l[1]) })), true},
		{"a line is spelled another way", file(custodyLog, false, replace(`{"seq":1,`, `{ "seq":1,`)), true},
		{"the seal is removed", remove(firstSeal), true},
		{"the seal and its stamps are removed", remove(firstSeal, "custody/seal-000.tsr", "custody/seal-000.1.tsr"), true},
		{"the seal is removed, and called a failure", func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				s.ok(os.Remove(filepath.Join(b.Dir, firstSeal)))
				_, _, err := b.AppendCustody(bundle.Entry{Event: seal.EventFailed, Details: map[string]string{"file": firstSeal}})
				s.ok(err)
			})
		}, true},
		{"all of custody is removed, and begun again", func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				rewrite(s, custodyLog, false, lines(func(l []string) []string { return l[:1] }))(b)
				for _, n := range []string{firstSeal, "custody/seal-000.tsr", "custody/seal-000.1.tsr"} {
					s.ok(os.Remove(filepath.Join(b.Dir, n)))
				}
			})
		}, true},
		{"Eve's seal is in the place of Ann's", func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				rewrite(s, custodyLog, false, lines(func(l []string) []string { return l[:2] }))(b)
				for _, n := range []string{firstSeal, "custody/seal-000.tsr", "custody/seal-000.1.tsr"} {
					s.ok(os.Remove(filepath.Join(b.Dir, n)))
				}
				sealed(b, s)
			})
		}, true},
		{"a byte of the signature is changed", file(firstSeal, false, func(x string) string {
			i := strings.Index(x, `"sig": "`) + 12
			return x[:i] + string('A'+(x[i]-'A'+1)%26) + x[i+1:]
		}), true},
		{"the envelope is spelled another way", file(firstSeal, false, replace("{\n", "{ \n")), true},
		{"the seal of another bundle", func(s *scene) {
			sealed(s.other, s)
			data, err := s.other.ReadCustodyFile("seal-000.dsse.json")
			s.ok(err)
			s.repack(rewrite(s, firstSeal, false, func(string) string { return string(data) }))
		}, true},
		{"a file of an unknown kind in custody", func(s *scene) { s.repack(func(b *bundle.Bundle) { s.ok(b.AddCustodyFile("note.txt", []byte("x"))) }) }, true},
		// Time stamps.
		{"the time stamp is removed", remove("custody/seal-000.tsr"), true},
		{"the renewal is removed", remove("custody/seal-000.1.tsr"), true},
		{"the time stamps are swapped", func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				one, two := filepath.Join(b.Dir, "custody/seal-000.tsr"), filepath.Join(b.Dir, "custody/seal-000.1.tsr")
				s.ok(os.Rename(one, one+".x"))
				s.ok(os.Rename(two, one))
				s.ok(os.Rename(one+".x", two))
			})
		}, true},
		{"a renewal that the log does not have", func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				request, err := seal.StampRequest(b, "seal-000.dsse.json", 2)
				s.ok(err)
				s.ok(b.AddCustodyFile("seal-000.2.tsr", s.answer(request, s.tsa, s.tsaKey, time.Now())))
			})
		}, true},
		{"a renewal that is older than what it renews", func(s *scene) {
			s.repack(func(b *bundle.Bundle) { s.ok(s.stamp(b, 2, s.tsa, s.tsaKey, time.Now().Add(-30*time.Minute))) })
		}, true},
		{"a renewal by Eve's authority", func(s *scene) {
			cert, k := authorityOf(s.t)
			s.repack(func(b *bundle.Bundle) { s.ok(s.stamp(b, 2, cert, k, time.Now().Add(2*time.Minute))) })
		}, true},
		{"a renewal with a gap before it", func(s *scene) {
			s.repack(func(b *bundle.Bundle) {
				data, err := b.ReadCustodyFile("seal-000.1.tsr")
				s.ok(err)
				s.ok(b.AddCustodyFile("seal-000.3.tsr", data))
			})
		}, true},
		// The files of the bundle.
		{"a table is changed", file("data/tables/packets/part-000.parquet", false, func(x string) string { return x + "x" }), true},
		{"bundle.json is changed, with its manifests", file("data/bundle.json", true, replace(`"packets": `, `"packets": 1`)), true},
		{"README.html is changed, with its manifests", file("README.html", true, replace("<h1>", "<h1>x")), true},
		{"bag-info.txt is changed, with its manifests", file("bag-info.txt", true, func(x string) string { return x + "Contact-Name: Eve\n" }), true},
		{"open.sql is changed, with its manifests", file("data/open.sql", true, func(x string) string { return x + "\n" }), true},
		{"a file is added", func(s *scene) {
			s.repack(func(b *bundle.Bundle) { s.ok(os.WriteFile(filepath.Join(b.Dir, "note.txt"), nil, 0o600)) })
		}, true},
		// The package and its cover sheet.
		{"another bundle under the same cover", (*scene).under, true},
		{"another bundle, with the words and digits of the first in the page", func(s *scene) {
			s.under()
			s.ok(os.Remove(filepath.Join(s.dir, "cover.pdf")))
			s.ok(os.Remove(filepath.Join(s.dir, "cover.jsonld")))
		}, true},
		{"the words of another fingerprint", func(s *scene) {
			s.edit("cover.html", true, replace(handover.Words(s.fingerprint), handover.Words(bundle.Digest{})))
		}, true},
		{"one word is changed", func(s *scene) {
			w := strings.Fields(handover.Words(s.fingerprint))
			s.edit("cover.html", true, replace(w[0]+" "+w[1], w[1]+" "+w[0]))
		}, true},
		{"another QR code", func(s *scene) {
			s.edit("cover.html", true, func(x string) string { return strings.Replace(x, `d="M`, `d="M0 0h1v1h-1zM`, 1) })
		}, true},
		{"a second fingerprint", func(s *scene) {
			s.edit("cover.html", true, replace("</h1>", "</h1><p>SHA-256 "+strings.Repeat("01234567 ", 8)+"</p>"))
		}, true},
		{"a page with the sheet of another bundle", func(s *scene) { s.swapSheet("cover.html") }, true},
		{"a PDF with the sheet of another bundle", func(s *scene) { s.swapSheet("cover.pdf") }, true},
		{"a description of another bundle", func(s *scene) { s.swapSheet("cover.jsonld") }, true},
		{"no cover sheet", func(s *scene) {
			for _, n := range []string{"cover.html", "cover.pdf", "cover.jsonld"} {
				s.ok(os.Remove(filepath.Join(s.dir, n)))
			}
		}, true},
		{"one cover sheet is missing", func(s *scene) { s.ok(os.Remove(filepath.Join(s.dir, "cover.pdf"))) }, false},
		{"the sheet is not in the list", func(s *scene) {
			s.sums(lines(func(l []string) []string {
				return slices.DeleteFunc(l, func(x string) bool { return strings.HasSuffix(x, "cover.html") })
			}))
		}, true},
		{"another sheet beside", add("cover.txt", "fingerprint 00"), true},
		{"another report beside", add("report-better.html", "<p>0 of 369 calls failed</p>"), true},
		{"another part beside", add("shop.pcapsule.zip.999", "x"), true},
		{"a file beside", add("READ-ME-FIRST.html", "x"), true},
		{"the report is changed", func(s *scene) { s.edit("report-outage.html", false, replace("89", "9")) }, true},
		{"the report is changed, with its line", func(s *scene) { s.edit("report-outage.html", true, replace("89", "9")) }, true},
		{"the report is missing", func(s *scene) { s.ok(os.Remove(filepath.Join(s.dir, "report-outage.html"))) }, true},
		{"a part is cut", func(s *scene) { s.edit("shop.pcapsule.zip.001", false, func(x string) string { return x[1:] }) }, true},
		{"a part is cut, with its line", func(s *scene) { s.edit("shop.pcapsule.zip.001", true, func(x string) string { return x[:len(x)-1] }) }, true},
		{"the first part is missing", func(s *scene) { s.ok(os.Remove(filepath.Join(s.dir, "shop.pcapsule.zip.001"))) }, true},
		{"the time stamps' dates in the sheet are changed", func(s *scene) {
			s.edit("cover.html", true, func(x string) string { return strings.ReplaceAll(x, "existed at", "existed  at") })
		}, false},
		{"the sheet's note is changed", func(s *scene) { s.edit("cover.html", true, replace("Known losses", "Known  losses")) }, false},
		{"everything is made by Eve", func(s *scene) { sealed(s.other, s); s.pack(s.other) }, true},
	} {
		s := first.copied(t)
		tt.do(s)
		if seen := s.receive(s.trust); (len(seen) > 0) != tt.found {
			t.Errorf("%s: seen %q, want found %v", tt.name, seen, tt.found)
		}
		if tt.name != "nothing is changed" {
			all++
		}
		if tt.found {
			found++
		}
	}
	t.Logf("%d of %d tamperings are found", found, all)
}

// copied is the scene before anything was changed.
func (s *scene) copied(t *testing.T) *scene {
	c, work := *s, t.TempDir()
	c.t, c.dir = t, filepath.Join(work, "package")
	c.ok(os.CopyFS(c.dir, os.DirFS(s.dir)))
	c.ok(os.CopyFS(filepath.Join(work, s.name), os.DirFS(s.other.Dir)))
	var err error
	c.other, err = bundle.Open(filepath.Join(work, s.name))
	c.ok(err)
	return &c
}

// swapSheet puts a sheet of another bundle in the place of this one.
func (s *scene) swapSheet(name string) {
	first := s.dir
	s.pack(s.other)
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	s.ok(err)
	s.dir = first
	s.edit(name, true, func(string) string { return string(data) })
}

// TestWithoutKeys: a receiver who has neither a key nor a fingerprint cannot tell Eve's package from Ann's. The output says that the
// signer is unknown.
func TestWithoutKeys(t *testing.T) {
	s := newScene(t)
	if _, err := seal.Sign(ctx, s.other, seal.Options{Signers: []seal.Signer{s.eve}}); err != nil {
		t.Fatal(err)
	}
	s.pack(s.other)
	if got := fmt.Sprint(s.receive(seal.Trust{})); !strings.Contains(got, "an unknown key") {
		t.Errorf("%s", got)
	}
}

// TestFingerprints reads fingerprints as people pass them on.
func TestFingerprints(t *testing.T) {
	d := bundle.Digest(sha256.Sum256([]byte("x")))
	words := handover.Words(d)
	for _, text := range []string{d.String(), strings.ToUpper(d.String()), "sha256:" + d.String(), words, strings.ToUpper(words), "  " + strings.ReplaceAll(words, " ", "\n"), d.String()[:8] + " " + d.String()[8:]} {
		if got, err := handover.ParseFingerprint(text); err != nil || got != d {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	w := strings.Fields(words)
	for _, text := range []string{"", "00", words + " zoo", strings.Join(w[:23], " "), strings.Join(append(slices.Clone(w[1:]), w[0]), " "), d.String()[1:], "x" + d.String()[1:]} {
		if got, err := handover.ParseFingerprint(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
