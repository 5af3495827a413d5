package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// losses lists data that was missing or could not be decoded.
func (b *builder) losses() (Section, string) {
	s := Section{ID: "losses", Title: "Losses and anomalies"}
	list := tallied(b, tally.Anomalies)
	t := &Table{ID: "anomalies", Title: "Anomalies by kind", Queries: []Query{b.query(list.SQL)},
		Columns: []Column{column("Found by"), column("Kind"), number("Times", ""), number("Bytes", "not decoded because of it"), {Name: "Example", Kind: "wide"}}}
	for _, a := range list.Rows {
		var cite *Citation
		if a.Packet != nil && !b.several {
			cite = &Citation{Packets: packetRange(*a.Packet, *a.Packet)}
		}
		t.add(cite, textCell(a.Source), wordCell(strings.ReplaceAll(str(a.Kind), "_", " ")), countCell(a.Times), bytesCell(a.Lost), textCell(a.Detail))
		b.notes.anomalies += a.Times
	}
	if len(t.Rows) > 0 {
		t.shares(2)
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
	b.incomplete(&s)
	b.damage(&s)
	if len(s.Blocks) == 0 {
		return s, "losses and anomalies"
	}
	return s, ""
}

// incomplete lists the calls whose response is missing or incomplete.
func (b *builder) incomplete(s *Section) {
	list := tallied(b, tally.Incomplete)
	t := &Table{ID: "incomplete", Title: "Incomplete calls", Queries: []Query{b.query(list.SQL)}, Columns: []Column{column("Why"), column("Protocol"), number("Calls", "")}}
	for _, p := range list.Rows {
		t.add(b.cite(p.First), wordCell(outcome(p.Error)), textCell(p.Protocol), countCell(p.Calls))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

// damage lists damage in the capture files themselves.
func (b *builder) damage(s *Section) {
	t := &Table{ID: "damage", Title: "Damage and drops in the capture files", Queries: []Query{b.manifestQuery(".inputs")},
		Columns: []Column{name("File"), number("Places damaged", ""), number("Bytes damaged", ""), number("Packets dropped", "as recorded in the file"), {Name: "First", Kind: "wide"}}}
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
					first = clean(fmt.Sprintf("%s at offset %s: %s", d.Kind, plural.Thousands(d.Offset), d.Detail), maxText)
				}
			}
			if len(t.Rows) < 100 {
				t.add(nil, textCell(in.Name), countCell(int64(len(in.Damage))+in.DamageMore), bytesCell(lost), failedCell(in.Drops), wordCell(first))
			}
		}
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

// manifestQuery shows how to read the same data in bundle.json.
func (b *builder) manifestQuery(path string) Query {
	if b.several {
		path = ".[] | " + path
	}
	return Query{Command: "pcapsule info " + b.paths + " --json | jq " + shellQuote(path)}
}

// fileQuery shows how to read the parts that pcapsule info does not print.
func (b *builder) fileQuery(path string) Query {
	command := "jq " + shellQuote(path)
	for _, word := range b.words {
		command += " " + word + "/data/bundle.json"
	}
	return Query{Command: command}
}

// accounts shows where every byte went.
func (b *builder) accounts() (Section, string) {
	a := b.accts
	s := Section{ID: "accounts", Title: "Accounts"}
	t := &Table{ID: "accounts-table", Title: "Where every byte of payload went", Queries: []Query{b.manifestQuery(".accounts")},
		Columns: []Column{column("What"), number("Bytes", ""), number("Share", "of the payload"), {Name: "Meaning", Kind: "wide"}}}
	line := func(name string, n int64, meaning string) {
		t.add(nil, wordCell(name), Cell{Text: plural.Thousands(n), Value: &n}, wordCell(percent(n, a.PayloadBytes)), wordCell(meaning))
	}
	line("Payload", a.PayloadBytes, fmt.Sprintf("transport payload of %s with %s on the wire", plural.Count(a.Packets, "packet", "packets"), bytesText(a.Bytes)))
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
	s.Blocks = []Block{tableBlock(t)}
	if t := b.notIP(); len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
	return s, ""
}

// notIP counts the non-IP packets by kind.
func (b *builder) notIP() *Table {
	const most = 100
	t := &Table{ID: "not-ip", Title: "Non-IP packets", Queries: []Query{b.manifestQuery(".accounts.counters.not_ip")},
		Columns: []Column{name("Kind"), number("Packets", "")}}
	var all []*bundle.Accounts
	for _, info := range b.c.Bundles() {
		all = append(all, &info.Manifest.Accounts)
	}
	for _, n := range bundle.Counted(bundle.NotIP, all...) {
		if len(t.Rows) == most {
			t.Note = "More kinds are in data/bundle.json."
			break
		}
		t.add(nil, wordCell(n.Kind), countCell(n.Count))
	}
	return t
}

// sources lists the inputs of the bundle.
func (b *builder) sources() (Section, string) {
	s := Section{ID: "sources", Title: "Sources"}
	t := &Table{ID: "sources-table", Title: "Capture files", Queries: []Query{b.manifestQuery(".inputs[] | {name, sha256}")},
		Columns: []Column{name("File"), column("Format"), number("Size", ""), number("Packets", ""), moment("First (UTC)"), number("Length", ""), code("SHA-256")}}
	side := &Table{ID: "side-inputs", Title: "Other inputs", Queries: []Query{b.fileQuery(".side_inputs")},
		Columns: []Column{name("File"), column("Kind"), number("Size", ""), code("SHA-256 of the original")}}
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
				first, length = stamp(int64(*in.FirstNs), 0), duration(d)
			}
			t.add(nil, textCell(in.Name), textCell(format), bytesCell(in.Size), countCell(in.Packets), wordCell(first), wordCell(length), wordCell(in.SHA256.String()))
		}
		for _, in := range info.Manifest.SideInputs {
			if len(side.Rows) < 200 {
				side.add(nil, textCell(in.Name), textCell(in.Kind), bytesCell(in.SizeOriginal), wordCell(in.SHA256Original.String()))
			}
		}
	}
	s.Blocks = []Block{tableBlock(t)}
	if len(side.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(side))
	}
	return s, ""
}

// made shows how the bundle was made and how to check it.
func (b *builder) made() (Section, string) {
	s := Section{ID: "made", Title: "How this was made, and how to check it"}
	t := &Table{ID: "made-table", Title: "The bundle", Queries: []Query{b.fileQuery("{tool, options, filters, warnings}")},
		Columns: []Column{column("Bundle"), column("What"), {Name: "Value", Kind: "wide"}}}
	for i, info := range b.c.Bundles() {
		m, name := info.Manifest, b.r.Bundles[i].Name
		line := func(what, value string) { t.add(nil, wordCell(name), wordCell(what), wordCell(clean(value, 400))) }
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
	s.Blocks = []Block{tableBlock(t)}
	s.Text = []string{
		"A bundle is a folder that opens without this program: Wireshark reads its packets, DuckDB and pandas read its tables. To check that no file was changed, run in its folder: sha256sum -c manifest-sha256.txt. To check also that no file was added and that the custody log is complete: pcapsule verify BUNDLE. To rebuild its tables from its packets and compare them: pcapsule verify BUNDLE --rederive.",
		"A call is cited by the beginning of its id; pcapsule show BUNDLE ID prints the call with its packets. Packets are cited by their numbers in table packets. pcapsule packets BUNDLE --call ID -o slice.pcapng extracts them for Wireshark.",
		"The query behind each figure and table is shown below it. Numbers are rounded; the query returns them exactly.",
	}
	if b.r.Release != "" {
		s.Text = append(s.Text, "pcapsule "+b.r.Release+" made this page from the bundle alone; the same bundle gives the same page.")
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

// summary writes the summary of the case.
func (b *builder) summary() {
	r, span := b.r, time.Duration(b.last-b.first)
	files := int64(0)
	for _, info := range b.c.Bundles() {
		files += int64(len(info.Manifest.Inputs))
	}
	if !b.any || b.packets == 0 {
		r.Summary = []string{fmt.Sprintf("There are no packets in %s of %s.", plural.Count(files, "capture file", "capture files"), plural.Count(int64(len(r.Bundles)), "bundle", "bundles"))}
		r.Facts = []Fact{{Value: "0", Label: "packets"}}
		return
	}
	say := func(format string, args ...any) { r.Summary = append(r.Summary, fmt.Sprintf(format, args...)) }
	say("%s with %s on the wire, from %s, were captured between %s and %s UTC (%s).", plural.Count(b.packets, "packet", "packets"), bytesText(b.bytes), plural.Count(files, "capture file", "capture files"),
		stamp(b.first, span), stamp(b.last, span), duration(span))
	switch p := b.notes.protocols; {
	case b.calls == 0:
		say("They contain no calls.")
	case len(p) == 0:
		say("They contain %s, of which %s failed.", plural.Count(b.calls, "call", "calls"), plural.Thousands(b.failed))
	default:
		more := ""
		if len(p) > 4 {
			more = fmt.Sprintf(" and %s", plural.Count(int64(len(p)-4), "other protocol", "other protocols"))
			p = p[:4]
			say("They contain %s: %s%s.", plural.Count(b.calls, "call", "calls"), strings.Join(p, ", "), more)
		} else {
			say("They contain %s: %s.", plural.Count(b.calls, "call", "calls"), and(p))
		}
		switch f := b.notes.failures; {
		case len(f) == 0:
			say("No call failed.")
		default:
			if len(f) > 3 {
				f = append(slices.Clone(f[:3]), "others")
			}
			say("%s of them failed (%s): %s.", plural.Thousands(b.failed), percent(b.failed, b.calls), and(f))
		}
		if b.notes.slowest != "" {
			say("The slowest endpoint was %s.", b.notes.slowest)
		}
	}
	if b.notes.holes > 0 {
		lost := ""
		if b.notes.lostPackets > 0 {
			lost = ", with " + plural.Count(b.notes.lostPackets, "packet", "packets") + " known to be lost"
		}
		say("The recording has %s (%s)%s.", plural.Count(b.notes.holes, "coverage gap", "coverage gaps"), strings.ReplaceAll(and(b.notes.reasons), "_", " "), lost)
	} else {
		say("No coverage gap is known.")
	}
	if a := b.accts; a.GapBytes > 0 || a.AnomalyBytes > 0 {
		say("%s of streams are missing from the capture, and %s of payload could not be decoded.", bytesText(a.GapBytes), bytesText(a.AnomalyBytes))
	} else {
		say("No byte is missing in the captured streams, and every byte of payload was decoded or stored.")
	}
	r.Facts = []Fact{
		{Value: duration(span), Label: "from first to last packet"},
		{Value: plural.Thousands(b.packets), Label: "packets"},
		{Value: bytesText(b.bytes), Label: "on the wire"},
		{Value: plural.Thousands(b.calls), Label: "calls"},
		{Value: plural.Thousands(b.failed), Label: "failed (" + percentOr(b.failed, b.calls) + ")", Bad: b.failed > 0},
		{Value: plural.Thousands(b.notes.holes), Label: "coverage gaps known", Bad: b.notes.holes > 0},
	}
	if !slices.Contains(r.Unmade, "losses") {
		r.Facts = append(r.Facts, Fact{Value: plural.Thousands(b.notes.anomalies), Label: "anomalies", Bad: b.notes.anomalies > 0})
	}
}

func percentOr(part, all int64) string {
	if s := percent(part, all); s != "" {
		return s
	}
	return "none"
}
