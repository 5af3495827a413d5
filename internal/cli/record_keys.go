package cli

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/keys"
)

// keysOfAll chooses every program; nothing else does.
const keysOfAll = "all"

// keysOf reads whose TLS keys are to be read.
func (f *recordFlags) keysOf(o *recorder.Options) error {
	switch {
	case len(f.keys) == 0 && len(f.keysTo) > 0:
		return usagef("--keys-to says whom to encrypt keys to; give --keys to say whose are read")
	case len(f.keys) == 0:
		return nil
	case o.Stream != nil:
		return usagef("--keys with -w -: keys come after the packets they open, readers want them before, and a stream has no file beside it; give -w FILE or -w RING/")
	case f.headersOnly:
		return usagef("--keys with --headers-only: what keys would open is not kept")
	}
	var s keys.Selector
	for _, text := range f.keys {
		if err := selectKeys(&s, text); err != nil {
			return err
		}
	}
	if err := s.Check(); err != nil {
		return usagef("--keys: %v", err)
	}
	to, err := keysTo(f.keysTo)
	if err != nil {
		return err
	}
	o.Keys = &recorder.Keys{Select: s, Recipients: to}
	return nil
}

// selectKeys adds one rule.
func selectKeys(s *keys.Selector, text string) error {
	if text == keysOfAll {
		s.Executables = append(s.Executables, "*")
		return nil
	}
	kind, rule, _ := strings.Cut(text, ":")
	if rule == "" {
		return usagef("--keys %q: want pid:NUMBER, exe:NAME, cgroup:/PATH or %s", text, keysOfAll)
	}
	switch kind {
	case "pid":
		n, err := strconv.ParseUint(rule, 10, 32)
		if err != nil || n == 0 {
			return usagef("--keys %q: want the number of a process", text)
		}
		s.PIDs = append(s.PIDs, uint32(n))
	case "exe":
		if !strings.HasPrefix(rule, "/") && strings.Contains(rule, "/") {
			return usagef("--keys %q: want a file's name, or its path from / on", text)
		}
		if strings.Trim(rule, "*?/") == "" {
			return usagef("--keys %q: chooses every program; want a name, or --keys %s", text, keysOfAll)
		}
		s.Executables = append(s.Executables, rule)
	case "cgroup":
		rule = path.Join("/", rule)
		if rule == "/" {
			return usagef("--keys %q: chooses every process; want a control group below it, or --keys %s", text, keysOfAll)
		}
		s.Cgroups = append(s.Cgroups, rule)
	default:
		return usagef("--keys %q: want pid:NUMBER, exe:NAME, cgroup:/PATH or %s", text, keysOfAll)
	}
	return nil
}

// recordedKeys says what became of keys.
func (e *env) recordedKeys(s *recorder.KeyStats) {
	if len(s.Processes) == 0 {
		e.warn("no keys: no process was met that --keys chooses")
		return
	}
	states, reasons := map[keys.State]int{}, map[string]int{}
	for _, p := range s.Processes {
		states[p.State]++
		if p.State == keys.None {
			reasons[string(p.Reason)]++
		}
	}
	text := fmt.Sprintf("keys: %s written, of %s", thousands(int64(s.Written)), counted(int64(len(s.Processes)), "process", "processes"))
	for i, state := range []keys.State{keys.Verified, keys.Unverified, keys.None} {
		text += [...]string{": ", ", ", ", "}[i] + thousands(int64(states[state])) + " " + state.String()
	}
	var why []string
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		why = append(why, r+" "+thousands(int64(reasons[r])))
	}
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	fmt.Fprintln(e.err, text)
	e.missedKeys(s)
}

// missedKeys says what was lost of them, and why somebody has none.
func (e *env) missedKeys(s *recorder.KeyStats) {
	const most = 8
	told := 0
	for _, p := range s.Processes {
		if p.State != keys.None || p.Reason == keys.NoTLS || p.Reason == keys.NoHandshake {
			continue
		}
		if told++; told <= most {
			e.warn("no keys of process %d, %s: %s", p.PID, printable(p.Executable, 512), printable(strings.TrimSuffix(string(p.Reason)+", "+p.Detail, ", "), 512))
		}
	}
	if told > most {
		e.warn("no keys of %s more", counted(int64(told-most), "process", "processes"))
	}
	if n := s.Lost + s.Unread + s.Odd; n > 0 {
		e.warn("%s seen and not read: ring buffer full %s, memory not readable %s, arguments not as expected %s", counted(int64(n), "key", "keys"), thousands(int64(s.Lost)), thousands(int64(s.Unread)), thousands(int64(s.Odd)))
	}
	if n := s.SinkErrors + s.Unplaced; n > 0 {
		e.warn("%s not written", counted(int64(n), "key", "keys"))
	}
}
