package columnar

import (
	"fmt"
	"path/filepath"
	"testing"
	"unsafe"
)

// kept is the memory of all columns of a table, in bytes.
func (t *Table) kept() (n int) {
	for _, c := range t.columns {
		n += cap(c.levels) + cap(c.counts)*4
		for i := range c.leaves {
			v := &c.leaves[i]
			n += cap(v.i32)*4 + cap(v.i64)*8 + cap(v.data) + cap(v.ends)*int(unsafe.Sizeof(v.ends[0]))
		}
	}
	return n
}

// TestManyTablesShareTheirMemory fills tables in turns, more of them than the limit has room for.
// Some of them fill only at the beginning.
func TestManyTablesShareTheirMemory(t *testing.T) {
	const tables, limit = 24, 1 << 20
	rows := rowsOf(4000, 3)
	_, alone := write(t, rows, 100, Options{})
	s := &Scratch{StagedBytes: limit}
	var list []*Table
	dir := t.TempDir()
	for i := range tables {
		tab, err := Create(filepath.Join(dir, fmt.Sprint(i)), everySchema, Options{GroupBytes: limit / 3, Scratch: s})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, tab)
	}
	most := 0
	for at := 0; at < len(rows); at += 100 {
		for i, tab := range list {
			if i%3 == 0 && at >= 2000 {
				continue
			}
			if err := Append(tab, rows[at:at+100]); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, tab := range list {
				n += tab.kept()
			}
			most = max(most, n)
		}
		if s.held > limit {
			t.Fatalf("%d bytes are staged, the limit is %d", s.held, limit)
		}
	}
	if most > 3*limit {
		t.Errorf("the tables keep %d bytes for at most %d bytes of rows", most, limit)
	}
	for i, tab := range list {
		res, err := tab.Close()
		if err != nil {
			t.Fatal(err)
		}
		if i%3 != 0 && fmt.Sprint(res.Columns, res.Rows) != fmt.Sprint(alone.Columns, alone.Rows) {
			t.Errorf("table %d has other rows than a table alone", i)
		}
	}
	if s.held != 0 || len(s.tables) != 0 {
		t.Errorf("%d bytes of %d tables are counted after their end", s.held, len(s.tables))
	}
}

// TestRawBytesAreWhatIsStaged compares the size of a group with what its columns hold, when many columns are null, from the
// first row on or only at first, and when none is.
func TestRawBytesAreWhatIsStaged(t *testing.T) {
	full := rowsOf(1, 5)[0]
	full.Rare = &Rare{}
	for name, change := range map[string]func(i int, r *everything){
		"few values":   func(i int, r *everything) { *r = everything{No: r.No} },
		"as they come": func(int, *everything) {},
		"values late": func(i int, r *everything) {
			if i < 900 {
				*r = everything{No: r.No}
			}
		},
		"many values": func(i int, r *everything) { *r = full },
	} {
		t.Run(name, func(t *testing.T) {
			rows := rowsOf(1000, 3)
			for i := range rows {
				change(i, &rows[i])
			}
			tab, err := Create(t.TempDir(), everySchema, Options{GroupBytes: 64 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if err := Append(tab, rows); err != nil {
				t.Fatal(err)
			}
			held := 0
			for _, c := range tab.columns {
				held += len(c.levels) + len(c.counts)*4
				for i := range c.leaves {
					v := &c.leaves[i]
					held += len(v.i32)*4 + len(v.i64)*8 + len(v.data) + len(v.ends)*4
				}
			}
			if off := tab.raw - held; off < -held/20 || off > held/20 { // escapes of text are not counted
				t.Errorf("a group has %d raw bytes, and its columns hold %d", tab.raw, held)
			}
		})
	}
}
