package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/internal/yamltext"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Limits of a policy.
const (
	maxFile     = 1 << 20 // bytes of a policy file
	maxRules    = 1000
	maxCombined = 60 // rules with an owner and another condition: each needs a bit of Marks
	maxPatterns = 64
	maxPattern  = 4096 // bytes
	maxAges     = 100
	maxText     = 4096 // bytes of String
	maxPorts    = 1000 // ranges of one rule
)

// wire is the content of a policy file.
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
	Unknown   string `yaml:"unknown"`
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
		return fmt.Errorf("line %d: write a value or a list of values", n.Line)
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

// Parse adds the rules of a policy file to p. An unknown member is an error, because a
// misspelled rule would otherwise not be applied.
func (p *Policy) Parse(text []byte) error {
	var w wire
	if err := yaml.Load(text, &w, yaml.WithKnownFields()); err != nil {
		if len(bytes.TrimSpace(text)) == 0 {
			err = errors.New("the file is empty")
		}
		return yamltext.Error(err)
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
			err = fmt.Errorf("%d ports; the maximum is %d", len(r.Ports), maxPorts)
		}
		if r.Sure = Unknown(x.Unknown) == Keep; err == nil && !r.Sure && x.Unknown != "" {
			err = fmt.Errorf("unknown %q: of a rule, it can only be keep", x.Unknown)
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

// ReadFile reads a policy file and adds its rules to p.
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
