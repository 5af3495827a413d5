package clickhouse

import (
	"bytes"
	"encoding/base64"
	"mime"
	"mime/multipart"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// HTTP describes the HTTP interface for readers.
var HTTP = content.Protocol{
	Name:     "clickhouse",
	Doc:      "HTTP interface of ClickHouse",
	Versions: "18 (2018) to 26",
	Depth:    "statements with settings and parameters, inserted rows, the shape and first rows of results in the usual formats, progress, errors",
	Inside:   []string{"http"},
}

// Limits of a request over HTTP.
const (
	maxFields = 1024     // fields of a query or of a form
	maxForm   = 64 << 10 // bytes of a field of a form
)

const ownHeader = "X-ClickHouse-" // begins the names of headers of both sides

// web is a request over HTTP (src/Server/HTTPHandler.cpp): fields of the URL and of a form, the statement, and the rows
// that the client sends.
type web struct {
	fields [][2]string
	sql    string
	data   []byte // of the client's rows, after the statement
	form   bool
}

// ReadHTTP implements content.Reader.
func ReadHTTP(x *content.Exchange, s *Statement) bool {
	if x.Socket || !marked(x) {
		return false
	}
	r := webRequest(x)
	switch e := r.err(x); {
	case r.sql != "" || x.Header(httpfield.Response, ownHeader+"Query-Id") != "":
		s.Kind = table.Some("QUERY")
	case e.code == 0 && x.StatusCode.V == 200 && string(x.Response.Bytes()) == "Ok.\n":
		s.Kind = table.Some("PING")
	case e.code != 0:
	default:
		return false
	}
	s.asked(x, r)
	s.answer(x, r)
	s.name(x)
	return true
}

// marked reports whether an exchange has what only this server and its clients send: their headers, or the text of an
// error.
func marked(x *content.Exchange) bool {
	for i := range x.Headers {
		if name := x.Headers[i].Name; len(name) > len(ownHeader) && strings.EqualFold(name[:len(ownHeader)], ownHeader) {
			return true
		}
	}
	return x.StatusCode.V >= 400 && x.Response.Size > 0 && bytes.HasPrefix(x.Response.Bytes(), []byte("Code: ")) && readError(x.Response.Bytes()).code != 0
}

// webRequest reads a request.
func webRequest(x *content.Exchange) *web {
	r := &web{}
	for part := range strings.SplitSeq(x.Query.V, "&") {
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if text, bad := url.QueryUnescape(value); bad == nil {
			value = text
		}
		if err == nil && name != "" && len(r.fields) < maxFields {
			r.fields = append(r.fields, [2]string{name, value})
		}
	}
	body := x.Request.Bytes()
	switch {
	case x.Request.Type == "multipart/form-data":
		r.readForm(body, x.RequestContentType.V)
		body = nil
	case r.field("decompress") == "1":
		body, _, _ = frames(body)
	}
	r.sql = r.field("query")
	switch {
	case r.sql == "":
		r.sql, r.data = splitInsert(body)
	case len(body) == 0:
	case sqltext.Verb(r.sql) == "INSERT":
		r.data = body
	default: // the server reads both as one text
		r.sql += "\n" + clip.Text(body, maxQuery)
	}
	return r
}

// field is the first value of a field.
func (r *web) field(name string) string {
	for _, f := range r.fields {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}

// readForm reads the fields of a form. Its files are tables for the statement.
func (r *web) readForm(b []byte, contentType string) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return
	}
	r.form = true
	form := multipart.NewReader(bytes.NewReader(b), params["boundary"])
	for len(r.fields) < maxFields {
		part, err := form.NextRawPart()
		if err != nil {
			return
		}
		if name := part.FormName(); name != "" && part.FileName() == "" {
			value := make([]byte, maxForm)
			n := 0
			for n < len(value) && err == nil {
				var m int
				m, err = part.Read(value[n:])
				n += m
			}
			r.fields = append(r.fields, [2]string{name, strings.ToValidUTF8(string(value[:n]), "\uFFFD")})
		}
	}
}

// dataFormat is the end of an INSERT whose rows follow in a format.
var dataFormat = regexp.MustCompile(`(?is)^[^']*?\bFORMAT\s+([A-Za-z]\w*)[ \t]*(?:\r?\n|[ ;]|$)`)

// splitInsert splits a body into the statement and the rows of an INSERT in a format. VALUES belong to the statement.
func splitInsert(b []byte) (sql string, data []byte) {
	head := b[:min(len(b), maxQuery)]
	if sqltext.Verb(string(head[:min(len(head), 2<<10)])) == "INSERT" {
		if m := dataFormat.FindSubmatchIndex(head); m != nil && !strings.EqualFold(string(head[m[2]:m[3]]), "Values") {
			return clip.Text(bytes.TrimRight(head[:m[1]], " ;\r\n\t"), maxQuery), b[m[1]:]
		}
	}
	return clip.Text(b, maxQuery), nil
}

// noSettings are fields of a request that are neither settings nor parameters.
var noSettings = map[string]bool{"query": true, "user": true, "password": true, "database": true, "query_id": true, "session_id": true, "session_timeout": true, "session_check": true,
	"close_session": true, "quota_key": true, "role": true, "stacktrace": true, "compress": true, "decompress": true, "buffer_size": true, "client_protocol_version": true}

// asked sets the columns of the request.
func (s *Statement) asked(x *content.Exchange, r *web) {
	s.SQL = table.NonEmpty(clip.Text(strings.TrimSpace(r.sql), maxQuery))
	for _, f := range r.fields {
		name := strings.ToLower(f[0])
		param, isParam := strings.CutPrefix(f[0], "param_")
		switch {
		case isParam && len(s.Params) < maxSettings:
			s.Params = append(s.Params, clip.Text(param, maxValue)+"="+clip.Text(f[1], maxValue))
		case isParam, noSettings[name], r.form && strings.HasSuffix(name, "_structure"), strings.Contains(name, "password"), strings.Contains(name, "token"), strings.Contains(name, "secret"):
		case len(s.Settings) < maxSettings:
			s.Settings = append(s.Settings, clip.Text(f[0], maxValue)+"="+clip.Text(f[1], maxValue))
		}
	}
	header := func(name string) string { return x.Header(httpfield.Request, ownHeader+name) }
	s.Application = content.Some(x.UserAgent.V)
	s.QueryID = content.Some(r.field("query_id"))
	if !s.QueryID.OK {
		s.QueryID = content.Some(x.Header(httpfield.Response, ownHeader+"Query-Id"))
	}
	s.Database, s.User = content.Some(r.field("database")), content.Some(r.field("user"))
	if !s.Database.OK {
		s.Database = content.Some(header("Database"))
	}
	if !s.User.OK {
		s.User = content.Some(header("User"))
	}
	if scheme, credentials, ok := strings.Cut(x.Header(httpfield.Request, "Authorization"), " "); ok && !s.User.OK && httpfield.Is(scheme, "basic") {
		plain, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
		user, _, _ := strings.Cut(string(plain), ":")
		s.User = content.Some(user)
	}
	if !x.AuthKind.OK && r.field("password") != "" {
		x.AuthKind = table.Some("password")
	}
	if verb := sqltext.Verb(s.SQL.V); len(r.data) > 0 && verb == "INSERT" && !x.Request.Lost {
		var rows result
		rows.read(namedFormat(s.SQL.V), r.data, r)
		if s.Inserted = rows.count(); rows.compression != "" {
			s.Compression = table.Some(rows.compression)
		}
	}
}

// answer sets the columns of the response.
func (s *Statement) answer(x *content.Exchange, r *web) {
	s.work(x)
	e := r.err(x)
	if e.code != 0 {
		s.fail(e.code, e.text)
	}
	var rows result
	verb := sqltext.Verb(s.SQL.V)
	data := x.Response.Bytes()[:e.at]
	format := r.format(x)
	switch {
	case s.Kind.V != "QUERY", e.code != 0 && e.at == 0, strings.EqualFold(format, "Null"):
	case len(data) > 0:
		rows.show = true
		rows.totals = strings.Contains(strings.ToLower(s.SQL.V), "totals") || r.field("extremes") == "1"
		rows.read(format, data, r)
		s.Columns, s.Types, s.Preview = rows.names, rows.types, table.NonEmpty(string(rows.preview))
		if s.Rows = rows.count(); x.Response.Lost {
			s.Rows = table.Opt[int64]{}
		}
		if rows.compression != "" {
			s.Compression = table.Some(rows.compression)
		}
	case x.Complete && verb != "" && strings.Contains(" SELECT WITH FROM SHOW DESC DESCRIBE EXISTS EXPLAIN ", " "+verb+" "):
		s.Rows = table.Some(int64(0))
	}
	s.Success = table.Some(x.StatusCode.OK && x.StatusCode.V < 400 && !x.Error.OK && e.code == 0)
	s.Partial = table.Some(x.Request.Lost || x.Response.Lost || rows.unread)
}

// work reads what the server did, from its summary or its last report of progress.
func (s *Statement) work(x *content.Exchange) {
	report := ""
	for i := range x.Headers {
		h := &x.Headers[i]
		if h.Kind == httpfield.Response && (strings.EqualFold(h.Name, ownHeader+"Summary") || strings.EqualFold(h.Name, ownHeader+"Progress")) {
			report = h.Value
		}
	}
	for name, v := range content.Members([]byte(report)) {
		n, err := strconv.ParseInt(content.Scalar(v), 10, 64)
		switch {
		case err != nil || n < 0:
		case name == "read_rows":
			s.ReadRows = table.Some(n)
		case name == "read_bytes":
			s.ReadBytes = table.Some(n)
		case name == "written_rows" && n > 0:
			s.WrittenRows = table.Some(n)
		}
	}
}

// name sets summary, endpoint and outcome.
func (s *Statement) name(x *content.Exchange) {
	what, endpoint := "ClickHouse "+s.Kind.V, "ClickHouse "+s.Kind.V
	if s.SQL.OK {
		what = string(sqltext.AppendLine([]byte("ClickHouse "), s.SQL.V))
		if verb := sqltext.Verb(s.SQL.V); verb != "" {
			endpoint = "ClickHouse " + verb
		}
	}
	x.Name(strings.TrimSpace(what), strings.TrimSpace(endpoint))
	switch {
	case s.ErrCode.OK:
		x.Add(", " + s.problem())
		x.Outcome = "" // HTTP has 500 for most errors of either side, and 200 for late ones
		x.Fail(outcome(s.ErrCode.V), s.ErrName.V)
	case s.Inserted.OK, s.Rows.OK:
		x.Add(", " + s.count())
	}
}

// webError is an error in a response, and the number of bytes before it.
type webError struct {
	code int32
	text string
	at   int
}

// errorText is an error (src/Common/Exception.cpp): up to 2020 with what() at its end, today with its name and a version.
var errorText = regexp.MustCompile(`^Code: (\d{1,5})(?:\.|, e\.displayText\(\) =) (DB::(?s:.*))`)

// readError reads the text of an error. The code of another text is 0.
func readError(b []byte) (e webError) {
	m := errorText.FindSubmatch(b[:min(len(b), maxForm)])
	if m == nil {
		return e
	}
	code, _ := strconv.Atoi(string(m[1]))
	text := strings.TrimSpace(string(m[2]))
	for _, end := range []string{" (version ", ", e.what() = "} {
		if i := strings.LastIndex(text, end); i >= 0 {
			text = text[:i]
		}
	}
	text = strings.TrimSuffix(text, " ("+tables()["error"].Name(int64(code), "")+")")
	return webError{code: int32(code), text: clip.Text(text, maxError)}
}

// err finds the error of a response. A result that had begun has it at its end: after a tag that the header announces,
// in JSON as a member, and in old servers on a line of its own.
func (r *web) err(x *content.Exchange) (e webError) {
	b := x.Response.Bytes()
	announced, _ := strconv.ParseUint(x.Header(httpfield.Response, ownHeader+"Exception-Code"), 10, 16)
	switch {
	case x.StatusCode.V >= 400 || announced > 0:
		if e = readError(b); e.code == 0 && announced > 0 {
			e = webError{code: int32(announced), text: clip.Text(bytes.TrimSpace(b), maxError)}
		}
	default:
		e = r.lateError(x, b)
	}
	if e.code == 0 {
		e.at = len(b)
	}
	return e
}

// lateError finds the error of a response that began as a success.
func (r *web) lateError(x *content.Exchange, b []byte) (e webError) {
	const mark = "__exception__\r\n"
	if tag := x.Header(httpfield.Response, ownHeader+"Exception-Tag"); tag != "" {
		if i := bytes.LastIndex(b, []byte(mark+tag+"\r\n")); i >= 0 {
			e = readError(b[i+len(mark)+len(tag)+2:])
			e.at = len(bytes.TrimSuffix(b[:i], []byte("\r\n")))
			return e
		}
	}
	from := max(0, len(b)-maxForm)
	i := bytes.LastIndex(b[from:], []byte("\nCode: "))
	if i < 0 {
		return e
	}
	i += from + 1
	last, first := bytes.TrimRight(b[i:], "\r\n"), b[:max(bytes.IndexByte(b, '\n'), 0)]
	if cut := bytes.LastIndex(last, []byte("\r\n")); cut > 0 { // the end of a mark of a header that is missing
		last = last[:cut]
	}
	versioned := bytes.HasSuffix(last, []byte(")")) && bytes.Contains(last, []byte(" (version ")) || bytes.Contains(last, []byte(", e.what() = DB::"))
	if e = readError(last); e.code == 0 || !versioned || r.mayBeRow(x, first) {
		return webError{}
	}
	e.at = i
	return e
}

// mayBeRow reports whether a line that looks like an error may be a row of a result with one column, which first begins.
func (r *web) mayBeRow(x *content.Exchange, first []byte) bool {
	base, _ := splitFormat(r.format(x))
	return !x.Error.OK && (base == "tsv" || base == "") && bytes.IndexByte(first, '\t') < 0
}

// format is the format of the result.
func (r *web) format(x *content.Exchange) string {
	for _, name := range []string{x.Header(httpfield.Response, ownHeader+"Format"), namedFormat(r.sql), r.field("default_format"), x.Header(httpfield.Request, ownHeader+"Format")} {
		if name != "" {
			return name
		}
	}
	return "TabSeparated"
}

// lastFormat is the FORMAT at the end of a statement.
var lastFormat = regexp.MustCompile(`(?i)\bFORMAT\s+([A-Za-z]\w*)\s*(?:SETTINGS\b[^']*)?;?\s*$`)

// namedFormat is the format that a statement names at its end.
func namedFormat(sql string) string {
	if m := lastFormat.FindStringSubmatch(sql[max(0, len(sql)-1024):]); m != nil {
		return m[1]
	}
	return ""
}
