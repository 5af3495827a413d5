// Package ask defines questions about a case.
//
// Each question is a function in a package below this one, named for its topic, with one line in
// the list of package finding/all. The input is a typed value that embeds Scope; the function runs
// SQL over the case's tables and returns a typed answer that embeds Frame. The numbers of an answer
// lead to calls, and calls lead to packets. The command line, assistants and reports all use
// Question, so each question is written once. An answer states how much of the requested time was
// recorded, marks every guess with a confidence, and is the same for the same case and input.
package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
)

// Question is one question about a case. In and Out are the JSON schemas of its input and its
// answer.
type Question struct {
	Name  string // name of the tool in snake case; the command has dashes
	Title string
	Doc   string // what it answers and when to ask it, for somebody who has to choose
	Core  bool   // part of the small set that nearly everybody needs
	Topic string // the set of questions that it belongs to, such as security

	// Rows is the number of rows per list and page if the input has no limit. 0 is DefaultRows.
	Rows int

	// Long is true if a person who reads the answer wants all rows of its lists, however many.
	Long bool

	// Keyed is the list that may have any number of rows. Its pages are linked by cursor in the
	// input and next_cursor in the answer. The first page has all other lists in full.
	Keyed string

	// Nested is true if the limit counts the rows inside the rows of a list.
	Nested bool

	// Sums are lists that summarize the others; the first page has them in full.
	Sums []string

	// InTime are lists that begin with the rows nearest to a moment. Each page is sorted by time.
	InTime []string

	// File is true if the answer is a Document.
	File bool

	In  *jsonschema.Schema
	Out func() *jsonschema.Schema // made on first use: it takes longer than all else that a command does at its start
	ask func(ctx context.Context, c *forensics.Case, in json.RawMessage, all bool) (any, error)
}

// Ask answers the question. It returns an *InputError for an input that the schema does not
// allow, and otherwise the errors of forensics.Case.Query. The answer marshals to JSON as
// described by Out.
func (q Question) Ask(ctx context.Context, c *forensics.Case, in json.RawMessage) (any, error) {
	return q.ask(ctx, c, in, false)
}

// AskAll is Ask with all rows of each list, up to MaxAll. The list Keyed and lists inside rows
// keep their limit.
func (q Question) AskAll(ctx context.Context, c *forensics.Case, in json.RawMessage) (any, error) {
	return q.ask(ctx, c, in, true)
}

// Document is an answer that is a file for another program, with notes about it.
type Document interface {
	Document() (text string, notes []string)
}

// InputError reports an invalid input of a question.
type InputError struct {
	Field  string   // name in the input; empty if the error concerns no single field
	What   string   // the problem and the allowed values
	Fields []string // names in What, if the error concerns several
}

// Error names the field and the problem.
func (e *InputError) Error() string {
	if e.Field == "" {
		return e.What
	}
	return e.Field + ": " + e.What
}

// Wrong returns an *InputError about a field.
func Wrong(field, format string, args ...any) error {
	return &InputError{Field: field, What: fmt.Sprintf(format, args...)}
}

// Malformed returns an *InputError about the text of a field that must have a form, such as "a duration such as 24h".
func Malformed(field, form, text string) error {
	return Wrong(field, "must be %s, not %q", form, Clip(text, 60))
}

// WrongOf returns an *InputError about several fields, which what names.
func WrongOf(what string, fields ...string) error {
	return &InputError{What: what, Fields: fields}
}

// New makes a Question from a function. In must embed Scope, Out must embed Frame.
func New[In, Out any](name, title, doc string, core bool, f func(context.Context, *forensics.Case, In) (*Out, error)) Question {
	q := Question{Name: name, Title: title, Doc: doc, Core: core, In: schemaOf[In](name)}
	Bound(q.In)
	q.Out = sync.OnceValue(func() *jsonschema.Schema { return schemaOf[Out](name) })
	_, q.File = any(new(Out)).(Document)
	q.ask = func(ctx context.Context, c *forensics.Case, raw json.RawMessage, all bool) (any, error) {
		var in In
		var given map[string]any
		if json.Unmarshal(raw, &given) == nil { // otherwise decode reports it
			if err := InBounds(q.In, given); err != nil {
				return nil, err
			}
		}
		if err := decode(raw, &in); err != nil {
			return nil, err
		}
		if s, ok := any(&in).(interface{ askAll() }); ok && all {
			s.askAll()
		}
		out, err := f(ctx, c, in)
		if err != nil {
			return nil, err
		}
		explain(ctx, c, raw, in, out)
		conclude(out)
		if err := locate(ctx, c, out); err != nil {
			return nil, err
		}
		return out, nil
	}
	return q
}

// Allow states the values that a text of the input, or each item of a list, can have. Ask refuses any other.
func (q Question) Allow(field string, values ...string) Question {
	s := q.In.Properties[field]
	if s.Items != nil {
		s = s.Items
	}
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return q
}

// Allowed are the values of Allow. It is empty if the field can have any.
func Allowed(s *jsonschema.Schema) (values []string) {
	if s.Items != nil {
		s = s.Items
	}
	for _, v := range s.Enum {
		values = append(values, v.(string)) // Allow takes no others
	}
	return values
}

// maxShown is the number of values that a description of a field, or an error about another value, can have.
const maxShown = 30

// Doc is the description of a field, with the values that Allow states unless the description has them or they are too
// many.
func Doc(s *jsonschema.Schema) string {
	values := Allowed(s)
	for _, v := range values {
		if len(values) <= maxShown && !strings.Contains(s.Description, v) {
			return s.Description + ": " + strings.Join(values, ", ")
		}
	}
	return s.Description
}

func schemaOf[T any](name string) *jsonschema.Schema {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		panic("question " + name + ": " + err.Error()) // the type has no JSON schema; every test reaches this
	}
	return s
}

// decode rejects unknown fields: a misspelt field would otherwise be ignored silently.
func decode(raw json.RawMessage, in any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return Wrong(kind.Field, "must be %s, not %s", kind.Type, kind.Value)
		}
		return Wrong("", "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Wrong("", "more than one JSON value")
	}
	return nil
}
