package dissecttest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Conversation is a row of a table test: the messages of two sides, and the rows that they produce.
type Conversation struct {
	Name      string // as a sentence
	Chunks    []Chunk
	End       dissect.End
	Want      []string // one for each row, see Converse
	Anomalies int
	Midway    bool                // the beginning of the connection was not captured
	Needs     []*dissect.Protocol // as in Sample
}

// Converse plays conversations of a protocol and compares the rows. A row is its summary, and
// after it error=… and outcome=… if the call did not end well, and name=value of each column of
// the list that has a value. The name "hidden" stands for the credentials that no row shows.
func Converse(t *testing.T, p *dissect.Protocol, columns []string, list ...Conversation) {
	t.Helper()
	for _, c := range list {
		t.Run(c.Name, func(t *testing.T) {
			o := OptionsOf(p)
			o.End, o.Roles = c.End, o.Roles && !c.Midway
			o.need(c.Needs)
			r := Play(t, o, c.Chunks...)
			account(t, r)
			var got []string
			for i := range r.Emissions {
				line := Line(r.Emissions[i].Row, columns...)
				if texts := Credentials(&r.Emissions[i]); len(texts) > 0 && slices.Contains(columns, "hidden") {
					line += fmt.Sprintf(" hidden=%q", texts)
				}
				got = append(got, line)
			}
			if !slices.Equal(got, c.Want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.Want, "\n"))
			}
			if len(r.Anomalies) != c.Anomalies {
				t.Errorf("anomalies %v, want %d", r.Anomalies, c.Anomalies)
			}
		})
	}
}

// Line renders a row as Converse compares it.
func Line(row table.CallRow, columns ...string) string {
	b := row.Base()
	s := b.Summary
	if b.Error.OK {
		s += " error=" + b.Error.V
	}
	if b.Outcome != table.OK {
		s += " outcome=" + b.Outcome
	}
	return s + values(reflect.ValueOf(row).Elem(), columns)
}

func values(v reflect.Value, columns []string) (s string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			if in := reflect.Indirect(v.Field(i)); in.IsValid() {
				s += values(in, columns)
			}
			continue
		}
		x := v.Field(i)
		if ok := x.Kind() == reflect.Struct && x.FieldByName("OK").IsValid(); ok {
			if !x.FieldByName("OK").Bool() {
				continue
			}
			x = x.FieldByName("V")
		} else if x.IsZero() {
			continue
		}
		if name := f.Tag.Get("col"); slices.Contains(columns, name) {
			s += fmt.Sprintf(" %s=%v", name, x.Interface())
		}
	}
	return s
}

// NoSecret checks that no column of a row, no header and no anomaly of a sample has a secret.
func NoSecret(t *testing.T, p *dissect.Protocol, s Sample, secret string) {
	t.Helper()
	r := Play(t, OptionsOf(p), s.Chunks...)
	if len(r.Rows()) == 0 {
		t.Errorf("%s: no rows", s.Name)
	}
	for _, row := range r.Rows() {
		if text := fmt.Sprintf("%+v", row); strings.Contains(text, secret) {
			t.Errorf("%s: a row has the secret: %s", s.Name, text)
		}
	}
	for _, a := range r.Anomalies {
		if strings.Contains(a.Kind+a.Detail, secret) {
			t.Errorf("%s: an anomaly has the secret: %s", s.Name, a.Detail)
		}
	}
}
