// Package ask has what every question about a case is made of.
//
// A question is a function in a package of its topic below this one, and one line in the list of
// package finding/all. It takes a typed value that embeds Scope, runs SQL over the case's tables,
// and gives a typed answer that embeds Frame, whose numbers lead to calls and whose calls lead to
// packets. The command line, assistants and reports all ask through Question, so no question is
// written twice. An answer states how much of the asked time was recorded, never guesses without
// a stated confidence, and is the same for the same case and question.
package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
)

// Question is one way to ask. Its input and answer are JSON objects that its schemas
// describe.
type Question struct {
	Name  string // snake case: name of the tool and, with dashes, of the command
	Title string
	Doc   string // what it answers and when to ask it, for somebody who has to choose
	Core  bool   // part of the small set that nearly everybody needs
	Topic string // the set of questions that it belongs to, such as security

	// Rows is how many rows of each list a page has if no limit is given; DefaultRows if 0.
	Rows int

	// Keyed is the list that may have any number of rows: its input has a cursor and its answer
	// a next_cursor, which name the place in it. The other lists come in full with its first page.
	Keyed string

	// Nested says that the limit counts the rows inside the rows of a list.
	Nested bool

	// Sums are lists that sum up the others, so that a first page has them whole.
	Sums []string

	// InTime are lists that begin with the rows nearest to a moment, and whose pages are shown
	// in order of time.
	InTime []string

	In, Out *jsonschema.Schema
	ask     func(ctx context.Context, c *forensics.Case, in json.RawMessage, all bool) (any, error)
}

// Ask answers the question. An input that its schema does not allow is an *InputError;
// the other errors are those of forensics.Case.Query. The answer marshals as Out says.
func (q Question) Ask(ctx context.Context, c *forensics.Case, in json.RawMessage) (any, error) {
	return q.ask(ctx, c, in, false)
}

// AskAll is Ask with all rows of each list, up to MaxAll. Of the list Keyed, and of lists inside
// rows, there are as many as the limit says.
func (q Question) AskAll(ctx context.Context, c *forensics.Case, in json.RawMessage) (any, error) {
	return q.ask(ctx, c, in, true)
}

// Document is an answer that is a document for another program, with remarks on it.
type Document interface {
	Document() (text string, notes []string)
}

// InputError is a question that cannot be asked so.
type InputError struct {
	Field string // as in the input; empty where it is not one field
	What  string // what is wrong and what was wanted
}

// Error names the field and what is wrong with it.
func (e *InputError) Error() string {
	if e.Field == "" {
		return e.What
	}
	return e.Field + ": " + e.What
}

// Wrong is an *InputError about a field.
func Wrong(field, format string, args ...any) error {
	return &InputError{field, fmt.Sprintf(format, args...)}
}

// New makes a Question of a function. In embeds Scope, Out embeds Frame.
func New[In, Out any](name, title, doc string, core bool, f func(context.Context, *forensics.Case, In) (*Out, error)) Question {
	q := Question{Name: name, Title: title, Doc: doc, Core: core, In: schemaOf[In](name), Out: schemaOf[Out](name)}
	q.ask = func(ctx context.Context, c *forensics.Case, raw json.RawMessage, all bool) (any, error) {
		var in In
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
		return out, nil
	}
	return q
}

func schemaOf[T any](name string) *jsonschema.Schema {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		panic("question " + name + ": " + err.Error()) // a type that no JSON describes; every test meets it
	}
	return s
}

// decode reads an input strictly: a misspelt field would be a question not asked.
func decode(raw json.RawMessage, in any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return Wrong(kind.Field, "%s, want %s", kind.Value, kind.Type)
		}
		return Wrong("", "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Wrong("", "more than one JSON value")
	}
	return nil
}
