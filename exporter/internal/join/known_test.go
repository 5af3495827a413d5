package join

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

func TestOwnersAreFoundByNumber(t *testing.T) {
	var k known
	number := func(no int32, pid int64) {
		k.add(&round.Facts{Owners: []round.Owner{{No: no, Identity: workload.Identity{PID: pid}}}})
	}
	number(1, 7)
	number(2, 8)
	for i := range int32(3 * round.OwnersKept) {
		number(round.OwnersRecent+i, int64(i))
		if i >= round.OwnersKept-1 {
			oldest := i - (round.OwnersKept - 1)
			if got := k.owner(round.OwnersRecent + oldest).PID; got != int64(oldest) {
				t.Fatalf("after %d the oldest is %d, want %d", i, got, oldest)
			}
		}
	}
	if k.owner(0) != nil || k.owner(1).PID != 7 || k.owner(2).PID != 8 || len(k.recent) != round.OwnersKept {
		t.Errorf("owners %v, %v, %d recent", k.owner(1), k.owner(2), len(k.recent))
	}
}

// TestIDsAreForgotten gives one ID to a second connection, of which nothing of the
// first may be left.
func TestIDsAreForgotten(t *testing.T) {
	var k known
	c := begin(&k.conns, 33)
	c.no, c.ranks = 5, [2]uint8{3, 3}
	if got := begin(&k.conns, 33); *got != (joinedConn{}) || k.conn(33) != got || len(k.conns) != 34 {
		t.Errorf("%+v is left", *got)
	}
}
