package derive_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// TestWhatIsRevealedIsWhatWasSealed reveals each packet, and each call, of an original to somebody
// who has a redacted bundle, and then changes what is revealed.
func TestWhatIsRevealedIsWhatWasSealed(t *testing.T) {
	ctx := context.Background()
	s := newScene(t)
	s.talk(80, say{data: request("X-Api-Key: abcdefgh-12345678\r\n", strings.Repeat("first ", 500))}, answer("", "one"))
	s.talk(80, say{data: request("", "second")}, answer("", "two"))
	b := bundleOf(t, s.save())
	b.Manifest.Accounts.AddCounter("keys", "secrets", 1) // as if keys had decrypted the calls
	seed, trust := sealed(t, b)
	o := quiet
	o.Seed = seed
	out := filepath.Join(t.TempDir(), "redacted.pcapsule")
	if _, err := derive.Redact(ctx, b, out, derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}, o); err != nil {
		t.Fatal(err)
	}
	d := opened(t, out)
	verdict := func(r *commit.Reveal) seal.Verdict {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "reveal.json")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		list := derive.Verify(ctx, d, trust, file)
		return list[len(list)-1]
	}
	changed, shown := 0, ""
	for no := range b.Manifest.Accounts.Packets {
		r, err := derive.RevealPacket(ctx, b, seed, no)
		if err != nil {
			t.Fatal(err)
		}
		v := verdict(r)
		if v.Check != "revealed" || v.State != seal.Yes {
			t.Fatalf("packet %d: %+v", no, v)
		}
		if strings.HasSuffix(v.Detail, "in this bundle it is changed") {
			changed++
			for _, g := range r.Groups {
				shown += string(g.Bytes)
			}
		}
	}
	if changed != 1 || !strings.Contains(shown, "abcdefgh-12345678") {
		t.Errorf("%d changed packets were revealed: %q", changed, shown)
	}
	r, err := derive.RevealRow(ctx, b, seed, "calls", 0, []string{"request", "request_headers"})
	if err != nil {
		t.Fatal(err)
	}
	if v := verdict(r); v.State != seal.Yes || !strings.Contains(v.Detail, "it shows request_headers, request") {
		t.Errorf("%+v", v)
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), "abcdefgh-12345678") || strings.Contains(string(text), "10.0.0.1") {
		t.Errorf("%v: revealed %s", err, text)
	}
	for what, change := range map[string]func(r *commit.Reveal){
		"another index":         func(r *commit.Reveal) { r.Index++ },
		"another table":         func(r *commit.Reveal) { r.Table = "flows" },
		"another value":         func(r *commit.Reveal) { r.Groups[7].Text = strings.Replace(r.Groups[7].Text, "POST", "PUT", 1) },
		"another salt":          func(r *commit.Reveal) { r.Groups[7].Salt[0] ^= 1 },
		"the path cut":          func(r *commit.Reveal) { r.Path = r.Path[1:] },
		"groups swapped":        func(r *commit.Reveal) { r.Groups[5], r.Groups[7] = r.Groups[7], r.Groups[5] },
		"a group under another": func(r *commit.Reveal) { r.Groups[7].Name = "response" },
		"a group left out":      func(r *commit.Reveal) { r.Groups = r.Groups[:9] },
		"a leaf beside a text":  func(r *commit.Reveal) { r.Groups[7].Leaf = r.Groups[0].Leaf },
	} {
		var bad commit.Reveal
		if err := json.Unmarshal(text, &bad); err != nil {
			t.Fatal(err)
		}
		change(&bad)
		if v := verdict(&bad); v.State != seal.No {
			t.Errorf("%s: %+v", what, v)
		}
	}
	other := *seed
	other.Seed = commit.NewSeed()
	if _, err := derive.RevealPacket(ctx, b, &other, 1); !errors.Is(err, derive.ErrSeed) {
		t.Errorf("a seed of no seal: %v", err)
	}
}
