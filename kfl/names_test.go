package kfl

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// TestColumnsHaveFields reads the tags of the exporter's rows as text, because kfl does not import
// the exporter. A field must have the type of its column. A column without a field can still be
// used by its own name (Env.Columns), so it is only logged.
func TestColumnsHaveFields(t *testing.T) {
	kinds := map[string]kind{"string": kText, "int32": kInt, "int64": kInt, "bool": kBool, "[]string": kList, "[]byte": kBytes, "ID": kBytes, "Hash": kBytes}
	tag := regexp.MustCompile("(?m)^\\s*\\w+\\s+(\\S+)\\s+`col:\"(\\w+)\"")
	bySource := map[string]*field{}
	for _, f := range names().fields {
		if f.kind == srcColumn && (f.arg == f.name || bySource[f.arg] == nil) {
			bySource[f.arg] = f
		}
	}
	columns := 0
	check := func(path string) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tag.FindAllStringSubmatch(string(raw), -1) {
			typ := strings.TrimPrefix(strings.TrimSuffix(m[1], "]"), "table.")
			typ = strings.TrimPrefix(strings.TrimPrefix(typ, "Opt["), "table.")
			if m[1] == "[]string" || m[1] == "[]byte" {
				typ = m[1]
			}
			want, ok := kinds[typ]
			if !ok {
				continue
			}
			columns++
			f := bySource[m[2]]
			switch {
			case f == nil:
				t.Logf("%s: column %s has no field", path, m[2])
			case f.typ.text == textHex && want == kBytes, f.typ.kind == kTime && want == kInt:
			case f.typ.kind != want:
				t.Errorf("%s: column %s is %s, its field %s", path, m[2], m[1], f.typ)
			}
		}
	}
	check("../exporter/table/call.go")
	err := filepath.WalkDir("../exporter/dissect", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "dissecttest") {
			check(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if columns < 50 {
		t.Errorf("only %d columns found", columns)
	}
}

// TestDefinitions checks the type of each field that is defined in KFL.
func TestDefinitions(t *testing.T) {
	for _, f := range names().fields {
		if f.kind != srcExpr {
			continue
		}
		c := &checker{work: &work{columns: map[string]bool{}, absent: map[string]bool{}}}
		x, err := c.field(&parse.Node{}, f)
		if err != nil {
			t.Errorf("%s = %s: %v", f.name, f.arg, err)
			continue
		}
		if x.typ.kind != f.typ.kind || x.typ.elem != f.typ.elem {
			t.Errorf("%s = %s is %s, but names.tsv has %s", f.name, f.arg, x.typ, f.typ)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ typed, want string }{
		{"stats_code", "status_code"}, {"src.Pod", "src.pod"}, {"src_ip_", "src_ip"}, {"elapsed_tiem", "elapsed_time"}, {"src.nmae", "src.name"}, {"htp", "http"},
		{"zzzzzzzz", ""}, {"", ""}, {strings.Repeat("a", 100), ""},
	} {
		if got := nearest.Name(c.typed, names().all); got != c.want {
			t.Errorf("nearest to %q is %q, want %q", c.typed, got, c.want)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(`http && status_code >= 500 && dst.service.name == "payment-service"`, Env{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestIsProtocol(t *testing.T) {
	for name, want := range map[string]bool{"http1": true, "kafka": true, "http": false, "tls": false, "method": false, "nosuch": false, "dst.port": false} {
		if IsProtocol(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
