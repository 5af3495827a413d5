package ring

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCrashStatesWhatWasOnItsWay checks that Verify and the next start state the packets that
// the kernel had counted at the last seal, but no record accounts for.
func TestCrashStatesWhatWasOnItsWay(t *testing.T) {
	top := t.TempDir()
	dir, crashed := filepath.Join(top, "ring"), filepath.Join(top, "crashed")
	w := create(t, Options{Dir: dir})
	waiting := uint64(12)
	counted := func(kernel bool) SeriesOptions {
		return SeriesOptions{Name: "sockets", LinkType: 276, Account: func(k Totals) Account {
			c := Counters{Seen: k.Kept, Delivered: k.Kept}
			if kernel {
				c.Kernel = 100 + waiting // of both series
			}
			return Account{Counters: &c}
		}}
	}
	s, err := w.Series(counted(true))
	must(t, err)
	aged := counted(false)
	aged.Name = AgedSeries("sockets", 1e6*3600e9)
	hour, err := w.Series(aged)
	must(t, err)
	fill(t, w, hour, declare(t, hour, "b"), 0, 4)
	fill(t, w, s, declare(t, s, "a"), 4, 6)
	must(t, w.Seal(context.Background()))
	must(t, os.CopyFS(crashed, os.DirFS(dir)))
	const text = "the kernel had seen 112 packets, of which 12 were not accounted for yet"

	v, err := Verify(crashed, VerifyOptions{})
	must(t, err)
	if notes := strings.Join(v.Notes, "\n"); !strings.Contains(notes, text) {
		t.Errorf("notes %q", notes)
	}
	finish(t, create(t, Options{Dir: crashed}))
	v, err = Verify(crashed, VerifyOptions{})
	must(t, err)
	if len(v.Holes) != 1 || !strings.Contains(v.Holes[0].Detail, text) || len(v.Notes) > 0 {
		t.Errorf("gaps %+v, notes %q", v.Holes, v.Notes)
	}

	finish(t, w)
	finish(t, create(t, Options{Dir: dir}))
	v, err = Verify(dir, VerifyOptions{})
	must(t, err)
	if len(v.Holes) != 1 || strings.Contains(v.Holes[0].Detail, "kernel") || len(v.Notes) > 0 {
		t.Errorf("stopped properly: gaps %+v, notes %q", v.Holes, v.Notes)
	}
}
