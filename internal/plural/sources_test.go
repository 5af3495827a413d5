package plural

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// bare matches a number with a fixed plural noun. limit matches the words before a limit, which is
// never 1.
var (
	bare   = regexp.MustCompile(`%d ([a-z]+ ){0,2}(packets|rules|calls|connections|flows|files|entries|times|services|rows|bundles|hosts|groups|operations|endpoints|nodes|segments|tables|columns|requests|answers|pairs|snapshots|destinations|clients|workloads|addresses|queries|messages|records|problems|differences|findings|warnings|gaps|names|keys|others|hops|places|values|retries)\b`)
	wanted = regexp.MustCompile(`%d [a-z]+, want`) // an error about an argument
	power  = regexp.MustCompile(`%\.\d+g`)         // writes 1e+03 for 999.6
	limit  = regexp.MustCompile(`(to|in the|about|at most|at least|more than|less than|only the|the first|the latest|the last|the largest|the busiest|want|of|has|with|given|and) %d `)
)

// TestNumbersAgreeWithTheirNouns checks the formats of all text for people: a number and its noun must
// be written by Sprintf or Count, and a number of significant digits by Digits.
func TestNumbersAgreeWithTheirNouns(t *testing.T) {
	seen := 0
	for _, room := range []string{"forensics", "mcp", "report", "cli"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "internal" && room == "forensics" {
				return fs.SkipDir // not for people
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				seen++
				text := wanted.ReplaceAllString(limit.ReplaceAllString(lit.Value, "… "), "")
				if found := bare.FindString(text); found != "" && !strings.Contains(text, "SELECT") {
					t.Errorf("%s: %q is wrong for 1: write {one|many}, with plural.Sprintf", set.Position(lit.Pos()), found)
				}
				if found := power.FindString(text); found != "" {
					t.Errorf("%s: %s writes large numbers with an exponent: use plural.Digits", set.Position(lit.Pos()), found)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 1000 {
		t.Errorf("only %d texts were checked", seen)
	}
}
