package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/exporting"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

type packetsFlags struct {
	window
	keys             exporting.Keys
	output           string
	withContext      bool
	wholeConnections bool
	noContext        bool
	withKeys         bool
	keysIfAny        bool // withKeys without a warning if nothing is encrypted
	stripKeys        bool
	vantage          string
	comments         string
	profile          string
	calls            []string
	frames           []string
	alerts           []string
	sql              string
}

func (e *env) cmdPackets() *cobra.Command {
	var f packetsFlags
	c := &cobra.Command{
		Use:   "packets BUNDLE|CAPTURE... [KFL] -o SLICE.pcapng",
		Short: "Write the packets of matching calls to a capture for Wireshark",
		Long: `Write the packets that calls cite to a pcapng file, with their original bytes and times. A comment
on each packet gives its file and frame. The last argument is a KFL filter, unless --call,
--alert, --frames, --sql or a time window selects the packets. If nothing matches, the output is a capture without packets.

Secrets are left out by default. With --with-keys, the secrets of the selected connections precede
the packets, so that Wireshark can decrypt them. Earlier packets of these connections are included
too, because decrypting a record requires its number. With --strip-keys the argument can be any
capture, or -, which is copied without its secrets.`,
		Example: `  pcapsule packets incident.pcapsule 'dst.service == "payment"' -o slice.pcapng
  pcapsule packets incident.pcapsule --call 4f2a91c07be3 --with-context -o call.pcapng
  pcapsule packets incident.pcapsule --frames 'node.pcap:5479-5481' -o cited.pcapng
  pcapsule packets incident.pcapsule 'http && status_code == 503' -o - | tshark -r -
  pcapsule packets incident.pcapsule 'http' --with-keys --keys sslkeys.log -o slice.pcapng
  pcapsule packets capture.pcapng --strip-keys -o handoff.pcapng`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeKFL,
		RunE:              func(c *cobra.Command, args []string) error { return e.runPackets(c, args, &f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "capture to write; - is standard output")
	fl.BoolVar(&f.withContext, "with-context", false, "include earlier packets of the calls' connections, with their handshakes")
	fl.BoolVar(&f.wholeConnections, "whole-connections", false, "include all packets of the calls' connections")
	fl.BoolVar(&f.withKeys, "with-keys", false, "include the secrets that decrypt the packets: anyone with the file can then read them")
	fl.BoolVar(&f.noContext, "no-context", false, "with --with-keys: include no packets except the selected ones")
	fl.BoolVar(&f.stripKeys, "strip-keys", false, "copy without any secrets; the input can be any capture")
	f.keys.Register(fl)
	fl.StringVar(&f.comments, "comments", "place", "place: the position of each packet in the bundle; packet: also its sender; call: also its service, process, call and outcome; none")
	fl.StringVar(&f.profile, "profile", "", "folder to make with a Wireshark profile for the slice: columns, colours, names, decode-as; implies --comments call")
	f.choiceFlags(c)
	return c
}

func (e *env) runPackets(c *cobra.Command, args []string, f *packetsFlags) error {
	if f.output == "" {
		return exit.Usagef("missing output: give -o SLICE.pcapng, or -o - for standard output")
	}
	if f.output == "-" && console.Terminal(e.Out) {
		return exit.Usagef("refusing to write a capture to a terminal: give -o SLICE.pcapng or redirect it")
	}
	if f.stripKeys && strippable(args[0]) {
		return e.stripKeys(c, args, f)
	}
	if f.profile != "" {
		switch {
		case c.Flags().Changed("comments") && f.comments != "call":
			return exit.Usagef("--profile needs --comments call, which it implies")
		case filepath.Clean(f.profile) == filepath.Clean(f.output):
			return exit.Usagef("-o and --profile are both %s: a profile is a folder of its own", f.profile)
		}
		f.comments = "call"
	}
	sel, args, err := f.selection(args)
	if err != nil {
		return err
	}
	for _, path := range []string{f.output, f.profile} {
		if path == "-" || path == "" {
			continue
		}
		if err := exit.NewOutput(path); err != nil {
			return err
		}
	}
	return e.writeSlice(c, args, sel, f)
}

// writeSlice writes the slice and, with --profile, the profile of a selection, and says what they are.
func (e *env) writeSlice(c *cobra.Command, args []string, sel forensics.Selection, f *packetsFlags) (err error) {
	ctx, cs, end, err := e.caseWithin(c, args)
	if err != nil {
		return err
	}
	defer end()
	if sel.From, sel.To, err = f.times(cs); err != nil {
		return err
	}
	if len(f.alerts) > 0 {
		if sel.SQL, err = f.alertPackets(ctx, cs); err != nil {
			return e.questionError(err)
		}
	}
	said := func() {}
	if f.profile != "" {
		if said, err = e.writeProfile(ctx, cs, sel.KFL, f.profile); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, os.RemoveAll(f.profile))
			}
		}()
	}
	var r forensics.CarveReport
	if f.output == "-" {
		r, err = cs.Packets(ctx, sel, e.Exact())
	} else {
		r, err = cs.PacketsFile(ctx, sel, f.output)
	}
	if errors.Is(err, fs.ErrExist) {
		return exit.With(err, exit.Exists, "")
	}
	if err != nil {
		return e.questionError(keysError(exit.OutputError(err, f.output)))
	}
	e.printSlice(&r, f)
	said()
	return nil
}

// selection reads the flags and returns the arguments without the filter.
func (f *packetsFlags) selection(args []string) (forensics.Selection, []string, error) {
	sel := forensics.Selection{CallIDs: f.calls, Frames: f.frames, SQL: f.sql, Keys: forensics.CountKeys}
	chosen := 0
	args, filter, err := splitFilter(args)
	if err != nil {
		return sel, args, err
	}
	if sel.KFL = filter; filter != "" {
		chosen++
	}
	if len(f.calls) > 0 {
		chosen++
	}
	if f.sql != "" {
		chosen++
	}
	if len(f.frames) > 0 {
		chosen++
	}
	if len(f.alerts) > 0 {
		chosen++
	}
	if chosen > 1 {
		return sel, args, exit.Usagef("a KFL filter, --call, --alert, --frames and --sql exclude each other: give one")
	}
	switch {
	case f.withContext && f.wholeConnections:
		return sel, args, exit.Usagef("--with-context and --whole-connections exclude each other: give one")
	case f.withContext:
		sel.Context = forensics.WithContext
	case f.wholeConnections:
		sel.Context = forensics.WholeConnections
	}
	switch f.vantage {
	case "one":
	case "both":
		sel.Vantage = forensics.BothVantage
	default:
		return sel, args, command.OneOf("--vantage", f.vantage, []string{"one", "both"})
	}
	switch f.comments {
	case "place":
	case "packet":
		sel.Comments = forensics.OwnerComments
	case "call":
		sel.Comments = forensics.CallComments
	case "none":
		sel.Comments = forensics.NoComments
	default:
		return sel, args, command.OneOf("--comments", f.comments, []string{"place", "packet", "call", "none"})
	}
	return sel, args, f.keyOptions(&sel)
}

// alertPackets is SQL for the packets that alerts are about: those that they cite, else those of their flow.
func (f *packetsFlags) alertPackets(ctx context.Context, cs *forensics.Case) (string, error) {
	var parts []string
	for _, id := range f.alerts {
		bundle, no := "", id
		if cs.Several() {
			bundle, no, _ = strings.Cut(id, "#")
		}
		n, err := strconv.ParseUint(no, 10, 62)
		b, err2 := strconv.ParseUint(cmp.Or(bundle, "0"), 10, 31)
		switch {
		case cs.Several() && (bundle == "" || err != nil || err2 != nil):
			return "", exit.Usagef("--alert %q: with several bundles, give the number of the bundle and of the alert, such as 0#12", id)
		case err != nil:
			return "", exit.Usagef("--alert %q: must be a number of column alert_no of table alerts", id)
		}
		key, of := "", ""
		if cs.Several() {
			key, of = "bundle, ", fmt.Sprintf("bundle = %d AND ", b)
		}
		where := fmt.Sprintf("FROM alerts WHERE %salert_no = %d", of, n)
		found, flow, here := false, false, ""
		_, err = cs.Each(ctx, forensics.Query{SQL: "SELECT flow_id IS NOT NULL AND (cites IS NULL OR len(cites) = 0 OR kind = 'conn') AS by_flow, cites IS NULL OR len(cites) = 0 AS nothing, packets_why " + where}, nil, func(_ []forensics.Column, row []any) error {
			found = true
			flow, _ = row[0].(bool)
			if nothing, _ := row[1].(bool); nothing && !flow {
				here, _ = row[2].(string)
			}
			return nil
		})
		switch {
		case err != nil:
			return "", err
		case !found:
			return "", exit.With(fmt.Errorf("table alerts has no alert %s", id), exit.Other, "pcapsule sql BUNDLE 'SELECT alert_no, program, rule FROM alerts' lists the alerts")
		case here != "":
			return "", exit.With(fmt.Errorf("alert %s: its packets are not in this bundle, or that is not known (%s)", id, here), exit.Other, "docs/format/alerts.md explains the reason")
		case flow:
			parts = append(parts, fmt.Sprintf("SELECT %spacket_no FROM packets WHERE (%[1]sflow_id) IN (SELECT (%[1]sflow_id) %[2]s)", key, where))
		default:
			parts = append(parts, fmt.Sprintf(`SELECT %sunnest(flatten(list_transform(cites, r -> range(r."first", r."last" + 1)))) AS packet_no %s`, key, where))
		}
	}
	return strings.Join(parts, " UNION "), nil
}

// keyOptions reads the flags about keys.
func (f *packetsFlags) keyOptions(sel *forensics.Selection) error {
	switch {
	case f.withKeys && f.stripKeys:
		return exit.Usagef("--with-keys and --strip-keys exclude each other: give one")
	case !f.withKeys && (len(f.keys.Files) > 0 || len(f.keys.Identities) > 0):
		return exit.Usagef("--keys and --identity need --with-keys")
	case f.noContext && !f.withKeys:
		return exit.Usagef("--no-context needs --with-keys")
	case f.noContext && (f.withContext || f.wholeConnections):
		return exit.Usagef("--no-context excludes --with-context and --whole-connections: give one")
	case !f.withKeys:
		return nil
	}
	var o exporter.Options
	if err := applyKeys(&f.keys, &o); err != nil {
		return err
	}
	sel.Keys, sel.KeyFiles, sel.Identities, sel.ExactPackets = forensics.WithKeys, o.Keys, o.Identities, f.noContext
	return nil
}

// keysError gives the error of an unusable key file its exit code.
func keysError(err error) error {
	var bad *secrets.SourceError
	var file *exporter.KeysError
	if !errors.As(err, &bad) && !errors.As(err, &file) || exitCode(context.Background(), err) != exit.Other {
		return err
	}
	hint := ""
	switch {
	case errors.Is(err, secrets.ErrEncrypted):
		hint = "give --identity with the key that decrypts it"
	case errors.Is(err, secrets.ErrNoKey), file != nil:
		hint = "a key log has lines such as CLIENT_RANDOM <64 hex digits> <hex digits>; an RSA key is PEM or DER"
	}
	return exit.With(err, exit.NotCapture, hint)
}

// printSlice summarizes a slice.
func (e *env) printSlice(r *forensics.CarveReport, f *packetsFlags) {
	to := e.Out
	if f.output == "-" {
		to = e.Err
	}
	keys := ""
	if k := &r.Keys; f.withKeys && k.Lines > 0 {
		keys = fmt.Sprintf("; %s for %s of %s", plural.Count(k.Lines, "key line", "key lines"), plural.Thousands(k.Opened), plural.Count(k.Connections, "encrypted connection", "encrypted connections"))
		if k.Added > 0 {
			keys += fmt.Sprintf(", which required %s", plural.Count(k.Added, "additional packet", "additional packets"))
		}
	}
	calls := ""
	if len(f.frames)+len(f.alerts) == 0 {
		calls = ", from " + plural.Count(r.Calls, "call", "calls")
	}
	fmt.Fprintf(to, "%s: %s, %s%s%s\n", f.output, plural.Count(r.Packets, "packet", "packets"), console.ByteSize(r.Bytes), calls, keys)
	for _, n := range r.Notes {
		e.Remark("%s", n)
	}
	switch {
	case r.Coverage.State == forensics.None:
		e.Remark("nothing was recorded in that time range")
	case r.Packets == 0:
		e.Remark("No matches: %s is a capture without packets.", f.output)
	}
	e.printSliceKeys(&r.Keys, f)
}

// printSliceKeys reports which secrets a slice lacks, and why.
func (e *env) printSliceKeys(k *forensics.KeyReport, f *packetsFlags) {
	switch {
	case !f.withKeys && k.Lines > 0:
		e.Remark("%s left out; --with-keys includes them", plural.Count(k.Lines, "key line", "key lines"))
	case f.keysIfAny && k.Connections == 0:
	case f.withKeys && k.Lines == 0 && k.Connections == 0:
		e.Warn("no keys in %s: none of its connections has a TLS or QUIC handshake", f.output)
	case f.withKeys && k.Lines == 0:
		e.Warn("no keys in %s: none match its %s; give them with --keys", f.output, plural.Count(k.Connections, "encrypted connection", "encrypted connections"))
	}
	if !f.withKeys {
		return
	}
	if k.Sealed > 0 {
		e.Warn("keys in %s are encrypted and were not used; give --identity", plural.Count(int64(k.Sealed), "bundle", "bundles"))
	}
	if k.Left > 0 {
		e.Warn("%s bytes of secrets above the limit of 64 MiB per file were not read", plural.Thousands(k.Left))
	}
	if k.Other > 0 {
		e.Warn("%s left out", plural.Count(k.Other, "block of secrets other than TLS", "blocks of secrets other than TLS"))
	}
}
