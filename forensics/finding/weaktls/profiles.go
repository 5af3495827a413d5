package weaktls

import (
	_ "embed"
	"fmt"
	"path"
	"slices"
	"sync"

	"go.yaml.in/yaml/v4"
)

//go:embed profiles.yaml
var profilesYAML []byte

// ruleSet is the contents of profiles.yaml.
type ruleSet struct {
	Version    string     `yaml:"version"`
	Weaknesses []weakness `yaml:"weaknesses"`
	Profiles   []profile  `yaml:"profiles"`
	Signatures []string   `yaml:"signatures"`
}

// weakness is a reason to report a handshake.
type weakness struct {
	Name     string   `yaml:"name"`
	Severity string   `yaml:"severity"`
	Suites   []string `yaml:"suites"`
	Except   []string `yaml:"except"`
	Versions []string `yaml:"versions"`
	Offered  bool     `yaml:"offered"`
}

// profile is a published profile of TLS.
type profile struct {
	Name          string   `yaml:"name"`
	Source        string   `yaml:"source"`
	DenyVersions  []string `yaml:"deny_versions"`
	DenySuites    []string `yaml:"deny_suites"`
	AllowVersions []string `yaml:"allow_versions"`
	AllowSuites   []string `yaml:"allow_suites"`
}

// rules reads the embedded file. It is part of the program, so an error is a programmer's.
var rules = sync.OnceValue(func() *ruleSet {
	set := &ruleSet{}
	if err := yaml.Load(profilesYAML, set, yaml.WithKnownFields()); err != nil {
		panic(fmt.Errorf("reading profiles.yaml: %w", err))
	}
	return set
})

// matches reports whether a name matches one of the patterns.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// fits reports whether a version or a suite has the weakness.
func (w *weakness) fits(version, suite string) bool {
	return matches(w.Versions, version) || matches(w.Suites, suite) && !matches(w.Except, suite)
}

// forbids reports whether the profile forbids a version with a suite.
func (p *profile) forbids(version, suite string) bool {
	return matches(p.DenyVersions, version) || matches(p.DenySuites, suite) ||
		len(p.AllowVersions) > 0 && !matches(p.AllowVersions, version) || len(p.AllowSuites) > 0 && !matches(p.AllowSuites, suite)
}

// judge returns the first weakness of a handshake, or nil, and the profiles that forbid it.
func (r *ruleSet) judge(version, suite string) (weak *weakness, broken []string) {
	for i := range r.Weaknesses {
		if r.Weaknesses[i].fits(version, suite) {
			weak = &r.Weaknesses[i]
			break
		}
	}
	for i := range r.Profiles {
		if r.Profiles[i].forbids(version, suite) {
			broken = append(broken, r.Profiles[i].Name)
		}
	}
	return weak, broken
}

// names lists the names of all weaknesses.
func (r *ruleSet) names() (list []string) {
	for i := range r.Weaknesses {
		list = append(list, r.Weaknesses[i].Name)
	}
	return list
}
