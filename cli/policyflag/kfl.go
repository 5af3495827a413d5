package policyflag

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// ownerText matches the names, labels and patterns that are allowed in a filter.
var ownerText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9*?\[\]^/_.=:@+-]{1,512}$`)
})

// KFL returns a filter for calls with a selected owner on either side, "" if all
// owners are selected.
func KFL(s *workload.Selector) (string, error) {
	var sides []string
	for _, side := range []string{"src", "dst"} {
		var all []string
		for _, f := range []struct {
			name   string
			values []string
			make   func(side, value string) (string, error)
		}{
			{"namespace", s.Namespaces, func(side, v string) (string, error) { return textKFL(side+".namespace", v) }},
			{"pod", s.Pods, podKFL},
			{"container", s.Containers, containerKFL},
			{"process", s.Processes, processKFL},
		} {
			var any []string
			for _, v := range f.values {
				if !ownerText().MatchString(v) {
					return "", fmt.Errorf("--%s %q: must be a name, or a pattern of names", f.name, v)
				}
				text, err := f.make(side, v)
				if err != nil {
					return "", fmt.Errorf("--%s %q: %w", f.name, v, err)
				}
				any = append(any, text)
			}
			if len(any) > 0 {
				all = append(all, "("+strings.Join(any, " || ")+")")
			}
		}
		for _, l := range s.Labels {
			if !ownerText().MatchString(l.Name) || l.Value != "" && !ownerText().MatchString(l.Value) {
				return "", fmt.Errorf("--label %q: must be NAME=VALUE, as in Kubernetes", l.Name+"="+l.Value)
			}
			text := fmt.Sprintf("%s.labels[%q] == %q", side, l.Name, l.Value)
			if l.Value == "*" {
				text = fmt.Sprintf("%s.labels[%q] != \"\"", side, l.Name)
			}
			all = append(all, text)
		}
		if len(all) == 0 {
			return "", nil
		}
		sides = append(sides, "("+strings.Join(all, " && ")+")")
	}
	return strings.Join(sides, " || "), nil
}

// textKFL returns a filter that compares a field with a name, or with a pattern in the
// syntax of path.Match.
func textKFL(field, pattern string) (string, error) {
	if !strings.ContainsAny(pattern, `*?[`) {
		return fmt.Sprintf("%s == %q", field, pattern), nil
	}
	var b strings.Builder
	b.WriteByte('^')
	class := false
	for _, c := range pattern {
		switch {
		case class:
			b.WriteRune(c)
			class = c != ']'
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '[':
			b.WriteByte('[')
			class = true
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteByte('$')
	if _, err := regexp.Compile(b.String()); err != nil {
		return "", err
	}
	return field + ".matches(" + strconv.Quote(b.String()) + ")", nil
}

func podKFL(side, v string) (string, error) {
	namespace, pod, both := strings.Cut(v, "/")
	if !both {
		return textKFL(side+".pod", v)
	}
	a, err := textKFL(side+".namespace", namespace)
	if err != nil {
		return "", err
	}
	b, err := textKFL(side+".pod", pod)
	return "(" + a + " && " + b + ")", err
}

var containerID = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

func containerKFL(side, v string) (string, error) {
	if containerID.MatchString(v) {
		v = v[:12] // tables keep 12 digits of a container without a name
	}
	return textKFL(side+".container", v)
}

func processKFL(side, v string) (string, error) {
	if strings.Contains(v, "/") {
		return "", fmt.Errorf("calls record the name and number of a process, not its path")
	}
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return fmt.Sprintf("%s.pid == %d", side, n), nil
	}
	return textKFL(side+".process", v)
}
