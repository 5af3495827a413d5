package pdf

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/sha256"
	_ "embed" // the colour profile
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf16"
)

// profile is the ICC profile of sRGB, from the International Color Consortium.
//
//go:embed sRGB2014.icc
var profile []byte

// File is data that a document carries.
type File struct {
	Name  string // in ASCII
	About string
	MIME  string
	Data  []byte
}

// Meta describes a document.
type Meta struct{ Title, Creator string }

// Archive writes the document as PDF/A-3 (ISO 19005-3) with a file as the source of its contents: as
// PDF/A-3a and PDF/UA-1 (ISO 14289-1) if it has tags, else as PDF/A-3u.
//
// The library writes pages and fonts. The rest of the file is written here, because PDF/A needs
// metadata, a colour profile, the relation of the file to the document and an identifier, and allows
// no dates that nobody checks. The identifier is a hash of the contents.
func (d *Doc) Archive(w io.Writer, m Meta, f File) error {
	var b bytes.Buffer
	if err := d.Output(&b); err != nil {
		return fmt.Errorf("writing PDF: %w", err)
	}
	a, outlines, err := pages(b.Bytes())
	if err != nil {
		return err
	}
	catalog := "<</Type /Catalog /Pages 1 0 R /Lang (en) /ViewerPreferences <</DisplayDocTitle true>>"
	if d.tags != nil {
		catalog += fmt.Sprintf(" /MarkInfo <</Marked true>> /StructTreeRoot %d 0 R", d.tags.write(a))
	}
	metadata := a.stream("/Type /Metadata /Subtype /XML", xmp(m, d.tags != nil))
	icc := a.stream("/N 3 /Alternate /DeviceRGB /Filter /FlateDecode", deflate(profile))
	data := a.stream(fmt.Sprintf("/Type /EmbeddedFile /Subtype /%s /Params <</Size %d>> /Filter /FlateDecode", name(f.MIME), len(f.Data)), deflate(f.Data))
	file := a.add(fmt.Sprintf("<</Type /Filespec /F (%s) /UF (%[1]s) /Desc %s /AFRelationship /Source /EF <</F %d 0 R /UF %[3]d 0 R>>>>", f.Name, text(f.About), data))
	if outlines > 0 {
		catalog += fmt.Sprintf(" /Outlines %d 0 R /PageMode /UseOutlines", outlines)
	}
	root := a.add(fmt.Sprintf("%s /Metadata %d 0 R /AF [%d 0 R] /Names <</EmbeddedFiles <</Names [(%s) %[3]d 0 R]>>>>\n/OutputIntents [<</Type /OutputIntent /S /GTS_PDFA1 /OutputConditionIdentifier (sRGB) /Info (sRGB) /DestOutputProfile %[5]d 0 R>>]>>",
		catalog, metadata, file, f.Name, icc))
	if _, err := w.Write(a.end(root)); err != nil {
		return fmt.Errorf("writing PDF: %w", err)
	}
	return nil
}

// archive is a file under construction.
type archive struct {
	b       bytes.Buffer
	offsets []int // of objects from 1 on; of a packed one -1 - its number in packs
	pages   []int // numbers of the pages
	packs   []place
}

// place is where a packed object is: the number of the object with it, and its position there.
type place struct{ in, at int }

var (
	errShape    = errors.New("writing PDF: the library wrote a file of another shape")
	outlinesRef = regexp.MustCompile(`\n/Outlines (\d+) 0 R\n`)
	infoRef     = regexp.MustCompile(`\n/Info (\d+) 0 R\n`)
)

// pages keeps the part of a file before its information dictionary: pages, fonts and outlines. It
// returns the number of the outlines, 0 for none.
func pages(file []byte) (a *archive, outlines int, err error) {
	const entry = len("0000000000 00000 n \n")
	at := bytes.LastIndex(file, []byte("\nxref\n0 "))
	if at < 0 || !bytes.HasPrefix(file, []byte("%PDF-1.")) {
		return nil, 0, errShape
	}
	table := file[at+len("\nxref\n0 "):]
	_, table, _ = bytes.Cut(table, []byte("\n"))
	info := infoRef.FindSubmatch(table)
	if info == nil {
		return nil, 0, errShape
	}
	n, _ := strconv.Atoi(string(info[1])) // digits
	if len(table) < (n+1)*entry {
		return nil, 0, errShape
	}
	offsets := make([]int, n)
	for i := range offsets {
		offsets[i], err = strconv.Atoi(string(table[(i+1)*entry : (i+1)*entry+10]))
		if err != nil || offsets[i] > at {
			return nil, 0, errShape
		}
	}
	last := offsets[n-1]
	if m := outlinesRef.FindSubmatch(file[last:at]); m != nil {
		outlines, _ = strconv.Atoi(string(m[1])) // digits
	}
	a = &archive{offsets: make([]int, n-1)}
	a.b.WriteString("%PDF-1.7")
	a.b.Write(file[len("%PDF-1.7"):slices.Min(offsets)])
	order := slices.SortedFunc(slices.Values(offsets), cmp.Compare[int])
	for i, begin := range order[:n-1] {
		number := slices.Index(offsets, begin) + 1
		a.offsets[number-1] = a.b.Len()
		body := file[begin:order[i+1]]
		if bytes.Contains(body, []byte(wideRange)) {
			a.object(number, streamOf("/Filter /FlateDecode", deflate(identity())))
			continue
		}
		if dictionary, isPage := bytes.CutPrefix(body, fmt.Appendf(nil, "%d 0 obj\n<</Type /Page\n", number)); isPage {
			fmt.Fprintf(&a.b, "%d 0 obj\n<</Type /Page /StructParents %d\n", number, len(a.pages))
			a.pages = append(a.pages, number)
			body = dictionary
		}
		a.b.Write(body)
	}
	return a, outlines, nil
}

// wideRange is how the library maps the characters of fonts to Unicode: in one range. Ranges may not
// go over 256 characters (ISO 32000-1, section 9.10.3).
const wideRange = "<0000> <FFFF> <0000>"

// identity maps characters to themselves.
func identity() []byte {
	const most = 100 // ranges in a block
	var b bytes.Buffer
	b.WriteString("/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CIDSystemInfo <</Registry (Adobe) /Ordering (UCS) /Supplement 0>> def\n" +
		"/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n")
	for high := range 256 {
		if high%most == 0 {
			fmt.Fprintf(&b, "%d beginbfrange\n", min(most, 256-high))
		}
		fmt.Fprintf(&b, "<%02X00> <%02[1]XFF> <%02[1]X00>\n", high)
		if high%most == most-1 || high == 255 {
			b.WriteString("endbfrange\n")
		}
	}
	b.WriteString("endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n")
	return b.Bytes()
}

// object writes an object.
func (a *archive) object(number int, body string) {
	fmt.Fprintf(&a.b, "%d 0 obj\n%s\nendobj\n", number, body)
}

// add adds an object and returns its number.
func (a *archive) add(body string) int {
	a.offsets = append(a.offsets, a.b.Len())
	a.object(len(a.offsets), body)
	return len(a.offsets)
}

// stream adds a stream and returns its number.
func (a *archive) stream(dictionary string, data []byte) int {
	return a.add(streamOf(dictionary, data))
}

func streamOf(dictionary string, data []byte) string {
	return fmt.Sprintf("<<%s /Length %d>>\nstream\n%s\nendstream", dictionary, len(data), data)
}

// next is the number of the next object.
func (a *archive) next() int { return len(a.offsets) + 1 }

// mostPacked is the number of objects in one stream.
const mostPacked = 1000

// pack adds small objects, many in one stream (ISO 32000-1, section 7.5.7).
func (a *archive) pack(bodies []string) {
	first := a.next()
	for i := range bodies {
		a.packs = append(a.packs, place{at: i % mostPacked})
		a.offsets = append(a.offsets, -len(a.packs))
	}
	for begin := 0; begin < len(bodies); begin += mostPacked {
		var head, text bytes.Buffer
		list := bodies[begin:min(begin+mostPacked, len(bodies))]
		for i, body := range list {
			fmt.Fprintf(&head, "%d %d ", first+begin+i, text.Len())
			text.WriteString(body + "\n")
		}
		n := a.stream(fmt.Sprintf("/Type /ObjStm /N %d /First %d /Filter /FlateDecode", len(list), head.Len()), deflate(append(head.Bytes(), text.Bytes()...)))
		for i := range list {
			a.packs[len(a.packs)-len(bodies)+begin+i].in = n
		}
	}
}

// end writes the table of objects (ISO 32000-1, section 7.5.8), and returns the file.
func (a *archive) end(root int) []byte {
	sum := sha256.Sum256(a.b.Bytes())
	at := a.b.Len()
	a.offsets = append(a.offsets, at)
	table := []byte{0, 0, 0, 0, 0, 0xff, 0xff}
	for _, offset := range a.offsets {
		kind, first, second := byte(1), offset, 0
		if offset < 0 {
			p := a.packs[-1-offset]
			kind, first, second = 2, p.in, p.at
		}
		table = append(table, kind)
		table = binary.BigEndian.AppendUint32(table, uint32(first))
		table = binary.BigEndian.AppendUint16(table, uint16(second))
	}
	a.object(len(a.offsets), streamOf(fmt.Sprintf("/Type /XRef /Size %d /W [1 4 2] /Root %d 0 R /ID [<%x> <%[3]x>] /Filter /FlateDecode", len(a.offsets)+1, root, sum[:16]), deflate(table)))
	fmt.Fprintf(&a.b, "startxref\n%d\n%%%%EOF\n", at)
	return a.b.Bytes()
}

// deflate compresses data.
func deflate(data []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(data) // a buffer accepts everything
	_ = w.Close()
	return b.Bytes()
}

// name writes a MIME type as a name of PDF.
func name(mime string) string {
	return string(bytes.ReplaceAll([]byte(mime), []byte("/"), []byte("#2F")))
}

// text writes a string of PDF in UTF-16.
func text(s string) string {
	b := []byte{'<'}
	for _, half := range utf16.Encode([]rune("\uFEFF" + s)) {
		b = fmt.Appendf(b, "%04X", half)
	}
	return string(append(b, '>'))
}

// accessible is the XMP that declares PDF/UA-1, with the description of that property, which PDF/A
// requires.
const accessible = `<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/"><pdfuaid:part>1</pdfuaid:part></rdf:Description>` +
	`<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/" xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">` +
	`<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource"><pdfaSchema:schema>PDF/UA identification</pdfaSchema:schema><pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>` +
	`<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix><pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource"><pdfaProperty:name>part</pdfaProperty:name><pdfaProperty:valueType>Integer</pdfaProperty:valueType>` +
	`<pdfaProperty:category>internal</pdfaProperty:category><pdfaProperty:description>part of ISO 14289</pdfaProperty:description></rdf:li></rdf:Seq></pdfaSchema:property></rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>`

// xmp describes the document (ISO 16684-1).
func xmp(m Meta, tagged bool) []byte {
	level, more := "U", ""
	if tagged {
		level, more = "A", accessible
	}
	var b bytes.Buffer
	b.WriteString("<?xpacket begin=\"\uFEFF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n" +
		`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">` +
		`<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">` +
		`<pdfaid:part>3</pdfaid:part><pdfaid:conformance>` + level + `</pdfaid:conformance><dc:title><rdf:Alt><rdf:li xml:lang="x-default">`)
	_ = xml.EscapeText(&b, []byte(m.Title)) // a buffer accepts everything
	b.WriteString("</rdf:li></rdf:Alt></dc:title><xmp:CreatorTool>")
	_ = xml.EscapeText(&b, []byte(m.Creator))
	b.WriteString("</xmp:CreatorTool></rdf:Description>" + more + "</rdf:RDF></x:xmpmeta>\n<?xpacket end=\"w\"?>")
	return b.Bytes()
}
