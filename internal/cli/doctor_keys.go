package cli

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/keys"
)

// tlsReport is what doctor says of programs with a TLS library.
type tlsReport struct {
	Processes []keys.Ability    `json:"processes"`
	Folder    string            `json:"layouts_folder,omitempty"`
	Layouts   []keys.LayoutFile `json:"layouts"`
}

// tlsOf looks at the processes that somebody named, else at all.
func tlsOf(names []string, folder string) (*tlsReport, error) {
	choose, err := processesNamed(names)
	if err != nil {
		return nil, err
	}
	if folder == "" {
		folder = layoutsFolder()
	}
	r := &tlsReport{Processes: keys.Inspect(choose, folder), Folder: folder, Layouts: []keys.LayoutFile{}}
	if len(r.Processes) == 0 && len(names) > 0 {
		return nil, codedError{fmt.Errorf("no process is %s", strings.Join(names, " or ")), exitNotCapture, "see what runs with ps"}
	}
	if folder != "" {
		list, err := keys.Layouts(folder)
		if err != nil {
			return nil, codedError{fmt.Errorf("listing layouts: %w", err), exitNotCapture, ""}
		}
		r.Layouts = append(r.Layouts, list...)
	}
	return r, nil
}

// processesNamed chooses by numbers and by patterns of programs, as --keys has them.
func processesNamed(names []string) (func(uint32, string) bool, error) {
	if len(names) == 0 {
		return nil, nil
	}
	pids := map[uint32]bool{}
	var patterns []string
	for _, n := range names {
		n = strings.TrimPrefix(strings.TrimPrefix(n, "pid:"), "exe:")
		if pid, err := strconv.ParseUint(n, 10, 32); err == nil {
			pids[uint32(pid)] = true
		} else if _, err := path.Match(n, ""); err != nil || n == "" {
			return nil, usagef("doctor --keys %q: want the number of a process or the name of a program", n)
		} else {
			patterns = append(patterns, n)
		}
	}
	return func(pid uint32, exe string) bool {
		if pids[pid] {
			return true
		}
		for _, p := range patterns {
			name := exe
			if !strings.Contains(p, "/") {
				name = path.Base(exe)
			}
			if ok, _ := path.Match(p, name); ok { // processesNamed saw the pattern
				return true
			}
		}
		return false
	}, nil
}

// printTLS says the same to people.
func (e *env) printTLS(r *tlsReport) {
	marks := map[keys.Able]string{keys.Yes: "ok   ", keys.Learns: "less ", keys.No: "no   "}
	for _, p := range r.Processes {
		version := strings.TrimSpace(strings.TrimPrefix(p.Version, "OpenSSL"))
		fmt.Fprintf(e.out, "%sprocess %d, %s: %s", marks[p.Keys], p.PID, lines(p.Executable), p.Library)
		if version != "" {
			fmt.Fprintf(e.out, " %s", lines(version))
		}
		if p.BuildID != "" {
			fmt.Fprintf(e.out, ", build %s", lines(p.BuildID))
		}
		if p.File != "" && p.File != p.Executable {
			fmt.Fprintf(e.out, ", in %s", lines(p.File))
		}
		fmt.Fprintf(e.out, "\n     keys %s", p.Keys)
		if p.Method != "" {
			fmt.Fprintf(e.out, ": %s", lines(p.Method))
		}
		if p.Reason != "" {
			fmt.Fprintf(e.out, ": %s", p.Reason)
		}
		fmt.Fprintf(e.out, "; plaintext %s", p.Plaintext)
		if p.Detail != "" {
			fmt.Fprintf(e.out, "; %s", lines(p.Detail))
		}
		fmt.Fprintln(e.out)
		if p.Need != "" {
			fmt.Fprintf(e.out, "     → %s\n", lines(p.Need))
		}
	}
	if len(r.Processes) == 0 {
		fmt.Fprintln(e.out, "no process has a TLS library that is known")
	}
	if r.Folder == "" {
		return
	}
	fmt.Fprintf(e.out, "layouts in %s: %d\n", lines(r.Folder), len(r.Layouts))
	for _, l := range r.Layouts {
		if l.Error != "" {
			fmt.Fprintf(e.out, "no   %s build %s: %s\n", lines(l.Library), lines(l.BuildID), lines(l.Error))
			continue
		}
		fmt.Fprintf(e.out, "ok   %s build %s, learned %s: %s\n", l.Library, lines(l.BuildID), l.Learned.Format("2006-01-02 15:04:05"), strings.Join(l.Fields, ", "))
	}
}
