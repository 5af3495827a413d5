// Package httpfile decides which bodies of HTTP are files.
package httpfile

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/object"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Files reports which bodies of an exchange are files, by the rules of docs/design/029-files.md: a
// disposition or the URL names them, or programs do not exchange their type as messages.
func Files(c *table.Call, x *dissect.Exchange) {
	if b := x.ReqBody; b != nil && b.Size() > 0 && b.File == nil {
		b.File = upload(c, b)
	}
	if b := x.RespBody; b != nil && b.Size() > 0 && b.File == nil {
		b.File = download(c, b)
	}
}

// upload is the file in a request.
func upload(c *table.Call, b *dissect.Body) *dissect.File {
	kind := object.MediaType(b.ContentType)
	if strings.HasPrefix(kind, "multipart/") {
		return &dissect.File{}
	}
	if name, by, attached := object.NameOf(header(c.Headers, httpfield.Request, "content-disposition"), b.ContentType); attached {
		return &dissect.File{Name: name, NamedBy: by}
	}
	name := ""
	if c.Method.V == "PUT" {
		name = lastSegment(c.Path.V)
	}
	if !extended(name) && object.Payload(kind) {
		return nil
	}
	return named(name)
}

// download is the file in a response.
func download(c *table.Call, b *dissect.Body) *dissect.File {
	name, by, attached := object.NameOf(header(c.Headers, httpfield.Response, "content-disposition"), b.ContentType)
	f := &dissect.File{Name: name, NamedBy: by}
	if status := c.StatusCode.V; !attached {
		name = lastSegment(c.Path.V)
		asked := c.Method.V == "GET" || !c.Method.OK
		if status >= 300 || object.Payload(object.MediaType(b.ContentType)) && !(asked && extended(name)) {
			return nil
		}
		f = named(name)
	}
	if c.StatusCode.V == 206 {
		f.Offset = rangeOf(header(c.Headers, httpfield.Response, "content-range"))
	}
	return f
}

func named(name string) *dissect.File {
	if name == "" {
		return &dissect.File{}
	}
	return &dissect.File{Name: name, NamedBy: "url"}
}

// header is the first value of a header; name is in lower case.
func header(list []table.Header, kind, name string) string {
	for i := range list {
		if h := &list[i]; len(h.Name) == len(name) && h.Kind == kind && strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// lastSegment is the last segment of a path, without escapes.
func lastSegment(p string) string {
	p = p[strings.LastIndexByte(p, '/')+1:]
	if name, err := url.PathUnescape(p); err == nil {
		p = name
	}
	return clip.Line([]byte(p), object.MaxName)
}

// extended reports whether a name ends as names of files do: with a dot, and 1 to 10 letters or digits of
// which one is a letter. So v1.2 is not one.
func extended(name string) bool {
	end := path.Ext(name)
	if len(end) < 2 || len(end) > 11 || len(end) == len(name) {
		return false
	}
	letter := false
	for _, c := range end[1:] {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letter = true
		case c < '0' || c > '9':
			return false
		}
	}
	return letter
}

// rangeOf is where the bytes of a 206 begin, RFC 9110 section 14.4; nothing if they are the whole file.
func rangeOf(s string) table.Opt[int64] {
	s = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s), "bytes"))
	from, rest, _ := strings.Cut(s, "-")
	to, size, _ := strings.Cut(rest, "/")
	first, err := strconv.ParseInt(strings.TrimSpace(from), 10, 64)
	if err != nil || first < 0 {
		return table.Opt[int64]{}
	}
	last, err1 := strconv.ParseInt(strings.TrimSpace(to), 10, 64)
	all, err2 := strconv.ParseInt(strings.TrimSpace(size), 10, 64)
	if err1 == nil && err2 == nil && first == 0 && last+1 == all {
		return table.Opt[int64]{}
	}
	return table.Some(first)
}
