package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/cache"
	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/report/value"
)

func (e *env) cmdInfo() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "info BUNDLE|CAPTURE...",
		Short: "Summarize a bundle: time, protocols, top talkers, losses, accounts",
		Example: `  pcapsule info incident.pcapsule
  pcapsule info incident.pcapsule --json | jq .calls`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: command.CompleteBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runInfo(c.Context(), args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	e.captureFlags(c)
	return c
}

// talker is an endpoint with the bytes it sent and received.
// infoTalkers is how many endpoints info prints.
const infoTalkers = 8

type talker struct {
	Name  string `json:"name"`
	IP    string `json:"ip"`
	Bytes int64  `json:"bytes"`
	Flows int64  `json:"flows"`
}

// infoResult is the output of info --json for one bundle.
type infoResult struct {
	Path       string               `json:"path"`
	Verified   string               `json:"verified"`              // not_verified, verified or broken
	VerifiedAt string               `json:"verified_at,omitempty"` // when pcapsule verify succeeded; no file has changed its size or time since
	verifiedAt string               // VerifiedAt for people
	Tool       bundle.Tool          `json:"tool"`
	First      *bundle.Time         `json:"first"`
	Last       *bundle.Time         `json:"last"`
	Inputs     []bundle.Input       `json:"inputs"`
	Calls      map[string]int64     `json:"calls"`
	Failed     map[string]int64     `json:"failed_calls"`
	Unread     []ask.UndissectedUse `json:"undissected"`
	Accounts   bundle.Accounts      `json:"accounts"`
	Coverage   []infoGap            `json:"holes"`
	Quiet      []infoQuiet          `json:"quiet,omitempty"`
	Talkers    []talker             `json:"top_talkers"`
	NotIP      []bundle.Count       `json:"not_ip"` // packets that are not IP, by kind
	Anomalies  []infoCount          `json:"anomalies"`
	Secrets    []infoCount          `json:"secrets"`
	Keys       int64                `json:"decryption_secrets"` // blocks of them inside the captures
	KeysKept   string               `json:"keys_kept"`          // file in the bundle with keys, "" if there is none
	Encrypted  []infoKeys           `json:"encrypted_connections"`
	NoKeys     []infoNoKey          `json:"handshakes_without_key,omitempty"` // as the recorder stated
	Kubernetes int64                `json:"workloads"`
	Warnings   []string             `json:"warnings"`
}

type infoGap struct {
	Source  string       `json:"source"`
	Reason  string       `json:"reason"`
	From    *bundle.Time `json:"from"`
	To      *bundle.Time `json:"to"`
	Packets int64        `json:"packets"`
	Detail  string       `json:"detail,omitempty"`
}

// infoKeys counts encrypted connections by the state of their keys.
type infoKeys struct {
	Layer  string `json:"layer"`
	State  string `json:"key_state"`
	Reason string `json:"key_reason,omitempty"`
	Count  int64  `json:"count"`
}

// infoNoKey counts handshakes whose keys were not read, by program and reason.
type infoNoKey struct {
	Exe    string `json:"exe"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

type infoCount struct {
	What  string `json:"what"`
	Count int64  `json:"count"`
}

func (e *env) runInfo(ctx context.Context, paths []string, asJSON bool) error {
	var all []*infoResult
	paths, err := e.bundles(ctx, paths)
	if err != nil {
		return err
	}
	for _, p := range paths {
		r, err := e.info(ctx, p)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if asJSON {
		if len(all) == 1 {
			return e.JSON(all[0])
		}
		return e.JSON(all)
	}
	for i, r := range all {
		if i > 0 {
			fmt.Fprintln(e.Out)
		}
		var b strings.Builder
		r.print(&b, e.PageWidth())
		for line := range strings.Lines(b.String()) {
			fmt.Fprintln(e.Out, console.Hanging(0, strings.TrimRight(line, "\n"), infoIndent, e.PageWidth()))
		}
	}
	return nil
}

func (e *env) info(ctx context.Context, path string) (*infoResult, error) {
	c, err := e.openCase(ctx, []string{path})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b := c.Bundles()[0]
	m := b.Manifest
	r := &infoResult{Path: path, Tool: m.Tool, First: m.Window.FirstNs, Last: m.Window.LastNs, Inputs: m.Inputs, Calls: m.Calls,
		Failed: map[string]int64{}, Accounts: m.Accounts, Warnings: m.Warnings,
		NotIP:    bundle.Counted(bundle.NotIP, &m.Accounts),
		Verified: [...]string{"not_verified", "verified", "broken"}[b.State]}
	if at, ok := cache.Verified(b.Dir); ok && !b.Unpacked && b.State == bundle.NotVerified {
		r.Verified, r.VerifiedAt, r.verifiedAt = "verified", when.Stamp(at.UnixNano()), at.UTC().Format(time.DateTime)+" UTC"
	}
	for _, in := range m.Inputs {
		r.Keys += in.Secrets
	}
	for _, s := range m.SideInputs {
		if s.Kind == "keys_used" {
			r.KeysKept = s.Path
		}
	}
	query := func(sql string, each func(row []any)) {
		if err != nil {
			return
		}
		var res *forensics.Result
		if res, err = c.Query(ctx, forensics.Query{SQL: sql, Named: true, Deadline: forensics.LongTime}); err == nil {
			for _, row := range res.Rows {
				each(row)
			}
		}
	}
	query("SELECT protocol, count(*) FROM calls WHERE failed GROUP BY 1", func(row []any) { r.Failed[format.Text(row[0])] = format.Number(row[1]) })
	if err == nil {
		var list tally.Table[tally.Talker]
		list, err = tally.Talkers(ctx, c, &ask.Window{})
		for _, t := range list.Rows[:min(len(list.Rows), infoTalkers)] {
			r.Talkers = append(r.Talkers, talker{t.Name, t.IP, t.Sent + t.Received, t.Flows})
		}
	}
	query("SELECT source || ' ' || kind, sum(count)::BIGINT FROM anomalies GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 12",
		func(row []any) {
			r.Anomalies = append(r.Anomalies, infoCount{format.Text(row[0]), format.Number(row[1])})
		})
	if err == nil {
		err = r.readGaps(c, m)
	}
	query("SELECT auth_kind, count(*) FROM calls WHERE auth_kind NOT IN ('"+strings.Join(table.NoLogin, "', '")+"') GROUP BY 1 ORDER BY 2 DESC, 1",
		func(row []any) { r.Secrets = append(r.Secrets, infoCount{format.Text(row[0]), format.Number(row[1])}) })
	query(`SELECT encryption, key_state, coalesce(key_reason, ''), count(*) FROM connections WHERE encryption IS NOT NULL
		GROUP BY ALL ORDER BY 4 DESC, 1, 2, 3`, func(row []any) {
		r.Encrypted = append(r.Encrypted, infoKeys{format.Text(row[0]), format.Text(row[1]), format.Text(row[2]), format.Number(row[3])})
	})
	query(`SELECT coalesce(exe, ''), coalesce(reason, ''), count(*) FROM os_events WHERE event = 'tls_no_key'
		GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT 12`, func(row []any) {
		r.NoKeys = append(r.NoKeys, infoNoKey{format.Text(row[0]), format.Text(row[1]), format.Number(row[2])})
	})
	query("SELECT count(*) FROM workloads", func(row []any) { r.Kubernetes = format.Number(row[0]) })
	if err == nil {
		r.Unread, err = ask.Undissected(ctx, c, "connections_raw")
	}
	return r, err
}

const infoIndent = 13 // columns before the text that follows a label

func (r *infoResult) print(w io.Writer, width int) {
	fmt.Fprintf(w, "%s\n", r.Path)
	if r.First != nil && r.Last != nil {
		fmt.Fprintf(w, "  time       %s\n", timeSpan(r.First, r.Last))
	} else {
		fmt.Fprintln(w, "  time       no packets")
	}
	a := r.Accounts
	fmt.Fprintf(w, "  packets    %s, %s\n", plural.Thousands(a.Packets), console.ByteSize(a.Bytes))
	for _, in := range r.Inputs {
		fmt.Fprintf(w, "  from       %s (%s, %s, %s)\n", console.Printable(in.Name, 60), in.Format, console.ByteSize(in.Size), plural.Count(in.Packets, "packet", "packets"))
		fmt.Fprintf(w, "             sha256 %s\n", in.SHA256)
	}
	r.printCalls(w)
	r.printUnread(w)
	for i, t := range r.Talkers {
		label := "talkers"
		if i > 0 {
			label = ""
		}
		name := t.Name
		if name != t.IP {
			name += " (" + t.IP + ")"
		}
		room := min(max(width-infoIndent-28, 16), 44)
		if len(name) > room {
			name = console.Printable(name, room-1)
		}
		fmt.Fprintf(w, "  %-10s %-*s %9s in %s\n", label, room, name, console.ByteSize(t.Bytes), plural.Count(t.Flows, "flow", "flows"))
	}
	r.printNotIP(w)
	fmt.Fprintf(w, "  accounts   %s payload: %s in calls, %s seen twice, %s not decoded; %s not captured\n", console.ByteSize(a.PayloadBytes),
		console.ByteSize(a.RowBytes), console.ByteSize(a.DuplicateBytes), console.ByteSize(a.AnomalyBytes), console.ByteSize(a.GapBytes))
	r.printDoubts(w)
}

func (r *infoResult) printCalls(w io.Writer) {
	var names []string
	for p := range r.Calls {
		names = append(names, p)
	}
	slices.SortFunc(names, func(a, b string) int {
		if r.Calls[a] != r.Calls[b] {
			return int(min(max(r.Calls[b]-r.Calls[a], -1), 1))
		}
		return strings.Compare(a, b)
	})
	for i, p := range names {
		label := "calls"
		if i > 0 {
			label = ""
		}
		failed := ""
		if n := r.Failed[p]; n > 0 {
			failed = ", " + plural.Thousands(n) + " failed"
		}
		fmt.Fprintf(w, "  %-10s %-12s %s%s\n", label, p, plural.Thousands(r.Calls[p]), failed)
	}
}

// printUnread counts connections with payload that no dissector reads.
func (r *infoResult) printUnread(w io.Writer) {
	for i, u := range r.Unread {
		label, what := "unread", "protocol unknown"
		if i > 0 {
			label = ""
		}
		switch u.Evidence {
		case "port":
			what = "likely " + u.Protocol + ", by port"
		case "content", "upgrade":
			what = console.Printable(u.Protocol, 40) + ", by " + u.Evidence
		}
		fmt.Fprintf(w, "  %-10s %s: %s\n", label, plural.Count(u.Connections, "connection", "connections"), what)
	}
}

// printNotIP counts the packets that are not IP by kind.
func (r *infoResult) printNotIP(w io.Writer) {
	const most = 12
	var kinds []string
	for i, n := range r.NotIP {
		if i == most {
			kinds = append(kinds, fmt.Sprintf("%d more kinds", len(r.NotIP)-i))
			break
		}
		kinds = append(kinds, fmt.Sprintf("%s × %s", plural.Thousands(n.Count), console.Printable(n.Kind, 40)))
	}
	if len(kinds) > 0 {
		fmt.Fprintf(w, "  not IP     %s\n", strings.Join(kinds, ", "))
	}
}

// printKeys prints the encrypted connections, how many of them were decrypted, and where the
// bundle contains keys.
func (r *infoResult) printKeys(w io.Writer) {
	for i, n := range r.Encrypted {
		label := "encrypted"
		if i > 0 {
			label = ""
		}
		what := map[string]string{"verified": "decrypted", "unverified": "keys do not match", "none": "not decrypted"}[n.State]
		if n.Reason != "" {
			what += ": " + n.Reason
		}
		fmt.Fprintf(w, "  %-10s %s × %s, %s\n", label, plural.Thousands(n.Count), n.Layer, what)
	}
	for i, n := range r.NoKeys {
		label := "no keys"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "  %-10s %s of %s: %s\n", label, plural.Count(n.Count, "handshake", "handshakes"), cmp.Or(console.Printable(n.Exe, 100), "an unknown program"), console.Printable(n.Reason, 40))
	}
	if r.Keys > 0 {
		fmt.Fprintf(w, "  keys       %s inside the captures\n", plural.Count(r.Keys, "block of decryption secrets", "blocks of decryption secrets"))
	}
	if r.KeysKept != "" {
		fmt.Fprintf(w, "  keys       kept in %s\n", r.KeysKept)
	}
}

// readGaps reads the coverage gaps, with what a redaction removed from the whole time.
func (r *infoResult) readGaps(c *forensics.Case, m *bundle.Manifest) error {
	for _, l := range m.Derived.Lacks() {
		if l.Reason != bundle.LackFilter { // which is a coverage gap
			r.Coverage = append(r.Coverage, infoGap{m.Derived.Kind, l.Reason, r.First, r.Last, l.Packets, l.Detail})
		}
	}
	cov, err := c.Coverage(0, 0)
	for _, h := range cov.Holes {
		r.Coverage = append(r.Coverage, infoGap{h.Source, h.Reason, bundle.At(h.From), bundle.At(h.To), h.Packets, h.Detail})
	}
	for _, q := range cov.Quiet {
		r.Quiet = append(r.Quiet, infoQuiet{bundle.At(q.From), bundle.At(q.To)})
	}
	return err
}

// infoQuiet is a long time without a packet, in which the recorder may have paused.
type infoQuiet struct {
	From *bundle.Time `json:"from"`
	To   *bundle.Time `json:"to"`
}

// timeSpan writes two times, with their day once if it is the same, and the time between them.
func timeSpan(from, to *bundle.Time) string {
	first, last := format.Moment(int64(*from)), format.Moment(int64(*to))
	if day := first[:len("2006-01-02 ")]; strings.HasPrefix(last, day) {
		last = last[len(day):]
	}
	return fmt.Sprintf("%s to %s UTC (%s)", first, last, value.Duration(time.Duration(*to-*from)))
}

// gapText describes a coverage gap, with its time unless it is that of the whole bundle.
func (r *infoResult) gapText(h *infoGap) string {
	text := strings.ReplaceAll(h.Reason, "_", " ")
	if h.Source != "" {
		text = console.Printable(h.Source, 40) + ": " + text
	}
	if r.First != nil && h.From != nil && h.To != nil && *h.From < *h.To && (*h.From > *r.First || *h.To < *r.Last) {
		text += " from " + timeSpan(h.From, h.To)
	}
	return text + ", " + console.Printable(h.Detail, 100)
}

func (r *infoResult) printDoubts(w io.Writer) {
	if r.Kubernetes > 0 {
		fmt.Fprintf(w, "  identity   %s known pods, services and nodes\n", plural.Thousands(r.Kubernetes))
	}
	for i, h := range r.Coverage {
		if i == 6 {
			fmt.Fprintln(w, plural.Sprintf("             … %d more {gap|gaps}", len(r.Coverage)-i))
			break
		}
		fmt.Fprintf(w, "  gap        %s\n", r.gapText(&h))
	}
	for i, q := range r.Quiet {
		if i == 3 {
			fmt.Fprintln(w, plural.Sprintf("             … %d more long {time|times}", len(r.Quiet)-i))
			break
		}
		fmt.Fprintf(w, "  no packet  from %s: nothing was sent, or nothing was recorded\n", timeSpan(q.From, q.To))
	}
	for i, n := range r.Anomalies {
		label := "anomalies"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "  %-10s %s × %s\n", label, plural.Thousands(n.Count), n.What)
	}
	if len(r.Secrets) > 0 {
		var kinds []string
		for _, s := range r.Secrets {
			kinds = append(kinds, fmt.Sprintf("%s × %s", plural.Thousands(s.Count), s.What))
		}
		fmt.Fprintf(w, "  secrets    tables and packets contain credentials as they were sent: %s\n", strings.Join(kinds, ", "))
	}
	r.printKeys(w)
	for _, text := range r.Warnings {
		fmt.Fprintf(w, "  warning    %s\n", console.Printable(text, 400))
	}
	fmt.Fprintf(w, "  verified   %s; made by %s %s\n", map[string]string{"not_verified": "not yet: pcapsule verify " + r.Path, "verified": strings.TrimSpace("yes " + r.verifiedAt),
		"broken": "FAILED"}[r.Verified], r.Tool.Name, r.Tool.Release)
}
