package indicator

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// text reads a plain list, or a table with a line of headings: CSV, or Zeek's with tabs. It returns the line of an error.
func (f *file) text(r io.Reader) (int, error) {
	l := newLines(r)
	comment := ""
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return l.no, err
		}
		text := strings.TrimSpace(line)
		if fields, ok := strings.CutPrefix(text, "#fields\t"); ok {
			return f.table(l, strings.Split(fields, "\t"), "\t")
		}
		if text == "" {
			continue
		}
		if c := text[0]; c == '#' || c == ';' || strings.HasPrefix(text, "//") {
			comment = strings.TrimLeft(text, "#;/ \t")
			continue
		}
		for _, head := range []string{comment, text} { // lists of abuse.ch have the headings in a comment
			for _, by := range []string{",", ";", "\t"} {
				if cells, err := split(head, by); err == nil && headings(cells) {
					if head == comment {
						if err := f.row(columnsOf(cells), text, by, l.no); err != nil {
							return l.no, err
						}
					}
					return f.table(l, cells, by)
				}
			}
		}
		if err := f.plain(text, l.no); err != nil {
			return l.no, err
		}
		return f.list(l)
	}
}

// list reads the other lines of a plain list.
func (f *file) list(l *lines) (int, error) {
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return l.no, err
		}
		if err := f.plain(line, l.no); err != nil {
			return l.no, err
		}
	}
}

// plain reads a line of a plain list: an indicator, perhaps with a comment, or a line of a hosts file.
func (f *file) plain(line string, no int) error {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' || line[0] == ';' || strings.HasPrefix(line, "//") {
		return nil
	}
	v, err := guess(line)
	if err == nil || errors.Is(err, errSkip) {
		return f.put(v, err, detail{}, no)
	}
	at := strings.IndexAny(line, " \t,;")
	if at < 0 {
		return err
	}
	first, rest := line[:at], strings.Trim(line[at:], " \t,;")
	name := strings.TrimSpace(strings.TrimLeft(rest, "#;/ \t"))
	if first == "0.0.0.0" || first == "127.0.0.1" || first == "::" || first == "::1" { // a hosts file that blocks names
		host, _, _ := strings.Cut(rest, "#")
		for _, h := range strings.Fields(host) {
			if !strings.Contains(h, ".") || h == first { // localhost
				continue
			}
			v, err := read(Domain, h)
			if err := f.put(v, err, detail{}, no); err != nil {
				return err
			}
		}
		return nil
	}
	if v, again := guess(first); again == nil || errors.Is(again, errSkip) {
		return f.put(v, again, detail{name: name}, no)
	}
	return err
}

// columns says what the cells of a row are.
type columns struct {
	value, kind, from, until int
	names                    []int
	kinds                    map[int]Kind // columns of a kind of their own
}

// Headings of tables, in lower case with _ between words.
var (
	valueHeadings = set("indicator ioc ioc_value indicator_value value observable observable_value")
	kindHeadings  = set("type ioc_type indicator_type indicator_kind kind observable_type")
	fromHeadings  = set("valid_from")
	untilHeadings = set("valid_until expiration expires expiration_date expiry")
	nameHeadings  = set("name threat threat_name malware malware_printable malware_family signature description comment reason listingreason meta_desc title")

	ownHeadings = map[string]Kind{"ip": Address, "ip_address": Address, "ipv4": Address, "ipv6": Address, "address": Address, "dst_ip": Address, "src_ip": Address, "cidr": Address, "network": Address, "domain": Domain, "hostname": Domain, "host": Domain,
		"fqdn": Domain, "url": URL, "email": Mail, "email_address": Mail, "md5": Any, "md5_hash": Any, "sha1": Any, "sha1_hash": Any, "sha256": Any, "sha256_hash": Any, "file_hash": File, "hash": Any, "certificate": Certificate, "cert_sha1": Certificate,
		"cert_sha256": Certificate, "ja3": JA3, "ja3_md5": JA3, "ja3_hash": JA3, "ja3s": JA3S, "ja4": JA4, "hassh": HASSH, "user_agent": UserAgent}
)

func set(list string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(list) {
		out[w] = true
	}
	return out
}

func heading(cell string) string {
	return strings.NewReplacer(" ", "_", "-", "_", ".", "_").Replace(strings.ToLower(strings.Trim(cell, " \t\"'#")))
}

// headings reports whether cells are headings of indicators.
func headings(cells []string) bool {
	c := columnsOf(cells)
	return len(cells) > 1 && (c.value >= 0 || len(c.kinds) > 0) || len(cells) == 1 && (c.value >= 0 || len(c.kinds) == 1)
}

func columnsOf(cells []string) columns {
	c := columns{value: -1, kind: -1, from: -1, until: -1, kinds: map[int]Kind{}}
	for i, cell := range cells {
		h := heading(cell)
		switch k, own := ownHeadings[h]; {
		case valueHeadings[h] && c.value < 0:
			c.value = i
		case kindHeadings[h] && c.kind < 0:
			c.kind = i
		case fromHeadings[h] && c.from < 0:
			c.from = i
		case untilHeadings[h] && c.until < 0:
			c.until = i
		case nameHeadings[h] && len(c.names) < 3:
			c.names = append(c.names, i)
		case own:
			c.kinds[i] = k
		}
	}
	return c
}

// split splits a line into cells. Zeek's tables have no quotes.
func split(line, by string) ([]string, error) {
	if by == "\t" {
		return strings.Split(line, "\t"), nil
	}
	if !strings.Contains(line, `"`) {
		return strings.Split(line, by), nil
	}
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.LazyQuotes, r.TrimLeadingSpace = rune(by[0]), true, true
	cells, err := r.Read()
	if err != nil {
		return nil, errors.New("the cells of this line cannot be separated: a quote is missing, or a cell has several lines")
	}
	return cells, nil
}

// table reads the rows below the headings.
func (f *file) table(l *lines, head []string, by string) (int, error) {
	c := columnsOf(head)
	if c.value < 0 && len(c.kinds) == 0 {
		return l.no, errors.New("no heading says which column has the indicators, such as indicator, ip, domain, url, sha256")
	}
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err == nil && strings.TrimSpace(line) != "" && line[0] != '#' {
			err = f.row(c, line, by, l.no)
		}
		if err != nil {
			return l.no, err
		}
	}
}

// row reads a row of a table.
func (f *file) row(c columns, line, by string, no int) error {
	cells, err := split(line, by)
	if err != nil {
		return err
	}
	cell := func(i int) string {
		if i < 0 || i >= len(cells) {
			return ""
		}
		text := strings.TrimSpace(cells[i])
		if by == "\t" && (text == "-" || text == "(empty)") { // of Zeek
			return ""
		}
		return text
	}
	var d detail
	for _, i := range c.names {
		if text := cell(i); text != "" && d.name != text {
			d.name = strings.TrimPrefix(d.name+": "+text, ": ")
		}
	}
	if d.from, err = moment(cell(c.from)); err != nil {
		return err
	}
	if d.until, err = moment(cell(c.until)); err != nil {
		return err
	}
	if c.value >= 0 {
		text := cell(c.value)
		if text == "" {
			return fmt.Errorf("column %d, which has the indicator, is empty", c.value+1)
		}
		if word := cell(c.kind); word != "" {
			return f.typed(word, text, d, no)
		}
		v, err := guess(text)
		return f.put(v, err, d, no)
	}
	for i := range cells {
		k, own := c.kinds[i]
		text := cell(i)
		if !own || text == "" || strings.EqualFold(text, "none") || strings.EqualFold(text, "n/a") {
			continue
		}
		v, err := read(k, text)
		if err := f.put(v, err, d, no); err != nil {
			return err
		}
	}
	return nil
}

// typed reads a value with the word that its list has for its kind. A word of two kinds, such as filename|md5 of MISP, has
// two values.
func (f *file) typed(word, text string, d detail, line int) error {
	first, second, two := strings.Cut(strings.ToLower(word), "|")
	a, b, both := strings.Cut(text, "|")
	if two && both {
		if second == "port" {
			if at := strings.TrimSpace(a); strings.Contains(at, ":") && !strings.HasPrefix(at, "[") {
				a = "[" + at + "]"
			}
			return f.typed(first, a+":"+b, d, line)
		}
		if err := f.typed(first, a, d, line); err != nil {
			return err
		}
		return f.typed(second, b, d, line)
	}
	k, known := kindOf(word)
	if !known {
		f.skip(errType, line)
		return nil
	}
	v, err := read(k, text)
	return f.put(v, err, d, line)
}

// moment reads a time; an empty text is none.
func moment(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			switch y := t.Year(); {
			case y < 1970:
				return 1, nil // 0 is no time
			case y > 2261: // what 64 bits hold
				return 1<<63 - 1, nil
			}
			return max(1, t.UnixNano()), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time such as 2026-01-31T14:15:00Z", clip.Line([]byte(text), 60))
}
