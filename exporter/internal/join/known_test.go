package join

import (
	"reflect"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/table"
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

// TestIDsAreForgotten gives one ID to a second connection. Nothing of the
// first may be left.
func TestIDsAreForgotten(t *testing.T) {
	var k known
	c := begin(&k.conns, 33)
	c.no, c.ranks = 5, [2]uint8{3, 3}
	if got := begin(&k.conns, 33); !reflect.DeepEqual(*got, joinedConn{}) || k.conn(33) != got || len(k.conns) != 34 {
		t.Errorf("%+v is left", *got)
	}
}

// TestForgottenWriters: a call whose writer's number is forgotten, or whom nobody named, has
// no process, and not another's.
func TestForgottenWriters(t *testing.T) {
	j := New(nil, NewIdentity(&workload.Index{}, false), nil, nil, 0)
	process := func(pid int64) workload.Identity {
		return workload.Identity{Kind: "process", Process: "p", PID: pid, Program: &workload.Process{PID: pid}, Known: workload.Writer, HowKnown: "writer"}
	}
	const old = round.OwnersRecent
	for i := range int32(2 * round.OwnersKept) {
		j.known.add(&round.Facts{Owners: []round.Owner{{No: old + i, Identity: process(int64(i + 1))}}})
	}
	newest := int32(old + 2*round.OwnersKept - 1)
	c := &joinedConn{}
	c.ids[1] = j.who.endpoint(party{1, c.at[1], c.ends, 6, 0}, j.known.owner(newest))
	for _, tt := range []struct {
		name string
		w    flow.Writer
		pid  table.Opt[int64]
		how  string
	}{
		{"the connection's", flow.Writer{}, table.Some(int64(2 * round.OwnersKept)), "writer"},
		{"one of two", flow.Writer{Owner: newest - 1}, table.Some(int64(2*round.OwnersKept - 1)), "writer"},
		{"a guess", flow.Writer{Owner: newest, Guess: true}, table.Some(int64(2 * round.OwnersKept)), "other"},
		{"a forgotten one", flow.Writer{Owner: old + 5}, table.Opt[int64]{}, "none"},
		{"a forgotten guess", flow.Writer{Owner: old + 5, Guess: true}, table.Opt[int64]{}, "none"},
		{"nobody is named", flow.Writer{Guess: true}, table.Opt[int64]{}, "none"},
	} {
		if e := j.who.made[j.writer(c, 1, tt.w)]; e.PID != tt.pid || e.HowKnown != tt.how {
			t.Errorf("%s: process %v, known by %s; want %v, %s", tt.name, e.PID, e.HowKnown, tt.pid, tt.how)
		}
	}
}
