package columnar

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// everything has a column of each kind, with and without null.
type everything struct {
	No        int64                   `col:"no" doc:"row"`
	Bool      bool                    `col:"bool" doc:"d"`
	OptBool   table.Opt[bool]         `col:"opt_bool" doc:"d"`
	I32       int32                   `col:"i32" doc:"d"`
	OptI32    table.Opt[int32]        `col:"opt_i32" doc:"d"`
	I64       int64                   `col:"i64" unit:"bytes" doc:"d"`
	OptI64    table.Opt[int64]        `col:"opt_i64" doc:"d"`
	Ts        table.Micros            `col:"ts" doc:"d"`
	OptTs     table.Opt[table.Micros] `col:"opt_ts" doc:"d"`
	Text      string                  `col:"text" doc:"d"`
	OptText   table.Opt[string]       `col:"opt_text" enc:"bloom" doc:"d"`
	Word      string                  `col:"word" enc:"dict" doc:"d"`
	OptWord   table.Opt[string]       `col:"opt_word" enc:"dict" doc:"d"`
	Same      string                  `col:"same" enc:"dict" doc:"d"`
	ID        table.ID                `col:"id" doc:"d"`
	OptID     table.Opt[table.ID]     `col:"opt_id" doc:"d"`
	Hash      table.Hash              `col:"hash" doc:"d"`
	OptHash   table.Opt[table.Hash]   `col:"opt_hash" doc:"d"`
	Bytes     []byte                  `col:"bytes" doc:"d"`
	Texts     []string                `col:"texts" doc:"d"`
	Ints      []int64                 `col:"ints" doc:"d"`
	Cites     table.Cites             `col:"cites" doc:"d"`
	Headers   []table.Header          `col:"headers" doc:"d"`
	Pairs     []table.Pair            `col:"pairs" doc:"d"`
	NoInt     table.Opt[int64]        `col:"no_int" doc:"always null"`
	NoText    table.Opt[string]       `col:"no_text" doc:"always null"`
	NoHash    table.Opt[table.Hash]   `col:"no_hash" doc:"always null"`
	NoHeaders []table.Header          `col:"no_headers" doc:"always null"`
	LateInt   table.Opt[int64]        `col:"late_int" doc:"null at first"`
	*Rare
}

// Rare are columns that few rows have.
type Rare struct {
	RareText  table.Opt[string] `col:"rare_text" enc:"dict" doc:"d"`
	RareInt   table.Opt[int32]  `col:"rare_int" doc:"d"`
	RareTexts []string          `col:"rare_texts" doc:"d"`
	RareBytes []byte            `col:"rare_bytes" doc:"d"`
}

var everySchema = table.SchemaOf("everything", "a column of each kind", everything{})

var words = []string{"", "GET", "POST", "naïve", "日本", "a b"}

func some[T any](r *rand.Rand, v T) table.Opt[T] {
	if r.IntN(3) == 0 {
		return table.Opt[T]{}
	}
	return table.Some(v)
}

func anyText(r *rand.Rand) string {
	switch r.IntN(8) {
	case 0:
		return ""
	case 1:
		return "bad \xff\xc3 byte"
	case 2:
		return `looks \x41 escaped`
	case 3:
		return strings.Repeat("long ", r.IntN(300))
	}
	return fmt.Sprintf("text %d é", r.Int64())
}

func rowsOf(n int, seed uint64) []everything {
	r := rand.New(rand.NewPCG(seed, 1))
	rows := make([]everything, n)
	extremes := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt32, math.MinInt32}
	for i := range rows {
		e := &rows[i]
		e.No = int64(i)
		e.Bool = r.IntN(2) == 0
		e.OptBool = some(r, r.IntN(2) == 0)
		e.I64 = extremes[r.IntN(len(extremes))]
		e.I32 = int32(extremes[r.IntN(len(extremes))])
		e.OptI32 = some(r, r.Int32())
		e.OptI64 = some(r, int64(i)*1000)
		e.Ts = table.Micros(1_700_000_000_000_000 + int64(i))
		e.OptTs = some(r, table.Micros(r.Int64N(1<<50)))
		e.Text = anyText(r)
		e.OptText = some(r, anyText(r))
		e.Word = words[r.IntN(len(words))]
		e.OptWord = some(r, words[r.IntN(len(words))])
		e.Same = "always"
		for j := range e.ID {
			e.ID[j] = byte(r.Uint32())
		}
		e.OptID = some(r, e.ID)
		e.Hash = sha256.Sum256(e.ID[:])
		e.OptHash = some(r, table.Hash(sha256.Sum256(e.ID[1:])))
		switch r.IntN(3) {
		case 0:
			e.Bytes = []byte{}
			e.Texts = []string{}
			e.Ints = []int64{}
			e.Cites = table.Cites{}
			e.Headers = []table.Header{}
			e.Pairs = []table.Pair{}
		case 1:
			e.Bytes = []byte{0, 0xff, byte(i)}
			for j := range r.IntN(4) {
				e.Texts = append(e.Texts, anyText(r))
				e.Ints = append(e.Ints, int64(i)-int64(j)<<40)
				e.Cites = append(e.Cites, table.Range{First: int64(i + 10*j), Last: int64(i + 10*j + 3)})
				e.Headers = append(e.Headers, table.Header{Name: "Accept", Value: anyText(r), Kind: "request"})
				e.Pairs = append(e.Pairs, table.Pair{Name: words[r.IntN(len(words))], Value: anyText(r)})
			}
		}
		if i > n/2 {
			e.LateInt = some(r, int64(i))
		}
		if i > n/3 && r.IntN(4) == 0 {
			e.Rare = &Rare{RareText: some(r, anyText(r)), RareInt: some(r, int32(i)), RareTexts: e.Texts, RareBytes: e.Bytes}
		}
	}
	if n > 10 {
		rows[7].Text = strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
		rows[8].OptText = table.Some(strings.Repeat("é", 1<<19))
	}
	return rows
}

func write(t testing.TB, rows []everything, batch int, o Options) (string, Result) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tables", "everything")
	tab, err := Create(dir, everySchema, o)
	if err != nil {
		t.Fatal(err)
	}
	for len(rows) > 0 {
		n := min(batch, len(rows))
		if err := Append(tab, rows[:n]); err != nil {
			t.Fatal(err)
		}
		rows = rows[n:]
	}
	r, err := tab.Close()
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

func TestEqualRowsGiveEqualBytesHoweverBatched(t *testing.T) {
	rows := rowsOf(3000, 1)
	o := Options{RowsPerPart: 1300, GroupBytes: 200 << 10, ReleaseName: "pcapsule", ReleaseVersion: "1.2.3"}
	want, first := write(t, rows, len(rows), o)
	if len(first.Parts) != 3 || first.Rows != 3000 {
		t.Fatalf("got %d parts with %d rows, want 3 with 3000", len(first.Parts), first.Rows)
	}
	for _, batch := range []int{1, 7, 1000, 3000} {
		got, r := write(t, rows, batch, o)
		if fmt.Sprint(r) != fmt.Sprint(first) {
			t.Errorf("batches of %d: result %v, want %v", batch, r, first)
		}
		for _, p := range first.Parts {
			a, errA := os.ReadFile(filepath.Join(want, p.Name))
			b, errB := os.ReadFile(filepath.Join(got, p.Name))
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("batches of %d: %s differs (%v, %v)", batch, p.Name, errA, errB)
			}
			if int64(len(a)) != p.Bytes {
				t.Errorf("%s has %d bytes, result says %d", p.Name, len(a), p.Bytes)
			}
		}
	}
}

func TestPointersGiveTheSameBytesAsRows(t *testing.T) {
	rows := rowsOf(100, 2)
	want, _ := write(t, rows, 100, Options{})
	dir := filepath.Join(t.TempDir(), "x")
	tab, err := Create(dir, everySchema, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pointers := make([]unsafe.Pointer, len(rows))
	for i := range rows {
		pointers[i] = unsafe.Pointer(&rows[i])
	}
	if err := tab.AppendPointers(pointers); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(filepath.Join(want, "part-000.parquet"))
	b, _ := os.ReadFile(filepath.Join(dir, "part-000.parquet"))
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Error("pointers give other bytes than rows")
	}
}

func TestDigestsDoNotDependOnEncoding(t *testing.T) {
	rows := rowsOf(2000, 3)
	_, a := write(t, rows, 100, Options{})
	_, b := write(t, rows, 33, Options{RowsPerPart: 170, GroupBytes: 9 << 10, Compression: 3})
	if fmt.Sprint(a.Columns) != fmt.Sprint(b.Columns) {
		t.Errorf("digests differ:\n%v\n%v", a.Columns, b.Columns)
	}
	rows[1999].OptText = table.Some("changed")
	_, c := write(t, rows, 100, Options{})
	for i, col := range a.Columns {
		if changed := col.SHA256 != c.Columns[i].SHA256; changed != (col.Name == "opt_text") {
			t.Errorf("column %s: digest changed %v", col.Name, changed)
		}
	}
}

// The digests of docs/format/parts.md, worked out by its words and not by our code.
func TestDigestIsTheDocumentedOne(t *testing.T) {
	type row struct {
		N table.Opt[int32] `col:"n" doc:"d"`
		S string           `col:"s" doc:"d"`
		C table.Cites      `col:"c" doc:"d"`
		H []table.Header   `col:"h" doc:"d"`
	}
	rows := []row{
		{table.Some[int32](-2), "ab", table.Cites{{First: 1, Last: 258}}, nil},
		{table.Opt[int32]{}, "", nil, []table.Header{{Name: "a", Value: "", Kind: "k"}}},
		{table.Some[int32](3), "\xff", table.Cites{}, []table.Header{}},
	}
	want := map[string]string{
		"n": "\x01\xfe\xff\xff\xff" + "\x00" + "\x01\x03\x00\x00\x00",
		"s": "\x01\x02\x00\x00\x00ab" + "\x01\x00\x00\x00\x00" + "\x01\x04\x00\x00\x00\\xff",
		"c": "\x01\x01\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x02\x01\x00\x00\x00\x00\x00\x00" + "\x00" + "\x01\x00\x00\x00\x00",
		"h": "\x00" + "\x01\x01\x00\x00\x00" + "\x01\x00\x00\x00a" + "\x00\x00\x00\x00" + "\x01\x00\x00\x00k" + "\x01\x00\x00\x00\x00",
	}
	tab, err := Create(t.TempDir(), table.SchemaOf("t", "d", row{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(tab, rows); err != nil {
		t.Fatal(err)
	}
	r, err := tab.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Columns {
		if w := fmt.Sprintf("%x", sha256.Sum256([]byte(want[c.Name]))); c.SHA256 != w {
			t.Errorf("column %s: digest %s, want %s", c.Name, c.SHA256, w)
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	tab, err := Create(dir, everySchema, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(tab, []table.Packet{{}}); err == nil {
		t.Error("rows of another type were accepted")
	}
	if _, err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Append(tab, []everything{{}}); err == nil {
		t.Error("rows after Close were accepted")
	}
	if _, err := tab.Close(); err == nil {
		t.Error("a second Close was accepted")
	}
	tab.Abort() // after Close: nothing
	again, err := Create(dir, everySchema, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Close(); err == nil {
		t.Error("an existing part was overwritten")
	}
	again.Abort()
	if _, err := os.Stat(filepath.Join(dir, "part-000.parquet")); err != nil {
		t.Errorf("the first table's part is gone: %v", err)
	}
	big, err := Create(t.TempDir(), everySchema, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(big, []everything{{Text: strings.Repeat("x", maxRowBytes)}}); err == nil {
		t.Error("a row that no page can hold was accepted")
	}
	if _, err := big.Close(); err == nil {
		t.Error("a table that lacks a row was closed without an error")
	}
}

func TestAbortLeavesNoPart(t *testing.T) {
	dir := t.TempDir()
	tab, err := Create(dir, everySchema, Options{RowsPerPart: 10, GroupBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(tab, rowsOf(25, 1)); err != nil {
		t.Fatal(err)
	}
	tab.Abort()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestPartThatIsJustFullIsTheLast(t *testing.T) {
	_, r := write(t, rowsOf(20, 4), 3, Options{RowsPerPart: 10})
	if len(r.Parts) != 2 || r.Parts[0].Rows != 10 || r.Parts[1].Rows != 10 {
		t.Errorf("parts %v, want two of 10 rows", r.Parts)
	}
}

func TestIdleTableIsSmall(t *testing.T) {
	const tables, limit = 40, 100 << 10
	rows := callRows(20, true)
	schema := table.SchemaOf("calls", "d", table.Call{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var open []*Table
	for i := range tables {
		tab, err := Create(filepath.Join(t.TempDir(), fmt.Sprint(i)), schema, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Append(tab, rows); err != nil {
			t.Fatal(err)
		}
		open = append(open, tab)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / tables; used > limit {
		t.Errorf("a table with %d rows takes %d bytes, want at most %d", len(rows), used, limit)
	}
	runtime.KeepAlive(open)
}

// A schema that joins the columns of protocols has no row type; its table has no rows.
func TestTableOfJoinedColumnsWithoutRows(t *testing.T) {
	u, err := table.Union(table.SchemaOf("calls", "d", table.Call{}), everySchema)
	if err != nil {
		t.Fatal("the names have other types: ", err)
	}
	tab, err := Create(t.TempDir(), u, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := tab.Close()
	if err != nil || len(r.Parts) != 1 || r.Rows != 0 {
		t.Errorf("got %v, %v, want one part without rows", r, err)
	}
}
