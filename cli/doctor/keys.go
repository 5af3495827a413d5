package doctor

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/keys"
)

// tlsReport is the output of doctor --keys --json.
type tlsReport struct {
	Processes []keys.Ability    `json:"processes"`
	Folder    string            `json:"layouts_folder,omitempty"`
	Layouts   []keys.LayoutFile `json:"layouts"`
}

// inspect reports on the named processes, or on all.
func inspect(out io.Writer, f *flags, names []string) error {
	choose, err := chooser(names)
	if err != nil {
		return err
	}
	r := &tlsReport{Processes: keys.Inspect(choose, f.layouts), Folder: f.layouts, Layouts: []keys.LayoutFile{}}
	if len(r.Processes) == 0 && len(names) > 0 {
		return exit.With(fmt.Errorf("no process matches %s", strings.Join(names, " or ")), exit.NotCapture, "list the processes with ps")
	}
	if f.layouts != "" {
		list, err := keys.Layouts(f.layouts)
		if err != nil {
			return exit.With(fmt.Errorf("listing layouts: %w", err), exit.NotCapture, "give another folder with --layouts")
		}
		r.Layouts = append(r.Layouts, list...)
	}
	if !f.json {
		r.print(out)
		return nil
	}
	if r.Processes == nil {
		r.Processes = []keys.Ability{}
	}
	if err := console.JSON(out, r); err != nil {
		return fmt.Errorf("writing processes: %w", err)
	}
	return nil
}

// chooser returns a function that selects processes by number and by pattern of the program,
// in the form of a recording's --keys; nil selects all.
func chooser(names []string) (func(uint32, string) bool, error) {
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
			return nil, exit.Usagef("doctor --keys %q: must be a process number or a program name", n)
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
			if ok, _ := path.Match(p, name); ok { // chooser checked the pattern
				return true
			}
		}
		return false
	}, nil
}

// print writes the report for people.
func (r *tlsReport) print(out io.Writer) {
	marks := map[keys.Able]string{keys.Yes: "ok", keys.Learns: "later", keys.No: "no"}
	var list []row
	count := map[keys.Able]int64{}
	for i := range r.Processes {
		p := &r.Processes[i]
		count[p.Keys]++
		list = append(list, row{marks[p.Keys], fmt.Sprintf("process %d", p.PID), describe(p), p.Need})
	}
	printRows(out, list)
	if len(r.Processes) == 0 {
		fmt.Fprintln(out, "No process uses a TLS library that pcapsule knows.")
	} else {
		text := "TLS keys can be read from " + plural.Count(count[keys.Yes], "process", "processes")
		if n := count[keys.Learns]; n > 0 {
			text += ", and from " + plural.Count(n, "more", "more") + " once a recording has learned the layout of the library"
		}
		if n := count[keys.No]; n > 0 {
			text += "; not from " + plural.Thousands(n)
		}
		fmt.Fprintln(out)
		printRows(out, []row{{detail: text + "."}})
	}
	if r.Folder == "" {
		return
	}
	fmt.Fprintf(out, "Layouts in %s: %d\n", console.Lines(r.Folder), len(r.Layouts))
	list = nil
	for i := range r.Layouts {
		l := &r.Layouts[i]
		x := row{"ok", l.Library, fmt.Sprintf("build %s, learned %s: %s", l.BuildID, l.Learned.UTC().Format(time.DateTime)+" UTC", strings.Join(l.Fields, ", ")), ""}
		if l.Error != "" {
			x.mark, x.detail = "no", fmt.Sprintf("build %s is not used: %s", l.BuildID, l.Error)
		}
		list = append(list, x)
	}
	printRows(out, list)
}

// describe returns the TLS library of a process and what can be read from it.
func describe(p *keys.Ability) string {
	text := strings.ReplaceAll(p.Executable, "\n", "?") + "\n"
	version := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(p.Version, "OpenSSL"), "go go"))
	switch {
	case p.Library == keys.Unknown.String():
		text += "no known TLS library"
	case p.Library == keys.Go.String():
		text += strings.TrimSpace("Go " + strings.TrimPrefix(version, "go"))
	default:
		text += strings.TrimSpace(p.Library + " " + version)
	}
	if p.BuildID != "" {
		text += ", build " + p.BuildID
	}
	if p.File != "" && p.File != p.Executable {
		text += ", in " + strings.ReplaceAll(p.File, "\n", "?")
	}
	text += "\nkeys: " + map[keys.Able]string{keys.Yes: "yes", keys.Learns: "not yet", keys.No: "no"}[p.Keys]
	switch {
	case p.Method != "":
		text += " (" + p.Method + ")"
	case p.Reason != "":
		text += " (" + string(p.Reason) + ")"
	}
	text += "\nplaintext: " + string(p.Plaintext)
	if p.Detail != "" {
		text += "; " + p.Detail
	}
	return text
}
