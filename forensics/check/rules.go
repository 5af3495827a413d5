package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Limits of a file of rules.
const (
	maxFile  = 4 << 20 // bytes, of rules and of what they name
	maxRules = 1000
)

const (
	levelError   = "error"
	levelWarning = "warning"
)

// Rules are a file of rules.
type Rules struct {
	Rules []Rule
	dir   fs.FS // where files that rules name lie; nil where they may name none
}

// Rule is what must be true of some calls. Its expectations are all those that are set.
type Rule struct {
	Name     string `yaml:"name"`
	Doc      string `yaml:"doc"`
	Level    string `yaml:"level"` // error, which fails a check, or warning
	Calls    string `yaml:"calls"` // KFL; empty: all calls
	From     string `yaml:"from"`  // RFC 3339, or a length before the end
	To       string `yaml:"to"`
	MinCalls *int64 `yaml:"min_calls"` // 1 where it is not set

	Count     *Bounds           `yaml:"count"`      // how many calls there are
	Every     string            `yaml:"every"`      // KFL that holds for each call
	Never     string            `yaml:"never"`      // KFL that holds for none of them
	Latency   map[string]length `yaml:"latency"`    // p50, p90, p95, p99, p999, max, mean: at most
	ErrorRate *share            `yaml:"error_rate"` // of failed calls: at most

	RequestHeaders    Headers `yaml:"request_headers"` // that each request has
	ResponseHeaders   Headers `yaml:"response_headers"`
	NoRequestHeaders  Headers `yaml:"no_request_headers"`
	NoResponseHeaders Headers `yaml:"no_response_headers"`

	RequestSchema  *Document `yaml:"request_schema"` // JSON Schema of each body
	ResponseSchema *Document `yaml:"response_schema"`
	OpenAPI        *Document `yaml:"openapi"`

	Retries    *Retries     `yaml:"retries"`
	Downstream []Downstream `yaml:"downstream"`
	Cached     *Cached      `yaml:"cached"`

	NoFindings []string `yaml:"no_findings"` // names of analyzers that must find nothing in these calls

	line int
}

// Bounds bound a number.
type Bounds struct{ Min, Max int64 }

// UnmarshalYAML reads a number, or min and max.
func (b *Bounds) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		v, err := strconv.ParseInt(n.Value, 10, 64)
		b.Min, b.Max = v, v
		if err != nil || v < 0 {
			return at(n, "%q, want a number, or min and max", n.Value)
		}
		return nil
	}
	var both ends
	if err := strict(n, &both); err != nil {
		return err
	}
	if both.open() {
		return at(n, "want min, max or exactly")
	}
	return both.bound(n, b)
}

// ends are bounds as they are written.
type ends struct {
	Min     *int64 `yaml:"min"`
	Max     *int64 `yaml:"max"`
	Exactly *int64 `yaml:"exactly"`
}

// open reports whether they bound nothing.
func (e *ends) open() bool { return e.Min == nil && e.Max == nil && e.Exactly == nil }

// bound makes bounds of what is written at n.
func (e *ends) bound(n *yaml.Node, b *Bounds) error {
	if e.Exactly != nil {
		e.Min, e.Max = e.Exactly, e.Exactly
	}
	b.Max = math.MaxInt64
	if e.Min != nil {
		b.Min = *e.Min
	}
	if e.Max != nil {
		b.Max = *e.Max
	}
	if b.Min < 0 || b.Min > b.Max {
		return at(n, "min %d and max %d leave nothing", b.Min, b.Max)
	}
	return nil
}

// holds reports whether a number is within the bounds.
func (b *Bounds) holds(n int64) bool { return n >= b.Min && n <= b.Max }

func (b *Bounds) String() string {
	switch {
	case b.Min == b.Max:
		return fmt.Sprintf("exactly %d", b.Min)
	case b.Max == math.MaxInt64:
		return fmt.Sprintf("at least %d", b.Min)
	case b.Min == 0:
		return fmt.Sprintf("at most %d", b.Max)
	}
	return fmt.Sprintf("%d to %d", b.Min, b.Max)
}

// length is a duration such as 250ms.
type length time.Duration

// UnmarshalYAML reads a duration with its unit.
func (l *length) UnmarshalYAML(n *yaml.Node) error {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d < 0 {
		return at(n, "%q, want a length with its unit such as 250ms", n.Value)
	}
	*l = length(d)
	return nil
}

// share is a part of a whole, 0 to 1.
type share float64

// UnmarshalYAML reads 1% or 0.01.
func (s *share) UnmarshalYAML(n *yaml.Node) error {
	text, percent := strings.CutSuffix(n.Value, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		v /= 100
	}
	if n.Kind != yaml.ScalarNode || err != nil || !(v >= 0 && v <= 1) {
		return at(n, "%q, want a share such as 1%% or 0.01", n.Value)
	}
	*s = share(v)
	return nil
}

// Header is the name of a header and, where it has one, what its value must match.
type Header struct {
	Name  string
	Value *regexp.Regexp
}

// Headers are names of headers, or names with what the values must match.
type Headers []Header

// UnmarshalYAML reads a list of names, or a map from names to expressions.
func (h *Headers) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode || e.Value == "" {
				return at(e, "want the name of a header")
			}
			*h = append(*h, Header{Name: e.Value})
		}
		return nil
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			re, err := regexp.Compile("^(?:" + n.Content[i+1].Value + ")$")
			if err != nil || n.Content[i+1].Kind != yaml.ScalarNode {
				return at(n.Content[i+1], "header %s: want a regular expression (RE2)", n.Content[i].Value)
			}
			*h = append(*h, Header{n.Content[i].Value, re})
		}
		return nil
	}
	return at(n, "want a list of names of headers, or names with expressions")
}

// Document is a file beside the rules, or the thing itself.
type Document struct {
	File   string
	Inline any
}

// UnmarshalYAML reads a file's name or an object.
func (d *Document) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		d.File = n.Value
		if !fs.ValidPath(d.File) {
			return at(n, "%q, want the name of a file beside the rules", n.Value)
		}
		return nil
	}
	return n.Load(&d.Inline)
}

// Retries is how failed calls must be sent again.
type Retries struct {
	Exactly *int64 `yaml:"exactly"` // after the first sending
	Max     *int64 `yaml:"max"`
	Backoff string `yaml:"backoff"` // constant, linear, exponential or growing
}

// Downstream bounds the calls that a server makes for each of the rule's calls.
type Downstream struct {
	Calls  string `yaml:"calls"` // KFL
	Bounds `yaml:",inline"`
}

// UnmarshalYAML reads calls with min, max or exactly.
func (d *Downstream) UnmarshalYAML(n *yaml.Node) error {
	var v struct {
		Calls string `yaml:"calls"`
		ends  `yaml:",inline"`
	}
	if err := strict(n, &v); err != nil {
		return err
	}
	if v.Calls == "" || v.open() {
		return at(n, "want calls, and min, max or exactly")
	}
	d.Calls = v.Calls
	return v.bound(n, &d.Bounds)
}

// Cached is that only the first of equal calls goes on to what Calls names.
type Cached struct {
	Calls string `yaml:"calls"` // KFL of the calls that a cache saves
}

// at is an error at a place of the file.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{n.Line}, args...)...)
}

// strict reads a node into a struct and refuses keys that it does not have.
func strict(n *yaml.Node, into any) error {
	if err := n.Load(into, yaml.WithKnownFields()); err != nil {
		return fmt.Errorf("line %d: %s", n.Line, firstLine(err))
	}
	return nil
}

func firstLine(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "unmarshal errors:\n"), "\n")
	return strings.TrimSpace(text)
}

// Load reads a file of rules; files that they name lie in its folder or below. An error
// has the line.
func Load(path string) (*Rules, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading rules %s: %w", path, err)
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("reading rules %s: %w", path, err)
	}
	r, err := Parse(text, root.FS())
	if err != nil {
		return nil, fmt.Errorf("reading rules %s: %w", path, err)
	}
	return r, nil
}

// Parse reads rules. files holds what they may name; nil where they may name none.
func Parse(text []byte, files fs.FS) (*Rules, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	var doc struct {
		Version int         `yaml:"version"`
		Rules   []yaml.Node `yaml:"rules"`
	}
	if err := yaml.Load(text, &doc, yaml.WithKnownFields()); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(firstLine(err))
	}
	if doc.Version != 1 {
		return nil, fmt.Errorf("version %d, want 1 (a first line version: 1, then rules:)", doc.Version)
	}
	if len(doc.Rules) == 0 || len(doc.Rules) > maxRules {
		return nil, fmt.Errorf("%d rules, want 1 to %d", len(doc.Rules), maxRules)
	}
	out := &Rules{dir: files}
	names := map[string]int{}
	for i := range doc.Rules {
		n := &doc.Rules[i]
		r := Rule{line: n.Line}
		if err := strict(n, &r); err != nil {
			return nil, err
		}
		if err := r.check(n); err != nil {
			return nil, err
		}
		if first, twice := names[r.Name]; twice {
			return nil, at(n, "rule %q is there twice, first on line %d", r.Name, first)
		}
		names[r.Name] = n.Line
		out.Rules = append(out.Rules, r)
	}
	return out, nil
}

var quantiles = map[string]float64{"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1}

// check refuses a rule that says nothing or contradicts itself.
func (r *Rule) check(n *yaml.Node) error {
	if strings.TrimSpace(r.Name) == "" {
		return at(n, "a rule without a name")
	}
	if r.Level == "" {
		r.Level = levelError
	}
	if r.Level != levelError && r.Level != levelWarning {
		return at(n, "rule %q: level %q, want error or warning", r.Name, r.Level)
	}
	for name := range r.Latency {
		if _, ok := quantiles[name]; !ok && name != "mean" {
			return at(n, "rule %q: latency %q, want mean, p50, p75, p90, p95, p99, p999 or max", r.Name, name)
		}
	}
	if r.Retries != nil {
		if !slices.Contains([]string{"", "constant", "linear", "exponential", "growing"}, r.Retries.Backoff) {
			return at(n, "rule %q: backoff %q, want constant, linear, exponential or growing", r.Name, r.Retries.Backoff)
		}
		if r.Retries.Exactly == nil && r.Retries.Max == nil && r.Retries.Backoff == "" {
			return at(n, "rule %q: retries wants exactly, max or backoff", r.Name)
		}
	}
	if r.Cached != nil && r.Cached.Calls == "" {
		return at(n, "rule %q: cached wants calls, the KFL of what a cache saves", r.Name)
	}
	if r.silent() {
		return at(n, "rule %q expects nothing", r.Name)
	}
	return nil
}

// silent reports whether no expectation is set.
func (r *Rule) silent() bool {
	lists := len(r.Latency) + len(r.RequestHeaders) + len(r.ResponseHeaders) + len(r.NoRequestHeaders) + len(r.NoResponseHeaders) + len(r.Downstream) + len(r.NoFindings)
	return lists == 0 && r.MinCalls == nil && r.Count == nil && r.Every == "" && r.Never == "" && r.ErrorRate == nil &&
		r.RequestSchema == nil && r.ResponseSchema == nil && r.OpenAPI == nil && r.Retries == nil && r.Cached == nil
}

// read gives a document's bytes and the name by which its references are resolved.
func (s *Rules) read(name string) ([]byte, error) {
	if s.dir == nil {
		return nil, fmt.Errorf("%s: rules that are given as text name no files; put the schema into the rule", name)
	}
	f, err := s.dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(f, maxFile+1)); err != nil || n > maxFile {
		return nil, errors.Join(err, fmt.Errorf("%s: more than %d bytes, or unreadable", name, maxFile))
	}
	return b.Bytes(), nil
}
