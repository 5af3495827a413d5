package keys

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// All is the rule that chooses every process; nothing else does.
const All = "all"

var errRule = errors.New("want pid:NUMBER, exe:NAME, cgroup:/PATH or " + All)

// Add adds a rule: pid:NUMBER, exe:NAME or exe:/PATH with the patterns of path.Match,
// cgroup:/PATH, or all. A rule that would choose everybody in another way is refused.
func (s *Selector) Add(text string) error {
	if text == All {
		s.Executables = append(s.Executables, "*")
		return nil
	}
	kind, rule, _ := strings.Cut(text, ":")
	if rule == "" {
		return errRule
	}
	switch kind {
	case "pid":
		n, err := strconv.ParseUint(rule, 10, 32)
		if err != nil || n == 0 {
			return errors.New("want the number of a process")
		}
		s.PIDs = append(s.PIDs, uint32(n))
	case "exe":
		if !strings.HasPrefix(rule, "/") && strings.Contains(rule, "/") {
			return errors.New("want a file's name, or its path from / on")
		}
		if strings.Trim(rule, "*?/") == "" {
			return fmt.Errorf("chooses every program; want a name, or %s", All)
		}
		s.Executables = append(s.Executables, rule)
	case "cgroup":
		rule = path.Join("/", rule)
		if rule == "/" {
			return fmt.Errorf("chooses every process; want a control group below it, or %s", All)
		}
		s.Cgroups = append(s.Cgroups, rule)
	default:
		return errRule
	}
	return s.Check()
}
