package redact

import "strings"

// Ways to read a text that a Masker masks; each defines the meaning of the name.
const (
	AsColumn  = "column"  // the value of that column
	AsHeader  = "header"  // the value of that header
	AsPair    = "pair"    // a value under that name
	AsContent = "content" // a body of that content type
	AsParams  = "params"  // a list of parameters of that statement
	AsRows    = "rows"    // rows of COPY with columns of these names, between tabs
	AsReply   = "reply"   // a reply to that command
	AsValue   = "value"   // any text; only known values are masked
)

// Masker masks texts of one case: by its policy, and by the values that the policy masks elsewhere
// in the case. It is immutable and safe for concurrent use.
type Masker struct {
	p     *Policy
	known *Known
}

// NewMasker returns a Masker. known may be nil.
func NewMasker(p *Policy, known *Known) *Masker { return &Masker{p, known} }

// Text masks a text.
func (m *Masker) Text(as, name, s string) string {
	t := task{p: m.p}
	switch as {
	case AsValue:
	case AsHeader:
		s = m.p.Header(name, s)
	case AsPair:
		s, _ = t.walk(nil, name, s, 0).(string)
	case AsContent:
		s = t.text(name, s, 0)
	case AsRows:
		s = t.table(s, strings.Split(name, "\t"))
	default:
		s = t.columnText(name, s)
	}
	return m.known.Mask(s)
}

// List masks a list of texts.
func (m *Masker) List(as, name string, list []string) []string {
	t := task{p: m.p}
	switch {
	case as == AsParams:
		list = t.params(name, list)
	case isCommand(name):
		list = t.arguments(list)
	default:
		return each(list, func(s string) string { return m.Text(as, name, s) })
	}
	return each(list, m.known.Mask)
}

// Bytes masks binary data as if it were text.
func (m *Masker) Bytes(name, s string) string {
	t := task{p: m.p}
	if t.secretColumn(name) {
		return t.value(s)
	}
	if text, order := wide(s); order != nil {
		return widen(m.known.Mask(t.text("", text, 1)), order)
	}
	return m.known.Mask(t.narrow(s))
}

func each[T, U any](list []T, do func(T) U) []U {
	out := make([]U, len(list))
	for i, x := range list {
		out[i] = do(x)
	}
	return out
}
