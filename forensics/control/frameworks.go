package control

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/forensics/finding"
)

//go:embed frameworks/*.yaml
var files embed.FS

// order lists the frameworks as answers do.
var order = []string{"pci", "hipaa", "soc2", "gdpr", "iso27001", "nist80053", "fedramp", "nis2", "dora"}

// Frameworks lists the frameworks as the question controls takes them.
func Frameworks() []string { return slices.Clone(order) }

// framework is one file of frameworks. Titles are in our own words, because the texts of most
// standards are protected by copyright.
type framework struct {
	ID       string         `yaml:"framework"`
	Name     string         `yaml:"name"`
	Version  string         `yaml:"version"`
	Source   string         `yaml:"source"`
	Mapping  string         `yaml:"mapping"` // day of the last change of this file
	Controls []*requirement `yaml:"controls"`
}

// What traffic can show about a requirement.
const (
	absence   = "absence"   // that something does not happen; an exception contradicts it
	recording = "recording" // a property of this recording, whatever it has not seen
	access    = "access"    // every access to certain data, as a list
	outside   = "outside"   // nothing that decides it; limits say what helps somebody else to judge
)

// needs are the conditions that judge.reasons knows, apart from those of every statement.
var needs = []string{"content", "readable", "handshakes", "protocols", "segments", "destinations", "clocks"}

// requirement is one control, with the facts that decide it.
type requirement struct {
	ID         string     `yaml:"id"` // number in the standard
	Title      string     `yaml:"title"`
	Same       string     `yaml:"same"`      // control of another framework, which it repeats
	Baselines  []string   `yaml:"baselines"` // that require it
	Shows      string     `yaml:"shows"`
	Part       string     `yaml:"part"`       // of the control, that traffic can decide
	Population string     `yaml:"population"` // what is counted: a key of populations
	Needs      []string   `yaml:"needs"`      // conditions for a statement that nothing happened: keys of needs
	Exceptions []selector `yaml:"exceptions"` // findings that contradict it
	Data       []string   `yaml:"data"`       // kinds of sensitive-data whose accesses are listed
	Limits     []string   `yaml:"limits"`

	of   *framework
	full string // framework and number, such as pci/4.2.1
}

// selector selects findings.
type selector struct {
	Finding string   `yaml:"finding"`
	Kinds   []string `yaml:"kinds"` // default: all
	Least   string   `yaml:"least"` // lowest severity
	Clear   bool     `yaml:"clear"` // only if it was not encrypted on the wire
}

// selects reports whether a finding is selected.
func (s *selector) selects(f *finding.Finding) bool {
	return f.Finding == s.Finding && (len(s.Kinds) == 0 || slices.Contains(s.Kinds, f.Kind)) &&
		(s.Least == "" || finding.Rank(f.Severity) <= finding.Rank(s.Least)) && !(s.Clear && f.Encrypted)
}

// ruleSet is all frameworks and the version of their data.
type ruleSet struct {
	frameworks []*framework
	controls   []*requirement
	version    string
}

// rules reads the embedded files. They are part of the program, so an error is a programmer's.
var rules = sync.OnceValue(func() *ruleSet {
	set, err := readRules()
	if err != nil {
		panic(err)
	}
	return set
})

func readRules() (*ruleSet, error) {
	set := &ruleSet{}
	hash := sha256.New()
	latest := ""
	for _, id := range order {
		name := "frameworks/" + id + ".yaml"
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		hash.Write(text)
		f := &framework{}
		if err := yaml.Load(text, f, yaml.WithKnownFields()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		for _, r := range f.Controls {
			if r.Same != "" {
				i := slices.IndexFunc(set.controls, func(o *requirement) bool { return o.full == r.Same })
				if i < 0 {
					return nil, fmt.Errorf("reading %s: %s is the same as %s, which no file before it has", name, r.ID, r.Same)
				}
				same := *set.controls[i]
				same.ID, same.Same, same.Baselines = r.ID, r.Same, r.Baselines
				*r = same
			}
			r.of, r.full = f, f.ID+"/"+r.ID
			set.controls = append(set.controls, r)
		}
		latest = max(latest, f.Mapping)
		set.frameworks = append(set.frameworks, f)
	}
	set.version = latest + "/" + hex.EncodeToString(hash.Sum(nil)[:6])
	return set, nil
}

// Of returns the ids of the controls that a finding contradicts, in the order of the frameworks.
func Of(f *finding.Finding) (ids []string) {
	for _, r := range rules().controls {
		if slices.ContainsFunc(r.Exceptions, func(s selector) bool { return s.selects(f) }) {
			ids = append(ids, r.full)
		}
	}
	return ids
}
