package xmltree

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
)

// notXML are texts that do not count as XML.
var notXML = []struct{ why, text string }{
	{"an empty text", ""},
	{"plain text", "hello"},
	{"only a comment", "<!-- a -->"},
	{"an element that is not closed", "<a><b></b>"},
	{"an element closed by another", "<a><b></a></b>"},
	{"a prefix that is not closed", "<x:a></a>"},
	{"two roots", "<a/><b/>"},
	{"text before the root", "x<a/>"},
	{"text after the root", "<a/>x"},
	{"CDATA after the root", "<a/><![CDATA[x]]>"},
	{"a document type", "<!DOCTYPE a><a/>"},
	{"an entity bomb", `<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>`},
	{"an external entity", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`},
	{"an undeclared entity", "<a>&nbsp;</a>"},
	{"a reference that is not closed", "<a>&lt</a>"},
	{"a reference to character 0", "<a>&#0;</a>"},
	{"a reference beyond Unicode", "<a>&#x110000;</a>"},
	{"a reference with a sign", "<a>&#+65;</a>"},
	{"half of a surrogate pair", "<a>&#xd800;</a>"},
	{"a zero byte", "<a>\x00</a>"},
	{"bytes that are not UTF-8", "<a>\xff</a>"},
	{"an attribute without quotes", "<a b=1/>"},
	{"an attribute without a value", "<a b/>"},
	{"a repeated attribute", `<a b="1" b="2"/>`},
	{"attributes without a space", `<a b="1"c="2"/>`},
	{"a bracket in an attribute", `<a b="<"/>`},
	{"a quote that is not closed", `<a b="1/>`},
	{"a tag that is not closed", `<a b="1"`},
	{"a bracket at the end", "<a/><"},
	{"a name that begins with a digit", "<1a/>"},
	{"a name with two colons", "<a:b:c/>"},
	{"two hyphens in a comment", "<a><!-- a -- b --></a>"},
	{"a comment with three hyphens at its end", "<a><!-- a ---></a>"},
	{"a comment that is not closed", "<a><!-- a "},
	{"CDATA that is not closed", "<a><![CDATA[ "},
	{"the end of CDATA in text", "<a>]]></a>"},
	{"an instruction that is not closed", "<a><?b "},
	{"a declaration in the middle", "<a><?xml version='1.0'?></a>"},
	{"a page of HTML", "<html><body><br>a</body></html>"},
	{"one element too deep", strings.Repeat("<a>", MaxDepth+1) + strings.Repeat("</a>", MaxDepth+1)},
	{"one byte too long", "<a>" + strings.Repeat("x", MaxBytes-6) + "</a>"},
	{"too many attributes", "<a" + manyAttributes(MaxAttrs+1) + "/>"},
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a" + strings.Repeat("x", i) + `=""`)
	}
	return b.String()
}

func TestNotXML(t *testing.T) {
	for _, tt := range notXML {
		t.Run(tt.why, func(t *testing.T) {
			if _, ok := Parse(tt.text); ok {
				t.Errorf("%.100q counts as XML", tt.text)
			}
		})
	}
	for why, text := range map[string]string{
		"the deepest allowed":       strings.Repeat("<a>", MaxDepth) + strings.Repeat("</a>", MaxDepth),
		"the longest allowed":       "<a>" + strings.Repeat("x", MaxBytes-7) + "</a>",
		"the most attributes":       "<a" + manyAttributes(MaxAttrs) + "/>",
		"instructions and comments": "<?xml version='1.0'?><?a?><?b c?><!----><a ><!-- - --><?d?></a ><!-- e -->\n",
	} {
		if _, ok := Parse(text); !ok {
			t.Errorf("%s: refused", why)
		}
	}
}

// FuzzXML compares the reader with that of the standard library, which accepts more: everything
// that this one accepts must be accepted there, with the same names and texts.
func FuzzXML(f *testing.F) {
	f.Add(`<?xml version="1.0"?><s:order xmlns:s="urn:shop" id="o-17"><item sku="a"><id>5</id></item><note>5 &lt; 7 &amp; <![CDATA[<b>]]> &#x41;&#66;</note></s:order>`)
	f.Add("<a b='&quot;'>\r\n<c:d/>\r&#13;</a>")
	for _, tt := range notXML {
		if len(tt.text) < 200 {
			f.Add(tt.text)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		top, ok := Parse(s)
		if !ok {
			return
		}
		for _, r := range s {
			if r >= 0x80 { // editions of the standard differ on names
				return
			}
		}
		if strings.Contains(s, "<?xml") { // it supports no other encoding or version
			return
		}
		var got, want strings.Builder
		todo := []*Node{top.Kids[0]}
		for len(todo) > 0 {
			n := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			got.WriteString("<" + n.Name)
			for _, kid := range slices.Backward(n.Kids) {
				todo = append(todo, kid)
			}
		}
		got.WriteString("\n" + top.doc.text)
		var text strings.Builder
		d := xml.NewDecoder(strings.NewReader(s))
		depth := 0
		for {
			tok, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%q is accepted here, but there: %v", s, err)
			}
			switch tok := tok.(type) {
			case xml.StartElement:
				want.WriteString("<" + tok.Name.Local)
				depth++
			case xml.EndElement:
				depth--
			case xml.CharData:
				if depth > 0 {
					text.Write(tok)
				}
			}
		}
		if want.WriteString("\n" + text.String()); got.String() != want.String() {
			t.Fatalf("%q\nhere  %q\nthere %q", s, got.String(), want.String())
		}
	})
}
