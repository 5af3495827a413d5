// Package policyflag defines the flags of pcapsule record and pcapsule-recorder that choose the
// owners whose packets are recorded, the packets that are never recorded, and how long they are
// kept.
package policyflag

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Owner holds the flags that choose workloads and processes.
type Owner struct {
	values [len(fields)][]string
}

var fields = [...]struct{ name, what string }{
	{"namespace", "this Kubernetes namespace (wildcards * and ?)"},
	{"pod", "this pod, or namespace/pod (wildcards * and ?), or a pod's UID"},
	{"label", "pods with this label, NAME=VALUE; if repeated, pods must have all of them"},
	{"container", "this container: its name (wildcards * and ?), or at least 12 digits of its id"},
	{"process", "this process: its name or file (wildcards * and ?), its path, or its number"},
}

// Define adds the flags. what is the beginning of their descriptions, such as "only packets
// of".
func (o *Owner) Define(fl *pflag.FlagSet, what string) {
	for i, f := range fields {
		fl.StringArrayVar(&o.values[i], f.name, nil, what+" "+f.what+"; can be repeated")
	}
}

// Selector returns the selected owners.
func (o *Owner) Selector() (s workload.Selector, err error) {
	for i, f := range fields {
		for _, v := range o.values[i] {
			if err := s.Add(f.name, v); err != nil {
				return s, fmt.Errorf("--%s: %w", f.name, err)
			}
		}
	}
	return s, nil
}

// Flags holds the flags of a policy.
type Flags struct {
	Owner
	never   []string
	unknown string
	file    string
	MaxAge  MaxAge
}

// MaxAge is an age for all packets, and other ages for namespaces.
type MaxAge struct {
	All time.Duration
	of  []string
}

// Set implements pflag.Value.
func (m *MaxAge) Set(text string) error {
	if rest, ok := strings.CutPrefix(text, "namespace="); ok {
		var p policy.Policy
		if err := p.AddAge(rest); err != nil {
			return err
		}
		m.of = append(m.of, rest)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > command.Longest {
		return fmt.Errorf("must be an age such as 24h, or namespace=NAME:1h")
	}
	m.All = d
	return nil
}

func (m *MaxAge) String() string { return m.All.String() }

// Type implements pflag.Value.
func (m *MaxAge) Type() string { return "age" }

// Define adds the flags.
func (f *Flags) Define(fl *pflag.FlagSet) {
	f.Owner.Define(fl, "only packets from or to")
	fl.StringArrayVar(&f.never, "never", nil, "never record matching packets: namespace=, pod=, workload=, label=, container=, cgroup=, process=, port= (80, 6000-6100) or pattern= (RE2, in the payload); can be repeated")
	fl.StringVar(&f.unknown, "unknown", "", "keep or drop packets whose owner is not (yet) known (default: keep with flags that choose owners, drop with --never)")
	fl.StringVar(&f.file, "policy", "", "YAML file with rules like --never and the flags that choose owners")
	fl.Var(&f.MaxAge, "max-age", "ring: maximum age; 0: no limit; namespace=NAME:AGE for packets of a namespace; can be repeated")
}

// Policy returns the policy of the flags and the file, nil if it is empty.
func (f *Flags) Policy() (*policy.Policy, error) {
	p := &policy.Policy{}
	if f.file != "" {
		if err := p.ReadFile(f.file); err != nil {
			return nil, exit.With(err, exit.Syntax, "docs/guide/recorder.md describes the file of a policy")
		}
	}
	only, err := f.Selector()
	if err != nil {
		return nil, err
	}
	if !only.Empty() {
		if !p.Only.Empty() {
			return nil, fmt.Errorf("--policy %s already chooses owners: leave out the flags that choose owners", f.file)
		}
		p.Only = only
	}
	for _, n := range f.never {
		if err := p.AddNever(n); err != nil {
			return nil, fmt.Errorf("--never: %w", err)
		}
	}
	for _, a := range f.MaxAge.of {
		if err := p.AddAge(a); err != nil {
			return nil, fmt.Errorf("--max-age: %w", err)
		}
	}
	switch choice := policy.Unknown(f.unknown); choice {
	case policy.Keep, policy.Drop:
		p.Unknown = choice
	case policy.Default:
	default:
		return nil, command.OneOf("--unknown", f.unknown, []string{string(policy.Keep), string(policy.Drop)})
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	if p.Empty() && len(p.MaxAge) == 0 {
		return nil, nil
	}
	return p, nil
}
