package ring

import (
	"path/filepath"
	"testing"
)

func TestAbsent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	gap := Hole{Reason: "missing", From: 10, To: 20, Packets: -1, Detail: "node b: it does not answer"}
	must(t, Absent(dir, "b", "test", gap))
	r, err := Open(dir)
	must(t, err)
	if len(r.Holes) != 1 || r.Holes[0].Detail != gap.Detail || r.Holes[0].From != 10 || r.Holes[0].To != 20 || r.Node != "b" || len(r.Segments) != 0 {
		t.Errorf("%+v", r)
	}
	if rep := verified(t, dir); !rep.OK() {
		t.Errorf("%v", rep.Problems)
	}
	if Absent(dir, "b", "test", gap) == nil {
		t.Error("an existing folder is replaced")
	}
	if r, err := Open(dir); err != nil || len(r.Holes) != 1 {
		t.Errorf("the existing folder was changed: %v", err)
	}
}
