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

	"github.com/pcapsule/pcapsule/internal/yamltext"
)

// Limits of a rules file.
const (
	maxFile  = 4 << 20 // bytes, of the rules and of each file that they name
	maxRules = 1000
)

const (
	levelError   = "error"
	levelWarning = "warning"
)

// Rules are the contents of a rules file.
type Rules struct {
	Rules []Rule
	dir   fs.FS // folder of the files that rules name; nil if they may name none
}

// Rule states what must be true of some calls. All expectations that are set must be true.
type Rule struct {
	Name     string `yaml:"name"`
	ID       string `yaml:"id"` // of the rule where it comes from, such as a Sigma rule's UUID
	Doc      string `yaml:"doc"`
	Level    string `yaml:"level"` // error, which fails the check, or warning
	Calls    string `yaml:"calls"` // KFL; empty: all calls
	From     string `yaml:"from"`  // as when.Parse reads it
	To       string `yaml:"to"`
	MinCalls *int64 `yaml:"min_calls"` // default 1

	Severity   string   `yaml:"severity"`   // of a match, for readers: critical, high, medium, low or informational
	Techniques []string `yaml:"techniques"` // of MITRE ATT&CK, such as T1190
	References []string `yaml:"references"` // URLs about what the rule detects

	Count     *Bounds           `yaml:"count"`      // number of calls
	Every     string            `yaml:"every"`      // KFL that every call must match
	Never     string            `yaml:"never"`      // KFL that no call may match
	Latency   map[string]length `yaml:"latency"`    // upper bound of p50, p75, p90, p95, p99, p999, max or mean
	ErrorRate *share            `yaml:"error_rate"` // upper bound of the share of failed calls

	RequestHeaders    Headers `yaml:"request_headers"` // required in every request
	ResponseHeaders   Headers `yaml:"response_headers"`
	NoRequestHeaders  Headers `yaml:"no_request_headers"`
	NoResponseHeaders Headers `yaml:"no_response_headers"`

	RequestSchema  *Document `yaml:"request_schema"` // JSON Schema of each body
	ResponseSchema *Document `yaml:"response_schema"`
	OpenAPI        *Document `yaml:"openapi"`

	Retries    *Retries     `yaml:"retries"`
	Downstream []Downstream `yaml:"downstream"`
	Cached     *Cached      `yaml:"cached"`

	NoFindings []string `yaml:"no_findings"` // analyzers that must find nothing in these calls

	line int
}

// Bounds are the inclusive bounds of a number.
type Bounds struct{ Min, Max int64 }

// UnmarshalYAML parses a number, or min and max.
func (b *Bounds) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		v, err := strconv.ParseInt(n.Value, 10, 64)
		b.Min, b.Max = v, v
		if err != nil || v < 0 {
			return at(n, "must be a number, or min and max, not %q", n.Value)
		}
		return nil
	}
	var both ends
	if err := strict(n, &both); err != nil {
		return err
	}
	if both.open() {
		return at(n, "must have min, max or exactly")
	}
	return both.bound(n, b)
}

// ends are bounds as written in the file.
type ends struct {
	Min     *int64 `yaml:"min"`
	Max     *int64 `yaml:"max"`
	Exactly *int64 `yaml:"exactly"`
}

// open reports whether no bound is set.
func (e *ends) open() bool { return e.Min == nil && e.Max == nil && e.Exactly == nil }

// bound converts the bounds at n.
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
		return at(n, "min %d is greater than max %d", b.Min, b.Max)
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

// UnmarshalYAML parses a duration with a unit.
func (l *length) UnmarshalYAML(n *yaml.Node) error {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d < 0 {
		return at(n, "must be a duration with a unit, such as 250ms, not %q", n.Value)
	}
	*l = length(d)
	return nil
}

// share is a part of a whole, 0 to 1.
type share float64

// UnmarshalYAML parses 1% or 0.01.
func (s *share) UnmarshalYAML(n *yaml.Node) error {
	text, percent := strings.CutSuffix(n.Value, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		v /= 100
	}
	if n.Kind != yaml.ScalarNode || err != nil || !(v >= 0 && v <= 1) {
		return at(n, "must be a share such as 1%% or 0.01, not %q", n.Value)
	}
	*s = share(v)
	return nil
}

// Header is the name of a header with an optional expression for its value.
type Header struct {
	Name  string
	Value *regexp.Regexp
}

// Headers are names of headers, or names with expressions for their values.
type Headers []Header

// UnmarshalYAML parses a list of names, or a map from names to expressions.
func (h *Headers) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode || e.Value == "" {
				return at(e, "must be the name of a header")
			}
			*h = append(*h, Header{Name: e.Value})
		}
		return nil
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			re, err := regexp.Compile("^(?:" + n.Content[i+1].Value + ")$")
			if err != nil || n.Content[i+1].Kind != yaml.ScalarNode {
				return at(n.Content[i+1], "header %s: must be a regular expression (RE2)", n.Content[i].Value)
			}
			*h = append(*h, Header{n.Content[i].Value, re})
		}
		return nil
	}
	return at(n, "must be a list of header names, or header names with expressions")
}

// Document is a file in the folder of the rules, or its contents inline.
type Document struct {
	File   string
	Inline any
}

// UnmarshalYAML parses a file name or an object.
func (d *Document) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		d.File = n.Value
		if !fs.ValidPath(d.File) {
			return at(n, "must be the name of a file in the folder of the rules, not %q", n.Value)
		}
		return nil
	}
	return n.Load(&d.Inline)
}

// Retries states how failed calls must be retried.
type Retries struct {
	Exactly *int64 `yaml:"exactly"` // retries after the first attempt
	Max     *int64 `yaml:"max"`
	Backoff string `yaml:"backoff"` // constant, linear, exponential or growing
}

// Downstream bounds the calls that a server makes for each of the rule's calls.
type Downstream struct {
	Calls  string `yaml:"calls"` // KFL
	Bounds `yaml:",inline"`
}

// UnmarshalYAML parses calls with min, max or exactly.
func (d *Downstream) UnmarshalYAML(n *yaml.Node) error {
	var v struct {
		Calls string `yaml:"calls"`
		ends  `yaml:",inline"`
	}
	if err := strict(n, &v); err != nil {
		return err
	}
	if v.Calls == "" || v.open() {
		return at(n, "must have calls, and min, max or exactly")
	}
	d.Calls = v.Calls
	return v.bound(n, &d.Bounds)
}

// Cached requires that only the first of equal calls causes the calls in Calls.
type Cached struct {
	Calls string `yaml:"calls"` // KFL of the calls that the cache avoids
}

// at returns an error at a line of the file.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{n.Line}, args...)...)
}

// strict decodes a node into a struct and rejects unknown keys.
func strict(n *yaml.Node, into any) error {
	if err := n.Load(into, yaml.WithKnownFields()); err != nil {
		return yamltext.Error(err)
	}
	return nil
}

// Load reads a rules file. Files that the rules name must be in its folder or below. Errors have the
// line number.
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

// Parse parses rules. files has the files that they may name; nil if they may name none.
func Parse(text []byte, files fs.FS) (*Rules, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	var doc struct {
		Version int         `yaml:"version"`
		Rules   []yaml.Node `yaml:"rules"`
	}
	if err := yaml.Load(text, &doc, yaml.WithKnownFields()); err != nil && !errors.Is(err, io.EOF) {
		if sigma.Match(text) {
			return nil, errors.New("this is a Sigma rule, not a file of rules; convert it with sigma convert -t pcapsule, as docs/guide/check.md says")
		}
		return nil, yamltext.Error(err)
	}
	if doc.Version != 1 {
		return nil, fmt.Errorf("version %d is not supported; the file must begin with version: 1, then have a list of rules", doc.Version)
	}
	if len(doc.Rules) == 0 || len(doc.Rules) > maxRules {
		return nil, fmt.Errorf("a file must have 1 to %d rules, not %d", maxRules, len(doc.Rules))
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
			return nil, at(n, "rule %q is defined twice, first in line %d", r.Name, first)
		}
		names[r.Name] = n.Line
		out.Rules = append(out.Rules, r)
	}
	return out, nil
}

var quantiles = map[string]float64{"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1}

// sigma matches a key that each rule of Sigma has, and no file of rules.
var sigma = regexp.MustCompile(`(?m)^logsource:`)

// severities are the levels of Sigma's specification, worst first.
var severities = []string{"critical", "high", "medium", "low", "informational"}

var technique = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)

// check rejects a rule that is empty or contradicts itself.
func (r *Rule) check(n *yaml.Node) error {
	if strings.TrimSpace(r.Name) == "" {
		return at(n, "a rule without a name")
	}
	if r.Level == "" {
		r.Level = levelError
	}
	if r.Level != levelError && r.Level != levelWarning {
		return at(n, "rule %q: level must be error or warning, not %q", r.Name, r.Level)
	}
	if r.Severity != "" && !slices.Contains(severities, r.Severity) {
		return at(n, "rule %q: severity must be %s, not %q", r.Name, strings.Join(severities, ", "), r.Severity)
	}
	for _, t := range r.Techniques {
		if !technique.MatchString(t) {
			return at(n, "rule %q: technique %q must be the id of a technique of MITRE ATT&CK, such as T1190 or T1558.003", r.Name, t)
		}
	}
	for name := range r.Latency {
		if _, ok := quantiles[name]; !ok && name != "mean" {
			return at(n, "rule %q: latency %q must be mean, p50, p75, p90, p95, p99, p999 or max", r.Name, name)
		}
	}
	if r.Retries != nil {
		if !slices.Contains([]string{"", "constant", "linear", "exponential", "growing"}, r.Retries.Backoff) {
			return at(n, "rule %q: backoff must be constant, linear, exponential or growing, not %q", r.Name, r.Retries.Backoff)
		}
		if r.Retries.Exactly == nil && r.Retries.Max == nil && r.Retries.Backoff == "" {
			return at(n, "rule %q: retries needs exactly, max or backoff", r.Name)
		}
	}
	if r.Cached != nil && r.Cached.Calls == "" {
		return at(n, "rule %q: cached needs calls, the KFL of the calls that the cache avoids", r.Name)
	}
	if r.silent() {
		return at(n, "rule %q has no expectation", r.Name)
	}
	return nil
}

// silent reports whether a rule has no expectation.
func (r *Rule) silent() bool {
	lists := len(r.Latency) + len(r.RequestHeaders) + len(r.ResponseHeaders) + len(r.NoRequestHeaders) + len(r.NoResponseHeaders) + len(r.Downstream) + len(r.NoFindings)
	return lists == 0 && r.MinCalls == nil && r.Count == nil && r.Every == "" && r.Never == "" && r.ErrorRate == nil &&
		r.RequestSchema == nil && r.ResponseSchema == nil && r.OpenAPI == nil && r.Retries == nil && r.Cached == nil
}

// read returns the contents of a file that a rule names.
func (s *Rules) read(name string) ([]byte, error) {
	if s.dir == nil {
		return nil, fmt.Errorf("%s: rules given as text cannot name files; put the schema into the rule", name)
	}
	f, err := s.dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(f, maxFile+1)); err != nil || n > maxFile {
		return nil, errors.Join(err, fmt.Errorf("%s: unreadable, or larger than %d bytes", name, maxFile))
	}
	return b.Bytes(), nil
}
