package ask_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// settled are uses of arg_min and arg_max without a tie, and why.
var settled = map[string]string{
	`arg_min(kfl_c, kfl_o)`:                                                                          "kfl_o numbers the rows of a call",
	`arg_max(minute, n * 100000000000 - minute)`:                                                     "the key contains the minute",
	`arg_min(%[4]s, flow_id)`:                                                                        "of one bundle",
	`arg_min(src_id, (src_pod IS NULL, flow_id))`:                                                    "of one bundle",
	`arg_min(src_id, (NOT behind, flow_id))`:                                                         "of one bundle",
	`arg_min(dst_id, (NOT behind, flow_id))`:                                                         "of one bundle",
	`arg_min(dst_port, (NOT behind, flow_id))`:                                                       "of one bundle",
	`arg_min(t.side, (t.ts_ns, t.packet_no))`:                                                        "of one bundle",
	`arg_min(t.flow_id, (t.ts_ns, t.packet_no))`:                                                     "of one bundle",
	"arg_min(c.call_id, (\" + terms.Key(c, \"c\") + \"c.call_no))":                                   "a number of a bundle",
	`arg_min(call_id, (ts_ns, bundle, call_no), 3)`:                                                  "a number of a bundle",
	`arg_max(call_id, least(coalesce(elapsed_us, -1), 2000000000000) * 4194304 - call_no % 4194304)`: "a number, which is faster than a tuple",
}

var (
	extreme = regexp.MustCompile(`\barg_(?:min|max)\(`)
	literal = regexp.MustCompile(`'[^']*'`)
	column  = regexp.MustCompile(`[%\w\[\].]+`)
)

// arguments returns the text of a call in SQL, which begins with its name, and its arguments.
func arguments(text string) (whole string, args []string) {
	depth, from := 0, strings.IndexByte(text, '(')+1
	for i := from - 1; i < len(text); i++ {
		switch c := text[i]; {
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			if depth--; depth == 0 {
				return text[:i+1], append(args, strings.TrimSpace(text[from:i]))
			}
		case c == ',' && depth == 1:
			args, from = append(args, strings.TrimSpace(text[from:i])), i+1
		}
	}
	return text, args
}

// decides reports whether rows that are equal in key have equal values.
func decides(value, key string) bool {
	names := column.FindAllString(literal.ReplaceAllString(key, ""), -1)
	if slices.Contains(names, "call_id") || slices.Contains(names, "pid") {
		return true
	}
	return !slices.ContainsFunc(column.FindAllString(literal.ReplaceAllString(value, ""), -1), func(name string) bool { return !slices.Contains(names, name) })
}

// TestNoTieDecidesAnExample reads the SQL of the product. Threads decide which of several rows arg_min and arg_max return if
// these are equal in the key, so the same question would have other examples in every run.
func TestNoTieDecidesAnExample(t *testing.T) {
	for _, x := range []struct {
		value, key string
		want       bool
	}{
		{"call_id", "ts_ns", false},
		{"call_id", "(ts_ns, call_id)", true},
		{"bundle", "(ts_ns, call_id)", true},
		{"cited", "(first_ns, packet)", false},
		{"{'t': ts_ns, 'i': id}", "ts_ns", false},
		{"'packet ' || packet_no", "(ts_ns, packet_no)", true},
	} {
		if got := decides(x.value, x.key); got != x.want {
			t.Errorf("%s by %s: %v", x.value, x.key, got)
		}
	}
	used := map[string]bool{}
	for _, root := range []string{"forensics", "mcp", "report", "lake", "hub", "kfl", "cli", "store", "collection"} {
		err := filepath.WalkDir(filepath.Join("..", "..", root), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			src, err := os.ReadFile(path)
			for _, at := range extreme.FindAllIndex(src, -1) {
				whole, args := arguments(string(src[at[0]:]))
				used[whole] = true
				if _, ok := settled[whole]; !ok && (len(args) < 2 || !decides(args[0], args[1])) {
					t.Errorf("%s: rows that are equal in the key differ: %s", path, whole)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for text := range settled {
		if !used[text] {
			t.Errorf("nothing uses %s", text)
		}
	}
}
