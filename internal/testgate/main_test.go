package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// lists are the lists of the repository.
var lists = []string{"../../.ci/allowed-skips.txt", "../../.ci/skips-without-root.txt"}

// events returns the output of `go test -json` for a test that logs these lines and skips.
func events(lines ...string) string {
	var b strings.Builder
	say := func(e event) { data, _ := json.Marshal(e); b.Write(append(data, '\n')) }
	say(event{Action: "pass", Package: "p", Test: "TestOther"})
	for _, line := range lines {
		say(event{Action: "output", Package: "p", Test: "TestX", Output: line + "\n"})
	}
	say(event{Action: "output", Package: "p", Test: "TestX", Output: "--- SKIP: TestX (0.00s)\n"})
	say(event{Action: "skip", Package: "p", Test: "TestX"})
	say(event{Action: "pass", Package: "p"})
	return b.String()
}

func TestSkips(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entry   string
		lines   []string
		allowed bool
	}{
		{"equal", "needs nft", []string{"    x_test.go:9: needs nft"}, true},
		{"with a detail", "needs nft", []string{"    x_test.go:9: needs nft: not in PATH"}, true},
		{"with a detail of two lines", "needs nft", []string{"    x_test.go:9: needs nft: it says", "        usage: nft"}, true},
		{"two spaces, as t.Skip(\"needs \", name) prints", "needs nft", []string{"    x_test.go:9: needs  nft"}, true},
		{"after other lines", "needs nft", []string{"=== RUN   TestX", "    y_test.go:3: begun", "    x_test.go:9: needs nft"}, true},
		{"an entry that is the beginning", "needs n", []string{"    x_test.go:9: needs nft"}, false},
		{"an entry that is longer", "needs nft", []string{"    x_test.go:9: needs n"}, false},
		{"an entry within the detail", "needs nft", []string{"    x_test.go:9: needs root: needs nft"}, false},
		{"an entry on the second line", "needs nft", []string{"    x_test.go:9: needs root", "        x_test.go:8: needs nft"}, false},
		{"an entry in an earlier line", "needs nft", []string{"    x_test.go:8: needs nft", "    x_test.go:9: needs root"}, false},
		{"an entry that the program printed", "needs nft", []string{"needs nft", "    x_test.go:9: needs root"}, false},
		{"other letters", "needs nft", []string{"    x_test.go:9: needs NFT"}, false},
		{"other words", "needs nft", []string{"    x_test.go:9: nft is missing"}, false},
		{"a comma for the colon", "needs nft", []string{"    x_test.go:9: needs nft, in PATH"}, false},
		{"the test's name is no message", "needs nft", []string{"    x_test.go:9: TestX"}, false},
		{"no message", "needs nft", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			rc := checked(strings.NewReader(events(tt.lines...)), &out, map[string]bool{tt.entry: true}, nil)
			if (rc == 0) != tt.allowed {
				t.Errorf("exit code %d, allowed %v\n%s", rc, tt.allowed, out.String())
			}
			if said := strings.Contains(out.String(), "TestX is not on the list"); said == tt.allowed {
				t.Errorf("allowed %v, but the output is:\n%s", tt.allowed, out.String())
			}
		})
	}
}

// checked runs a gate over the output of tests.
func checked(in io.Reader, out io.Writer, allowed map[string]bool, again func(key) (io.Reader, error)) int {
	g := gate{out: out, allowed: allowed, again: again, output: map[key][]string{}}
	if err := g.read(in); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	return g.result()
}

// TestAgain: a test that failed beside others has a second run, unless its failure cannot be one of time.
func TestAgain(t *testing.T) {
	line := func(action, pkg, test, output string) string {
		data, _ := json.Marshal(event{Action: action, Package: pkg, Test: test, Output: output})
		return string(data) + "\n"
	}
	pass := line("pass", "p", "TestA", "")
	one := pass + line("fail", "p", "TestB/part", "") + line("fail", "p", "TestB", "") + line("fail", "p", "", "")
	good := line("pass", "p", "TestB", "") + line("pass", "p", "", "")
	many := pass
	for i := range mostAgain + 1 {
		many += line("fail", "p", "TestB"+strconv.Itoa(i), "")
	}
	for _, tt := range []struct {
		name, first, second string
		rc, runs            int
	}{
		{"it passes alone", one, good, 0, 1},
		{"it fails alone", one, line("fail", "p", "TestB", "") + line("fail", "p", "", ""), 1, 1},
		{"it skips", one, line("skip", "p", "TestB", "") + line("pass", "p", "", ""), 1, 1},
		{"it is not found", one, line("pass", "p", "", ""), 1, 1},
		{"nothing runs", one, "", 1, 1},
		{"a data race", line("output", "p", "TestB", "WARNING: DATA RACE\n") + one, good, 1, 0},
		{"a panic", line("output", "p", "TestB", "panic: index out of range [recovered, repanicked]\n") + one, good, 1, 0},
		{"a deadlock", line("output", "p", "TestB", "fatal error: all goroutines are asleep - deadlock!\n") + one, good, 1, 0},
		{"a package fails besides", one + line("fail", "q", "", ""), good, 1, 0},
		{"a build fails besides", one + line("build-fail", "", "", ""), good, 1, 0},
		{"many", many, good, 1, 0},
		{"a skip besides", one + line("skip", "p", "TestC", ""), good, 1, 1},
	} {
		var out strings.Builder
		runs := 0
		rc := checked(strings.NewReader(tt.first), &out, nil, func(k key) (io.Reader, error) {
			if runs++; k != (key{"p", "TestB"}) {
				t.Errorf("%s: %v runs again", tt.name, k)
			}
			return strings.NewReader(tt.second), nil
		})
		if rc != tt.rc || runs != tt.runs || rc == 0 && !strings.Contains(out.String(), "AGAIN p TestB failed beside others") {
			t.Errorf("%s: exit code %d, want %d; %d runs, want %d\n%s", tt.name, rc, tt.rc, runs, tt.runs, out.String())
		}
	}
}

// TestStart: what ends without a result of its tests is an error, also after tests that passed.
func TestStart(t *testing.T) {
	const pass, fail = `{"Action":"pass","Package":"p","Test":"TestX"}`, `{"Action":"fail","Package":"p","Test":"TestX"}`
	for _, tt := range []struct {
		name, script string
		fine         bool
		rc           int
	}{
		{"passes", "echo '" + pass + "'", true, 0},
		{"fails", "echo '" + fail + "'; exit 1", true, 1},
		{"stops after a test", "echo '" + pass + "'; exit 1", false, 0},
		{"is killed", "echo '" + fail + "'; kill -9 $$", false, 0},
		{"usage", "echo '" + fail + "'; exit 2", false, 0},
	} {
		keep := filepath.Join(t.TempDir(), "json")
		g := gate{out: new(strings.Builder), output: map[key][]string{}}
		if err := g.start([]string{"sh", "-c", tt.script}, keep); (err == nil) != tt.fine {
			t.Errorf("a command that %s: %v", tt.name, err)
		}
		if rc := g.result(); tt.fine && rc != tt.rc {
			t.Errorf("a command that %s: exit code %d, want %d", tt.name, rc, tt.rc)
		}
		if kept, _ := os.ReadFile(keep); string(kept) != pass+"\n" && string(kept) != fail+"\n" {
			t.Errorf("a command that %s: the file has %q", tt.name, kept)
		}
	}
}

func TestRunFails(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		rc       int
	}{
		{"a test passed", `{"Action":"pass","Package":"p","Test":"TestX"}`, 0},
		{"a test failed", `{"Action":"pass","Package":"p","Test":"TestX"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestY"}`, 1},
		{"a package failed to build", `{"Action":"pass","Package":"p","Test":"TestX"}` + "\n" + `{"Action":"build-fail","ImportPath":"q"}`, 1},
		{"a package failed outside its tests", `{"Action":"pass","Package":"p","Test":"TestX"}` + "\n" + `{"Action":"fail","Package":"p"}`, 1},
		{"no test ran", `{"Action":"pass","Package":"p"}`, 1},
		{"nothing at all", "", 1},
	} {
		if rc := checked(strings.NewReader(tt.in), new(strings.Builder), nil, nil); rc != tt.rc {
			t.Errorf("%s: exit code %d, want %d", tt.name, rc, tt.rc)
		}
	}
}

func TestReadAllowed(t *testing.T) {
	for _, tt := range []struct{ name, text, problem string }{
		{"entries and comments", "# why\n\nneeds a thing\tit is large\nneeds root\tit mounts\n", ""},
		{"no reason", "needs a thing\n", "has no reason"},
		{"a test's name", "TestX\tit is slow\n", "is not of the form"},
		{"a detail", "needs a thing: here\tit is large\n", "is not of the form"},
		{"two spaces", "needs  a thing\tit is large\n", "is not of the form"},
		{"no thing", "needs\tit is large\n", "is not of the form"},
		{"twice", "needs a thing\tit is large\nneeds a thing\tit is large\n", "is listed twice"},
	} {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := readAllowed(path, map[string]bool{})
		if tt.problem == "" && err != nil || tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.problem)
		}
	}
}

// TestListsOfTheRepository: no entry is in two lists, and each is of the form.
func TestListsOfTheRepository(t *testing.T) {
	allowed := map[string]bool{}
	for _, path := range lists {
		if err := readAllowed(path, allowed); err != nil {
			t.Error(err)
		}
	}
}

// TestRaceExceptionsAreTests: each alternative of norace in the Makefile is the beginning of a test's
// name. The test of a stale one would run with the race detector, and so for minutes.
func TestRaceExceptionsAreTests(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	variable := func(name string) string {
		_, rest, ok := strings.Cut(string(text), "\n"+name+" := ")
		if line, _, _ := strings.Cut(rest, "\n"); ok {
			return strings.ReplaceAll(line, "$$", "$")
		}
		t.Fatalf("the Makefile has no %s", name)
		return ""
	}
	var names []string
	for _, dir := range strings.Fields(variable("RACE")) {
		files, err := filepath.Glob("../../" + strings.Replace(dir, "...", "*", 1) + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no tests: %v", dir, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func Test(\w+)`).FindAllStringSubmatch(string(data), -1) {
				names = append(names, m[1])
			}
		}
	}
	for _, some := range strings.Split(variable("norace"), "|") {
		if !slices.ContainsFunc(names, regexp.MustCompile("^"+some).MatchString) {
			t.Errorf("norace has %s, and no test of these packages begins so", some)
		}
	}
}

// whole matches a format in which THING ends at a colon or at the end.
var whole = regexp.MustCompile(`(?s)^needs ([^:,%]+|%s)(: .*)?$`)

// TestEverySkipSaysWhatItNeeds also finds entries of the first list that no test uses: the test's message was reworded,
// and its skip would fail on another machine. It reads the calls of Skip and Skipf in all tests and in what they share.
func TestEverySkipSaysWhatItNeeds(t *testing.T) {
	found, said := 0, map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".cache" || d.Name() == ".git" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte("\t\"testing\"\n")) { // a test, or what tests share
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, ok := c.Fun.(*ast.SelectorExpr)
			if !ok || name.Sel.Name != "Skip" && name.Sel.Name != "Skipf" && name.Sel.Name != "SkipNow" {
				return true
			}
			if of, ok := name.X.(*ast.Ident); !ok || of.Name != "t" && of.Name != "b" && of.Name != "tb" && of.Name != "f" {
				return true
			}
			found++
			if len(c.Args) > 0 {
				if lit, ok := c.Args[0].(*ast.BasicLit); ok {
					thing, _, _ := strings.Cut(strings.Trim(lit.Value, `"`), ":")
					said[thing] = true
				}
			}
			if !saysWhatItNeeds(name.Sel.Name, c.Args) {
				t.Errorf("%s: a skip must say \"needs THING\" or \"needs THING: DETAIL\", so that it can be listed", set.Position(c.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 50 {
		t.Errorf("%d calls found: are these all tests?", found)
	}
	list, err := os.ReadFile(lists[0])
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{} // by the message without articles
	for line := range strings.Lines(string(list)) {
		if thing, _, ok := strings.Cut(line, "\t"); ok {
			listed[article.ReplaceAllString(thing, "")] = thing
			if !said[thing] {
				t.Errorf("%s: no test says %q", lists[0], thing)
			}
		}
	}
	for thing := range said {
		if entry := listed[article.ReplaceAllString(thing, "")]; entry != "" && entry != thing {
			t.Errorf("a test says %q, and %s has %q", thing, lists[0], entry)
		}
	}
}

var article = regexp.MustCompile(`\b(the|an?) `)

func saysWhatItNeeds(name string, args []ast.Expr) bool {
	if len(args) == 0 {
		return false
	}
	if sum, ok := args[0].(*ast.BinaryExpr); ok { // "needs " + tool
		lit, ok := sum.X.(*ast.BasicLit)
		return ok && lit.Value == `"needs "` && len(args) == 1
	}
	lit, ok := args[0].(*ast.BasicLit)
	if !ok {
		return false
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil || !whole.MatchString(text) {
		return false
	}
	// More operands are details: they come after a colon.
	return name == "Skipf" || len(args) == 1 || strings.HasSuffix(text, ": ")
}

func TestSaysWhatItNeeds(t *testing.T) {
	for _, tt := range []struct {
		call string
		want bool
	}{
		{`t.Skip("needs nft")`, true},
		{`t.Skip("needs " + tool)`, true},
		{`t.Skip("needs CAP_BPF: ", err)`, true},
		{`t.Skipf("needs npm packages: %s", out)`, true},
		{`t.Skipf("needs %s", tool)`, true},
		{`t.Skip("needs ", tool)`, false},
		{`t.Skip("needs nft", tool)`, false},
		{`t.Skip("needs root, to mount")`, false},
		{`t.Skipf("needs %d files: %v", n, err)`, false},
		{`t.Skip("nft is missing")`, false},
		{`t.Skip(err)`, false},
		{`t.SkipNow()`, false},
	} {
		e, err := parser.ParseExpr(tt.call)
		if err != nil {
			t.Fatal(err)
		}
		c := e.(*ast.CallExpr)
		if got := saysWhatItNeeds(c.Fun.(*ast.SelectorExpr).Sel.Name, c.Args); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.call, got, tt.want)
		}
	}
}
