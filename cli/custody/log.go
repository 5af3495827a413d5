// Package custody is the commands about a bundle as evidence: its seal, time stamps and custody
// log, its handover to another person, and proof of single packets and rows.
//
// They add to the folder custody/ of a bundle and never change its other files.
package custody

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/version"
)

// env is a command's access to the outside world.
type env struct{ *console.Streams }

// Log returns the command custody.
func Log(s *console.Streams) *cobra.Command {
	e := &env{s}
	c := &cobra.Command{
		Use:   "custody",
		Short: "Show the custody log of a bundle, or add an entry",
		Long: `The custody log records who did what with a bundle. Every entry contains the hash of the previous
entry, so a changed, removed or moved entry is detected. Only this command, seal and timestamp add
entries.`,
		Example: `  pcapsule custody show incident.pcapsule
  pcapsule custody add incident.pcapsule --event copied --note "to the evidence share"`,
	}
	for _, sub := range []*cobra.Command{e.cmdCustodyShow(), e.cmdCustodyAdd(), e.cmdCustodyVerify()} {
		sub.Args = command.CheckArgs(sub.Args)
		c.AddCommand(sub)
	}
	return c
}

func (e *env) cmdCustodyShow() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show BUNDLE",
		Short: "Show the custody log and the hash of its last entry",
		Long: `Show the custody log and the hash of its last entry (custody_head). Keep that hash elsewhere: it
reveals whether entries were removed from the end of the log.`,
		Example: "  pcapsule custody show incident.pcapsule --json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return e.runCustodyShow(args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (e *env) runCustodyShow(path string, asJSON bool) error {
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	entries, head, err := b.Custody()
	if err != nil {
		return err
	}
	if asJSON {
		return e.JSON(struct {
			Entries   []bundle.Entry   `json:"entries"`
			Head      bundle.Digest    `json:"custody_head"`
			Retention bundle.Retention `json:"retention"`
		}{entries, head, bundle.RetentionOf(entries)})
	}
	for _, entry := range entries {
		fmt.Fprintln(e.Out, console.Line(custodyLine(entry)))
	}
	for _, text := range retentionLines(bundle.RetentionOf(entries)) {
		fmt.Fprintln(e.Out, console.Line(text))
	}
	fmt.Fprintf(e.Out, "custody_head %s\n", head)
	return nil
}

// retentionLines say how long a bundle is kept.
func retentionLines(r bundle.Retention) (list []string) {
	if r.Hold != nil {
		list = append(list, strings.TrimSpace("on legal hold since "+r.Hold.Time.String()+" "+r.Hold.Details["authority"]))
	}
	if !r.Until.IsZero() {
		list = append(list, "keep until "+r.Until.Format(time.DateOnly))
	}
	return list
}

// custodyLine is one entry for people: number, time, event, then the fields that are set.
func custodyLine(entry bundle.Entry) string {
	line := fmt.Sprintf("%d  %s  %s", entry.Seq, entry.Time, entry.Event)
	for _, part := range []struct{ label, text string }{{" by ", entry.User}, {" on ", entry.Host}, {" with ", entry.Tool}, {": ", entry.Note}} {
		if part.text != "" {
			line += part.label + part.text
		}
	}
	return line
}

func (e *env) cmdCustodyVerify() *cobra.Command {
	var head string
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check that no entry of the custody log was changed, removed or cut off",
		Long: `Check that no entry of the custody log was changed, removed or moved, and that the log belongs to
this bundle. The log alone cannot show whether entries were cut off at its end. To detect that, pass
a custody_head that you kept elsewhere (--head): the log must still contain that entry. Seals are checked too.`,
		Example: "  pcapsule custody verify incident.pcapsule --head 58ed3ed489c356fd9e99482a6e685d7eb79e0b688be36177f0b48ae929e76526",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return e.runCustodyVerify(c.Context(), args[0], head) },
	}
	c.Flags().StringVar(&head, "head", "", "hash of an entry, from custody show, handover or verify, that must still be in the log")
	return c
}

func (e *env) runCustodyVerify(ctx context.Context, path, head string) error {
	var want bundle.Digest
	if err := want.UnmarshalText([]byte(head)); head != "" && err != nil {
		return exit.Usagef("--head %q: must be 64 hexadecimal digits, as custody show prints custody_head", head)
	}
	r, err := bundle.VerifyCustody(ctx, path)
	if err != nil {
		return err
	}
	var failed *seal.Verdict
	for _, p := range r.Problems {
		failed = &seal.Verdict{Check: "custody", State: seal.No, Place: p.File, Detail: p.String()}
		if p.Kind != bundle.Chain { // its verdict follows
			PrintVerdict(e.Out, *failed)
		}
	}
	for _, v := range Verdicts(ctx, r, seal.Trust{}) {
		if v.Check != "custody" && v.Check != "signature" && v.Check != "timestamp" {
			continue
		}
		PrintVerdict(e.Out, v)
		if v.State == seal.No && failed == nil {
			failed = &v
		}
	}
	if head != "" {
		v := seal.Verdict{Check: "head", State: seal.Yes, Detail: "the given entry is in the log"}
		if i := slices.Index(r.CustodyLines, want); i < 0 {
			v.State, v.Detail = seal.No, "the log does not contain the entry with this hash: it was cut off or rewritten"
			failed = &v
		} else {
			v.Detail = fmt.Sprintf("entry %d of %d", i, len(r.CustodyLines)-1)
		}
		PrintVerdict(e.Out, v)
	}
	if failed != nil {
		return exit.With(fmt.Errorf("%s: %s: %s", path, failed.Check, failed.Detail), exit.Verify, "ask the person who sent the bundle for the original log")
	}
	return nil
}

func (e *env) cmdCustodyAdd() *cobra.Command {
	var entry bundle.Entry
	var until, authority string
	c := &cobra.Command{
		Use:   "add BUNDLE --event EVENT",
		Short: "Add an entry to the custody log",
		Long: `Add an entry to the custody log: what was done with the bundle (one lower-case word, such as
copied, reviewed or archived), by whom, on which machine, and a note. The time is that of this
machine's clock. Entries are never changed or removed. Words that other commands write, such as
sealed, received or anchored, are refused: verify expects more than a word of them.

The events legal_hold, hold_released and retention (with --until) say how long the bundle is kept.
They are part of the bundle: show, verify and cover sheets report the hold and the date in force.`,
		Example: `  pcapsule custody add incident.pcapsule --event reviewed --user "A. Auditor" --note "case 4711"
  pcapsule custody add incident.pcapsule --event legal_hold --authority "District Court, 3 C 17/26"
  pcapsule custody add incident.pcapsule --event retention --until 2032-12-31`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := retentionDetails(&entry, until, authority); err != nil {
				return err
			}
			return e.runCustodyAdd(args[0], entry)
		},
	}
	c.Flags().StringVar(&entry.Event, "event", "", "what was done: one lower-case word")
	c.Flags().StringVar(&entry.User, "user", "", "the person (default: the name of the account)")
	c.Flags().StringVar(&entry.Host, "host", "", "the machine (default: its host name)")
	c.Flags().StringVar(&entry.Note, "note", "", "a note")
	c.Flags().StringVar(&until, "until", "", "for retention: the last day, such as 2032-12-31")
	c.Flags().StringVar(&authority, "authority", "", "who ordered it")
	return c
}

// retentionDetails fills in the details of events about keeping a bundle.
func retentionDetails(entry *bundle.Entry, until, authority string) error {
	if (entry.Event == bundle.EventRetention) != (until != "") {
		return exit.Usagef("--until belongs to --event %s, which needs it", bundle.EventRetention)
	}
	if _, err := time.Parse(time.DateOnly, until); until != "" && err != nil {
		return exit.Usagef("--until %q: must be a day such as 2032-12-31", until)
	}
	for key, text := range map[string]string{"until": until, "authority": authority} {
		if text != "" {
			if entry.Details == nil {
				entry.Details = map[string]string{}
			}
			entry.Details[key] = text
		}
	}
	return nil
}

func (e *env) runCustodyAdd(path string, entry bundle.Entry) error {
	if entry.Event == "" {
		return exit.Usagef("missing event: give --event with what was done, such as --event copied")
	}
	if command, own := ownEvents[entry.Event]; own {
		return exit.With(fmt.Errorf("--event %s: pcapsule itself writes this word, with more than a note", entry.Event), exit.Usage, command)
	}
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	if _, _, err := b.AppendCustody(Entry(entry)); err != nil {
		return custodyError(err)
	}
	return e.runCustodyShow(path, false)
}

// ownEvents are the events that programs write, with what to do instead. An entry that only looks like one would make the
// bundle fail its verification, or state what did not happen, and no entry can be removed.
var ownEvents = map[string]string{
	bundle.EventMade:         "pcapsule bundle writes the first entry",
	bundle.EventAnchored:     "the hub adds its anchors itself",
	bundle.EventContradicted: "the hub adds it; for your own doubts use --event disputed",
	bundle.Redacted:          "pcapsule redact makes a redacted bundle",
	bundle.Cut:               "pcapsule cut makes a part of a bundle",
	bundle.Merged:            "pcapsule bundle makes a bundle of several",
	seal.EventSealed:         "sign it with pcapsule seal",
	seal.EventTimestamped:    "add a time stamp with pcapsule timestamp",
	seal.EventLogged:         "pcapsule seal --log adds the proof of a log",
	seal.EventFailed:         "it is only for a command that failed; use another word",
	handover.EventHandedOver: "pack it with pcapsule handover",
	handover.EventReceived:   "unpack it with pcapsule receive; for a bundle that came in another way use --event arrived",
}

// custodyError says why an entry could not be added.
func custodyError(err error) error {
	var invalid *bundle.EntryError
	switch {
	case errors.As(err, &invalid):
		return exit.With(err, exit.Usage, "")
	case errors.Is(err, fs.ErrPermission):
		return exit.With(err, exit.Disk, "the log cannot be written; add the entry on a machine that can write to the bundle")
	}
	return err
}

// Entry fills in the user, the host and the program.
func Entry(entry bundle.Entry) bundle.Entry {
	if entry.User == "" {
		if account, err := user.Current(); err == nil {
			entry.User = account.Username
		}
	}
	if entry.Host == "" {
		entry.Host, _ = os.Hostname()
	}
	entry.Tool = strings.TrimSpace("pcapsule " + version.Release)
	return entry
}
