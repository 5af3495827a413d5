package collection_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/collection"
	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// repeat draws the sample from the ids of the population without this program.
const repeat = `
import hashlib, sys
seed, size = sys.argv[1].encode(), int(sys.argv[2])
keys = sorted((hashlib.sha256(seed + b"\n" + line.strip()).hexdigest(), line.strip().decode()) for line in sys.stdin.buffer)
print(" ".join(call for _, call in keys[:size]))
`

// TestSampleCanBeRepeated compares a sample with that of a program in Python.
func TestSampleCanBeRepeated(t *testing.T) {
	f := place(t, shop, "week-[12]-*.pcapsule")
	o := on("2026-11-02")
	s := read(t, f, o)
	draw := func(w collection.Wanted) *collection.Sample {
		t.Helper()
		d, err := s.Draw(context.Background(), o, w)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	ids := func(d *collection.Sample) (list []string) {
		for i, x := range d.Items {
			if x.Rank != i+1 || x.Key != collection.Key(d.Seed, x.CallID) || x.Summary == "" || x.Packets == "" {
				t.Errorf("%+v", x)
			}
			list = append(list, x.CallID)
		}
		return list
	}
	var population bytes.Buffer
	d := draw(collection.Wanted{Size: 12, Seed: "audit 1", Population: &population})
	sum := sha256.Sum256(population.Bytes())
	if d.Population != 141 || bytes.Count(population.Bytes(), []byte("\n")) != 141 || d.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("a population of %d with %s", d.Population, d.SHA256)
	}
	python := exec.Command("python3", "-c", repeat, "audit 1", "12")
	python.Stdin = bytes.NewReader(population.Bytes())
	out, err := python.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(d); strings.TrimSpace(string(out)) != strings.Join(got, " ") {
		t.Errorf("Python draws\n%swe\n%s", out, strings.Join(got, " "))
	}
	if other := ids(draw(collection.Wanted{Size: 12, Seed: "audit 2"})); slices.Equal(other, ids(d)) {
		t.Error("another seed draws the same calls")
	}
	if d := draw(collection.Wanted{Size: 1000, Seed: "x", KFL: `path.startsWith("/stock/")`}); d.Population != 56 || len(d.Items) != 56 {
		t.Errorf("%d of %d calls to stock", len(d.Items), d.Population)
	}
	if _, err := s.Record(d, bundle.Entry{User: "A"}); err != nil {
		t.Fatal(err)
	}
	if again := read(t, f, o); len(again.Draws) != 1 || again.Draws[0].Seed != "audit 1" || again.Draws[0].SHA256 != d.SHA256 {
		t.Errorf("the log has %+v", again.Draws)
	}
}
