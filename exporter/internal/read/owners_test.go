package read

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

func TestRecentOwnersAreNumberedInOrder(t *testing.T) {
	r := &Reader{rounds: rounds{cur: &round.Round{}}}
	for i := range int64(3 * round.OwnersKept) {
		no := r.addRecent(workload.Identity{PID: i})
		if o := r.cur.Facts.Owners[i]; o.No != no || o.Identity.PID != i || !r.owners.fresh(no) {
			t.Fatalf("owner %d is %+v, fresh %v", i, o, r.owners.fresh(no))
		}
		if old := no - round.OwnersKept/2; old >= round.OwnersRecent && r.owners.fresh(old) {
			t.Fatalf("owner %d before %d is fresh", old, no)
		}
	}
	r.owners.recent = 1<<30 - 1
	last, first := r.addRecent(workload.Identity{}), r.addRecent(workload.Identity{})
	if last != round.OwnersRecent+1<<30-1 || first != round.OwnersRecent || !r.owners.fresh(last) || !r.owners.fresh(first) {
		t.Errorf("numbers begin again at %d after %d", first, last)
	}
	if !r.owners.fresh(0) {
		t.Error("no owner is not fresh")
	}
}
