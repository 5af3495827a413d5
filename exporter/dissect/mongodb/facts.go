package mongodb

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// facts collects the fields of a message for its call's row, within limits.
type facts struct {
	k        *conn
	c        *call
	row      *Row
	partial  bool // only the beginning of the message is there
	explains bool
	parts    []string // of the statement's shape
	paramAll int
}

// command names the command, unless it is known.
func (f *facts) command(name string) {
	if !f.row.Command.OK {
		f.row.Command = table.NonEmpty(name)
	}
}

// commandDocument reads the document of a command.
func (f *facts) commandDocument(doc []byte) error {
	if _, err := elements(doc, func(e element) bool { return true }); err != nil {
		return err
	}
	first := true
	_, err := elements(doc, func(e element) bool {
		if first {
			first = false
			f.named(e)
			return true
		}
		f.argument(e)
		return true
	})
	return err
}

// named reads the name of a command, and its collection.
func (f *facts) named(e element) {
	name := text(e.key)
	if name == "explain" && e.kind == typeDocument {
		f.explains = true
		_ = f.commandDocument(e.value) // the command that is explained; the outer document was checked
		f.row.Command = table.Some(name)
		return
	}
	f.command(name)
	if s, ok := e.text(); ok && !tables().elsewhere[name] {
		f.row.Collection = table.NonEmpty(text(s))
	}
	if n, ok := e.integer(); ok && strings.EqualFold(name, "getMore") {
		f.row.Cursor = table.Some(n)
	}
}

// argument reads an element of a command.
func (f *facts) argument(e element) {
	row := f.row
	s, isText := e.text()
	switch key := string(e.key); key {
	case "$db":
		if isText {
			row.Database = table.NonEmpty(text(s))
		}
	case "collection":
		if isText && row.Command.V == "getMore" {
			row.Collection = table.NonEmpty(text(s))
		}
	case "lsid":
		row.Session = sessionOf(e)
	case "txnNumber":
		if n, ok := e.integer(); ok {
			row.Transaction = table.Some(n)
		}
	case "filter", "query", "pipeline", "sort", "update", "q", "u", "projection", "hint", "key":
		if !f.secret() {
			f.shape(key, e)
		}
	case "documents", "updates", "deletes", "ops":
		if e.kind == typeArray {
			_, _ = elements(e.value, func(in element) bool { // the document was checked
				if in.kind == typeDocument {
					_ = f.written(key, in.value)
				}
				return true
			})
		}
	case "mechanism", "payload", "speculativeAuthenticate", "user", "db":
		f.authentication(e)
	case "pwd": // of createUser and updateUser
		if f.secret() && isText {
			f.row.AuthKind = table.Some("password")
		}
	case "client":
		f.client(e)
	}
}

// secret reports whether a command has secrets in its arguments.
func (f *facts) secret() bool { return tables().secret[strings.ToLower(f.row.Command.V)] }

// sessionOf is the id of a logical session.
func sessionOf(e element) (id table.Opt[string]) {
	if e.kind != typeDocument {
		return id
	}
	_, _ = elements(e.value, func(in element) bool {
		if string(in.key) == "id" && in.kind == typeBinary && in.whole && len(in.value) == 21 {
			id = table.Some(clip.UUID(in.value[5:]))
		}
		return true
	})
	return id
}

// client reads the names of application and driver from hello.
func (f *facts) client(e element) {
	if e.kind != typeDocument {
		return
	}
	_, _ = elements(e.value, func(in element) bool {
		var name, version string
		if in.kind != typeDocument {
			return true
		}
		_, _ = elements(in.value, func(x element) bool {
			s, _ := x.text()
			switch string(x.key) {
			case "name":
				name = text(s)
			case "version":
				version = text(s)
			}
			return true
		})
		switch string(in.key) {
		case "application":
			f.k.application = name
		case "driver":
			f.k.driver = strings.TrimSpace(name + " " + version)
		}
		return true
	})
}

// authentication reads the mechanism and the user's name, and nothing else of the payload.
func (f *facts) authentication(e element) {
	key := string(e.key)
	command := strings.ToLower(f.row.Command.V)
	if key == "speculativeAuthenticate" && e.kind == typeDocument {
		_, _ = elements(e.value, func(in element) bool {
			if k := string(in.key); k == "mechanism" || k == "payload" || k == "user" {
				f.credentials(k, in)
			}
			return true
		})
		return
	}
	if command == "saslstart" || command == "authenticate" {
		f.credentials(key, e)
	}
}

func (f *facts) credentials(key string, e element) {
	s, _ := e.text()
	switch key {
	case "mechanism":
		f.k.mechanism = text(s)
		f.row.AuthKind = table.NonEmpty(sasl.Kind(f.k.mechanism))
	case "user":
		f.k.user = text(s)
	case "payload":
		token := s
		if e.kind == typeBinary && e.whole {
			token = e.value[5:]
		} else if plain, err := base64.StdEncoding.DecodeString(string(s)); err == nil {
			token = plain
		}
		f.k.user = text(sasl.User(f.k.Conn, f.k.mechanism, token))
	}
}

// written counts a document, update or delete of a request, and reads its fields.
func (f *facts) written(list string, doc []byte) error {
	if f.row.Documents = table.Some(f.row.Documents.V + 1); f.secret() {
		return nil
	}
	if list == "documents" {
		_, err := elements(doc, func(e element) bool {
			f.params("", e, 0)
			return f.paramAll < maxParamAll && len(f.row.Params) < maxParams
		})
		return err
	}
	_, err := elements(doc, func(e element) bool {
		switch k := string(e.key); k {
		case "q", "u", "filter", "updateMods", "document":
			f.shape(k, e)
		}
		return true
	})
	return err
}

// part reads a document of the statement under a name.
func (f *facts) part(name string, doc []byte) error {
	if len(doc) == 0 {
		return errDocument
	}
	f.shape(name, element{kind: typeDocument, key: []byte(name), value: doc, whole: true})
	_, err := elements(doc, func(element) bool { return true })
	return err
}

// shape adds a part to the shape of the statement, and its values to the parameters.
func (f *facts) shape(name string, e element) {
	if s, ok := e.text(); ok && name == "key" { // the field of distinct
		f.addPart(text(s))
		return
	}
	if !e.nested() {
		return
	}
	b := appendShape(nil, e, 0)
	if name == "sort" || name == "projection" || name == "hint" {
		b = append([]byte(name+" "), b...)
	} else {
		f.params("", e, 0)
	}
	f.addPart(string(b))
}

func (f *facts) addPart(s string) {
	size := 0
	for _, p := range f.parts {
		size += len(p) + 1
	}
	if size+len(s) <= maxShape && !slices.Contains(f.parts, s) {
		f.parts = append(f.parts, s)
	}
}

// appendShape appends a value without its values: names of fields, and a question mark for each other
// thing. Elements of an array that have the same shape are shown once.
func appendShape(b []byte, e element, depth int) []byte {
	if !e.nested() || depth >= maxDepth || len(b) >= maxShape {
		return append(b, '?')
	}
	begin, end := byte('{'), byte('}')
	if e.kind == typeArray {
		begin, end = '[', ']'
	}
	b = append(b, begin)
	var seen []string
	first := true
	_, _ = elements(e.value, func(in element) bool {
		if len(b) >= maxShape {
			b = append(b, "…"...)
			return false
		}
		one := appendShape(nil, in, depth+1)
		if e.kind == typeDocument {
			one = append([]byte(text(in.key)+": "), one...)
		} else if slices.Contains(seen, string(one)) {
			return true
		} else if len(seen) < 32 {
			seen = append(seen, string(one))
		}
		if !first {
			b = append(b, ", "...)
		}
		b, first = append(b, one...), false
		return true
	})
	return append(b, end)
}

// params adds the values of an element under its path.
func (f *facts) params(path string, e element, depth int) {
	if len(f.row.Params) >= maxParams || f.paramAll >= maxParamAll {
		return
	}
	if path == "" {
		path = text(e.key)
	} else {
		path += "." + text(e.key)
	}
	if len(path) > maxText {
		return
	}
	if e.nested() && depth < maxDepth {
		_, _ = elements(e.value, func(in element) bool {
			f.params(path, in, depth+1)
			return len(f.row.Params) < maxParams && f.paramAll < maxParamAll
		})
		return
	}
	s := string(show([]byte(path+"="), e, maxText, depth))
	f.row.Params = append(f.row.Params, clip.Text(s, maxText))
	f.paramAll += len(s)
}

// finish completes the row after a request.
func (f *facts) finish() {
	row := f.row
	row.Partial = row.Partial || f.partial
	if !row.Command.OK {
		f.c.texts += 64
		return
	}
	words := []string{row.Command.V, row.namespace()}
	if f.explains {
		words = append([]string{"explain"}, words...)
	}
	row.Query = table.Some(strings.TrimSpace(strings.Join(append(words, f.parts...), " ")))
	f.c.texts += len(row.Query.V) + f.paramAll + 16*len(row.Params) + len(row.Database.V) + len(row.Collection.V) + len(row.Session.V)
}

// namespace is database and collection. In a message the database comes after the collection, so it may be cut off.
func (row *Row) namespace() string {
	if !row.Collection.OK {
		return row.Database.V
	}
	return cmp.Or(row.Database.V, "?") + "." + row.Collection.V
}

// count is a number of documents in the summary: those that were read.
func (row *Row) count(n int64, noun string) string {
	s := strconv.FormatInt(n, 10) + " " + noun
	if n != 1 {
		s += "s"
	}
	if row.Partial {
		s = "at least " + s
	}
	return s
}
