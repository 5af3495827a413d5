package workload

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Verdict is whether a subject is selected.
type Verdict uint8

// Verdicts are ordered: if two conditions must be true, the smaller verdict counts.
const (
	No    Verdict = iota
	Maybe         // unknown, but may become known
	Yes
)

// Subject has the known fields of the owner of a packet.
type Subject struct {
	Namespace   string
	Pod, PodUID string
	Workload    string // topmost owner
	Container   string // name, or the first digits of the id
	ContainerID string
	Cgroup      string // path below the root of the control groups
	Labels      []Label
	Process     string // the kernel's name, at most 15 bytes
	Exe         string // path
	Script      string // path of the script that Exe runs
	PID         int64

	Unnamed          bool // a pod or container whose names may become known
	ContainerUnnamed bool // a container of a known pod, whose own name may become known
	Unowned          bool // no process is known, but there may be one
}

// SubjectOf converts an identity.
func SubjectOf(id *Identity) Subject {
	s := Subject{Namespace: id.Namespace, Pod: id.Pod, PodUID: id.PodUID, Workload: id.Workload, Container: id.Container, Labels: id.Labels,
		Process: id.Process, PID: id.PID}
	if p := id.Program; p != nil {
		s.Process, s.Exe, s.Script, s.PID = p.Name, p.Exe, p.Script, p.PID
	}
	return s
}

// Selector chooses workloads and processes. A field that has values must match one of them;
// labels must all match. The zero value chooses every subject. Names are patterns of
// path.Match.
type Selector struct {
	Namespaces []string
	Pods       []string // pod, or namespace/pod; also a pod's UID
	Workloads  []string // name of a pod or of its topmost owner, or namespace/name
	Containers []string // name, or the id's beginning, of 12 digits or more
	Cgroups    []string // path, with all below
	Processes  []string // the kernel's name or the file's name; a path if it has a slash; a number. A script is the process's file too
	Labels     []Label  // a value of "*" fits any
}

const maxSelected = 1000 // values of one field

// Add adds one value of a field: namespace, pod, workload, container, cgroup, process, or
// label with NAME=VALUE.
func (s *Selector) Add(field, value string) error {
	if value == "" || len(value) > 4096 {
		return fmt.Errorf("%s %.80q: write a value of 1 to 4096 bytes", field, value)
	}
	list := s.list(field)
	switch {
	case field == "label":
		name, is, ok := strings.Cut(value, "=")
		if !ok || name == "" || len(s.Labels) >= maxSelected {
			return fmt.Errorf("label %q: write NAME=VALUE, at most %d times", value, maxSelected)
		}
		s.Labels = append(s.Labels, Label{name, is})
		return nil
	case list == nil:
		return fmt.Errorf("unknown field %q: write namespace, pod, workload, container, cgroup, process or label", field)
	case len(*list) >= maxSelected:
		return fmt.Errorf("%s %q: the maximum is %d values", field, value, maxSelected)
	case field == "cgroup":
		value = path.Join("/", value)
	}
	*list = append(*list, value)
	return s.Check()
}

func (s *Selector) list(field string) *[]string {
	switch field {
	case "namespace":
		return &s.Namespaces
	case "pod":
		return &s.Pods
	case "workload":
		return &s.Workloads
	case "container":
		return &s.Containers
	case "cgroup":
		return &s.Cgroups
	case "process":
		return &s.Processes
	}
	return nil
}

// Empty reports whether every subject is chosen.
func (s *Selector) Empty() bool {
	return len(s.Namespaces) == 0 && len(s.Labels) == 0 && len(s.Pods) == 0 && len(s.Workloads) == 0 && len(s.Containers) == 0 && len(s.Cgroups) == 0 && len(s.Processes) == 0
}

// NeedsNames reports whether names from Kubernetes are needed.
func (s *Selector) NeedsNames() bool {
	return len(s.Namespaces) > 0 || len(s.Labels) > 0 || len(s.Workloads) > 0 || slices.ContainsFunc(s.Pods, func(p string) bool { return podOf("pod"+p) == "" })
}

// NeedsSockets reports whether more than addresses is needed.
func (s *Selector) NeedsSockets() bool { return len(s.Processes) > 0 || len(s.Cgroups) > 0 }

// Check reports the first invalid pattern.
func (s *Selector) Check() error {
	for _, list := range [][]string{s.Namespaces, s.Pods, s.Workloads, s.Containers, s.Processes} {
		for _, p := range list {
			if _, err := path.Match(p, ""); err != nil {
				return fmt.Errorf("pattern %q: %w", p, err)
			}
		}
	}
	for _, c := range s.Cgroups {
		if c == "/" {
			return errors.New("control group /: it contains every process")
		}
	}
	return nil
}

// String is the selector in writing: field=value, separated by spaces.
func (s *Selector) String() string {
	var all []string
	for _, field := range []string{"namespace", "pod", "workload", "container", "cgroup", "process"} {
		for _, v := range *s.list(field) {
			if strings.ContainsAny(v, " \"\t\n;") {
				v = strconv.Quote(v)
			}
			all = append(all, field+"="+v)
		}
	}
	for _, l := range s.Labels {
		all = append(all, "label="+l.Name+"="+l.Value)
	}
	return strings.Join(all, " ")
}

// Match reports whether x is chosen. Maybe means that it depends on names or a process of x
// that are unknown but may become known.
func (s *Selector) Match(x *Subject) Verdict {
	v := Yes
	if len(s.Cgroups) > 0 {
		v = min(v, known(x.Cgroup != "", slices.ContainsFunc(s.Cgroups, func(c string) bool {
			return x.Cgroup == c || strings.HasPrefix(x.Cgroup, c+"/")
		}), false))
	}
	if len(s.Namespaces) > 0 {
		v = min(v, known(x.Namespace != "", fits(s.Namespaces, x.Namespace), x.Unnamed))
	}
	if len(s.Pods) > 0 {
		uid := x.PodUID != "" && slices.Contains(s.Pods, x.PodUID)
		v = min(v, known(x.Pod != "" || uid, uid || fitsIn(s.Pods, x.Namespace, x.Pod), x.Unnamed))
	}
	if len(s.Workloads) > 0 {
		v = min(v, known(x.Pod != "" || x.Workload != "", fitsIn(s.Workloads, x.Namespace, x.Workload) || fitsIn(s.Workloads, x.Namespace, x.Pod), x.Unnamed))
	}
	if len(s.Containers) > 0 {
		id := x.ContainerID != "" && slices.ContainsFunc(s.Containers, func(c string) bool { return len(c) >= 12 && strings.HasPrefix(x.ContainerID, c) })
		v = min(v, known(x.Container != "" && !x.Unnamed && !x.ContainerUnnamed || id, id || fits(s.Containers, x.Container), x.Unnamed || x.ContainerUnnamed))
	}
	for _, l := range s.Labels {
		v = min(v, known(x.Pod != "", slices.ContainsFunc(x.Labels, func(h Label) bool { return h.Name == l.Name && (l.Value == "*" || h.Value == l.Value) }), x.Unnamed))
	}
	if v != No && len(s.Processes) > 0 {
		v = min(v, s.process(x))
	}
	return v
}

// known compares if the needed value is known; otherwise it is Maybe or No.
func known(is, fits, learn bool) Verdict {
	switch {
	case is && fits:
		return Yes
	case !is && learn:
		return Maybe
	}
	return No
}

func fits(patterns []string, text string) bool {
	return text != "" && slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, text)
		return ok && err == nil
	})
}

// fitsIn compares patterns with name, or with namespace/name if they have a slash.
func fitsIn(patterns []string, namespace, name string) bool {
	return name != "" && slices.ContainsFunc(patterns, func(p string) bool {
		text := name
		if strings.Contains(p, "/") {
			text = namespace + "/" + name
		}
		ok, err := path.Match(p, text)
		return ok && err == nil
	})
}

func (s *Selector) process(x *Subject) Verdict {
	if x.Unowned || x.PID == 0 && x.Process == "" && x.Exe == "" {
		return known(false, false, x.Unowned)
	}
	pending := x.Process == "" && x.Exe == "" // only its number is known
	v := No
	for _, p := range s.Processes {
		if n, err := strconv.ParseInt(p, 10, 64); err == nil {
			v = max(v, known(true, n == x.PID, false))
			continue
		}
		pattern, ok := []string{p}, false
		if strings.Contains(p, "/") {
			ok = fits(pattern, x.Exe) || fits(pattern, x.Script)
		} else {
			ok = fits(pattern, x.Process) || x.Exe != "" && fits(pattern, path.Base(x.Exe)) || x.Script != "" && fits(pattern, path.Base(x.Script))
		}
		v = max(v, known(!pending, ok, pending))
	}
	return v
}
