package lake

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestClocksThatDiffer: a writer whose clock differs from the catalog's changes nothing, so it cannot lock
// out the others; one that finds a change of the future says so.
func TestClocksThatDiffer(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	first := add(t, l, p.push("redis"))
	dns := p.push("dns")
	before := sums(t, p.dir)
	for off, want := range map[time.Duration]string{time.Hour: "1h0m0s ahead", -45 * time.Second: "45s behind"} {
		l.now = func() time.Time { return time.Now().Add(off) }
		for name, change := range map[string]func() error{
			"add": func() error { _, _, err := l.Add(t.Context(), dns, "prod", nil); return err },
			"expire": func() error {
				_, _, err := l.Expire(t.Context(), time.Now(), func(Bundle) bool { return true })
				return err
			},
		} {
			if err := change(); !errors.Is(err, ErrClock) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s by a clock that is %s off: %v", name, off, err)
			}
		}
	}
	if after := sums(t, p.dir); !same(before, after) {
		t.Error("a writer with a wrong clock changed something")
	}
	l.now = func() time.Time { return time.Now().Add(-20 * time.Second) }
	if list, err := l.Bundles(t.Context()); err != nil || len(list) != 1 || list[0].ID != first.ID {
		t.Fatalf("%+v %v", list, err)
	}
	add(t, l, dns)
	l.now = time.Now

	tomorrow(t, p, l, "calls")
	_, _, err := l.Add(t.Context(), p.push("shop"), "prod", nil)
	if !errors.Is(err, ErrClock) || !strings.Contains(err.Error(), "another program changed table calls at "+time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)) {
		t.Errorf("after a change of the future: %v", err)
	}
}

// tomorrow moves the newest times of a table's metadata a day ahead, as a program with such a clock leaves them.
func tomorrow(t *testing.T, p *place, l *Lake, name string) {
	t.Helper()
	tab, err := l.load(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(tab.MetadataLocation(), "file://")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newest := strconv.FormatInt(tab.Metadata().LastUpdatedMillis(), 10)
	later := strconv.FormatInt(tab.Metadata().LastUpdatedMillis()+(24*time.Hour).Milliseconds(), 10)
	changed := regexp.MustCompile(`\b`+newest+`\b`).ReplaceAll(text, []byte(later))
	if bytes.Equal(changed, text) {
		t.Fatalf("%s has no %s", filepath.Base(path), newest)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}
