package join

import (
	"encoding/binary"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

func TestEqualCallsHaveIDsOfTheirOwn(t *testing.T) {
	content := func(n uint64) (id table.ID) {
		binary.BigEndian.PutUint64(id[:], n*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(id[8:], n*0xbf58476d1ce4e5b9)
		return id
	}
	var ids callIDs
	seen := map[table.ID]bool{}
	note := func(c *table.Call, what string) {
		t.Helper()
		was := c.CallID
		if ids.unique(c); seen[c.CallID] {
			t.Fatalf("%s: call_id %x is there twice", what, c.CallID)
		}
		if [table.ContentID]byte(c.CallID[16-table.ContentID:]) != [table.ContentID]byte(was[16-table.ContentID:]) {
			t.Fatalf("%s: the content's part of the id changed", what)
		}
		seen[c.CallID] = true
	}
	changed := 0
	for n := range uint64(200_000) {
		c := &table.Call{CallID: content(n), CallNo: int64(n)}
		if note(c, "other content"); c.CallID != content(n) {
			changed++
		}
	}
	if changed > 20 {
		t.Errorf("%d of 200,000 ids of other content were changed", changed)
	}
	for n := range int64(1000) {
		note(&table.Call{CallID: content(7), CallNo: 200_000 + n, TsNs: n / 100}, "equal content, some of one time")
	}
}

// TestOverlappingBundlesAgree joins the same calls from the middle on.
func TestOverlappingBundlesAgree(t *testing.T) {
	ids := func(from int64) (out []table.ID) {
		var u callIDs
		for n := from; n < 10; n++ {
			c := &table.Call{CallID: table.ID{5: 1, 15: 2}, TsNs: n * 1e9, CallNo: n - from}
			u.unique(c)
			out = append(out, c.CallID)
		}
		return out
	}
	all, later := ids(0), ids(4)
	for i := 1; i < len(later); i++ { // the first of each cannot know that others follow
		if later[i] != all[4+i] {
			t.Errorf("message %d has other ids in two bundles", 4+i)
		}
	}
}
