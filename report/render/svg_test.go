package render

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/report/value"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and read the diff", path)
	}
}

func pointer(n int64) *int64 { return &n }

func TestPictures(t *testing.T) {
	for _, f := range []*value.Figure{
		{ID: "time", Title: "Bytes", Alt: "Two protocols, a hole and a break.", Time: &value.TimeChart{BucketNs: 1e9, Unit: "bytes", Stretches: []value.Stretch{{First: 1000, Count: 4}, {First: 90000, Count: 3}},
			Series: []value.Series{{Name: "http1", Total: 1500, Values: []int64{500, 0, 300, 0, 700, 0, 0}}, {Name: "<dns>", Total: 40, Values: []int64{10, 10, 10, 10, 0, 0, 0}}, {Name: "failed", Class: "bad", Total: 1, Values: []int64{0, 0, 0, 0, 0, 0, 1}}},
			Holes:  []value.Span{{FromNs: 1001e9, ToNs: 1002e9, Reason: "drop"}, {FromNs: 90001e9, ToNs: 90001e9, Reason: `"policy"`}}}},
		{ID: "bars", Title: "Talkers", Alt: "Three bars.", Bars: &value.BarChart{Unit: "bytes", Bars: []value.Bar{{Name: "a", Value: 5000, Part: 100}, {Name: strings.Repeat("long-name-", 9), Value: 1200}, {Name: "nothing"}}}},
		{ID: "map", Title: "Map", Alt: "A circle of three, and a caller.", Map: &value.MapChart{
			Nodes: []value.Node{{Name: "outside", Kind: "outside", Calls: 9}, {Name: "web", Kind: "pod", Calls: 30}, {Name: "api & co", Kind: "pod", Calls: 20}, {Name: "(others)", Others: true}},
			Edges: []value.Edge{{From: 0, To: 1, Calls: 9, Failed: 2}, {From: 1, To: 2, Calls: 20, P50: pointer(1200), P99: pointer(9000)}, {From: 2, To: 3, Calls: 4}, {From: 3, To: 1, Calls: 1}, {From: 2, To: 2, Calls: 7}, {From: 0, To: 3, Calls: 100}}}},
		{ID: "heat", Title: "Hours", Alt: "A day.", Heat: &value.HeatChart{Unit: "calls", Days: []value.HeatDay{{Day: "2026-11-20", Hours: append([]int64{-1, 0, 5, 100}, make([]int64, 20)...)}}}},
		{ID: "sequence", Title: "Chain", Alt: "Three calls.", Sequence: &value.SequenceChart{Actors: []string{"web", "api & co", "db"}, Messages: []value.Message{
			{From: 0, To: 1, AtUs: 0, DoneUs: pointer(900_000), Text: "GET /a<b>", Answer: "503", Bad: true}, {From: 1, To: 2, AtUs: 1200, Text: "SELECT 1", Bad: true, Sure: "guess"}, {From: 1, To: 1, AtUs: 2000, DoneUs: pointer(3000), Text: "self"}}}},
	} {
		t.Run(f.ID, func(t *testing.T) {
			got := string(figureSVG(f))
			checkXML(t, got)
			golden(t, f.ID+".svg", strings.ReplaceAll(got, "><", ">\n<")+"\n")
		})
	}
}

func checkXML(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("picture: %v\n%s", err, text)
		}
	}
}

// In any map no box overlaps another or leaves the picture, and no edge between two nodes is missing.
func TestMapsOfChance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		c := &value.MapChart{}
		n := 1 + rng.IntN(25)
		for i := range n {
			c.Nodes = append(c.Nodes, value.Node{Name: fmt.Sprintf("node-%d", i), Kind: "pod"})
		}
		for range rng.IntN(80) {
			c.Edges = append(c.Edges, value.Edge{From: rng.IntN(n), To: rng.IntN(n), Calls: rng.Int64N(1000), Failed: rng.Int64N(3)})
		}
		d := newMapDrawing(c)
		for i := range n {
			b := d.box(i)
			if b.x0 < 0 || b.x1 > pictureWidth || b.y0 < 0 || b.y1 > d.height {
				t.Fatalf("round %d: node %d at %v is outside of %v", round, i, b, d.height)
			}
			for j := range i {
				if b.touches(d.box(j)) {
					t.Fatalf("round %d: nodes %d and %d lie on each other", round, i, j)
				}
			}
		}
		for e, edge := range c.Edges {
			if edge.From != edge.To && len(d.paths[e])%3 != 1 {
				t.Fatalf("round %d: edge %d has %d points", round, e, len(d.paths[e]))
			}
		}
		f := &value.Figure{ID: "m", Map: c}
		if text := mapSVG(f); text != mapSVG(f) {
			t.Fatalf("round %d: two pictures of one map", round)
		} else {
			checkXML(t, text)
			noLabelOnHeads(t, d, text)
		}
	}
}

var labelGround = regexp.MustCompile(`<rect x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)" height="14" class="ground"/>`)

// noLabelOnHeads checks that no label covers an arrowhead. Coordinates are rounded to 0.1.
func noLabelOnHeads(t *testing.T, d *mapDrawing, text string) {
	t.Helper()
	for _, m := range labelGround.FindAllStringSubmatch(text, -1) {
		var x, y, w float64
		if _, err := fmt.Sscan(strings.Join(m[1:], " "), &x, &y, &w); err != nil {
			t.Fatal(err)
		}
		for e := range d.paths {
			if head, ok := d.head(e); ok && head.touches(box{x, y + 0.1, x + w, y + 13.9}) {
				t.Fatalf("a label covers the arrowhead of edge %d", e)
			}
		}
	}
}

// Buckets of any number and position are drawn inside the picture.
func TestAxisFindsItsPlaces(t *testing.T) {
	c := &value.TimeChart{BucketNs: 10, Stretches: []value.Stretch{{First: -5, Count: 3}, {First: 100, Count: 2}}}
	for _, tt := range []struct {
		name   string
		bucket int64
		want   int
	}{
		{"before all", -100, 0},
		{"the first", -5, 0},
		{"the last of a stretch", -3, 2},
		{"in a break", 50, 2},
		{"the first after it", 100, 3},
		{"after all", 1 << 60, 4},
	} {
		if got := c.Place(tt.bucket); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestTopOfAxis(t *testing.T) {
	if top, step := ceiling(53_400); top != 60_000 || step != 20_000 {
		t.Errorf("top of the axis: %d by %d", top, step)
	}
}

func TestNamesLoseWhatTheyShare(t *testing.T) {
	for name, want := range map[string]string{
		"frontend.shop.svc.cluster.local": "frontend.shop…", "api": "api", "a-name-without-any-dot-in-it": "a-name-with…in-it",
		"2001:db8:0:1:2:3:4:5": "2001:db8:0:…3:4:5", "shop/frontend-5d8f7c-abcde": "shop/front…abcde",
		"www.googleadservices.com": "www.google….com",
	} {
		if got := fitName(name, 110); got != want {
			t.Errorf("%s is drawn as %s, want %s", name, got, want)
		}
	}
}
