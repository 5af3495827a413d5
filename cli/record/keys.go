package record

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/keys"
)

// keyOptions sets the processes whose TLS keys and plaintext are read.
func (f *recordFlags) keyOptions(o *recorder.Options) error {
	if len(f.keys) == 0 && len(f.keysTo) > 0 {
		return exit.Usagef("--keys-to needs --keys, which chooses the processes whose keys are read")
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
		return exit.Usagef("--keys with -w -: keys are known only after the packets that they decrypt, and a stream has no separate file for them; give -w FILE or -w RING/")
	case o.Stream != nil:
		return exit.Usagef("--plaintext with -w -: plaintext is never mixed with packets, and a stream has no separate file for it; give -w FILE or -w RING/")
	case f.headersOnly:
		return exit.Usagef("%s and --headers-only exclude each other: give one", flag)
	}
	var k recorder.Keys
	for _, x := range []struct {
		flag string
		list []string
		to   *keys.Selector
	}{{"--keys", f.keys, &k.Select}, {"--plaintext", f.plaintext, &k.Plaintext}} {
		for _, text := range x.list {
			if err := x.to.Add(text); err != nil {
				return exit.Usagef("%s %q: %v", x.flag, text, err)
			}
		}
	}
	var err error
	if k.Recipients, err = agekey.Recipients("--keys-to", f.keysTo); err != nil {
		return err
	}
	if len(f.keys) > 0 {
		k.Layouts = LayoutsFolder()
	}
	o.Keys = &k
	return nil
}

// LayoutsFolder is the folder with the learned object layouts of TLS libraries, "" if
// there is none.
func LayoutsFolder() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "pcapsule", "layouts")
}

// keysStatus is the part of the status line about keys.
func keysStatus(s *recorder.KeyStats) string {
	if s == nil {
		return ""
	}
	states := map[keys.State]int{}
	for at, n := range s.TLSProcesses() {
		states[at.State] += n
	}
	text := fmt.Sprintf(", %s keys, TLS of %d processes verified, %d not, %d none", plural.Thousands(int64(s.Written)), states[keys.Verified], states[keys.Unverified], states[keys.None])
	if s.Plaintext != nil {
		text += fmt.Sprintf(", %d in plaintext", states[keys.Plaintext])
	}
	return text
}

// warnKeys warns of flags that read from every program, and of the cost of --plaintext.
func (e *env) warnKeys(f *recordFlags) {
	if slices.Contains(f.keys, keys.All) {
		e.Warn("--keys %s: TLS keys of every program on this machine are read, no matter who runs it", keys.All)
	}
	if slices.Contains(f.plaintext, keys.All) {
		e.Warn("--plaintext %s: what every program on this machine sends and receives over TLS is read, no matter who runs it", keys.All)
	}
	if len(f.plaintext) > 0 {
		e.Warn("--plaintext: each call that sends or receives takes chosen programs 20 to 40 µs longer; --keys costs that once per connection")
	}
}

// recordedKeys prints how many keys were written, and which processes have none.
func (e *env) recordedKeys(f *recordFlags, s *recorder.KeyStats) {
	if len(s.Processes) == 0 {
		e.Warn("no keys: no running process matched --keys or --plaintext")
		if len(f.keys) > 0 {
			fmt.Fprintln(e.Err, handshakes(s))
		}
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
	text := fmt.Sprintf("keys: %s written, from %s", plural.Thousands(int64(s.Written)), plural.Count(int64(len(s.Processes)), "process", "processes"))
	for i, state := range []keys.State{keys.Verified, keys.Unverified, keys.Plaintext, keys.None} {
		if state != keys.Plaintext || states[state] > 0 {
			text += [...]string{": ", ", ", ", ", ", "}[i] + plural.Thousands(int64(states[state])) + " " + state.String()
		}
	}
	var why []string
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		why = append(why, r+" "+plural.Thousands(int64(reasons[r])))
	}
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	fmt.Fprintln(e.Err, text)
	fmt.Fprintln(e.Err, handshakes(s))
	e.missedKeys(s)
}

// handshakes says how many captured TLS handshakes have keys, and why the others have none.
func handshakes(s *recorder.KeyStats) string {
	missed := uint64(0)
	var why []string
	for _, r := range slices.Sorted(maps.Keys(s.Keyless)) {
		missed += s.Keyless[r]
		why = append(why, string(r)+" "+plural.Thousands(int64(s.Keyless[r])))
	}
	text := fmt.Sprintf("handshakes: %s captured, %s with keys", plural.Thousands(int64(s.Keyed+missed+s.Uncounted)), plural.Thousands(int64(s.Keyed)))
	if s.Uncounted > 0 {
		why = append(why, "too many at once "+plural.Thousands(int64(s.Uncounted)))
	}
	if len(why) > 0 {
		text += ", others without (" + strings.Join(why, ", ") + ")"
	}
	return text
}

// recordedPlaintext prints how much plaintext was written, and how much was lost.
func (e *env) recordedPlaintext(s *recorder.PlainStats) {
	dropped := s.Lost + s.Unread + s.Odd + s.SinkErrors
	fmt.Fprintf(e.Err, "plaintext: %s, %s; %s seen = %s delivered + %s dropped + %s from processes that were not chosen\n", plural.Count(int64(s.Calls), "call", "calls"), console.ByteSize(int64(s.Bytes)),
		plural.Count(int64(s.Seen), "piece", "pieces"), plural.Thousands(int64(s.Written)), plural.Thousands(int64(dropped)), plural.Thousands(int64(s.Unused)))
	if dropped > 0 {
		e.Warn("plaintext lost: ring buffer full %s, unreadable memory %s, unexpected results %s, not written %s", plural.Thousands(int64(s.Lost)), plural.Thousands(int64(s.Unread)), plural.Thousands(int64(s.Odd)), plural.Thousands(int64(s.SinkErrors)))
	}
	if s.Cut > 0 {
		e.Warn("%s of plaintext cut: only the first MiB of each call is read", console.ByteSize(int64(s.Cut)))
	}
	if s.EndsUnknown != nil {
		e.Warn("plaintext has no addresses: %v", s.EndsUnknown)
	}
}

// missedKeys warns of lost keys, and of processes without keys, with the reason.
func (e *env) missedKeys(s *recorder.KeyStats) {
	const most = 8
	shown := 0
	for _, p := range s.Processes {
		if p.State != keys.None || p.Reason == keys.NoTLS || p.Reason == keys.NoHandshake {
			continue
		}
		if shown++; shown <= most {
			e.Warn("no keys from process %d, %s: %s", p.PID, console.Printable(p.Executable, 512), console.Printable(strings.TrimSuffix(string(p.Reason)+", "+p.Detail, ", "), 512))
		}
	}
	if shown > most {
		e.Warn("no keys from %s", plural.Count(int64(shown-most), "more process", "more processes"))
	}
	if n := s.Lost + s.Unread + s.Odd; n > 0 {
		e.Warn("%s seen but not read: ring buffer full %s, unreadable memory %s, unexpected arguments %s", plural.Count(int64(n), "key", "keys"), plural.Thousands(int64(s.Lost)), plural.Thousands(int64(s.Unread)), plural.Thousands(int64(s.Odd)))
	}
	if n := s.SinkErrors + s.Unplaced; n > 0 {
		e.Warn("%s not written", plural.Count(int64(n), "key", "keys"))
	}
}
