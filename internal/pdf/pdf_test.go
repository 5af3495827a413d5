package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
)

// archived writes lines of text as an archive that carries data.
func archived(t testing.TB, data string, lines ...string) []byte {
	t.Helper()
	d, err := New(15)
	if err != nil {
		t.Fatal(err)
	}
	d.AddPage()
	d.SetFont(Sans, "", 10)
	d.Bookmark("Begin", 0, 0)
	for i, line := range lines {
		d.Text(20, 20+5*float64(i), d.Glyphs(line))
	}
	var b bytes.Buffer
	if err := d.Archive(&b, Meta{"Title <&>", "test"}, File{"data.json", "About", "application/json", []byte(data)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestArchive(t *testing.T) {
	file := archived(t, `{"a":1}`, "Hello (world) \\ \u010a", "漢\U0001f600")
	if other := archived(t, `{"a":1}`, "Hello (world) \\ \u010a", "漢\U0001f600"); !bytes.Equal(file, other) {
		t.Error("the same document gives other bytes")
	}
	data, err := Attached(file, 100)
	if string(data) != `{"a":1}` || err != nil {
		t.Errorf("data: %q, %v", data, err)
	}
	var shown strings.Builder
	for _, p := range Parts(file, 1<<20) {
		if p.Place == "page 1" {
			shown.WriteString(p.Text + "\n")
		}
	}
	for _, want := range []string{"“Hello (world) \\ \u010a”", `“\u{6f22}\u{1f600}”`} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("no %s in\n%s", want, &shown)
		}
	}
	for _, want := range []string{"%PDF-1.7", "Title &lt;&amp;&gt;", "/AFRelationship /Source", "/ID [<"} {
		if !bytes.Contains(file, []byte(want)) {
			t.Errorf("the file lacks %q", want)
		}
	}
	for _, not := range []string{"CreationDate", "ModDate", " 0 R /Info", "\n/Info "} {
		if bytes.Contains(file, []byte(not)) {
			t.Errorf("the file has %q", not)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	file := archived(t, strings.Repeat("x", 1000), "Hello")
	if _, err := Attached(file, 999); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("more data than allowed: %v", err)
	}
	if _, err := Attached([]byte("%PDF-1.7\n"), 999); !errors.Is(err, ErrNoFile) {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := Attached(append(file, file...), 1000); !errors.Is(err, ErrSeveral) {
		t.Errorf("two files in one: %v", err)
	}
	for n := 0; n < len(file); n += 997 {
		Parts(file[:n], 1<<20) // must not panic
		if data, err := Attached(file[:n], 1000); err == nil && len(data) != 1000 {
			t.Errorf("cut to %d bytes: %d bytes of data without an error", n, len(data))
		}
	}
}

// The fonts must have the same letters, because one of them decides what is written as a code point.
func TestFontsHaveTheSameLetters(t *testing.T) {
	var fonts []*sfnt.Font
	for _, ttf := range [][]byte{goregular.TTF, gobold.TTF, gomono.TTF} {
		f, err := sfnt.Parse(ttf)
		if err != nil {
			t.Fatal(err)
		}
		fonts = append(fonts, f)
	}
	var buf sfnt.Buffer
	n := 0
	for r := rune(0); r <= 0xffff; r++ {
		var has []bool
		for _, f := range fonts {
			i, err := f.GlyphIndex(&buf, r)
			has = append(has, err == nil && i != 0)
		}
		if has[0] {
			n++
		}
		if has[0] && (!has[1] || !has[2]) {
			t.Errorf("%U: %v", r, has)
		}
	}
	if n < 600 {
		t.Errorf("%d letters", n)
	}
}

func TestWrap(t *testing.T) {
	d, err := New(15)
	if err != nil {
		t.Fatal(err)
	}
	d.AddPage()
	d.SetFont(Mono, "", 10)
	width := d.Width("0123456789") + 0.01
	for _, tt := range []struct{ name, text, want string }{
		{"a short text is one line", "one two", "one two"},
		{"a line ends after a word", "one two three four", "one two|three four"},
		{"a long word breaks after a mark", "GET /api/orders/12345", "GET|/api/|orders/|12345"},
		{"a longer one breaks anywhere", "abcdefghijklmnopqrstuvw", "abcdefghij|klmnopqrst|uvw"},
		{"lines of the text stay", "a\nb", "a|b"},
		{"no text is an empty line", "", ""},
		{"spaces at an end are left out", "0123456789   abc", "0123456789|abc"},
		{"what the font lacks is a code point", "漢字", `\u{6f22}|\u{5b57}`},
	} {
		if got := strings.Join(d.Wrap(tt.text, width), "|"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	for width := 1.0; width < 20; width++ {
		for _, line := range d.Wrap("https://example.org/a-very-long/path?with=values&more=values and text", width) {
			if w := d.Width(line); w > width && len(line) > 1 {
				t.Errorf("line %q is %.1f wide, want at most %.1f", line, w, width)
			}
		}
	}
}

func TestPictures(t *testing.T) {
	styles := ParseStyles(`.a{fill:var(--ink);stroke:#123}.a.b{stroke:none}svg text{fill:#0f0}@media print{:root{--ink:#010203}}`)
	if got := fmt.Sprint(styles.of("rect", "a b"), styles.Colour("ink")); got != "map[fill:var(--ink) stroke:none] {1 2 3}" {
		t.Error(got)
	}
	for _, tt := range []struct{ name, svg, want string }{
		{"all shapes", `<svg viewBox="0 0 10 10"><defs><marker id="m" markerWidth="7"><path d="M0 0L8 4L0 8z" class="a"/></marker></defs><g><title>x</title><rect x="1" y="1" width="2" height="2" class="a" fill-opacity="0.5"/><rect fill="url(#h)" width="2" height="2"/></g><line x1="1" class="a"/><path d="M0 0h4v-1H2V5C1 1 2 2 3 3m1 1l-1-1z" class="a b" marker-end="url(#m)"/><text x="1" y="2" text-anchor="middle">a&lt;b</text></svg>`, ""},
		{"no size", `<svg></svg>`, "no size"},
		{"not XML", `<svg viewBox="0 0 1 1"><rect`, "reading a picture"},
		{"an element that is not drawn", `<svg viewBox="0 0 1 1"><image/></svg>`, "unknown element image"},
		{"a command that is not drawn", `<svg viewBox="0 0 1 1"><path d="M0 0A1 1 0 0 0 1 1" class="a"/></svg>`, `unknown command "A"`},
		{"too few numbers", `<svg viewBox="0 0 1 1"><path d="M0" class="a"/></svg>`, "1 numbers after M"},
		{"no number", `<svg viewBox="0 0 1 1"><path d="M1..2 1" class="a"/></svg>`, "number"},
	} {
		d, err := New(15)
		if err != nil {
			t.Fatal(err)
		}
		d.AddPage()
		p, err := ParsePicture(tt.svg, styles)
		if err == nil {
			err = d.Draw(p, 10, 10, 1, 0, p.Height)
		}
		switch {
		case tt.want == "" && (err != nil || d.Error() != nil):
			t.Errorf("%s: %v, %v", tt.name, err, d.Error())
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archived(f, "data", "text"))
	f.Add([]byte("1 0 obj\n<</Type /Page /Contents 2 0 R>>endobj\n2 0 obj\n<</Length 4>>\nstream\n(ab)\nendstream\nendobj\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		const most = 1 << 16
		if data, err := Attached(file, most); err == nil && len(data) > most {
			t.Errorf("%d bytes", len(data))
		}
		Parts(file, most)
	})
}
