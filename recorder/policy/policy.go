// Package policy says which packets are recorded, which must never be, and for how long
// those of a namespace are kept.
//
// A Judge decides packet by packet, from its bytes and from what is known of whose it is.
// It promises that what a never-rule means is not kept, also inside the tunnels and
// fragments that it can read; where it cannot tell whether a rule means a packet, Unknown
// decides. It refuses policies that it cannot hold.
package policy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Unknown says what becomes of a packet of which it is not known whether a rule means it.
type Unknown string

// What becomes of such packets.
const (
	Default Unknown = ""     // kept where it may be one that is wanted, dropped where it may be a forbidden one
	Keep    Unknown = "keep" // kept in both cases
	Drop    Unknown = "drop" // dropped in both cases
)

// Policy is what somebody decided of a recording. Its zero value lets all be recorded.
type Policy struct {
	Only    workload.Selector // whose packets are wanted
	Never   []Rule
	Unknown Unknown
	MaxAge  []Age
}

// Rule means packets for which all is true that it says.
type Rule struct {
	Owner   workload.Selector // of either side, as far as it is known here
	Ports   []Ports           // of either side
	Pattern string            // RE2, over the bytes behind the transport header
}

// Ports is a range, both ends in it.
type Ports struct{ From, To uint16 }

// Age is how long packets of a namespace are kept.
type Age struct {
	Namespace string // pattern of path.Match
	Age       time.Duration
}

// Limits of a policy.
const (
	maxFile     = 1 << 20 // bytes of a policy file
	maxRules    = 1000
	maxCombined = 60 // rules that have an owner and something else: each is a bit of Marks
	maxPatterns = 64
	maxPattern  = 4096 // bytes
	maxAges     = 100
	maxText     = 4096 // bytes of String
	maxPorts    = 1000 // ranges of one rule
)

// ErrRule is a rule that cannot be understood or held.
var ErrRule = errors.New("rule")

// Empty reports whether all is recorded.
func (p *Policy) Empty() bool { return p.Only.Empty() && len(p.Never) == 0 }

// AddNever adds a rule of one condition: KIND=VALUE, where KIND is port, pattern, or a
// field of a workload.Selector.
func (p *Policy) AddNever(text string) error {
	kind, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%w %.80q: want namespace=, workload=, pod=, container=, label=, cgroup=, process=, port= or pattern= and a value", ErrRule, text)
	}
	var r Rule
	if err := r.add(kind, value); err != nil {
		return fmt.Errorf("%w %.80q: %w", ErrRule, text, err)
	}
	p.Never = append(p.Never, r)
	return p.Check()
}

func (r *Rule) add(kind, value string) error {
	switch kind {
	case "port":
		list, err := parsePorts(value)
		r.Ports = append(r.Ports, list...)
		return err
	case "pattern":
		if value == "" {
			return errors.New("an empty pattern is in every packet")
		}
		if r.Pattern != "" {
			return errors.New("two patterns")
		}
		r.Pattern = value
		return nil
	}
	return r.Owner.Add(kind, value)
}

// parsePorts reads 80, 6000-6100 and lists of them with commas.
func parsePorts(text string) (list []Ports, err error) {
	for part := range strings.SplitSeq(text, ",") {
		low, high, is := strings.Cut(strings.TrimSpace(part), "-")
		if !is {
			high = low
		}
		from, err1 := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		to, err2 := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err1 != nil || err2 != nil || from > to || len(list) >= maxPorts {
			return nil, fmt.Errorf("port %q: want a number from 0 to 65535, or a range of them", part)
		}
		list = append(list, Ports{uint16(from), uint16(to)})
	}
	return list, nil
}

// AddAge adds PATTERN:AGE, the namespaces and how long their packets are kept.
func (p *Policy) AddAge(text string) error {
	namespace, age, ok := strings.Cut(text, ":")
	d, err := time.ParseDuration(age)
	if !ok || err != nil || namespace == "" {
		return fmt.Errorf("age %.80q: want NAMESPACE:AGE, such as shop:1h", text)
	}
	p.MaxAge = append(p.MaxAge, Age{namespace, d})
	return p.Check()
}

// Check tells what is wrong with the policy.
func (p *Policy) Check() error {
	switch {
	case p.Unknown != Default && p.Unknown != Keep && p.Unknown != Drop:
		return fmt.Errorf("unknown %q: want keep or drop", p.Unknown)
	case len(p.Never) > maxRules:
		return fmt.Errorf("%d never-rules, want at most %d", len(p.Never), maxRules)
	case len(p.MaxAge) > maxAges:
		return fmt.Errorf("%d ages, want at most %d", len(p.MaxAge), maxAges)
	}
	if err := p.Only.Check(); err != nil {
		return err
	}
	combined, patterns := 0, 0
	for i := range p.Never {
		r := &p.Never[i]
		if r.Owner.Empty() && len(r.Ports) == 0 && r.Pattern == "" {
			return fmt.Errorf("%w %d says nothing, which would forbid every packet", ErrRule, i+1)
		}
		if err := r.Owner.Check(); err != nil {
			return err
		}
		if !r.Owner.Empty() && (len(r.Ports) > 0 || r.Pattern != "") {
			combined++
		}
		if r.Pattern != "" {
			if patterns++; len(r.Pattern) > maxPattern {
				return fmt.Errorf("%w %d: pattern of %d bytes, want at most %d", ErrRule, i+1, len(r.Pattern), maxPattern)
			}
			if _, err := regexp.Compile(r.Pattern); err != nil {
				return fmt.Errorf("%w %d: %w", ErrRule, i+1, err)
			}
		}
	}
	if combined > maxCombined || patterns > maxPatterns {
		return fmt.Errorf("%d rules of a workload and something else and %d patterns, want at most %d and %d", combined, patterns, maxCombined, maxPatterns)
	}
	for _, a := range p.MaxAge {
		only := workload.Selector{Namespaces: []string{a.Namespace}}
		if err := only.Check(); err != nil {
			return err
		}
		if a.Age < time.Second || a.Age%time.Second != 0 || a.Age > 100*365*24*time.Hour {
			return fmt.Errorf("age %s of namespace %q: want whole seconds, at least one", a.Age, a.Namespace)
		}
	}
	return nil
}

// NeedsNames reports whether only somebody who knows Kubernetes can hold the policy.
func (p *Policy) NeedsNames() bool {
	return p.Only.NeedsNames() || len(p.MaxAge) > 0 || slices.ContainsFunc(p.Never, func(r Rule) bool { return r.Owner.NeedsNames() })
}

// NeedsSockets reports whether frames of interfaces do not tell enough to hold it.
func (p *Policy) NeedsSockets() bool {
	return p.Only.NeedsSockets() || len(p.MaxAge) > 0 || slices.ContainsFunc(p.Never, func(r Rule) bool { return r.Owner.NeedsSockets() })
}

// OnlyPorts lists the ports that are forbidden whoever uses them, whatever is said.
func (p *Policy) OnlyPorts() (list []Ports) {
	if p == nil {
		return nil
	}
	for i := range p.Never {
		if r := &p.Never[i]; r.Owner.Empty() && r.Pattern == "" {
			list = append(list, r.Ports...)
		}
	}
	return list
}

// LabelNames lists the labels that rules ask for.
func (p *Policy) LabelNames() (names []string) {
	add := func(s *workload.Selector) {
		for _, l := range s.Labels {
			if !slices.Contains(names, l.Name) {
				names = append(names, l.Name)
			}
		}
	}
	add(&p.Only)
	for i := range p.Never {
		add(&p.Never[i].Owner)
	}
	return names
}

// String is what a section header says of never-rules: the rules with semicolons between,
// and what becomes of packets nobody can tell of. A long one ends in its hash.
func (p *Policy) String() string {
	if p == nil || len(p.Never) == 0 {
		return ""
	}
	var all []string
	for i := range p.Never {
		all = append(all, p.Never[i].String())
	}
	return shortened("never "+strings.Join(all, "; ")+"; unknown: "+string(p.unknownNever()), len(p.Never))
}

// Wanted is what a section header says of those whose packets are wanted.
func (p *Policy) Wanted() string {
	if p == nil || p.Only.Empty() {
		return ""
	}
	text := p.Only.String()
	if p.Unknown == Drop {
		text += "; unknown: drop"
	}
	return shortened(text, 1)
}

// shortened ends a long text in its hash.
func shortened(text string, rules int) string {
	if len(text) <= maxText {
		return text
	}
	return fmt.Sprintf("%s… (%d rules, SHA-256 of the whole text %x)", strings.ToValidUTF8(text[:maxText], ""), rules, sha256.Sum256([]byte(text)))
}

func (p *Policy) unknownNever() Unknown {
	if p.Unknown == Default {
		return Drop
	}
	return p.Unknown
}

// String is the rule as it is written down.
func (r *Rule) String() string {
	var all []string
	if !r.Owner.Empty() {
		all = append(all, r.Owner.String())
	}
	for _, x := range r.Ports {
		text := fmt.Sprintf("port=%d", x.From)
		if x.From != x.To {
			text += fmt.Sprintf("-%d", x.To)
		}
		all = append(all, text)
	}
	if r.Pattern != "" {
		all = append(all, "pattern="+strconv.Quote(r.Pattern))
	}
	return strings.Join(all, " ")
}

// wire is a policy file.
type wire struct {
	Only    wireOwner  `yaml:"only"`
	Never   []wireRule `yaml:"never"`
	Unknown string     `yaml:"unknown"`
	MaxAge  []wireAge  `yaml:"max-age"`
}

type wireOwner struct {
	Namespace list `yaml:"namespace"`
	Pod       list `yaml:"pod"`
	Workload  list `yaml:"workload"`
	Container list `yaml:"container"`
	Cgroup    list `yaml:"cgroup"`
	Process   list `yaml:"process"`
	Label     list `yaml:"label"`
}

type wireRule struct {
	wireOwner `yaml:",inline"`
	Port      list   `yaml:"port"`
	Pattern   string `yaml:"pattern"`
}

type wireAge struct {
	Namespace string `yaml:"namespace"`
	Age       string `yaml:"age"`
}

// list is one value or several.
type list []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		*l = list{n.Value}
		return nil
	}
	var many []string
	if err := n.Decode(&many); err != nil || len(many) == 0 {
		return fmt.Errorf("line %d: want a value, or a list of them", n.Line)
	}
	*l = many
	return nil
}

func (w *wireOwner) selector(s *workload.Selector) error {
	for _, f := range []struct {
		field  string
		values list
	}{{"namespace", w.Namespace}, {"pod", w.Pod}, {"workload", w.Workload}, {"container", w.Container}, {"cgroup", w.Cgroup}, {"process", w.Process}, {"label", w.Label}} {
		for _, v := range f.values {
			if err := s.Add(f.field, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Parse adds what a policy file says to p. Members that it does not know are errors: a
// rule with a slip of the pen must not be one that nobody holds.
func (p *Policy) Parse(text []byte) error {
	var w wire
	if err := yaml.Load(text, &w, yaml.WithKnownFields()); err != nil {
		if len(bytes.TrimSpace(text)) == 0 {
			err = errors.New("it is empty")
		}
		return err
	}
	if err := w.Only.selector(&p.Only); err != nil {
		return fmt.Errorf("only: %w", err)
	}
	for i, x := range w.Never {
		var r Rule
		err := x.selector(&r.Owner)
		for _, port := range x.Port {
			if err == nil {
				err = r.add("port", port)
			}
		}
		if r.Pattern = x.Pattern; err == nil && len(r.Ports) > maxPorts {
			err = fmt.Errorf("%d ports, want at most %d", len(r.Ports), maxPorts)
		}
		if err != nil {
			return fmt.Errorf("never, %w %d: %w", ErrRule, i+1, err)
		}
		p.Never = append(p.Never, r)
	}
	if w.Unknown != "" {
		p.Unknown = Unknown(w.Unknown)
	}
	for _, a := range w.MaxAge {
		if err := p.AddAge(a.Namespace + ":" + a.Age); err != nil {
			return err
		}
	}
	return p.Check()
}

// ReadFile adds what a policy file says to p.
func (p *Policy) ReadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading policy: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("more than %d bytes", maxFile)
	}
	if err == nil {
		err = p.Parse(text)
	}
	if err != nil {
		return fmt.Errorf("reading policy %s: %w", path, err)
	}
	return nil
}
