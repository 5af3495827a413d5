package handover_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
	"github.com/pcapsule/pcapsule/internal/pdf"
)

var lineOfPDF = regexp.MustCompile(`BT [0-9.-]+ [0-9.-]+ Td “(.*)” Tj`)

// coverPDF is the cover sheet as PDF, and its lines by the tag that they belong to.
func coverPDF(t testing.TB, b *bundle.Bundle) (file []byte, lines map[string][]string, tree string) {
	t.Helper()
	dir, _ := packed(t, b, handover.Options{})
	file, err := os.ReadFile(filepath.Join(dir, "cover.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	open, lines := "", map[string][]string{}
	for _, p := range pdf.Parts(file, 1<<24) {
		switch m := lineOfPDF.FindStringSubmatch(p.Text); {
		case !strings.HasPrefix(p.Place, "page"):
			if strings.Contains(p.Text, "/StructTreeRoot /K") {
				tree = p.Text
			}
		case strings.HasSuffix(p.Text, "BDC"), strings.HasSuffix(p.Text, "BMC"):
			open, _, _ = strings.Cut(p.Text, " ")
		case p.Text == "EMC":
			open = ""
		case m != nil:
			lines[open] = append(lines[open], m[1])
		}
	}
	return file, lines, tree
}

// TestCoverPDF checks that the sheet is an archive that can be read aloud: all of its text has a tag, tables have
// heads of rows, the QR code has a text, and commands stand on lines of their own.
func TestCoverPDF(t *testing.T) {
	file, lines, tree := coverPDF(t, made(t))
	for _, want := range []string{"<pdfaid:part>3</pdfaid:part><pdfaid:conformance>A<", "<pdfuaid:part>1<", "/AFRelationship /Source"} {
		if !strings.Contains(string(file), want) {
			t.Errorf("the file lacks %s", want)
		}
	}
	if data, err := pdf.Attached(file, 1<<20); err != nil || !strings.Contains(string(data), "InvestigativeAction") {
		t.Errorf("cover.jsonld in the PDF: %v", err)
	}
	if n := len(lines[""]); n > 0 {
		t.Errorf("%d lines have no tag: %q", n, lines[""][0])
	}
	for _, tag := range []string{"/H1", "/H2", "/P", "/TH", "/TD", "/Artifact"} {
		if len(lines[tag]) == 0 {
			t.Errorf("no text in %s", tag)
		}
	}
	for tag, least := range map[string]int{"/S /Table ": 4, "/Scope /Row": 12, "/S /Figure ": 1, "/Alt <FEFF": 1} {
		if n := strings.Count(tree, tag); n < least {
			t.Errorf("%d of %s, want at least %d", n, tag, least)
		}
	}
	for _, list := range lines {
		for _, line := range list {
			if strings.Contains(line, `\u{`) {
				t.Errorf("a line with a character that the font lacks: %s", line)
			}
		}
	}
	for _, command := range []string{"sha256sum -c SHA256SUMS", "cd shop.pcapsule", "sha256sum tagmanifest-sha256.txt"} {
		if !strings.Contains("\n"+strings.Join(lines["/P"], "\n")+"\n", "\n"+command+"\n") {
			t.Errorf("no line with the command %q alone", command)
		}
	}
}
