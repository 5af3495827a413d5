package redact

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// sample is a line of the corpus.
type sample struct {
	kind, context, text string   // kind is "-" if nothing in the text is secret
	secrets             []string // in text
}

// corpus reads testdata/corpus.txt.
func corpus(t *testing.T) (list []sample) {
	t.Helper()
	data, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " | ", 3)
		if len(f) != 3 {
			t.Fatalf("corpus: %q has no kind, context and text", line)
		}
		x := sample{kind: f[0], context: f[1]}
		rest := strings.ReplaceAll(strings.ReplaceAll(f[2], "·", ""), `\n`, "\n")
		if x.context == "json" {
			rest = strings.ReplaceAll(f[2], "·", "")
		}
		for {
			head, tail, ok := strings.Cut(rest, "«")
			x.text += head
			if !ok {
				break
			}
			secret, after, _ := strings.Cut(tail, "»")
			x.secrets = append(x.secrets, secret)
			x.text += secret
			rest = after
		}
		if (x.kind == "-") != (len(x.secrets) == 0) {
			t.Fatalf("corpus: %q: secrets are in «», near misses have none", line)
		}
		list = append(list, x)
	}
	return list
}

// masked masks a sample as an answer masks what occurs in its context.
func (x *sample) masked(m *Masker) string {
	switch x.context {
	case "header":
		name, value, _ := strings.Cut(x.text, ": ")
		return name + ": " + m.Text(AsHeader, name, value)
	case "json":
		return m.Text(AsContent, "application/json", x.text)
	case "form":
		return m.Text(AsContent, "application/x-www-form-urlencoded", x.text)
	case "sql":
		return m.Text(AsContent, "sql", x.text)
	case "command line", "redis":
		return m.Text(AsContent, "command", x.text)
	case "url":
		return m.Text(AsColumn, "url", x.text)
	case "path":
		return m.Text(AsColumn, "path", x.text)
	}
	return m.Text(AsContent, "", x.text)
}

// leaks returns a secret of which more than a prefix or the end is in a masked text, or "".
func (x *sample) leaks(masked string) string {
	for _, s := range x.secrets {
		half := s
		if len(s) > 12 {
			half = s[len(s)/4 : len(s)*3/4]
		}
		if strings.Contains(masked, half) {
			return s
		}
	}
	return ""
}

// excused are texts of the corpus that the policy gets wrong, with the reason.
var excused = map[string]string{
	"PASS anon-secret1": "PASS also begins the lines of test results; the dissectors of FTP and POP3 hide the password",
}

// TestCorpus masks samples of secrets and of texts that resemble them.
func TestCorpus(t *testing.T) {
	m := NewMasker(Default(), nil)
	var caught, secrets, wrong, harmless int
	for _, x := range corpus(t) {
		got := x.masked(m)
		switch {
		case x.kind == "-":
			harmless++
			if got != x.text {
				wrong++
				if excused[x.text] != "" {
					continue
				}
				t.Errorf("wrongly masked: %s: %q became %q", x.context, x.text, got)
			}
		default:
			secrets++
			if s := x.leaks(got); s != "" {
				if excused[x.text] != "" {
					continue
				}
				t.Errorf("not caught: %s in %s: %q became %q", x.kind, x.context, x.text, got)
			} else {
				caught++
			}
		}
	}
	fmt.Printf("corpus: caught %d of %d secrets, wrongly masked %d of %d near misses\n", caught, secrets, wrong, harmless)
	if secrets < 150 || harmless < 150 {
		t.Errorf("the corpus has %d secrets and %d near misses, want at least 150 of each", secrets, harmless)
	}
}
