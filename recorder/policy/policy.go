// Package policy decides which packets are recorded, which must never be, and how long the packets
// of a namespace are kept.
//
// A Judge decides about each packet by its bytes and its owner, as far as the owner is known. No
// packet that a never-rule matches is kept, even in those tunnels and fragments that can be parsed.
// If it is unknown whether a rule matches, Unknown decides. Policies over the limits are refused.
package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Unknown decides about a packet if it is unknown whether a rule matches it.
type Unknown string

// What happens to these packets.
const (
	Default Unknown = ""     // kept if it may be wanted, dropped if it may be forbidden
	Keep    Unknown = "keep" // kept in both cases
	Drop    Unknown = "drop" // dropped in both cases
)

// Policy selects the packets to record. Its zero value records everything.
type Policy struct {
	Only    workload.Selector // owners whose packets are wanted
	Never   []Rule
	Unknown Unknown
	MaxAge  []Age
}

// Rule matches packets that meet all of its conditions.
type Rule struct {
	Owner   workload.Selector // of either side, if known
	Ports   []Ports           // of either side
	Pattern string            // RE2, over the bytes after the transport header
	Sure    bool              // if it is unknown whether the rule matches, it does not
}

// Ports is a range that includes both ends.
type Ports struct{ From, To uint16 }

// Age is how long the packets of a namespace are kept.
type Age struct {
	Namespace string // pattern of path.Match
	Age       time.Duration
}

// ErrRule is a rule that is invalid or over a limit.
var ErrRule = errors.New("rule")

// Empty reports whether the policy records everything.
func (p *Policy) Empty() bool { return p.Only.Empty() && len(p.Never) == 0 }

// AddNever adds a rule of one condition: KIND=VALUE, where KIND is port, pattern, or a
// field of a workload.Selector.
func (p *Policy) AddNever(text string) error {
	kind, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%w %.80q: write namespace=, workload=, pod=, container=, label=, cgroup=, process=, port= or pattern= followed by a value", ErrRule, text)
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
			return errors.New("an empty pattern matches every packet")
		}
		if r.Pattern != "" {
			return errors.New("a rule has at most one pattern")
		}
		r.Pattern = value
		return nil
	}
	return r.Owner.Add(kind, value)
}

// parsePorts reads 80, 6000-6100 and comma-separated lists of these.
func parsePorts(text string) (list []Ports, err error) {
	for part := range strings.SplitSeq(text, ",") {
		low, high, is := strings.Cut(strings.TrimSpace(part), "-")
		if !is {
			high = low
		}
		from, err1 := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		to, err2 := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err1 != nil || err2 != nil || from > to || len(list) >= maxPorts {
			return nil, fmt.Errorf("port %q: write a number from 0 to 65535 or a range such as 6000-6100", part)
		}
		list = append(list, Ports{uint16(from), uint16(to)})
	}
	return list, nil
}

// AddAge adds PATTERN:AGE: a pattern of namespaces and how long their packets are kept.
func (p *Policy) AddAge(text string) error {
	namespace, age, ok := strings.Cut(text, ":")
	d, err := time.ParseDuration(age)
	if !ok || err != nil || namespace == "" {
		return fmt.Errorf("age %.80q: write NAMESPACE:AGE, such as shop:1h", text)
	}
	p.MaxAge = append(p.MaxAge, Age{namespace, d})
	return p.Check()
}

// Check reports the first problem in the policy.
func (p *Policy) Check() error {
	switch {
	case p.Unknown != Default && p.Unknown != Keep && p.Unknown != Drop:
		return fmt.Errorf("unknown %q: write keep or drop", p.Unknown)
	case len(p.Never) > maxRules:
		return fmt.Errorf("%d never-rules; the maximum is %d", len(p.Never), maxRules)
	case len(p.MaxAge) > maxAges:
		return fmt.Errorf("%d ages; the maximum is %d", len(p.MaxAge), maxAges)
	}
	if err := p.Only.Check(); err != nil {
		return err
	}
	combined, patterns := 0, 0
	for i := range p.Never {
		r := &p.Never[i]
		if r.Owner.Empty() && len(r.Ports) == 0 && r.Pattern == "" {
			return fmt.Errorf("%w %d has no condition and would forbid every packet", ErrRule, i+1)
		}
		if err := r.Owner.Check(); err != nil {
			return err
		}
		if !r.Owner.Empty() && (len(r.Ports) > 0 || r.Pattern != "") {
			combined++
		}
		if r.Pattern != "" {
			if patterns++; len(r.Pattern) > maxPattern {
				return fmt.Errorf("%w %d: the pattern has %d bytes; the maximum is %d", ErrRule, i+1, len(r.Pattern), maxPattern)
			}
			if _, err := regexp.Compile(r.Pattern); err != nil {
				return fmt.Errorf("%w %d: %w", ErrRule, i+1, err)
			}
		}
	}
	if combined > maxCombined || patterns > maxPatterns {
		return fmt.Errorf("%d rules with an owner and another condition, and %d patterns; the maximum is %d and %d", combined, patterns, maxCombined, maxPatterns)
	}
	for _, a := range p.MaxAge {
		only := workload.Selector{Namespaces: []string{a.Namespace}}
		if err := only.Check(); err != nil {
			return err
		}
		if a.Age < time.Second || a.Age%time.Second != 0 || a.Age > 100*365*24*time.Hour {
			return fmt.Errorf("age %s of namespace %q: write whole seconds, from 1s to 100 years", a.Age, a.Namespace)
		}
	}
	return nil
}

// NeedsNames reports whether the policy can only be applied with names from Kubernetes.
func (p *Policy) NeedsNames() bool {
	return p.Only.NeedsNames() || len(p.MaxAge) > 0 || slices.ContainsFunc(p.Never, func(r Rule) bool { return r.Owner.NeedsNames() })
}

// NeedsSockets reports whether the policy needs more than the frames of interfaces show.
func (p *Policy) NeedsSockets() bool {
	return p.Only.NeedsSockets() || len(p.MaxAge) > 0 || slices.ContainsFunc(p.Never, func(r Rule) bool { return r.Owner.NeedsSockets() })
}

// OnlyPorts lists the ports that are forbidden for every owner and every content.
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

// LabelNames lists the labels that rules use.
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

// String is the text about never-rules in a section header: the rules, separated by semicolons, and
// the decision about undecided packets. A long text ends in its hash.
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

// Wanted is the text about wanted owners in a section header.
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

// shortened cuts a long text and appends its hash.
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

// String is the rule in the notation that AddNever reads.
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
	if r.Sure {
		all = append(all, "unknown=keep")
	}
	return strings.Join(all, " ")
}
