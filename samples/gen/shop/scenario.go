package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Scenario is the data of the shop: names, the times and numbers of failures, and values. The program
// refers to services only by role.
type Scenario struct {
	Name  string `json:"name"`
	Seed  uint64 `json:"seed"`
	Today string `json:"today"` // 2006-01-02

	Namespaces map[string]string `json:"namespaces"` // by key: public, shop, payments, data, ops, ci, system
	Nodes      []string          `json:"nodes"`
	Services   []Service         `json:"services"`
	Externals  []External        `json:"externals"`

	Times  map[string]string `json:"times"`  // 15:04 or 15:04:05 of today; a leading - means yesterday
	Counts map[string]int    `json:"counts"` // frequencies and other whole numbers
	Millis map[string]int    `json:"millis"` // durations
	Texts  map[string]string `json:"texts"`  // ids, tokens, words
}

// Service is a workload inside the cluster.
type Service struct {
	Role      string   `json:"role"`
	Name      string   `json:"name"`
	Namespace string   `json:"namespace"` // a key of Namespaces
	Team      string   `json:"team"`
	Kind      string   `json:"kind"` // Deployment, StatefulSet, Job, Pod
	Port      int      `json:"port"` // 0: it does not listen
	Image     string   `json:"image"`
	Pods      []string `json:"pods"` // names
}

// External is an external host.
type External struct {
	Role   string `json:"role"`
	Domain string `json:"domain"` // empty: only the address is known
	IP     string `json:"ip"`
}

func readScenario(path string) (*Scenario, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var sc Scenario
	if err := json.Unmarshal(b, &sc); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &sc, nil
}

func (sc *Scenario) service(role string) *Service {
	for i := range sc.Services {
		if sc.Services[i].Role == role {
			return &sc.Services[i]
		}
	}
	return nil
}

func (sc *Scenario) external(role string) *External {
	for i := range sc.Externals {
		if sc.Externals[i].Role == role {
			return &sc.Externals[i]
		}
	}
	return nil
}

// name is the name of a role in this scenario.
func (sc *Scenario) name(role string) string {
	if s := sc.service(role); s != nil {
		return s.Name
	}
	if e := sc.external(role); e != nil {
		if e.Domain == "" {
			return e.IP
		}
		return e.Domain
	}
	return role
}

func (sc *Scenario) ns(key string) string { return sc.Namespaces[key] }

// day is midnight of today plus a number of days.
func (sc *Scenario) day(n int) time.Time {
	t, err := time.Parse(time.DateOnly, sc.Today)
	if err != nil {
		panic(err) // check has validated it
	}
	return t.AddDate(0, 0, n)
}

// clockTime returns a named time of the scenario.
func (sc *Scenario) time(name string) time.Time {
	t, err := sc.parseTime(sc.Times[name])
	if err != nil {
		panic(fmt.Sprintf("time %s: %v", name, err))
	}
	return t
}

func (sc *Scenario) parseTime(s string) (time.Time, error) {
	day := 0
	if len(s) > 0 && s[0] == '-' {
		day, s = -1, s[1:]
	}
	layout := "15:04"
	if len(s) > 5 {
		layout = "15:04:05"
	}
	t, err := time.Parse(layout, s)
	if err != nil {
		return t, err
	}
	return sc.day(day).Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second), nil
}

func (sc *Scenario) ms(name string) time.Duration {
	n, ok := sc.Millis[name]
	if !ok {
		panic("no time span " + name)
	}
	return time.Duration(n) * time.Millisecond
}

func (sc *Scenario) count(name string) int {
	n, ok := sc.Counts[name]
	if !ok {
		panic("no count " + name)
	}
	return n
}

func (sc *Scenario) text(name string) string {
	s, ok := sc.Texts[name]
	if !ok {
		panic("no text " + name)
	}
	return s
}

// check rejects an incomplete scenario.
func (sc *Scenario) check() error {
	if _, err := time.Parse(time.DateOnly, sc.Today); err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	like := usual()
	for _, s := range like.Services {
		got := sc.service(s.Role)
		if got == nil || len(got.Pods) < len(s.Pods) || sc.Namespaces[got.Namespace] == "" {
			return fmt.Errorf("scenario: role %s is missing, or lacks pods or a namespace", s.Role)
		}
	}
	for _, e := range like.Externals {
		if sc.external(e.Role) == nil {
			return fmt.Errorf("scenario: outside role %s is missing", e.Role)
		}
	}
	for name := range like.Times {
		if _, err := sc.parseTime(sc.Times[name]); err != nil {
			return fmt.Errorf("scenario: time %s: %w", name, err)
		}
	}
	for name := range like.Counts {
		if sc.Counts[name] <= 0 {
			return fmt.Errorf("scenario: count %s is missing", name)
		}
	}
	for name := range like.Millis {
		if sc.Millis[name] <= 0 {
			return fmt.Errorf("scenario: time span %s is missing", name)
		}
	}
	for name := range like.Texts {
		if sc.Texts[name] == "" {
			return fmt.Errorf("scenario: text %s is missing", name)
		}
	}
	return nil
}
