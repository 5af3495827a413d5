package seal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// append adds entries to a custody log; an entry "sealed" is a real seal by a stranger.
func appended(t testing.TB, b *bundle.Bundle, stranger seal.Signer, events ...string) {
	t.Helper()
	for _, e := range events {
		if e == seal.EventSealed {
			must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{stranger}}))(t)
			continue
		}
		if _, _, err := b.AppendCustody(bundle.Entry{Event: e}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNewestSealIsTrusted appends entries after a seal and seals them with other keys. The note that they are not signed stays.
func TestNewestSealIsTrusted(t *testing.T) {
	ann, eve := ed(t, "Ann"), ed(t, "Eve")
	for _, tt := range []struct {
		name    string
		events  []string
		trusted string // with Ann's key
		any     string // without a key
	}{
		{"nothing", nil, "", ""},
		{"one entry", []string{"copied"}, "1 entry was added after the newest seal of a key that you gave and is not signed (copied)", "1 entry was added after the newest seal and is not signed (copied)"},
		{"an entry and a seal by a stranger", []string{"copied", "sealed"}, "2 entries were added after the newest seal of a key that you gave and are not signed (copied, sealed)", ""},
		{"seals by a stranger", []string{"sealed", "sealed"}, "2 entries were added after the newest seal of a key that you gave and are not signed (sealed)", ""},
		{"an entry after a stranger's seal", []string{"sealed", "reviewed"}, "2 entries were added after the newest seal of a key that you gave and are not signed (sealed, reviewed)", "1 entry was added after the newest seal and is not signed (reviewed)"},
	} {
		b := made(t, "http1.pcapng")
		must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann}, Request: seal.Request{CaseID: "4711"}}))(t)
		appended(t, b, eve, tt.events...)
		r := must(bundle.Verify(ctx, b.Dir, nil))(t)
		for _, x := range []struct {
			trust seal.Trust
			want  string
		}{{seal.Trust{Signers: []seal.Party{ann.Party}}, tt.trusted}, {seal.Trust{}, tt.any}} {
			_, list := seal.CheckSigned(ctx, r, x.trust)
			if got := strings.Join(seal.Uncovered(r, list, x.trust), "; "); got != x.want {
				t.Errorf("%s: %q, want %q", tt.name, got, x.want)
			}
		}
		s, file := seal.Newest(ctx, r, seal.Trust{Signers: []seal.Party{ann.Party}})
		if s == nil || file != "custody/seal-000.dsse.json" || s.Predicate.Request.CaseID != "4711" {
			t.Errorf("%s: the newest seal of Ann is %s", tt.name, file)
		}
		if s, _ := seal.Newest(ctx, r, seal.Trust{Signers: []seal.Party{ed(t, "Bob").Party}}); s != nil {
			t.Errorf("%s: Bob signed nothing", tt.name)
		}
	}
}

// TestOneLineForEachSigner: who, trusted or not, and what the signature covers.
func TestOneLineForEachSigner(t *testing.T) {
	b := made(t, "http1.pcapng")
	ann, bob := ed(t, "Ann"), ed(t, "Bob")
	must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann, bob}}))(t)
	appended(t, b, bob, "copied", "sealed")
	got := verdictsOf(t, b, "signature", seal.Trust{Signers: []seal.Party{ann.Party}})
	want := []string{
		"yes signed by " + ann.Party.String() + ", a key that you gave; covers every file outside of custody/, and entries 1 to 2 of 4 of the custody log",
		"not_checked signed by " + bob.Party.String() + ", an unknown key; covers every file outside of custody/, and entries 1 to 2 of 4 of the custody log; compare",
		"not_checked signed by " + bob.Party.String() + ", an unknown key; covers every file outside of custody/, and all 4 entries of the custody log; compare",
	}
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), got)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("line %d: %s\nwant %s", i+1, lines[i], want[i])
		}
	}
}

// TestBackdatedEntries notes entries that are dated before those above them.
func TestBackdatedEntries(t *testing.T) {
	b := made(t, "http1.pcapng")
	day := func(n int) bundle.Time { return bundle.Time(time.Date(2036, 1, n, 0, 0, 0, 0, time.UTC).UnixNano()) }
	for i, n := range []int{5, 7, 6, 7, 1, 2, 3} {
		if _, _, err := b.AppendCustody(bundle.Entry{Event: "copied", Time: day(n)}); err != nil {
			t.Fatal(i, err)
		}
	}
	r := must(bundle.Verify(ctx, b.Dir, nil))(t)
	got := seal.Uncovered(r, nil, seal.Trust{})
	want := []string{"entry 4 (copied) is dated 2036-01-06T00:00:00.000000000Z, before entry 3 above it", "entry 6 (copied) is dated 2036-01-01", "entry 7 (copied)", "1 more entry is dated before one above"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%s\nwant %s", got[i], want[i])
		}
	}
}
