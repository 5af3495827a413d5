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

// keysOf reads whose TLS keys and plaintext are to be read.
func (f *recordFlags) keysOf(o *recorder.Options) error {
	if len(f.keys) == 0 && len(f.keysTo) > 0 {
		return usagef("--keys-to says whom to encrypt keys to; give --keys to say whose are read")
	}
	if len(f.keys) == 0 && len(f.plaintext) == 0 {
		return nil
	}
	flag := "--keys"
	if len(f.keys) == 0 {
		flag = "--plaintext"
	}
	switch {
	case o.Stream != nil && len(f.keys) > 0:
		return usagef("--keys with -w -: keys come after the packets they open, readers want them before, and a stream has no file beside it; give -w FILE or -w RING/")
	case o.Stream != nil:
		return usagef("--plaintext with -w -: plaintext is never mixed with packets, and a stream has no file beside it; give -w FILE or -w RING/")
	case f.headersOnly:
		return usagef("%s with --headers-only: what is asked for is not to be kept", flag)
	}
	var k recorder.Keys
	for _, x := range []struct {
		flag string
		list []string
		to   *keys.Selector
	}{{"--keys", f.keys, &k.Select}, {"--plaintext", f.plaintext, &k.Plaintext}} {
		for _, text := range x.list {
			if err := selectKeys(x.to, x.flag, text); err != nil {
				return err
			}
		}
		if err := x.to.Check(); err != nil {
			return usagef("%s: %v", x.flag, err)
		}
	}
	var err error
	if k.Recipients, err = keysTo(f.keysTo); err != nil {
		return err
	}
	o.Keys = &k
	return nil
}

// warnKeys says what is read of whom, and what it costs.
func (e *env) warnKeys(f *recordFlags) {
	if slices.Contains(f.keys, keysOfAll) {
		e.warn("--keys %s: TLS keys of every program on this machine are read, whoever runs it", keysOfAll)
	}
	if slices.Contains(f.plaintext, keysOfAll) {
		e.warn("--plaintext %s: what every program on this machine says over TLS is read, whoever runs it", keysOfAll)
	}
	if len(f.plaintext) > 0 {
		e.warn("--plaintext: chosen programs take some 10 to 30 µs longer for each call that sends or receives; --keys costs that once a connection")
	}
}

// selectKeys adds one rule.
func selectKeys(s *keys.Selector, flag, text string) error {
	if text == keysOfAll {
		s.Executables = append(s.Executables, "*")
		return nil
	}
	kind, rule, _ := strings.Cut(text, ":")
	if rule == "" {
		return usagef("%s %q: want pid:NUMBER, exe:NAME, cgroup:/PATH or %s", flag, text, keysOfAll)
	}
	switch kind {
	case "pid":
		n, err := strconv.ParseUint(rule, 10, 32)
		if err != nil || n == 0 {
			return usagef("%s %q: want the number of a process", flag, text)
		}
		s.PIDs = append(s.PIDs, uint32(n))
	case "exe":
		if !strings.HasPrefix(rule, "/") && strings.Contains(rule, "/") {
			return usagef("%s %q: want a file's name, or its path from / on", flag, text)
		}
		if strings.Trim(rule, "*?/") == "" {
			return usagef("%s %q: chooses every program; want a name, or %[1]s %[3]s", flag, text, keysOfAll)
		}
		s.Executables = append(s.Executables, rule)
	case "cgroup":
		rule = path.Join("/", rule)
		if rule == "/" {
			return usagef("%s %q: chooses every process; want a control group below it, or %[1]s %[3]s", flag, text, keysOfAll)
		}
		s.Cgroups = append(s.Cgroups, rule)
	default:
		return usagef("%s %q: want pid:NUMBER, exe:NAME, cgroup:/PATH or %s", flag, text, keysOfAll)
	}
	return nil
}

// recordedKeys says what became of keys.
func (e *env) recordedKeys(f *recordFlags, s *recorder.KeyStats) {
	if len(s.Processes) == 0 {
		e.warn("no keys: no process was met that --keys or --plaintext chooses")
		return
	}
	if s.Plaintext != nil {
		e.recordedPlaintext(s.Plaintext)
	}
	if len(f.keys) == 0 {
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
	for i, state := range []keys.State{keys.Verified, keys.Unverified, keys.Plaintext, keys.None} {
		if state != keys.Plaintext || states[state] > 0 {
			text += [...]string{": ", ", ", ", ", ", "}[i] + thousands(int64(states[state])) + " " + state.String()
		}
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

// recordedPlaintext says what became of plaintext.
func (e *env) recordedPlaintext(s *recorder.PlainStats) {
	dropped := s.Lost + s.Unread + s.Odd + s.SinkErrors
	fmt.Fprintf(e.err, "plaintext: %s, %s; %s seen = %s delivered + %s dropped + %s of processes that are not chosen\n", counted(int64(s.Calls), "call", "calls"), byteSize(int64(s.Bytes)),
		counted(int64(s.Seen), "piece", "pieces"), thousands(int64(s.Written)), thousands(int64(dropped)), thousands(int64(s.Unused)))
	if dropped > 0 {
		e.warn("plaintext lost: ring buffer full %s, memory not readable %s, results not as expected %s, not written %s", thousands(int64(s.Lost)), thousands(int64(s.Unread)), thousands(int64(s.Odd)), thousands(int64(s.SinkErrors)))
	}
	if s.Cut > 0 {
		e.warn("%s of plaintext cut: of one call the first MiB is read", byteSize(int64(s.Cut)))
	}
	if s.EndsUnknown != nil {
		e.warn("plaintext has no addresses: %v", s.EndsUnknown)
	}
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
