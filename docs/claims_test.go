package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/internal/sources"
)

// pages are all documents, by their path from the root of the repository.
func pages(t *testing.T) map[string]string {
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "docs/*/*/*.md", "samples/*.md"} {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			texts[filepath.ToSlash(strings.TrimPrefix(f, ".."+string(filepath.Separator)))] = string(text)
		}
	}
	return texts
}

var (
	fence   = regexp.MustCompile("(?ms)^```[^\n]*\n(.*?)^```")
	inline  = regexp.MustCompile("`([^`\n]+)`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// anchor is the name by which links reach a heading.
func anchor(title string) string {
	return strings.ReplaceAll(strings.ToLower(notSlug.ReplaceAllString(title, "")), " ", "-")
}

// TestLinks follows each relative link to its file and heading.
func TestLinks(t *testing.T) {
	texts := pages(t)
	for page, text := range texts {
		for _, l := range link.FindAllStringSubmatch(inline.ReplaceAllString(fence.ReplaceAllString(text, ""), ""), -1) {
			target, part, _ := strings.Cut(l[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(page), target))
				if _, err := os.Stat(filepath.Join("..", file)); err != nil {
					t.Errorf("%s: link to %s: there is no such file", page, l[1])
					continue
				}
			}
			found := part == ""
			for _, h := range heading.FindAllStringSubmatch(texts[file], -1) {
				found = found || anchor(h[1]) == part
			}
			if !found {
				t.Errorf("%s: link to %s: the page has no such heading", page, l[1])
			}
		}
	}
}

// TestPagesAreListed checks that each document has a link in docs/README.md, pages of protocols in
// format/protocols.md and decisions in design/README.md.
func TestPagesAreListed(t *testing.T) {
	texts := pages(t)
	for page := range texts {
		index := "docs/README.md"
		switch {
		case strings.HasPrefix(page, "docs/format/protocols/"):
			index = "docs/format/protocols.md"
		case strings.HasPrefix(page, "docs/design/") && page != "docs/design/README.md":
			index = "docs/design/README.md"
		}
		name, inside := strings.CutPrefix(page, filepath.ToSlash(filepath.Dir(index))+"/")
		if inside && page != index && !strings.Contains(texts[index], "("+name+")") {
			t.Errorf("%s does not list %s", index, page)
		}
	}
}

// programs returns a folder with both programs. They are those of make build and make recorder, so
// nothing is linked if they are up to date.
func programs(t *testing.T) string {
	t.Helper()
	sources.Look(t, "..")
	built.Do(func() {
		for name, cgo := range map[string]string{"pcapsule": "1", "pcapsule-recorder": "0"} {
			c := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join("..", "bin", name), "../cmd/"+name)
			c.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("building: %v\n%s", err, out)
			}
		}
	})
	bin, err := filepath.Abs(filepath.Join("..", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

var built sync.Once

// words splits a command line as a shell does, up to the first operator or comment.
func words(line string) (list []string) {
	var word strings.Builder
	quote, inWord := rune(0), false
	end := func() {
		if inWord {
			list = append(list, word.String())
		}
		word.Reset()
		inWord = false
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			end()
		case strings.ContainsRune("|;&<>", c), c == '#' && !inWord:
			end()
			return list
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	end()
	return list
}

// commands are the command lines of a document that begin with one of our programs.
func commands(text string) (list [][]string) {
	add := func(line string) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if w := words(line); len(w) > 1 && slices.Contains([]string{"pcapsule", "pcapsule-recorder"}, w[0]) {
			list = append(list, w)
		}
	}
	for _, f := range fence.FindAllStringSubmatch(text, -1) {
		for _, line := range strings.Split(strings.ReplaceAll(f[1], "\\\n", " "), "\n") {
			add(line)
		}
	}
	for _, c := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		add(c[1])
	}
	return list
}

// usage is the help of each command, run once.
type usage struct {
	bin  string
	text map[string]string
}

func (u *usage) of(t *testing.T, path []string) string {
	key := strings.Join(path, " ")
	if _, ok := u.text[key]; !ok {
		out, err := exec.Command(filepath.Join(u.bin, path[0]), append(slices.Clone(path[1:]), "--help")...).CombinedOutput()
		if err != nil {
			t.Errorf("%s --help: %v\n%s", key, err, out)
		}
		u.text[key] = string(out)
	}
	return u.text[key]
}

// has says whether help lists a command (two spaces, its name, spaces) or a flag.
func has(help, what string) bool {
	return regexp.MustCompile(`(?m)(^  |, |    )` + regexp.QuoteMeta(what) + `([ ,\n]|$)`).MatchString(help)
}

var subcommand = regexp.MustCompile(`^[a-z][a-z-]+$`)

// TestCommandsExist checks each command and flag that a document names against the help of the
// program.
func TestCommandsExist(t *testing.T) {
	u := &usage{bin: programs(t), text: map[string]string{}}
	checked := 0
	texts := pages(t)
	delete(texts, "CHANGELOG.md") // it names commands that were mistyped or removed
	for page, text := range texts {
		for _, line := range commands(text) {
			path := line[:1]
			for _, w := range line[1:] {
				if !subcommand.MatchString(w) || !has(u.of(t, path), w) {
					break
				}
				path = append(slices.Clone(path), w)
			}
			group := strings.Contains(u.of(t, path), "Available Commands:")
			if next := line[len(path):]; group && len(next) > 0 && subcommand.MatchString(next[0]) && next[0] != "question-worker" { // hidden from help
				t.Errorf("%s: %s: there is no command %s", page, strings.Join(line, " "), next[0])
				continue
			}
			for _, w := range line[len(path):] {
				if w == "--" { // arguments of another command follow
					break
				}
				flag, _, _ := strings.Cut(w, "=")
				if flag = strings.TrimRight(flag, ".,:]"); !regexp.MustCompile(`^--[a-z][a-z0-9-]+$`).MatchString(flag) {
					continue
				}
				if checked++; !has(u.of(t, path), flag) {
					t.Errorf("%s: %s: %s has no flag %s", page, strings.Join(line, " "), strings.Join(path, " "), flag)
				}
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d flags were found in the documents", checked)
	}
}

// TestReadmeCountsProtocols compares the number of protocols in the README with their pages.
func TestReadmeCountsProtocols(t *testing.T) {
	list, err := os.ReadDir("format/protocols")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if want := fmt.Sprintf("**%d protocols by their content**", len(list)); err != nil || !strings.Contains(string(readme), want) {
		t.Errorf("README.md does not say %q: %v", want, err)
	}
}

// TestDocumentsAreShort holds the number of words, because a reader has to find a fact, and a fact has one place. Before
// you raise a limit, cut what a command prints (schema, protocols, findings, --help) or what another page says.
func TestDocumentsAreShort(t *testing.T) {
	const all, readme = 75000, 1500
	type page struct {
		name  string
		words int
	}
	var docs []page
	total := 0
	for name, text := range pages(t) {
		n := len(strings.Fields(text))
		if name == "README.md" && n > readme {
			t.Errorf("README.md has %d words, at most %d are allowed", n, readme)
		}
		if strings.HasPrefix(name, "docs/") {
			docs = append(docs, page{name, n})
			total += n
		}
	}
	slices.SortFunc(docs, func(a, b page) int { return b.words - a.words })
	if total > all {
		t.Errorf("docs/ has %d words, at most %d are allowed; the longest pages: %v", total, all, docs[:10])
	}
	if total < all/2 {
		t.Errorf("only %d words were read", total)
	}
}
