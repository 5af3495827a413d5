package derive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
)

func opened(t *testing.T, path string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := exporter.Rederive(context.Background(), b, exporter.Options{Release: "test"})
	if err != nil || !again.OK() {
		t.Fatalf("the derived bundle does not rederive: %v %+v", err, again)
	}
	return b
}

var quiet = derive.Options{Exporter: tables{exporter.Options{Release: "test", Repanic: true}}}

func TestCutKeepsConnectionsByteForByte(t *testing.T) {
	s := newScene(t)
	s.talk(80, say{data: request("", "first")}, answer("", "one"))
	s.talk(80, say{data: request("", "second")}, answer("", "two"))
	b := bundleOf(t, s.save())
	out := filepath.Join(t.TempDir(), "cut.pcapsule")
	r, err := derive.Cut(context.Background(), b, out, derive.Choice{Conns: map[int64]bool{1: true}}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	d := opened(t, out)
	if r.Derived.Packets.Unchanged == 0 || r.Derived.Packets.Unchanged+r.Derived.Packets.Removed != b.Manifest.Accounts.Packets {
		t.Errorf("packets %+v of %d", r.Derived.Packets, b.Manifest.Accounts.Packets)
	}
	if d.Manifest.Calls["http1"] != 1 || derive.Find(context.Background(), d, "second") == "" || derive.Find(context.Background(), d, "first") != "" {
		t.Errorf("calls %v", d.Manifest.Calls)
	}
	was, err := os.ReadFile(b.Path(b.Manifest.Inputs[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile(d.Path(d.Manifest.Inputs[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	// One conversation is one stretch of the file, behind the section and the interface.
	head := bytes.Index(is, []byte("\x06\x00\x00\x00"))
	if !bytes.Contains(was, is[head:]) {
		t.Error("the kept packets are not those of the original, byte for byte")
	}
	if d.Manifest.Derived == nil || d.Manifest.Derived.From.TagManifest == nil {
		t.Errorf("the cut does not say what it was made from: %+v", d.Manifest.Derived)
	}
}

func TestCutOfATime(t *testing.T) {
	s := newScene(t)
	s.talk(80, say{data: request("", "first")}, answer("", "one"))
	middle := s.at
	s.talk(80, say{data: request("", "second")}, answer("", "two"))
	b := bundleOf(t, s.save())
	out := filepath.Join(t.TempDir(), "cut.pcapsule")
	if _, err := derive.Cut(context.Background(), b, out, derive.Choice{ToNs: middle}, quiet); err != nil {
		t.Fatal(err)
	}
	if d := opened(t, out); derive.Find(context.Background(), d, "second") != "" || derive.Find(context.Background(), d, "first") == "" {
		t.Error("the cut is not the first half")
	}
	none := filepath.Join(t.TempDir(), "none.pcapsule")
	if _, err := derive.Cut(context.Background(), b, none, derive.Choice{ToNs: 1}, quiet); !errors.Is(err, derive.ErrNothing) {
		t.Errorf("a cut of nothing: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(none), "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMergeAddsNames(t *testing.T) {
	s := newScene(t)
	s.talk(80, say{data: request("", "first")}, answer("", "one"))
	b := bundleOf(t, s.save())
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("10.0.0.2 checkout.shop.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := quiet
	o.Hosts = []string{hosts}
	out := filepath.Join(t.TempDir(), "merged.pcapsule")
	if _, err := derive.Merge(context.Background(), b, out, o); err != nil {
		t.Fatal(err)
	}
	d := opened(t, out)
	if place := derive.Find(context.Background(), d, "checkout.shop.example"); !strings.HasPrefix(place, "endpoints") {
		t.Errorf("the name is in %q", place)
	}
	if d.Manifest.Inputs[0].SHA256 != b.Manifest.Inputs[0].SHA256 {
		t.Error("the packets changed")
	}
}

func TestAChangedBundleIsNoticed(t *testing.T) {
	s := newScene(t)
	s.talk(80, say{data: request("X-Api-Key: abcdefgh-12345678\r\n", "first")}, answer("", "one"))
	b := bundleOf(t, s.save())
	path := b.Path(b.Manifest.Inputs[0].Path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte("first"), []byte("worst"), 1)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}
	if _, err := derive.Redact(context.Background(), b, filepath.Join(dir, "a.pcapsule"), r, quiet); !errors.Is(err, derive.ErrChanged) {
		t.Errorf("redact: %v", err)
	}
	if _, err := derive.Cut(context.Background(), b, filepath.Join(dir, "b.pcapsule"), derive.Choice{FromNs: 1}, quiet); !errors.Is(err, derive.ErrChanged) {
		t.Errorf("cut: %v", err)
	}
	o := quiet
	o.Hosts = []string{os.DevNull}
	if _, err := derive.Merge(context.Background(), b, filepath.Join(dir, "c.pcapsule"), o); err == nil {
		t.Error("merge took packets that changed")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAPolicyThatFindsNothing(t *testing.T) {
	s := newScene(t)
	s.talk(80, say{data: request("", "first")}, answer("", "one"))
	b := bundleOf(t, s.save())
	r := derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}
	if _, err := derive.Redact(context.Background(), b, filepath.Join(t.TempDir(), "a.pcapsule"), r, quiet); !errors.Is(err, derive.ErrNothing) {
		t.Errorf("%v", err)
	}
}

// reported lists how the calls of protocol udp ended, and marks their connections.
func reported(t *testing.T, b *bundle.Bundle, conns map[int64]bool) (list []string) {
	t.Helper()
	files := bundle.TableParts(b.Payload(), b.Path)["calls/protocol=udp"]
	err := parts.Each(context.Background(), files, []string{"conn_id", "outcome", "error", "waited_us"}, func(v []any) error {
		conns[v[0].(int64)] = true
		list = append(list, fmt.Sprint(v[1:]...))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestReportsStay: a call that an ICMP error ended has the same outcome in a derived bundle. A cut keeps the error, and a
// redaction replaces the addresses that it quotes by those of the conversation.
func TestReportsStay(t *testing.T) {
	b := bundleOf(t, "../../samples/icmp.pcap")
	conns := map[int64]bool{}
	want := reported(t, b, conns)
	if len(want) != 1 || !strings.HasPrefix(want[0], "refused") {
		t.Fatalf("calls by UDP in the sample: %v", want)
	}
	out := t.TempDir()
	if _, err := derive.Cut(context.Background(), b, filepath.Join(out, "cut.pcapsule"), derive.Choice{Conns: conns}, quiet); err != nil {
		t.Fatal(err)
	}
	cut := opened(t, filepath.Join(out, "cut.pcapsule"))
	if cut.Manifest.Accounts.Packets != 2 {
		t.Errorf("the cut has %d packets, want the request and the error", cut.Manifest.Accounts.Packets)
	}
	o := quiet
	o.Seed, _ = sealed(t, b)
	if _, err := derive.Redact(context.Background(), b, filepath.Join(out, "redacted.pcapsule"), derive.Redaction{Policy: removalOf(t, pseudonymPolicy), Text: []byte(pseudonymPolicy)}, o); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*bundle.Bundle{cut, opened(t, filepath.Join(out, "redacted.pcapsule"))} {
		if got := reported(t, d, conns); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", d.Manifest.Derived.Kind, got, want)
		}
	}
}
