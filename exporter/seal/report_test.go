package seal_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// wrong lists the verdicts about a report that are no.
func wrong(list []seal.Verdict) (out []string) {
	for _, v := range list {
		if v.State == seal.No {
			out = append(out, v.Detail)
		}
	}
	return out
}

func TestSignedReport(t *testing.T) {
	ann, bob, other := ed(t, "Ann"), signer(t, "Bob", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)), ed(t, "Cid")
	subjects := func(report, tag byte) []seal.Subject {
		return seal.ReportSubjects("incident.html", bundle.Digest{report}, []string{"a.pcapsule"}, []bundle.Digest{{tag}})
	}
	record := seal.ReportRecord{SignedAt: 7, Title: "a", Kind: "Incident report"}
	envelope := must(seal.SignReport(ctx, subjects(1, 2), record, []seal.Signer{ann, bob}))(t)
	b := made(t, "dns.pcap")
	sealed := must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann}}))(t)
	sealOf := must(os.ReadFile(filepath.Join(b.Dir, sealed.File)))(t)
	check := func(data []byte, s []seal.Subject, keys ...seal.Signer) []string {
		var trust seal.Trust
		for _, k := range keys {
			trust.Signers = append(trust.Signers, k.Party)
		}
		return wrong(seal.CheckReport(ctx, []seal.ReportEnvelope{{Place: "incident.html.dsse.json", Text: data}}, s, trust))
	}
	if w := check(envelope, subjects(1, 2), ann, bob); len(w) > 0 {
		t.Errorf("an intact report: %q", w)
	}
	for name, tt := range map[string]struct {
		got  []string
		want string
	}{
		"another report":        {check(envelope, subjects(3, 2)), "incident.html has SHA-256 01"},
		"another bundle":        {check(envelope, subjects(1, 3)), "a.pcapsule/tagmanifest-sha256.txt"},
		"a bundle more":         {check(envelope, append(subjects(1, 2), subjects(1, 2)[1])), "2 subjects instead of 3"},
		"a key that did not":    {check(envelope, subjects(1, 2), other), "did not sign this report"},
		"a seal of a bundle":    {check(sealOf, subjects(1, 2)), "not one about a report"},
		"no envelope":           {check([]byte("{}\n"), subjects(1, 2)), "written again"},
		"a signature less":      {check(edited(t, envelope, func(e *dsse.Envelope) { e.Signatures = e.Signatures[:1] }), subjects(1, 2)), "1 signatures of 2 signers"},
		"a signature of others": {check(edited(t, envelope, func(e *dsse.Envelope) { e.Signatures[0].Sig = e.Signatures[1].Sig }), subjects(1, 2)), "is wrong"},
	} {
		if len(tt.got) != 1 || !strings.Contains(tt.got[0], tt.want) {
			t.Errorf("%s: %q, want %q", name, tt.got, tt.want)
		}
	}
	for i := range envelope {
		data := bytes.Clone(envelope)
		data[i] ^= 1
		if len(check(data, subjects(1, 2), ann, bob)) == 0 {
			t.Fatalf("byte %d was changed, and nothing was found", i)
		}
	}
	if _, err := seal.SignReport(ctx, subjects(1, 2), record, []seal.Signer{ann, ann}); !errors.Is(err, seal.ErrSameKey) {
		t.Errorf("one key twice: %v", err)
	}
	if _, err := seal.SignReport(ctx, subjects(1, 2), record, nil); err == nil {
		t.Error("a report was signed without a key")
	}
}

// TestSignedReportIsInToto reads a signature as other programs do.
func TestSignedReportIsInToto(t *testing.T) {
	ann := ed(t, "Ann")
	b := made(t, "dns.pcap")
	report := must(bundle.Verify(ctx, b.Dir, nil))(t)
	envelope := must(seal.SignReport(ctx, seal.ReportSubjects("r.html", bundle.Digest{1}, []string{"b.pcapsule"}, []bundle.Digest{report.TagManifest}), seal.ReportRecord{}, []seal.Signer{ann}))(t)
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(ann.Party.PublicKey))
	key := must(x509.ParsePKIXPublicKey(block.Bytes))(t).(ed25519.PublicKey)
	verifier := must(dsse.NewEnvelopeVerifier(public{ann.Party.KeyID, key}))(t)
	accepted := must(verifier.Verify(ctx, &e))(t)
	if len(accepted) != 1 || e.PayloadType != seal.PayloadType {
		t.Fatalf("%d signatures of type %s", len(accepted), e.PayloadType)
	}
	var statement struct {
		Type    string `json:"_type"`
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(must(e.DecodeB64Payload())(t), &statement); err != nil {
		t.Fatal(err)
	}
	sealed := must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann}}))(t)
	if statement.Type != seal.StatementType || statement.Subject[1].Digest["sha256"] != sealed.Statement.Subject[0].Digest.SHA256.String() {
		t.Errorf("the report and the seal of its bundle have no common subject: %+v", statement)
	}
}

// public is an Ed25519 key as another program has it.
type public struct {
	id  string
	key ed25519.PublicKey
}

func (p public) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(p.key, data, sig) {
		return errors.New("wrong")
	}
	return nil
}
func (p public) KeyID() (string, error)   { return p.id, nil }
func (p public) Public() crypto.PublicKey { return p.key }

// edited changes an envelope and writes it as SignReport does.
func edited(t *testing.T, envelope []byte, edit func(*dsse.Envelope)) []byte {
	t.Helper()
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	edit(&e)
	return append(must(json.MarshalIndent(&e, "", " "))(t), '\n')
}
