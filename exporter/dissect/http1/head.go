package http1

import (
	"bytes"
	"cmp"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// headEnd returns the end of the head at the start of b, after its empty line. If the head is
// incomplete, end is -1 and resume is where the next search starts.
func headEnd(b []byte, from int) (end, resume int) {
	i := from
	for {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1, len(b)
		}
		lf := i + n
		i = lf + 1
		if i == len(b) {
			return -1, lf
		}
		if b[i] == '\n' {
			return i + 1, 0
		}
		if b[i] == '\r' {
			if i+1 == len(b) {
				return -1, lf
			}
			if b[i+1] == '\n' {
				return i + 2, 0
			}
		}
	}
}

// lines is the text of a head, with its first line and its fields.
type lines struct {
	text, first, fields string
	quirks              quirks // of the end of the first line
}

func linesOf(b []byte) (l lines) {
	l.text = string(b)
	var bare bool
	if l.first, l.fields, bare = cutLine(l.text); bare {
		l.quirks = quirkBareLF
	}
	if strings.IndexByte(l.first, '\r') >= 0 {
		l.quirks |= quirkBareCR
	}
	return l
}

// captured are the whole lines of a head of which b has only the beginning, after lead bytes of empty lines.
func captured(b []byte) (l lines, lead int) {
	lead = leading(b)
	return linesOf(b[lead:max(lead, bytes.LastIndexByte(b, '\n')+1)]), lead
}

// head is a parsed block of header lines: the fields that decide where the message ends.
type head struct {
	length      int64 // Content-Length, -1 absent
	badLength   bool  // not a number
	conflict    bool  // two different Content-Lengths
	repeated    bool
	hidden      bool // Content-Length or Transfer-Encoding with a space before the colon
	folded      bool // the same, in more than one line
	disguised   bool // a part of a line that other readers may take for one of them
	te          string
	hasTE       bool
	encoding    string
	contentType string
	close       bool
	keepAlive   bool
	connUpgrade bool
	upgrade     string
	settings    string
	expects     bool
	host        bool
	authority   string // first Host
	hosts       bool   // a later one has another value
	odd         string // first name that is not a token, or has white space before its colon
	folding     string // name of the first field in several lines
	quirks      quirks
}

// cutLine cuts the first line off s, without its line end.
func cutLine(s string) (line, rest string, bare bool) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return s, "", false
	}
	line, rest = s[:i], s[i+1:]
	if i > 0 && line[i-1] == '\r' {
		return line[:i-1], rest, false
	}
	return line, rest, true
}

// fields reads header lines and appends them to out. Without a kind it reads only what decides
// where the message ends.
func (h *head) fields(s, kind string, out []table.Header) []table.Header {
	h.length = -1
	valid := kind == "" || utf8.ValidString(s)
	if strings.IndexByte(s, 0) >= 0 {
		h.quirks |= quirkNUL
	}
	first, n := true, 0
	for s != "" {
		var line string
		var bare bool
		line, s, bare = cutLine(s)
		if bare {
			h.quirks |= quirkBareLF
		}
		if line == "" {
			continue
		}
		if strings.IndexByte(line, '\r') >= 0 {
			h.quirks |= quirkBareCR
		}
		if first && (line[0] == ' ' || line[0] == '\t') {
			h.quirks |= quirkLeadingSpace // ignored for framing, as required by RFC 9112 section 2.2
		}
		first = false
		fold := s != "" && (s[0] == ' ' || s[0] == '\t')
		if fold {
			line, s = h.unfold(line, s)
			h.quirks |= quirkFold
		}
		name, value := h.field(line, fold)
		if fold && h.folding == "" {
			h.folding = name
		}
		if n++; n > maxFields {
			h.quirks |= quirkFields // applied above, but not kept
			continue
		}
		if kind == "" {
			continue
		}
		if !valid {
			name, value = httpfield.ValidText(name), httpfield.ValidText(value)
		}
		out = append(out, table.Header{Name: name, Value: value, Kind: kind})
	}
	return out
}

// unfold joins a line with its continuation lines, RFC 9112 section 5.2.
func (h *head) unfold(line, s string) (joined, rest string) {
	var b strings.Builder
	b.WriteString(line)
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		var bare bool
		if line, s, bare = cutLine(s); bare {
			h.quirks |= quirkBareLF
		}
		if strings.IndexByte(line, '\r') >= 0 {
			h.quirks |= quirkBareCR
		}
		h.disguised = h.disguised || likeFraming(line)
		b.WriteByte(' ')
		b.WriteString(httpfield.Trim(line))
	}
	return b.String(), s
}

// field splits one line into name and value and applies the fields that frame the message.
func (h *head) field(line string, folded bool) (name, value string) {
	if _, after, ok := strings.Cut(line, "\r"); ok && likeFraming(after) {
		h.disguised = true
	}
	i := strings.IndexByte(line, ':')
	if i < 0 {
		h.quirks |= quirkNoColon
		return line, ""
	}
	name, value = line[:i], httpfield.Trim(line[i+1:])
	spaced := false
	for name != "" && (name[len(name)-1] == ' ' || name[len(name)-1] == '\t') {
		name, spaced = name[:len(name)-1], true
	}
	if spaced {
		h.quirks |= quirkSpaceBeforeColon
		h.odd = cmp.Or(h.odd, line[:i])
	}
	n := httpfield.Lookup(name)
	if n == httpfield.Other {
		if !tokenOnly(name) {
			h.quirks |= quirkName
			h.odd = cmp.Or(h.odd, line[:i+1])
			h.disguised = h.disguised || likeFraming(line)
		}
		return name, value
	}
	h.framing(n, value)
	if n == httpfield.ContentLength || n == httpfield.TransferEncoding {
		h.hidden = h.hidden || spaced
		h.folded = h.folded || folded
	}
	return name, value
}

// likeFraming reports whether a reader that ends lines at a CR alone, does not join lines, or ignores bytes that no name
// may have, sees Content-Length or Transfer-Encoding in the text (RFC 9112 sections 2.2, 5.1 and 5.2).
func likeFraming(text string) bool {
	for line := range strings.SplitSeq(text, "\r") {
		name, _, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		name = strings.TrimFunc(name, func(r rune) bool { return r > 0x7f || !isToken(byte(r)) })
		if n := httpfield.Lookup(name); n == httpfield.ContentLength || n == httpfield.TransferEncoding {
			return true
		}
	}
	return false
}

func (h *head) framing(n httpfield.Name, value string) {
	switch n {
	case httpfield.ContentLength:
		h.contentLength(value)
	case httpfield.TransferEncoding:
		h.te, h.hasTE = join(h.te, value), true
	case httpfield.ContentEncoding:
		h.encoding = join(h.encoding, value)
	case httpfield.AmzContentSHA256:
		if coding := httpfield.SignedChunks(value); coding != "" {
			h.encoding = join(h.encoding, coding)
		}
	case httpfield.ContentType:
		if h.contentType == "" {
			h.contentType = httpfield.ValidText(value)
		}
	case httpfield.Connection, httpfield.ProxyConnection:
		h.close = h.close || httpfield.HasToken(value, "close")
		h.keepAlive = h.keepAlive || httpfield.HasToken(value, "keep-alive")
		h.connUpgrade = h.connUpgrade || httpfield.HasToken(value, "upgrade")
	case httpfield.Upgrade:
		h.upgrade = join(h.upgrade, value)
	case httpfield.HTTP2Settings:
		h.settings = value
	case httpfield.Expect:
		h.expects = httpfield.HasToken(value, "100-continue")
	case httpfield.Host:
		if h.host {
			h.quirks |= quirkTwoHosts
			h.hosts = h.hosts || value != h.authority
		} else {
			h.authority = value
		}
		h.host = true
	}
}

// contentLength reads one Content-Length. A list of equal numbers counts as one number, RFC 9112
// section 6.3 rule 5.
func (h *head) contentLength(value string) {
	if h.length >= 0 || h.badLength {
		h.repeated = true
	}
	for first := true; first || value != ""; first = false {
		item := value
		if i := strings.IndexByte(value, ','); i >= 0 {
			item, value = value[:i], value[i+1:]
			h.repeated = true
		} else {
			value = ""
		}
		n, ok := number(httpfield.Trim(item))
		switch {
		case !ok:
			h.badLength = true
		case h.length < 0:
			h.length = n
		case h.length != n:
			h.conflict = true
		}
	}
}

func number(s string) (n int64, ok bool) {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, s != ""
}

func join(list, value string) string {
	if list == "" {
		return value
	}
	return list + ", " + value
}

func tokenOnly(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isToken(s[i]) {
			return false
		}
	}
	return s != ""
}

// codings reads Transfer-Encoding: whether the last coding is chunked, which has no parameters (RFC 9112
// section 7.1), and the others in order of application.
func codings(te string) (chunked, twice bool, others string) {
	for item := range strings.SplitSeq(te, ",") {
		if item = httpfield.Trim(item); item == "" {
			continue
		}
		is := httpfield.Is(item, "chunked")
		twice = twice || chunked // another coding after chunked
		chunked = is
		if !is && !httpfield.Is(item, "identity") {
			others = strings.TrimPrefix(others+", "+item, ", ")
		}
	}
	return chunked, twice, others
}

// registered reports whether all codings of Transfer-Encoding are in IANA's registry, RFC 9112 section 7.
func registered(te string) bool {
	for item := range strings.SplitSeq(te, ",") {
		name, _ := httpfield.Next(item)
		switch strings.ToLower(name) {
		case "", "chunked", "gzip", "x-gzip", "deflate", "compress", "x-compress":
		default:
			return false
		}
	}
	return true
}
