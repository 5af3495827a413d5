package exporter

import (
	"testing"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

func TestRecentOwnersAreForgottenInOrder(t *testing.T) {
	var o owners
	for i := range int64(3 * maxRecent) {
		no := o.addRecent(workload.Identity{PID: i})
		if got := o.owner(no).PID; got != i || !o.fresh(no) {
			t.Fatalf("owner %d is %d, fresh %v", i, got, o.fresh(no))
		}
		if old := no - maxRecent/2; old >= recentFrom {
			if got := o.owner(old).PID; got != i-maxRecent/2 || o.fresh(old) {
				t.Fatalf("owner %d before %d is %d, fresh %v", old, i, got, o.fresh(old))
			}
		}
	}
	o.next = 1<<30 - 1
	last, first := o.addRecent(workload.Identity{PID: 1}), o.addRecent(workload.Identity{PID: 2})
	if first != recentFrom || o.owner(last).PID != 1 || o.owner(first).PID != 2 || !o.fresh(last) {
		t.Errorf("numbers begin again at %d after %d", first, last)
	}
	if o.fresh(0) != true || o.owner(0) != nil {
		t.Error("nobody is somebody")
	}
}
