package section

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// losses lists data that was missing or could not be decoded.
func (b *builder) losses(*templates.Section) (value.Section, string) {
	s := value.Section{Title: "Losses and anomalies"}
	list := tallied(b, tally.Anomalies)
	t := &value.Table{ID: "anomalies", Title: "Anomalies by kind", Queries: b.query(list.SQL),
		Columns: []value.Column{value.TextColumn("Found by"), value.TextColumn("Kind"), value.NumberColumn("Times", ""), value.NumberColumn("Bytes", "not decoded because of it"), {Name: "Example", Kind: "wide"}}}
	for _, a := range list.Rows {
		var cite []*value.Citation
		if a.Packet != nil && !b.several {
			cite = b.citePackets(b.span(0, *a.Packet, *a.Packet))
		}
		t.Add(cite, value.TextCell(a.Source), value.WordCell(strings.ReplaceAll(value.Text(a.Kind), "_", " ")), value.CountCell(a.Times), value.BytesCell(a.Lost), value.TextCell(a.Detail))
	}
	if len(t.Rows) > 0 {
		t.Shares(2)
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
	b.incomplete(&s)
	b.damage(&s)
	if len(s.Blocks) == 0 {
		return s, "losses and anomalies"
	}
	return s, ""
}

// incomplete lists the calls whose response is missing or incomplete.
func (b *builder) incomplete(s *value.Section) {
	list := tallied(b, tally.Incomplete)
	t := &value.Table{ID: "incomplete", Title: "Incomplete calls", Queries: b.query(list.SQL), Columns: []value.Column{value.TextColumn("Why"), value.TextColumn("Protocol"), value.NumberColumn("Calls", "")}}
	for _, p := range list.Rows {
		t.Add(b.cite(p.First), value.WordCell(outcome(p.Error)), value.TextCell(p.Protocol), value.CountCell(p.Calls))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
}

// damage lists damage in the capture files themselves.
func (b *builder) damage(s *value.Section) {
	t := &value.Table{ID: "damage", Title: "Damage and drops in the capture files", Queries: b.manifestQuery(".inputs"),
		Columns: []value.Column{value.NameColumn("File"), value.NumberColumn("Places damaged", ""), value.NumberColumn("Bytes damaged", ""), value.NumberColumn("Packets dropped", "as recorded in the file"), {Name: "First", Kind: "wide"}}}
	for _, info := range b.c.Bundles() {
		for _, in := range info.Manifest.Inputs {
			if len(in.Damage) == 0 && in.Drops == 0 {
				continue
			}
			var lost int64
			first := ""
			for i, d := range in.Damage {
				lost += d.Length
				if i == 0 {
					first = value.Clean(fmt.Sprintf("%s at offset %s: %s", d.Kind, plural.Thousands(d.Offset), d.Detail), value.MaxText)
				}
			}
			if len(t.Rows) < 100 {
				t.Add(nil, value.TextCell(in.Name), value.CountCell(int64(len(in.Damage))+in.DamageMore), value.BytesCell(lost), value.FailedCell(in.Drops), value.WordCell(first))
			}
		}
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
}

// manifestQuery shows how to read the same data in bundle.json.
func (b *builder) manifestQuery(path string) []int {
	if b.several {
		path = ".[] | " + path
	}
	return b.number(value.Query{Command: "pcapsule info " + b.paths + " --json | jq " + value.ShellQuote(path)})
}

// fileQuery shows how to read the parts that pcapsule info does not print.
func (b *builder) fileQuery(path string) []int {
	command := "jq " + value.ShellQuote(path)
	for _, word := range b.words {
		command += " " + word + "/data/bundle.json"
	}
	return b.number(value.Query{Command: command})
}

// accounts shows where every byte went.
func (b *builder) accounts(*templates.Section) (value.Section, string) {
	a := b.accts
	s := value.Section{Title: "Accounts"}
	t := &value.Table{ID: "accounts-table", Title: "Where every byte of payload went", Queries: b.manifestQuery(".accounts"),
		Columns: []value.Column{value.TextColumn("What"), value.NumberColumn("Bytes", ""), value.NumberColumn("Share", "of the payload"), {Name: "Meaning", Kind: "wide"}}}
	line := func(name string, n int64, meaning string) {
		t.Add(nil, value.WordCell(name), value.Cell{Text: plural.Thousands(n), Value: &n}, value.WordCell(value.Percent(n, a.PayloadBytes)), value.WordCell(meaning))
	}
	line("Payload", a.PayloadBytes, fmt.Sprintf("transport payload of %s with %s on the wire", plural.Count(a.Packets, "packet", "packets"), value.Bytes(a.Bytes)))
	line("in calls", a.RowBytes, "decoded by a dissector, or stored as unknown payload")
	line("seen twice", a.DuplicateBytes, "retransmissions, and packets captured at two places")
	line("not decoded", a.AnomalyBytes, "each with an anomaly that has the reason")
	line("cut", a.CutBytes, "cut off by the snap length when it was captured")
	rest := a.PayloadBytes - a.RowBytes - a.DuplicateBytes - a.AnomalyBytes - a.CutBytes
	if rest != 0 {
		line("not accounted for", rest, "the sums do not match; this is a bug of the program that made the bundle")
		t.Rows[len(t.Rows)-1].Bad = true
	} else {
		t.Note = "The four parts add up to the payload to the byte."
	}
	line("missing", a.GapBytes, "bytes of streams that the capture lacks; not part of the payload")
	s.Blocks = []value.Block{value.TableBlock(t)}
	if t := b.notIP(); len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
	return s, ""
}

// notIP counts the non-IP packets by kind.
func (b *builder) notIP() *value.Table {
	const most = 100
	t := &value.Table{ID: "not-ip", Title: "Non-IP packets", Queries: b.manifestQuery(".accounts.counters.not_ip"),
		Columns: []value.Column{value.NameColumn("Kind"), value.NumberColumn("Packets", "")}}
	var all []*bundle.Accounts
	for _, info := range b.c.Bundles() {
		all = append(all, &info.Manifest.Accounts)
	}
	for _, n := range bundle.Counted(bundle.NotIP, all...) {
		if len(t.Rows) == most {
			t.Note = "More kinds are in data/bundle.json."
			break
		}
		t.Add(nil, value.WordCell(n.Kind), value.CountCell(n.Count))
	}
	return t
}

// sources lists the inputs of the bundle.
func (b *builder) sources(*templates.Section) (value.Section, string) {
	s := value.Section{Title: "Sources"}
	t := &value.Table{ID: "sources-table", Title: "Capture files", Queries: b.manifestQuery(".inputs[] | {name, sha256}"),
		Columns: []value.Column{value.NameColumn("File"), value.TextColumn("Format"), value.NumberColumn("Size", ""), value.NumberColumn("Packets", ""), value.MomentColumn("First (UTC)"), value.NumberColumn("Length", ""), value.CodeColumn("SHA-256")}}
	side := &value.Table{ID: "side-inputs", Title: "Other inputs", Queries: b.fileQuery(".side_inputs"),
		Columns: []value.Column{value.NameColumn("File"), value.TextColumn("Kind"), value.NumberColumn("Size", ""), value.CodeColumn("SHA-256 of the original")}}
	for _, info := range b.c.Bundles() {
		for _, in := range info.Manifest.Inputs {
			if len(t.Rows) == 200 {
				t.Note = "More files are in data/bundle.json."
				break
			}
			format := in.Format
			if in.Compression != "" {
				format += ", " + in.Compression
			}
			first, length := "", ""
			if in.FirstNs != nil && in.LastNs != nil {
				d := time.Duration(int64(*in.LastNs) - int64(*in.FirstNs))
				first, length = value.Stamp(int64(*in.FirstNs), 0), value.Duration(d)
			}
			t.Add(nil, value.TextCell(in.Name), value.TextCell(format), value.BytesCell(in.Size), value.CountCell(in.Packets), value.WordCell(first), value.WordCell(length), value.WordCell(in.SHA256.String()))
		}
		for _, in := range info.Manifest.SideInputs {
			if len(side.Rows) < 200 {
				side.Add(nil, value.TextCell(in.Name), value.TextCell(in.Kind), value.BytesCell(in.SizeOriginal), value.WordCell(in.SHA256Original.String()))
			}
		}
	}
	s.Blocks = []value.Block{value.TableBlock(t)}
	if len(side.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(side))
	}
	return s, ""
}

// made shows how the bundle was made and how to check it.
func (b *builder) made(*templates.Section) (value.Section, string) {
	s := value.Section{Title: "How this was made, and how to check it"}
	t := &value.Table{ID: "made-table", Title: "The bundle", Queries: b.fileQuery("{tool, options, filters, warnings}"),
		Columns: []value.Column{value.TextColumn("Bundle"), value.TextColumn("What"), {Name: "Value", Kind: "wide"}}}
	for i, info := range b.c.Bundles() {
		m, name := info.Manifest, b.r.Bundles[i].Name
		line := func(what, text string) {
			t.Add(nil, value.WordCell(name), value.WordCell(what), value.WordCell(value.Clean(text, 400)))
		}
		by := m.Tool.Name + " " + m.Tool.Release
		if m.Tool.Platform != "" { // only in bundles of older releases
			by += " on " + m.Tool.Platform
		}
		line("made by", fmt.Sprintf("%s, schema %d", by, m.SchemaVersion))
		line("state", b.r.Bundles[i].Verified+": "+b.r.Bundles[i].Detail)
		line("options", optionsText(m))
		for k, w := range m.Warnings {
			if k == 20 {
				line("warning", plural.Count(int64(len(m.Warnings)-k), "more", "more")+" in data/bundle.json")
				break
			}
			line("warning", w)
		}
	}
	s.Blocks = []value.Block{value.TableBlock(t)}
	s.Text = []string{
		"A bundle is a folder that opens without this program: Wireshark reads its packets, DuckDB and pandas read its tables. To check that no file was changed, run in its folder: sha256sum -c manifest-sha256.txt. To check also that no file was added and that the custody log is complete: pcapsule verify BUNDLE. To rebuild its tables from its packets and compare them: pcapsule verify BUNDLE --rederive.",
		"A call is cited by the beginning of its id; pcapsule show BUNDLE ID prints the call with its packets. Packets are cited by their file and by the frame numbers that Wireshark shows for it; column frame of table packets has them. pcapsule packets BUNDLE --call ID -o slice.pcapng extracts a call, and --frames with a citation its packets.",
		"Queries are numbered and listed at the end. Numbers are rounded; the query returns them exactly.",
	}
	return s, ""
}

func optionsText(m *bundle.Manifest) string {
	var keys []string
	for k := range m.Options {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var parts []string
	for _, k := range keys {
		parts = append(parts, k+" = "+m.Options[k])
	}
	if m.Filters.BPF != "" && m.Options["filter"] == "" {
		parts = append(parts, "filter = "+m.Filters.BPF)
	}
	if len(parts) == 0 {
		return "none that change the data"
	}
	return strings.Join(parts, "; ")
}
