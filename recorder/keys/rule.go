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

var errRule = errors.New("write pid:NUMBER, exe:NAME, cgroup:/PATH or " + All)

// Add adds a rule: pid:NUMBER, exe:NAME or exe:/PATH with the patterns of path.Match,
// cgroup:/PATH, or all. Another rule that would choose every process is refused.
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
			return errors.New("write the number of a process")
		}
		s.PIDs = append(s.PIDs, uint32(n))
	case "exe":
		if !strings.HasPrefix(rule, "/") && strings.Contains(rule, "/") {
			return errors.New("write a file name or an absolute path")
		}
		if strings.Trim(rule, "*?/") == "" {
			return fmt.Errorf("matches every program; write a name, or %s", All)
		}
		s.Executables = append(s.Executables, rule)
	case "cgroup":
		rule = path.Join("/", rule)
		if rule == "/" {
			return fmt.Errorf("matches every process; write a control group below /, or %s", All)
		}
		s.Cgroups = append(s.Cgroups, rule)
	default:
		return errRule
	}
	return s.Check()
}
