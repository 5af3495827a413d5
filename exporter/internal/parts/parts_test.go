package parts

import (
	"encoding/binary"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	kinds "github.com/pcapsule/pcapsule/exporter/table"
)

type rowOf struct {
	ID     int64             `col:"id" doc:"number"`
	Name   kinds.Opt[string] `col:"name" doc:"text"`
	Ranges kinds.Cites       `col:"cites" doc:"packets"`
}

// written writes rows as parts of a table and returns their paths.
func written(t testing.TB, rows int) []string {
	t.Helper()
	schema := kinds.SchemaOf("sample", "a table", rowOf{})
	if schema.Row != reflect.TypeFor[rowOf]() {
		t.Fatal(schema.Row)
	}
	dir := t.TempDir()
	w, err := columnar.Create(dir, schema, columnar.Options{ReleaseVersion: "test", RowsPerPart: 700})
	if err != nil {
		t.Fatal(err)
	}
	list := make([]rowOf, rows)
	for i := range list {
		list[i] = rowOf{ID: int64(i), Ranges: kinds.Cites{{First: int64(i), Last: int64(i) + 1}}}
		if i%3 > 0 {
			list[i].Name = kinds.Some(strings.Repeat("n", i%7))
		}
		if i%5 == 0 {
			list[i].Ranges = nil
		}
	}
	if err := columnar.Append(w, list); err != nil {
		t.Fatal(err)
	}
	res, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range res.Parts {
		paths = append(paths, filepath.Join(dir, p.Name))
	}
	got := Compare(paths, paths, true, "pcapsule version test")
	if len(got.Differences) > 0 {
		t.Fatalf("a table differs from itself: %v", got.Differences)
	}
	for _, c := range res.Columns {
		if sum := got.Digests[c.Name]; len(got.Digests) != len(res.Columns) || c.SHA256 != hexOf(sum[:]) {
			t.Errorf("column %s has digest %x, want %s", c.Name, sum, c.SHA256)
		}
	}
	return paths
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestTheDigestsOfFilesAreThoseOfTheirRows(t *testing.T) { written(t, 2000) }

// TestHostilePartsAreErrors changes files at random and truncates them. Every damage must be
// reported without a panic, and without much time or memory.
func TestHostilePartsAreErrors(t *testing.T) {
	paths := written(t, 300)
	data, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(t.TempDir(), "part-000.parquet")
	r := rand.New(rand.NewSource(1))
	n := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	for i := range 3000 {
		bad := append([]byte(nil), data...)
		at := len(bad) - 8 - n + r.Intn(n+8) // the footer, on which everything else depends
		if i%3 == 0 {
			at = r.Intn(len(bad))
		}
		switch i % 4 {
		case 0:
			bad = bad[:at]
		case 1:
			bad[at] = 0xff
		default:
			bad[at] ^= byte(1 + r.Intn(255))
		}
		if err := os.WriteFile(odd, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		Compare([]string{odd}, paths, true, "pcapsule version test")
		Compare([]string{odd}, paths, false, "pcapsule version test")
	}
}

type textsOf struct {
	Own    string         `col:"own" doc:"another text in each row"`
	Few    string         `col:"few" enc:"dict" doc:"one of few texts"`
	Bytes  []byte         `col:"bytes" doc:"bytes"`
	List   []string       `col:"list" doc:"texts"`
	Header []kinds.Header `col:"headers" doc:"headers"`
}

// TestTextsAreAll looks for each text and each run of bytes of a table in what Texts gives.
func TestTextsAreAll(t *testing.T) {
	dir := t.TempDir()
	w, err := columnar.Create(dir, kinds.SchemaOf("sample", "a table", textsOf{}), columnar.Options{ReleaseVersion: "test", RowsPerPart: 700})
	if err != nil {
		t.Fatal(err)
	}
	list := make([]textsOf, 1500)
	for i := range list {
		n := strconv.Itoa(i)
		list[i] = textsOf{"own " + n, "few " + strconv.Itoa(i%5), []byte("\xff" + n), []string{"first " + n, "second " + n}, []kinds.Header{{Name: "name " + n, Value: "value " + n, Kind: "request"}}}
	}
	if err := columnar.Append(w, list); err != nil {
		t.Fatal(err)
	}
	res, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range res.Parts {
		paths = append(paths, filepath.Join(dir, p.Name))
	}
	var all [2]strings.Builder
	err = Texts(paths, func(texts []byte, escaped bool) bool {
		if escaped {
			all[1].Write(texts)
		} else {
			all[0].Write(texts)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range list {
		if !strings.Contains(all[0].String(), string(r.Bytes)) {
			t.Errorf("row %d: %q is missing", i, r.Bytes)
		}
		for _, text := range []string{r.Own, r.Few, r.List[0], r.List[1], r.Header[0].Name, r.Header[0].Value} {
			if !strings.Contains(all[1].String(), text) {
				t.Errorf("row %d: %q is missing", i, text)
			}
		}
	}
}
