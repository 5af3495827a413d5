package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
)

// spotsOf is how many places of a report are edited, in each of two ways and in each format.
var spotsOf = map[string]int{"accesses": 40, "card-accesses": 10, "egress": 20}

// place is a value inside JSON that can be replaced.
type place struct {
	path string
	set  func(v any)
	get  any
}

// places lists the leaves and the lists of a tree.
func places(path string, v any, set func(any)) (out []place) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			out = append(out, places(path+"/"+k, e, func(v any) { x[k] = v })...)
		}
	case []any:
		out = append(out, place{path, set, x})
		for i, e := range x {
			out = append(out, places(fmt.Sprint(path, "/", i), e, func(v any) { x[i] = v })...)
		}
	default:
		out = append(out, place{path, set, v})
	}
	return out
}

// edited is another value of the same type; of a list one that lacks, repeats or swaps elements.
func edited(v any, n int) any {
	switch x := v.(type) {
	case string:
		return x + "1"
	case bool:
		return !x
	case float64:
		return x + 1
	case []any:
		switch {
		case len(x) == 0:
			return nil
		case n%3 == 0:
			return slices.Delete(slices.Clone(x), len(x)/2, len(x)/2+1)
		case n%3 == 1 || len(x) == 1:
			return append(slices.Clone(x), x[len(x)-1])
		}
		y := slices.Clone(x)
		y[0], y[len(y)-1] = y[len(y)-1], y[0]
		if fmt.Sprint(x[0]) == fmt.Sprint(y[0]) {
			return y[1:]
		}
		return y
	}
	return nil
}

// TestEditsAreNoticed edits the lists of accesses and the report with network policies in every format:
// the data together with what a reader sees, and single letters and digits of the file. Each edit is
// noticed, and an intact file never is.
func TestEditsAreNoticed(t *testing.T) {
	dir := filepath.Join("..", "samples")
	path := makeBundle(t, exporter.Options{Kube: []string{filepath.Join(dir, "shop.kube.json")}}, "shop", filepath.Join(dir, "shop.pcapng"))
	c := open(t, path)
	for name, spots := range spotsOf {
		spots /= nightly.Of(4, 1)
		r, err := Build(t.Context(), c, known(Options{Name: name, KFL: `dst.name in ["payment", "redis", "api.cards.example.net"]`}))
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range render.Forms() {
			file := written(t, form, r)
			if list := comparison(t, form, file, r); len(list) > 0 {
				t.Errorf("%s: an intact %s is blamed: %q", name, form.Name, list)
			}
			for n := range spots {
				i := len(file) * (2*n + 1) / (2 * spots)
				for i < len(file)-1 && !('0' <= file[i] && file[i] <= '8' || 'a' <= file[i] && file[i] <= 'y') {
					i++
				}
				other := bytes.Clone(file)
				other[i]++
				if again, err := form.Read(other); err == nil && len(comparison(t, form, other, again, r)) == 0 {
					t.Errorf("%s: byte %d of %s, in %q, is not noticed", name, i, form.Name, file[max(i-30, 0):min(i+30, len(file))])
				}
			}
			for n := range spots {
				other, what := editedReport(t, r, n, spots)
				if other == nil {
					continue
				}
				if list := comparison(t, form, written(t, form, other), other, r); len(list) == 0 {
					t.Errorf("%s: an edit of %s in %s is not noticed", name, what, form.Name)
				} else if strings.TrimSpace(list[0]) == "" {
					t.Errorf("%s: an edit of %s has no name", name, what)
				}
			}
		}
	}
}

func written(t *testing.T, form render.Form, r *value.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := form.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// comparison is what verify names for a file with a value, if the bundles give another one.
func comparison(t *testing.T, form render.Form, file []byte, in *value.Report, bundles ...*value.Report) []string {
	t.Helper()
	k := &Check{}
	if err := k.compare(form, file, in, append(bundles, in)[0]); err != nil {
		t.Fatal(err)
	}
	return k.Differences
}

// editedReport is a report with edit n of some, and what was edited. It is nil if the edit does not fit.
func editedReport(t *testing.T, r *value.Report, n, spots int) (*value.Report, string) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	list := places("", tree, nil)
	list = slices.DeleteFunc(list, func(p place) bool {
		_, isList := p.get.([]any)
		return strings.HasPrefix(p.path, "/basis") || p.path == "/schema" || n%2 == 0 != isList || strings.HasSuffix(p.path, "/columns") || strings.HasSuffix(p.path, "/cells")
	})
	slices.SortFunc(list, func(a, b place) int { return strings.Compare(a.path, b.path) })
	p := list[len(list)*(2*n+1)/(2*spots)]
	now := edited(p.get, n/2)
	if now == nil {
		return nil, ""
	}
	p.set(now)
	if text, err = json.Marshal(tree); err != nil {
		t.Fatal(err)
	}
	var out value.Report
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, ""
	}
	return &out, p.path
}
