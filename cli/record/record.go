// Package record is the commands that record packets on this machine: record, and extcap, which
// Wireshark calls. They need package recorder, and nothing that reads captures.
package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/policyflag"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
	"github.com/pcapsule/pcapsule/recorder/sight"
)

// env is a command's access to the outside world.
type env struct{ *console.Streams }

type recordFlags struct {
	output      string
	capture     string
	cgroup      string
	interfaces  []string
	snap        uint32
	headersOnly bool
	count       uint64
	duration    time.Duration
	buffer      command.Size
	comments    string
	noOwners    bool
	noEvents    bool
	noNames     bool
	node        string
	quiet       bool
	keys        []string
	keysTo      []string
	plaintext   []string

	segmentSize command.Size
	segmentTime time.Duration
	maxSize     command.Size
	policy      policyflag.Flags
	reserve     command.Reserve
	key         string
	signer      string // fingerprint of key
	sight       string
}

const otherOutput = "choose another name with -w, or remove it first; nothing is overwritten"

// Command returns the command record.
func Command(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f recordFlags
	c := &cobra.Command{
		Use:   "record -w FILE|RING/|- [FILTER]",
		Short: "Record packets with their owning process and a count of every loss",
		Long: `Record what this machine's sockets send and receive, with the process and container behind
each packet and a count of every loss. This needs Linux and the right to load BPF programs.
Without that right, pcapsule prints a warning and records frames of network interfaces instead,
without owners. pcapsule doctor shows what is missing.

-w FILE writes one capture for Wireshark, tcpdump and pcapsule bundle. -w - writes packets to
standard output as they arrive. -w RING/ (a folder, or a name that ends in a slash) keeps a ring
of sealed segments and removes the oldest according to --max-size and --max-age.

FILTER uses tcpdump's syntax and runs in the kernel. --namespace, --pod, --label, --container and
--process choose the owners whose packets are recorded. --never and --policy exclude packets: these
are counted, but never written to disk. NAME.owners.jsonl, next to the packets, lists the owners of
each socket and how they are known; NAME.events lists events of processes and the network stack.
Ctrl-C ends the recording cleanly and checks the counters: packets seen = filtered + delivered +
dropped.

--keys reads TLS keys from the chosen processes only. These can use Go, OpenSSL or GnuTLS, and are
neither changed nor stopped. The keys are written to NAME.keys, which pcapsule bundle finds
automatically, never into the packets. If a program makes its first handshake within a few
milliseconds of its start, its keys may be missed. If no key is available, --plaintext reads the
data that programs pass to and from their TLS library instead, and writes it to
plaintext-NAME.pcapng, never among the packets.`,
		Example: `  pcapsule record -w out.pcapng
  pcapsule record -w out.pcapng 'tcp port 5432 or udp port 53'
  pcapsule record -w - | wireshark -k -i -
  pcapsule record -w /var/lib/pcapsule/ --max-size 20GiB --max-age 24h
  pcapsule record -w /var/lib/pcapsule/ --never port=5432 --never process=sshd
  pcapsule record -w web.pcapng --cgroup system.slice/nginx.service --duration 30s
  pcapsule record -w web.pcapng --keys exe:nginx --keys pid:4711 --keys-to age1…`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := command.CheckFilter(c, args); err != nil {
				return err
			}
			return e.runRecord(c.Context(), args, &f, c.Flags().Changed)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "write", "w", "", "capture to write, a folder for a ring, or - for standard output")
	fl.StringVar(&f.capture, "capture", string(recorder.Auto), "sockets: packets of sockets, with owners; interfaces: frames of network interfaces; both: into a ring; auto: sockets, or interfaces if this machine does not allow sockets")
	fl.StringVar(&f.cgroup, "cgroup", "", "only sockets of this control group and those below it")
	fl.StringArrayVarP(&f.interfaces, "interface", "i", nil, "with --capture=interfaces: only this interface; can be repeated")
	fl.Uint32VarP(&f.snap, "snapshot-length", "s", 0, "bytes to keep of each packet; 0: all")
	fl.BoolVar(&f.headersOnly, "headers-only", false, "keep only network and transport headers")
	fl.Uint64VarP(&f.count, "count", "c", 0, "stop after this number of packets")
	fl.DurationVar(&f.duration, "duration", 0, "stop after this time")
	command.BufferVar(fl, &f.buffer)
	fl.StringVar(&f.sight, "sight", "", "packets between two sockets of this machine: once, when they leave (default for -), or both, also when they arrive (default for files and rings)")
	fl.StringVar(&f.comments, "comments", "none", "packet: add a comment with the owner to every packet; none")
	fl.BoolVar(&f.noOwners, "no-owners", false, "do not find the owners of sockets")
	fl.BoolVar(&f.noNames, "no-names", false, "do not look up names in container runtimes (containerd, Docker, Podman, CRI-O)")
	fl.BoolVar(&f.noEvents, "no-events", false, "do not record events of processes and the network stack")
	fl.StringVar(&f.node, "node", "", "name of this machine in the recording (default: its host name)")
	fl.StringArrayVar(&f.keys, "keys", nil, "read TLS keys of chosen processes: pid:NUMBER and its children, exe:NAME or exe:/PATH (wildcards * and ?), cgroup:/PATH and below, or all; can be repeated")
	fl.StringArrayVar(&f.keysTo, "keys-to", nil, "encrypt keys with age for a recipient (age1…, SSH public key) or a file of recipients; can be repeated")
	fl.StringArrayVar(&f.plaintext, "plaintext", nil, "record the data that chosen processes pass to and from their TLS library, into plaintext-NAME.pcapng; same values as --keys; can be repeated")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors")
	command.SizeVar(fl, &f.segmentSize, "segment-size", "", 64<<20, recorder.MinSegment, command.Largest, "ring: size of a segment")
	fl.DurationVar(&f.segmentTime, "segment-time", time.Minute, "ring: age at which a segment ends")
	command.Between(fl, "snapshot-length", &f.snap, 0, math.MaxInt32)
	command.Between(fl, "count", &f.count, 1, math.MaxInt64)
	command.Between(fl, "duration", &f.duration, time.Millisecond, command.Longest)
	command.Between(fl, "segment-time", &f.segmentTime, time.Millisecond, command.Longest)
	command.SizeVar(fl, &f.maxSize, "max-size", "", 0, 0, command.Largest, "ring: maximum size; 0: no limit")
	f.policy.Define(fl)
	command.ReserveVar(fl, &f.reserve, 256<<20, "ring: ")
	fl.StringVar(&f.key, "key", "", "ring: private key that signs the records of segments (ed25519, PKCS #8 in PEM), or none; created if it does not exist (default RING.key)")
	return c
}

func (e *env) runRecord(ctx context.Context, args []string, f *recordFlags, changed func(flag string) bool) error {
	if runtime.GOOS != "linux" { // before an output is created
		return exit.With(recorder.ErrPlatform, exit.Other, "record on a Linux machine and copy the capture or the ring here: pcapsule bundle reads both")
	}
	o, err := f.options(e, args)
	if err != nil {
		return err
	}
	if o.Ring == nil {
		for _, name := range []string{"segment-size", "segment-time", "max-size", "max-age", "reserve", "key"} {
			if changed(name) {
				return exit.Usagef("--%s needs a ring: give -w RING/, a name that ends in a slash", name)
			}
		}
	}
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	o.OnError = func(err error) { e.Warn("%v", err) }
	e.warnKeys(f)
	if !f.quiet {
		o.OnStart = func(s recorder.Started) { e.recordStarted(f, s) }
		o.OnStats = func(s recorder.Stats) { e.recordStatus(s) }
	}
	s, err := recorder.Run(ctx, o)
	if console.Terminal(e.Err) && !f.quiet {
		fmt.Fprint(console.Drawn(e.Err), "\r\x1b[K")
	}
	if err != nil && o.File != "" && exit.IsDisk(err) && (s.Delivered > 0 || exists(o.File)) {
		return exit.With(fmt.Errorf("%w; %s is readable and has %s", err, o.File, plural.Count(int64(s.Delivered), "packet", "packets")), exit.Disk, "free space, and record into another file")
	}
	if err != nil {
		return recordError(err, f.output)
	}
	if !f.quiet {
		e.recorded(f, &s)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// options reads the flags.
func (f *recordFlags) options(e *env, args []string) (recorder.Options, error) {
	o := recorder.Options{
		Capture: recorder.Capture(f.capture), Cgroup: f.cgroup, Interface: f.interfaces, Filter: strings.Join(args, " "),
		Snap: f.snap, HeadersOnly: f.headersOnly, Count: f.count, NoOwners: f.noOwners, NoEvents: f.noEvents, NoNames: f.noNames,
		Node: f.node, Program: "pcapsule " + version.Release, Mask: redact.Arguments,
	}
	switch {
	case f.output == "":
		return o, exit.Usagef("missing output: give -w FILE, -w RING/ or -w -")
	case !o.Capture.Known():
		return o, command.OneOf("--capture", f.capture, []string{"sockets", "interfaces", "both", "auto"})
	case f.duration < 0:
		return o, exit.Usagef("--duration %s: must be 0 or more", f.duration)
	case len(f.interfaces) > 0 && o.Capture != recorder.Interfaces && o.Capture != recorder.Both:
		return o, exit.Usagef("-i needs --capture=interfaces or --capture=both")
	}
	switch f.comments {
	case "none":
	case "packet":
		o.Comments = true
	default:
		return o, command.OneOf("--comments", f.comments, []string{"packet", "none"})
	}
	var err error
	if o.Sight, err = sight.Parse(f.sight, ""); err != nil {
		return o, exit.Usagef("--%v", err)
	}
	if err := command.CheckBuffer(f.buffer); err != nil {
		return o, err
	}
	o.RingBuffer = uint32(f.buffer)
	if o.Policy, err = f.policy.Policy(); err != nil {
		return o, exit.WithDefault(err, exit.Usage)
	}
	if err := f.outputTo(e, &o); err != nil {
		return o, err
	}
	if o.Capture == recorder.Both && o.Ring == nil {
		return o, exit.Usagef("--capture=both needs a ring (-w RING/): a file has only one link type")
	}
	return o, f.keyOptions(&o)
}

// outputTo sets where the packets are written.
func (f *recordFlags) outputTo(e *env, o *recorder.Options) error {
	if err := exit.Outside(f.output, f.key); err != nil {
		return err
	}
	if f.output == "-" {
		if console.Terminal(e.Out) {
			return exit.Usagef("refusing to write a capture to a terminal: give -w FILE or redirect it")
		}
		o.Stream = e.Exact()
		return nil
	}
	info, err := os.Stat(f.output)
	if !strings.HasSuffix(f.output, "/") && (err != nil || !info.IsDir()) {
		o.File = f.output
		err := exit.NewOutput(f.output)
		var refused *exit.Error
		if errors.As(err, &refused) && refused.Code == exit.Exists {
			return exit.With(refused.Err, exit.Exists, otherOutput)
		}
		return err
	}
	r := ring.Options{Dir: f.output, SegmentTime: f.segmentTime, SegmentBytes: int64(f.segmentSize), MaxAge: f.policy.MaxAge.All, MaxBytes: int64(f.maxSize), Reserve: ring.Reserve(f.reserve)}
	if r.Key, f.key, err = signingkey.OfRing(f.key, r.Dir); err != nil {
		return exit.With(err, exit.Other, "give --key FILE, or --key none for unsigned records")
	}
	if r.Key != nil {
		f.signer = ring.Fingerprint(r.Key)
	}
	o.Ring = &r
	return nil
}

// recordError gives the error of a recording its exit code and hint.
func recordError(err error, output string) error {
	var unbalanced *recorder.BalanceError
	var rule *keys.SelectorError
	if hint := recorder.Hint(err); hint != "" {
		return exit.With(err, exit.Other, hint+"; pcapsule doctor checks this machine")
	}
	switch {
	case errors.Is(err, recorder.ErrPolicy):
		return exit.With(err, exit.Usage, "nothing was recorded; docs/guide/recorder.md lists what each rule needs")
	case errors.As(err, &unbalanced):
		return exit.With(err, exit.Verify, "the recording was written; do not rely on its counts of losses")
	case errors.Is(err, keys.ErrNamespace):
		return exit.With(err, exit.Other, "run outside a container, in one that shares the machine's processes (hostPID, --pid=host), or without --keys")
	case errors.Is(err, keys.ErrUnsupported):
		return exit.With(err, exit.Other, "record without --keys")
	case errors.As(err, &rule):
		return exit.With(err, exit.Usage, "list the processes with ps, or choose by exe: or cgroup:")
	case errors.Is(err, ring.ErrLocked):
		return exit.With(err, exit.Exists, "stop the other recorder, or choose another folder")
	case errors.Is(err, fs.ErrExist):
		return exit.With(err, exit.Exists, otherOutput)
	}
	return exit.OutputError(err, output)
}

// recordStarted prints what is being recorded.
func (e *env) recordStarted(f *recordFlags, s recorder.Started) {
	text := "recording " + s.Where + " to " + f.output
	switch s.Filter {
	case "kernel":
		text += ", filtered in the kernel"
	case "recorder":
		text += ", filtered outside the kernel, which cannot run this filter"
	}
	if s.Instead != nil {
		e.Warn("sockets cannot be recorded here: %v", s.Instead)
		e.Warn("frames of network interfaces are recorded instead, without owners, events or names; pcapsule doctor shows what to change; --capture=sockets disables this fallback")
	}
	for _, x := range s.Degraded {
		text += "; " + x
	}
	if s.Sight == sight.Once {
		text += "; packets between two sockets of this machine once (--sight both: twice)"
	}
	if s.Own != "" {
		text += "; " + s.Own
	}
	if s.Only != "" {
		text += "; only " + s.Only
	}
	if s.Policy != "" {
		text += "; " + s.Policy
	}
	if f.signer != "" {
		text += "; signed with key " + f.signer + " (" + f.key + ")"
	}
	fmt.Fprintln(e.Err, console.Lines(text))
}

// recordStatus redraws the status line.
func (e *env) recordStatus(s recorder.Stats) {
	if console.Terminal(e.Err) {
		fmt.Fprintf(console.Drawn(e.Err), "\r\x1b[K%s packets, %s, %s dropped, %s%s", plural.Thousands(int64(s.Delivered)), console.ByteSize(int64(s.Bytes)), plural.Thousands(int64(s.Dropped)), plural.Count(int64(s.Interfaces), "workload", "workloads"), keysStatus(s.Keys))
	}
}

// containersText says how many containers have names, and which runtimes named them.
func containersText(c *recorder.ContainerStats) string {
	var by []string
	for _, name := range slices.Sorted(maps.Keys(c.Runtimes)) {
		by = append(by, name+" "+plural.Thousands(int64(c.Runtimes[name])))
	}
	text := fmt.Sprintf("%s named", plural.Count(int64(c.Named), "container", "containers"))
	if len(by) > 0 {
		text += " by " + strings.Join(by, ", ")
	}
	if c.Nameless > 0 {
		text += fmt.Sprintf("; %s known to no runtime", plural.Thousands(int64(c.Nameless)))
	}
	return text
}

// recorded prints the result of a recording.
func (e *env) recorded(f *recordFlags, s *recorder.Stats) {
	fmt.Fprintf(e.Err, "%s: %s, %s, from %s\n", f.output, plural.Count(int64(s.Delivered), "packet", "packets"), console.ByteSize(int64(s.Bytes)), plural.Count(int64(s.Interfaces), "workload", "workloads"))
	fmt.Fprintf(e.Err, "seen %s = filtered %s + delivered %s + dropped %s\n", plural.Thousands(int64(s.Seen)), plural.Thousands(int64(s.Filtered)), plural.Thousands(int64(s.Delivered)), plural.Thousands(int64(s.Dropped)))
	if s.Policy > 0 {
		fmt.Fprintf(e.Err, "of the filtered, %s by policy\n", plural.Thousands(int64(s.Policy)))
	}
	for _, d := range s.Drops {
		if d.Packets > 0 {
			e.Warn("%s lost: %s", plural.Count(int64(d.Packets), "packet", "packets"), d.Reason)
		}
	}
	if s.Truncated > 0 {
		fmt.Fprintf(e.Err, "%s shortened\n", plural.Count(int64(s.Truncated), "packet", "packets"))
	}
	if s.EventsLost > 0 {
		e.Warn("%s discarded: more than the limit per second", plural.Count(int64(s.EventsLost), "event", "events"))
	}
	if c := s.Containers; c != nil && c.Named+c.Nameless > 0 {
		fmt.Fprintln(e.Err, containersText(c))
	}
	if s.Keys != nil {
		e.recordedKeys(f, s.Keys)
	}
}
