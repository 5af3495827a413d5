package redact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/yamltext"
)

// Limits of a policy.
const (
	maxPolicy   = 1 << 20 // bytes of its file
	maxEntries  = 10_000  // of a list
	maxPatterns = 100     // regular expressions
	maxPattern  = 1000    // bytes of one
)

// Policy defines what is masked. It is immutable and safe for concurrent use.
type Policy struct {
	source         []byte // input of Parse; nil: the default policy
	mask           string
	headers        names
	keys           keys
	generated      keys // only if the value looks generated
	except         keys
	words          names // names whose value may be a word
	columns        names
	scan           *scanner
	patterns       []pattern
	least          int      // length of the shortest name that can be masked
	letters        []uint32 // sets of letters: a name that is masked has all letters of one
	verdicts       memory   // verdicts for names, and for names of headers
	headerVerdicts memory
}

// pattern is a regular expression of the policy.
type pattern struct {
	kind string
	re   *regexp.Regexp
	need string // text that every match contains
}

// file is a policy as written in YAML.
type file struct {
	Version   int           `yaml:"version"`
	Extends   string        `yaml:"extends"`
	Mask      string        `yaml:"mask"`
	Headers   []string      `yaml:"headers"`
	Keys      []string      `yaml:"keys"`
	Generated []string      `yaml:"generated"`
	Words     []string      `yaml:"words"`
	Except    []string      `yaml:"except"`
	Columns   []string      `yaml:"columns"`
	Detectors []string      `yaml:"detectors"`
	Patterns  []filePattern `yaml:"patterns"`
}

type filePattern struct {
	Name  string `yaml:"name"`
	Match string `yaml:"match"`
}

// defaults is the default policy: credentials, and personal data that investigations rarely need.
// Email addresses and phone numbers stay.
var defaults = file{
	Mask: Mask,
	Headers: append([]string{"authorization", "proxy-authorization", "cookie", "set-cookie", "set-cookie2", "cookie2", "authentication", "*authentication-info", "mcp-session-id", "dpop", "*-secret", "*-password", "x-hub-signature*", "*-signature",
		"*-crumb", "*-cookie", "*-authorization*", "*-application-key", "*-sas-key", "*-ticket", "*-jwt-*", "x-amzn-oidc-*", "x-forwarded-client-cert", "x-session-id"}, table.KeyHeaders...),
	Keys:      slices.Concat(passwordNames, codeNames, tokenNames, keyNames),
	Generated: generatedNames,
	Words:     wordNames,
	Except:    harmlessNames,
	Detectors: []string{Credential, "card", "ssn", "iban"},
}

var defaultPolicy = sync.OnceValue(func() *Policy {
	p := &Policy{}
	if err := p.addFile(&defaults); err != nil {
		panic(err) // every test would fail
	}
	return p
})

// Source returns the input from which Parse makes the same policy.
func (p *Policy) Source() []byte {
	if p.source == nil {
		return []byte("version: 1\n")
	}
	return p.source
}

// Mask is the text that replaces a secret.
func (p *Policy) Mask() string { return p.mask }

// Default is the default policy.
func Default() *Policy { return defaultPolicy() }

// Nothing is a policy that masks nothing.
func Nothing() *Policy { return nothing() }

var nothing = sync.OnceValue(func() *Policy {
	p, err := Parse([]byte("version: 1\nextends: none\n"))
	if err != nil {
		panic(err) // every test would fail
	}
	return p
})

// Load reads a policy from a YAML file; see docs/guide/redaction.md.
func Load(path string) (*Policy, error) { return load(path, Parse) }

// load reads a file of YAML that parse understands.
func load[T any](path string, parse func([]byte) (*T, error)) (*T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a policy: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return nil, fmt.Errorf("reading policy %s: %w", path, err)
	}
	p, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	return p, nil
}

// readYAML reads YAML without unknown fields into to.
func readYAML(data []byte, to any) error {
	if len(data) > maxPolicy {
		return fmt.Errorf("%d bytes are too many; at most %d are allowed", len(data), maxPolicy)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	err := dec.Decode(to)
	if err == io.EOF {
		return errors.New("it is empty; a policy begins with version: 1")
	}
	return yamltext.Error(err)
}

// Parse parses a policy in YAML.
func Parse(data []byte) (*Policy, error) {
	var f file
	if err := readYAML(data, &f); err != nil {
		return nil, err
	}
	p, err := f.policy()
	if err != nil {
		return nil, err
	}
	p.source = bytes.Clone(data)
	return p, nil
}

// policy makes the policy that a file describes.
func (f *file) policy() (*Policy, error) {
	if f.Version == 0 {
		return nil, errors.New("it has no version; a policy begins with version: 1")
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("version %d is not supported; use version: 1", f.Version)
	}
	p := &Policy{}
	switch f.Extends {
	case "", "default":
		base := defaults
		if f.Detectors != nil { // a list of detectors replaces the default ones
			base.Detectors = nil
		}
		if err := p.addFile(&base); err != nil {
			return nil, err
		}
	case "none":
	default:
		return nil, fmt.Errorf("extends must be default or none, not %q", f.Extends)
	}
	if err := p.addFile(f); err != nil {
		return nil, err
	}
	return p, nil
}

// addFile adds the settings of f.
func (p *Policy) addFile(f *file) error {
	if f.Mask != "" {
		p.mask = f.Mask
	}
	if p.mask == "" {
		p.mask = Mask
	}
	// The mask must be valid in JSON, XML, URLs and SQL.
	if len(p.mask) > 64 || strings.ContainsFunc(p.mask, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'\\&;<>=,:/?#$", r) }) {
		return fmt.Errorf("mask %q: must be at most 64 letters, digits and brackets", p.mask)
	}
	if max(len(f.Headers), len(f.Keys), len(f.Generated), len(f.Words), len(f.Except), len(f.Columns)) > maxEntries {
		return fmt.Errorf("a list has more than %d entries", maxEntries)
	}
	for _, h := range f.Headers {
		if strings.Trim(h, "* ") == "" || len(h) > maxName {
			return fmt.Errorf("header %q: must be a name", h)
		}
		p.headers.add(strings.ToLower(strings.TrimSpace(h)))
	}
	for _, c := range f.Columns {
		p.columns.add(strings.ToLower(strings.TrimSpace(c)))
	}
	for _, k := range f.Keys {
		if err := p.keys.add(k); err != nil {
			return err
		}
		delete(p.words.exact, normal(strings.TrimSpace(k))) // who names a key wants all its values masked
	}
	for _, w := range f.Words {
		p.words.add(normal(strings.TrimSpace(w)))
	}
	for _, k := range f.Generated {
		if err := p.generated.add(k); err != nil {
			return err
		}
	}
	for _, k := range f.Except {
		if err := p.except.add(k); err != nil {
			return err
		}
	}
	p.least, p.letters = p.keys.least()
	want, unknown := kindsOf(f.Detectors)
	if unknown != "" {
		return fmt.Errorf("unknown detector %q; use some of %s", unknown, kindWords())
	}
	if p.scan != nil {
		want |= p.scan.want
	}
	p.scan = newScanner(want)
	return p.addPatterns(f.Patterns)
}

// mayMatch is a quick check by letters whether a name can be one of the keys.
func (p *Policy) mayMatch(name string) bool {
	if !ascii(name) {
		return true
	}
	have := lettersOf(name)
	for _, want := range p.letters {
		if want&^have == 0 {
			return true
		}
	}
	return false
}

func (p *Policy) addPatterns(list []filePattern) error {
	if len(p.patterns)+len(list) > maxPatterns {
		return fmt.Errorf("more than %d patterns", maxPatterns)
	}
	for _, f := range list {
		switch {
		case f.Name == "":
			return fmt.Errorf("pattern %q has no name", f.Match)
		case f.Match == "" || len(f.Match) > maxPattern:
			return fmt.Errorf("pattern %s: must be 1 to %d bytes, not %d", f.Name, maxPattern, len(f.Match))
		}
		re, err := regexp.Compile(f.Match)
		if err != nil {
			return fmt.Errorf("pattern %s: %w", f.Name, err)
		}
		if re.MatchString("") {
			return fmt.Errorf("pattern %s matches the empty text", f.Name)
		}
		p.patterns = append(p.patterns, pattern{kind: f.Name, re: re, need: needed(f.Match)})
	}
	return nil
}

// needed returns the longest text that every match of a pattern contains, or "".
func needed(match string) string {
	tree, err := syntax.Parse(match, syntax.Perl)
	if err != nil {
		return ""
	}
	var walk func(t *syntax.Regexp) string
	walk = func(t *syntax.Regexp) string {
		switch t.Op {
		case syntax.OpLiteral:
			if t.Flags&syntax.FoldCase == 0 {
				return string(t.Rune)
			}
		case syntax.OpCapture, syntax.OpPlus:
			return walk(t.Sub[0])
		case syntax.OpRepeat:
			if t.Min > 0 {
				return walk(t.Sub[0])
			}
		case syntax.OpConcat:
			best := ""
			for _, sub := range t.Sub {
				if s := walk(sub); len(s) > len(best) {
					best = s
				}
			}
			return best
		}
		return ""
	}
	return walk(tree)
}

func kindWords() string {
	words := []string{"all", Credential, Personal}
	for _, k := range kindList {
		words = append(words, k.kind)
	}
	return strings.Join(words, ", ")
}
