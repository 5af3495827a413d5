package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// TestForgedSeals replaces the seal of a bundle by one that a signer, or somebody else, made with other
// tools. Each must be refused, because another verifier would say something else.
func TestForgedSeals(t *testing.T) {
	b := makeWith(t, "dns.pcap", func() *bundle.Digest { return &bundle.Digest{5} })
	ann, bob, eve := ed(t, "Ann"), ed(t, "Bob"), ed(t, "Eve")
	if _, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann, bob}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.Dir, "custody/seal-000.dsse.json")
	intact := must(os.ReadFile(path))(t)
	var was dsse.Envelope
	if err := json.Unmarshal(intact, &was); err != nil {
		t.Fatal(err)
	}
	payload := string(must(was.DecodeB64Payload())(t))
	sig := func(s seal.Signer, id, kind, text string) dsse.Signature {
		raw := must(s.Sign(ctx, dsse.PAE(kind, []byte(text))))(t)
		return dsse.Signature{KeyID: id, Sig: base64.StdEncoding.EncodeToString(raw)}
	}
	// both is an envelope that Ann and Bob really signed.
	both := func(kind, text string) dsse.Envelope {
		return dsse.Envelope{PayloadType: kind, Payload: base64.StdEncoding.EncodeToString([]byte(text)),
			Signatures: []dsse.Signature{sig(ann, ann.Party.KeyID, kind, text), sig(bob, bob.Party.KeyID, kind, text)}}
	}
	zero := strings.Repeat("0", 64)
	subjects := payload[strings.Index(payload, `"subject":`):strings.Index(payload, `,"predicateType"`)]
	others := strings.ReplaceAll(subjects, subjects[strings.Index(subjects, `"sha256":"`)+10:][:64], zero)
	if others == subjects {
		t.Fatal("no subject was changed")
	}
	replaced := func(old, text string) dsse.Envelope {
		if !strings.Contains(payload, old) {
			t.Fatalf("%s is not in the statement", old)
		}
		return both(seal.PayloadType, strings.Replace(payload, old, text, 1))
	}
	change := func(f func(e *dsse.Envelope)) dsse.Envelope {
		e := both(seal.PayloadType, payload)
		f(&e)
		return e
	}
	for _, tt := range []struct {
		name string
		e    dsse.Envelope
		ok   bool
	}{
		{"the same again", both(seal.PayloadType, payload), true},
		{"other subjects before", replaced(subjects, others+","+subjects), false},
		{"other subjects, and ours in capitals", replaced(subjects, others+`,"Subject":`+subjects[10:]), false},
		{"other subjects, and ours with a long s", replaced(subjects, others+`,"ſubject":`+subjects[10:]), false},
		{"subjects in capitals alone", replaced(`"subject":`, `"SUBJECT":`), false},
		{"digests in capitals alone", replaced(`"sha256":`, `"SHA256":`), false},
		{"two digests of a subject", replaced(`"digest":{`, `"digest":{"sha512":"00",`), false},
		{"another type of statement, and ours in capitals", replaced(`"_type":"`+seal.StatementType+`"`, `"_type":"x","_TYPE":"`+seal.StatementType+`"`), false},
		{"two predicates", replaced(`"predicate":`, `"predicate":{},"predicate":`), false},
		{"another program that made the bundle", replaced(`"sha256":"05`, `"sha256":"06`), false},
		{"two signers in the record", replaced(`"signers":`, `"signers":[],"signers":`), false},
		{"more after the statement", both(seal.PayloadType, payload+`{}`), false},
		{"another type of payload", both("application/json", payload), false},
		{"a signature for another type", change(func(e *dsse.Envelope) { e.Signatures[0] = sig(ann, ann.Party.KeyID, "application/json", payload) }), false},
		{"a signature of the payload without its type", change(func(e *dsse.Envelope) {
			raw := must(ann.Sign(ctx, []byte(payload)))(t)
			e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(raw)
		}), false},
		{"a signature by another key with the same id", change(func(e *dsse.Envelope) { e.Signatures[1] = sig(eve, bob.Party.KeyID, seal.PayloadType, payload) }), false},
		{"one of two signatures is of another statement", change(func(e *dsse.Envelope) { e.Signatures[1] = sig(bob, bob.Party.KeyID, seal.PayloadType, payload+" ") }), false},
		{"one signer twice", change(func(e *dsse.Envelope) { e.Signatures[1] = e.Signatures[0] }), false},
		{"a signature without a key id", change(func(e *dsse.Envelope) { e.Signatures[1].KeyID = "" }), false},
		{"a third signature", change(func(e *dsse.Envelope) {
			e.Signatures = append(e.Signatures, sig(eve, eve.Party.KeyID, seal.PayloadType, payload))
		}), false},
		{"a third signature that is empty", change(func(e *dsse.Envelope) { e.Signatures = append(e.Signatures, dsse.Signature{KeyID: ann.Party.KeyID}) }), false},
		{"no signature", change(func(e *dsse.Envelope) { e.Signatures = nil }), false},
		{"a record with more packets", replaced(`"packets":`, `"packets":1`), false},
		{"a record with more packets that are not IP", replaced(`"not_ip_packets":`, `"not_ip_packets":7`), false},
		{"a record of an older release, with other packets among the losses", replaced(`"losses":{`, `"losses":{"not_ip_packets":4,`), true},
		{"a wrong record of an older release", replaced(`"losses":{`, `"losses":{"not_ip_packets":3,`), false},
		{"a record with more files that count nothing", replaced(`"uncounted_files":1`, `"uncounted_files":2`), false},
		{"a record of another input", replaced(`"inputs":[{"name":"`, `"inputs":[{"name":"x`), false},
		{"a record without inputs", replaced(`"inputs":[{`, `"inputs":[],"was":[{`), false},
		{"a record of another program", replaced(`"tool":{"name":"`, `"tool":{"name":"x`), false},
		{"a record with calls that nobody made", replaced(`"calls":{`, `"calls":{"aaa":1,`), false},
		{"a record with a warning less", replaced(`"warnings":`, `"warnings":["x"],"was":`), false},
		{"a record of a filter", replaced(`"filters":{`, `"filters":{"bpf":"tcp",`), false},
		{"a record with a program in the kernel", replaced(`"inputs":[{`, `"inputs":[{"segment":{"ring":"r","sequence":1,"programs":[{"name":"tc","sha256":"`+zero+`"}]},`), false},
		{"a record of a later release, with a field more", replaced(`"packets":`, `"later":1,"packets":`), true},
		{"base64 for URLs", change(func(e *dsse.Envelope) { e.Payload = strings.NewReplacer("+", "-", "/", "_").Replace(e.Payload) + "\n" }), false},
	} {
		data := append(must(json.MarshalIndent(tt.e, "", " "))(t), '\n')
		if tt.name == "the same again" && !bytes.Equal(data, intact) {
			t.Error("the test does not write envelopes as a seal does")
		}
		put(t, b.Dir, "custody/seal-000.dsse.json", string(data))
		trust := seal.Trust{Signers: []seal.Party{ann.Party, bob.Party}}
		if f := faults(t, b.Dir, trust); (len(f) == 0) != tt.ok {
			t.Errorf("%s: faults %q", tt.name, f)
		}
	}
	doubled := strings.Replace(string(intact), `"payload":`, fmt.Sprintf("%q: %q,\n \"payload\":", "payload", base64.StdEncoding.EncodeToString([]byte("{}"))), 1)
	put(t, b.Dir, "custody/seal-000.dsse.json", doubled)
	if len(faults(t, b.Dir, seal.Trust{})) == 0 {
		t.Error("an envelope with two payloads")
	}
}
