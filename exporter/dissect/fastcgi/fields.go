package fastcgi

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// size reads a length of 1 or 4 bytes, specification section 3.4. n is 0 if b is too short.
func size(b []byte) (v, n int) {
	switch {
	case len(b) > 0 && b[0] < 0x80:
		return int(b[0]), 1
	case len(b) >= 4:
		return int(binary.BigEndian.Uint32(b) & 0x7fffffff), 4
	}
	return 0, 0
}

// read reads the parameters of a request.
func (c *call) read() {
	b, row := c.params, c.row
	c.params = nil
	for len(b) > 0 {
		name, n := size(b)
		value, m := size(b[n:])
		b = b[n+m:]
		if n == 0 || m == 0 || name > len(b) || value > len(b)-name {
			break
		}
		c.param(string(b[:name]), clip.Text(b[name:name+value], 8*maxText))
		b = b[name+value:]
	}
	httpfield.Fill(&row.Call, row.Headers)
}

func (c *call) param(name, value string) {
	row := c.row
	if field, ok := strings.CutPrefix(name, "HTTP_"); ok {
		words := strings.Split(strings.ToLower(field), "_")
		for i, w := range words {
			if w != "" {
				words[i] = strings.ToUpper(w[:1]) + w[1:]
			}
		}
		if len(row.Headers) < maxListed {
			row.Headers = append(row.Headers, table.Header{Name: clip.Text(strings.Join(words, "-"), maxText), Value: value, Kind: httpfield.Request})
		}
		return
	}
	switch name {
	case "REQUEST_METHOD":
		row.Method = table.NonEmpty(value)
	case "REQUEST_URI":
		path, query, _ := strings.Cut(value, "?")
		row.Path, row.Query = table.NonEmpty(path), table.NonEmpty(query)
	case "SCRIPT_NAME":
		if !row.Path.OK {
			row.Path = table.NonEmpty(value)
		}
	case "QUERY_STRING":
		row.Query = table.NonEmpty(value)
	case "SCRIPT_FILENAME":
		row.Script = table.NonEmpty(value)
	case "REMOTE_ADDR":
		row.Remote = table.NonEmpty(value)
	case "CONTENT_TYPE":
		row.RequestContentType = table.NonEmpty(value)
	}
	if len(row.Params) < maxListed && name != "QUERY_STRING" && name != "REQUEST_URI" {
		row.Params = append(row.Params, clip.Line([]byte(name+"="+value), maxText))
	}
}

// response adds to the response: first its head, as in CGI (RFC 3875 section 6), then its body.
func (k *conn) response(c *call, content []byte) {
	if len(content) == 0 {
		return
	}
	if !c.begun {
		c.head = append(c.head, content...)
		end, n := bytes.Index(c.head, []byte("\r\n\r\n")), 4
		if i := bytes.Index(c.head, []byte("\n\n")); i >= 0 && (end < 0 || i < end) {
			end, n = i, 2
		}
		if end < 0 && len(c.head) <= maxParams {
			return
		}
		head := c.head
		if content = head; end >= 0 {
			c.headers(head[:end])
			content = head[end+n:]
		}
		if c.head, c.begun = nil, true; len(content) == 0 {
			return
		}
	}
	if c.x.RespBody == nil {
		encoding := ""
		for _, h := range c.row.Headers {
			if h.Kind == httpfield.Response && strings.EqualFold(h.Name, "Content-Encoding") {
				encoding = h.Value
			}
		}
		c.x.RespBody = k.Conn.NewBody(c.row.ResponseContentType.V, encoding)
	}
	c.x.RespBody.Write(content)
}

// headers reads the head of a response.
func (c *call) headers(b []byte) {
	row := c.row
	c.head, c.begun = nil, true
	status := int32(200)
	for line := range bytes.Lines(b) {
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		if !ok {
			continue
		}
		text := clip.Line(value, maxText)
		switch strings.ToLower(string(name)) {
		case "status":
			code, reason, _ := strings.Cut(text, " ")
			if n, err := strconv.Atoi(code); err == nil && n >= 100 && n < 1000 {
				status = int32(n)
				row.StatusText = table.NonEmpty(reason)
			}
		case "location":
			if status == 200 {
				status = 302
			}
		case "content-type":
			row.ResponseContentType = table.NonEmpty(text)
		}
		if len(row.Headers) < 2*maxListed {
			row.Headers = append(row.Headers, table.Header{Name: clip.Line(name, 128), Value: text, Kind: httpfield.Response})
		}
	}
	row.StatusCode = table.Some(status)
}

// detect accepts what begins a request, and the first records of a response.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < headSize {
		if len(b) > 0 && b[0] != 1 || len(b) > 1 && b[1] > unknownType || len(b) > 1 && dir == dissect.ToServer && b[1] != beginRequest && b[1] != 9 {
			return dissect.No
		}
		return dissect.More
	}
	r, err := readHead(b)
	if err != nil {
		return dissect.No
	}
	rest := b[headSize:]
	if dir == dissect.ToServer {
		if r.kind != beginRequest || r.content != 8 || b[6] > 7 {
			return dissect.No
		}
		if len(rest) < 8 {
			return dissect.More
		}
		return dissect.Yes.If(rest[0] == 0 && rest[1] >= 1 && rest[1] <= 3 && rest[2] <= 1 && string(rest[3:8]) == "\x00\x00\x00\x00\x00")
	}
	switch {
	case r.kind != stdout && r.kind != stderr:
		return dissect.No
	case r.kind == stdout && r.content > 3 && !field.Match(rest[:min(len(rest), r.content, 64)]):
		return dissect.No
	case len(b) < r.size+headSize:
		return dissect.More
	}
	next, err := readHead(b[r.size:])
	return dissect.Yes.If(err == nil && next.id == r.id && (next.kind == stdout || next.kind == stderr || next.kind == endRequest))
}

// field is the beginning of a header.
var field = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*(:|$)`)
