package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// phrases are words that no text of the project uses, with the reason or the word to use.
var phrases = []struct{ not, but string }{
	{`whose they are`, "the owner of an address or a packet is its owner"},
	{`sure exact`, "write: certainty: exact"},
	{`\bholds for\b`, "matches, applies to, or is true of"},
	{`\bthat were so\b`, "write two sentences"},
	{`\bhangs on\b`, "depends on"},
	{`\bfrom there on\b`, "after that"},
	{`\bat hand\b`, "current, or available"},
	{`\blook(s|ed)? whether\b`, "check whether"},
	{`\b(that|what|which|it) is no (folder|bundle|capture|file|call|segment|key|number|table)\b`, "is not a"},
	{`\b(it|that|one|line) is none\b`, "is not one"},
	{`\bwhence\b`, "from which"},
	{`\bas it were\b`, "delete it"},
	{`\bgoes without saying\b`, "delete it"},
	{`\bwritten over\b`, "overwritten"},
	{`\btaken for\b`, "mistaken for"},
	{`\bwho is to blame\b`, "an outcome: client_error, server_error, refused"},
	{`\bstands? in its place\b`, "replaces it"},
	{`\bin the language of tcpdump\b`, "uses tcpdump's syntax"},
	{`\bstays? shut\b`, "cannot be decrypted"},
	{`\bhow we shall\b`, "how we will"},
	{`\bwhoever asked\b`, "the client, or the user"},
	{`\bbe had back\b`, "restored"},
	{`\b(is|are) told\b`, "gets, learns, or is reported; distinguished, if things are told apart"},
	{`\bof which nothing\b`, "that sent nothing, or has nothing"},
	{`\bany more\b`, "no longer, or further"},
	{`\bgoes on\b`, "continues"},
	{`\btells? of\b`, "states, reports, or shows"},
	{`\banother way than\b`, "another channel"},
	{`\bhow sure\b`, "how certain: the label is certainty"},
	{`\b(made|assigned|written) anew\b`, "again, or rewritten"},
	{`\btells? more\b`, "describes, or has the details"},
	{`\bbegins? so long\b`, "start this long"},
	{`(\bnil|\b0|-1|\bnull|""|\bempty|\bfalse|\btrue) where (there|that|it|they|the|nothing)\b`, "if: where is for places"},
	{`\bwhat stands\b`, "is"},
	{`\bfor want of\b`, "because there is no"},
	{`\bcannot be told\b`, "is not known"},
	{`\bfor several goroutines\b`, "for concurrent use"},
	{`\bin vain\b`, "without result"},
	{`\bthat packets do not give\b`, "that cannot be made from packets"},
	{`\b(Failed|failed) to (open|read|write|parse|load|create|make)\b`, "an error says what was being done: opening x: …"},
}

// changing is what has several forms in a pattern: a group, an optional letter, the border of a word.
var changing = regexp.MustCompile(`\(.*?\)\??|.\?|\\b`)

// always is the longest text that everything has that matches a pattern.
func always(pattern string) (longest string) {
	for _, part := range changing.Split(pattern, -1) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest
}

func TestAlways(t *testing.T) {
	for pattern, want := range map[string]string{`\bstays? shut\b`: " shut", `\blook(s|ed)? whether\b`: " whether", `\b(that|it) is no (file|call)\b`: " is no ", `sure exact`: "sure exact"} {
		if got := always(pattern); got != want {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
	for _, p := range phrases {
		if part := always(p.not); len(part) < 4 || strings.ContainsAny(part, `\[]{}()|*+?.^$`) {
			t.Errorf("%s: %q", p.not, part)
		}
	}
}

// inMessages are phrases that no message of the program uses; comments may. A message is a string
// in code that is not for tests.
var inMessages = []struct {
	not *regexp.Regexp
	but string
}{
	{regexp.MustCompile(`\bwant\b`), "write must be, expected, instead of, or the limit is: the program wants nothing"},
	{regexp.MustCompile(`\bwhoever\b`), "the person, client or process that …"},
	{regexp.MustCompile(`\bsays so\b`), "states it, or reports it"},
}

// messages calls do with each text of a Go file that may be a message, and its line. SQL and the tags of
// fields are not.
func messages(t *testing.T, name string, src []byte, do func(text string, line int)) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if f, ok := n.(*ast.Field); ok && f.Tag != nil {
			do(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("doc"), set.Position(f.Tag.Pos()).Line)
			f.Tag = nil
		}
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && !strings.Contains(lit.Value, "SELECT") {
			do(lit.Value, set.Position(lit.Pos()).Line)
		}
		return true
	})
}

// TestPhrases reads documents, comments, messages and scripts for phrases that read as
// translated or that only the authors understand.
func TestPhrases(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "--full-name", ":/*.go", ":/*.md", ":/*.sh", ":/*.txt").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Fatal(err)
	}
	var not []*regexp.Regexp
	var parts []string
	for _, p := range phrases {
		not, parts = append(not, regexp.MustCompile(p.not)), append(parts, always(p.not))
	}
	read := 0
	for _, name := range strings.Fields(string(out)) {
		if name == "docs/english_test.go" || strings.Contains(name, "testdata/") || strings.HasPrefix(name, "samples/questions/") {
			continue
		}
		text, err := os.ReadFile(strings.TrimSpace(string(root)) + "/" + name)
		if err != nil {
			continue // deleted, and not yet committed
		}
		read++
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !strings.Contains(name, "test/") && !strings.HasPrefix(name, "scripts/") && !strings.HasPrefix(name, "samples/") {
			messages(t, name, text, func(text string, line int) {
				for _, p := range inMessages {
					if found := p.not.FindString(text); found != "" && len(text) > len(found)+2 {
						t.Errorf("%s:%d: %q in a message: %s", name, line, found, p.but)
					}
				}
			})
		}
		for n, line := range strings.Split(string(text), "\n") {
			for i, re := range not {
				if !strings.Contains(line, parts[i]) {
					continue // quick
				}
				if found := re.FindString(line); found != "" {
					t.Errorf("%s:%d: %q: %s", name, n+1, found, phrases[i].but)
				}
			}
		}
	}
	if read < 500 {
		t.Errorf("only %d files were read", read)
	}
}
