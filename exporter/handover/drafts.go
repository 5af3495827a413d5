package handover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// docs/format/drafts.md lists every value and sentence below; a test compares the page with this file. So a reader can
// follow each sentence to the fields that it is made from.

// draft is the notice of each draft.
const draft = "DRAFT. Made from the bundle's records. It is not legal advice: a lawyer must review it, and the person who signs must know every statement to be true."

// value is a text that sentences contain, made from fields of the bundle. It is empty if there is nothing to state.
type value struct {
	name   string
	fields string // in bundle.json, unless a file or "seal" comes first
	rule   string
	of     func(c *Cover) string
}

var values = []value{
	{"first", "`window.first`", "as it is", func(c *Cover) string { return moment(c.Manifest.Window.FirstNs) }},
	{"last", "`window.last`", "as it is", func(c *Cover) string { return moment(c.Manifest.Window.LastNs) }},
	{"packets", "`accounts.packets`", "as it is", func(c *Cover) string { return fmt.Sprint(c.Manifest.Accounts.Packets) }},
	{"program", "`tool`", "name and release", func(c *Cover) string {
		return strings.TrimSpace(clean(c.Manifest.Tool.Name) + " " + clean(c.Manifest.Tool.Release))
	}},
	{"tables", "`tables`", "number", func(c *Cover) string { return number(len(c.Manifest.Tables)) }},
	{"captures", "`inputs`, `derived`", "number of inputs; empty if `derived` is present", func(c *Cover) string {
		if c.Manifest.Derived != nil {
			return ""
		}
		return number(len(c.Manifest.Inputs))
	}},
	{"compressed", "`inputs[].compression`, `derived`", "number of inputs that have it; empty if `derived` is present", func(c *Cover) string {
		if c.Manifest.Derived != nil {
			return ""
		}
		return c.inputs(func(in *bundle.Input) bool { return in.Compression != "" })
	}},
	{"derived", "`derived.kind`", "as it is", func(c *Cover) string {
		if c.Manifest.Derived == nil {
			return ""
		}
		return clean(c.Manifest.Derived.Kind)
	}},
	{"changed", "`derived.packets`", "the numbers unchanged, changed, removed", func(c *Cover) string {
		if c.Manifest.Derived == nil {
			return ""
		}
		n := c.Manifest.Derived.Packets
		return fmt.Sprintf("%d unchanged, %d changed, %d removed", n.Unchanged, n.Changed, n.Removed)
	}},
	{"segments", "`inputs[].segment`", "number of inputs that have it", func(c *Cover) string { return c.inputs(func(in *bundle.Input) bool { return in.Segment != nil }) }},
	{"nodes", "`inputs[].node`", "different values of inputs with a `segment`", func(c *Cover) string {
		var list []string
		for i := range c.Manifest.Inputs {
			if in := &c.Manifest.Inputs[i]; in.Segment != nil {
				list = append(list, cmp.Or(clean(in.Node), "unnamed"))
			}
		}
		slices.Sort(list)
		return strings.Join(slices.Compact(list), ", ")
	}},
	{"imported", "`inputs[].segment`", "number of inputs without it", func(c *Cover) string { return c.inputs(func(in *bundle.Input) bool { return in.Segment == nil }) }},
	{"losses", "`inputs[].drops`, `inputs[].damage`, `inputs[].damage_more`, `accounts.gap_bytes`, `accounts.cut_bytes`, `inputs[].segment.seal`", "sums that are not 0, and segments whose seal is not `sealed`", func(c *Cover) string {
		losses := seal.LossesOf(c.Manifest)
		return clean(losses.Known())
	}},
	{"uncounted", "`inputs[].interfaces[].received`, `inputs[].segment.seal`", "number of inputs with neither a counter for each interface nor the seal `sealed`", func(c *Cover) string { return c.inputs(func(in *bundle.Input) bool { return !in.CountsLosses() }) }},
	{"not_ip", "`accounts.counters.not_ip`", "kinds with their numbers", func(c *Cover) string {
		var list []string
		for _, k := range bundle.Counted(bundle.NotIP, &c.Manifest.Accounts) {
			list = append(list, fmt.Sprintf("%s %d", clean(k.Kind), k.Count))
		}
		return strings.Join(list, ", ")
	}},
	{"excluded", "`inputs[].segment.filter`, `inputs[].segment.only`, `inputs[].segment.policy`", "different texts", excluded},
	{"left_out", "`filters`", "`bpf`, `from` and `to`", leftOut},
	{"warnings", "`warnings`", "all of them", func(c *Cover) string { return clean(strings.Join(c.Manifest.Warnings, "; ")) }},
	{"files", "`manifest-sha256.txt`, `tagmanifest-sha256.txt`", "number of lines", func(c *Cover) string { return number(int(c.Hashed)) }},
	{"fingerprint", "`tagmanifest-sha256.txt`", "SHA-256 of the file", func(c *Cover) string { return hexGroups(c.Fingerprint) }},
	{"entries", "`custody/log.jsonl`", "number of lines", func(c *Cover) string { return number(len(c.Custody)) }},
	{"head", "`custody/log.jsonl`", "SHA-256 of the last line", func(c *Cover) string { return hexGroups(c.Head) }},
	{"seals", "`custody/seal-NNN.dsse.json`", "number of seals whose signatures are all valid", func(c *Cover) string { return c.valid("signature") }},
	{"stamps", "`custody/seal-NNN.tsr`", "number of time stamps that are valid", func(c *Cover) string { return c.valid("timestamp") }},
	{"key_custody", "seal: `request.key_custody`", "as it is, of the newest valid seal", func(c *Cover) string { return clean(c.request().KeyCustody) }},
	{"clock_reference", "seal: `request.clock_reference`", "as it is, of the newest valid seal", func(c *Cover) string { return clean(c.request().ClockReference) }},
}

// sentence is one sentence of a draft.
type sentence struct {
	draft     string // 902, 27037 or eIDAS
	paragraph string // first words of the paragraph that it belongs to
	when      string // the value that must not be empty, or after "no " must be; empty: always
	text      string // {NAME} is a value
	source    string // signer or law, if it is not made from the bundle
}

// The sources of sentences that are not made from the bundle.
const (
	signer = "signer" // a statement of the person who signs
	law    = "law"    // what a law says
)

var sentences = []sentence{
	{"902", "1.", "", "I, the undersigned, am qualified to make this certification by my training and my work with the systems described below.", signer},
	{"902", "2. Rule 902(13), process.", "first", "The bundle has network packets from {first} to {last}, by the time stamps in its files.", ""},
	{"902", "2. Rule 902(13), process.", "", "Number of packets: {packets}.", ""},
	{"902", "2. Rule 902(13), process.", "captures", "The program {program} copied the capture files byte for byte (files: {captures}).", ""},
	{"902", "2. Rule 902(13), process.", "compressed", "Before that it decompressed some of them (files: {compressed}).", ""},
	{"902", "2. Rule 902(13), process.", "derived", "The program {program} made the bundle from another bundle (kind: {derived}), so its capture files are not those that were recorded (packets: {changed}).", ""},
	{"902", "2. Rule 902(13), process.", "tables", "It derived tables from the packets (number: {tables}).", ""},
	{"902", "2. Rule 902(13), process.", "losses", "Losses that the bundle states: {losses}.", ""},
	{"902", "2. Rule 902(13), process.", "no losses", "The bundle states no loss.", ""},
	{"902", "2. Rule 902(13), process.", "uncounted", "Some capture files do not count lost packets, so it is unknown whether they lack any (files: {uncounted}).", ""},
	{"902", "2. Rule 902(13), process.", "excluded", "Not recorded, on request: {excluded}.", ""},
	{"902", "2. Rule 902(13), process.", "left_out", "Not in the tables, on request: {left_out}.", ""},
	{"902", "2. Rule 902(13), process.", "not_ip", "Recorded, but in no table of calls, because they are not IP: {not_ip}.", ""},
	{"902", "2. Rule 902(13), process.", "warnings", "Warnings of the program: {warnings}.", ""},
	{"902", "3.", "", "To my knowledge the process produces an accurate result, and the recording systems worked properly in that time, except:", signer},
	{"902", "4. Rule 902(14), copy.", "", "The bundle lists a SHA-256 hash value of each file except its history (files: {files}). The hash value of the last list, the fingerprint of the bundle, is {fingerprint}.", ""},
	{"902", "4. Rule 902(14), copy.", "", "I computed the same value from the copy that I offer.", signer},
	{"902", "5.", "", "The custody log of the bundle lists who handled it (entries: {entries}); its last line has SHA-256 {head}.", ""},
	{"902", "", "", "I certify under penalty of perjury that the foregoing is true and correct.", signer},

	{"27037", "Identification:", "first", "potential digital evidence in network packets from {first} to {last}.", ""},
	{"27037", "Identification:", "no first", "the bundle has no packet.", ""},
	{"27037", "Collection and acquisition:", "segments", "Recorders wrote packets into rings (segments: {segments}; machines: {nodes}).", ""},
	{"27037", "Collection and acquisition:", "imported", "Capture files were imported (files: {imported}); the bundle does not state how they were recorded.", ""},
	{"27037", "Collection and acquisition:", "losses", "Losses that the bundle states: {losses}.", ""},
	{"27037", "Collection and acquisition:", "no losses", "The bundle states no loss.", ""},
	{"27037", "Collection and acquisition:", "uncounted", "Some capture files do not count lost packets, so it is unknown whether they lack any (files: {uncounted}).", ""},
	{"27037", "Collection and acquisition:", "excluded", "Not recorded, on request: {excluded}.", ""},
	{"27037", "Preservation:", "captures", "The capture files are kept byte for byte (files: {captures}).", ""},
	{"27037", "Preservation:", "derived", "The bundle was made from another one (kind: {derived}; packets: {changed}), which must be preserved too.", ""},
	{"27037", "Preservation:", "", "The bundle lists a SHA-256 hash value of each file except its history (files: {files}). The fingerprint of the whole is {fingerprint}.", ""},
	{"27037", "Auditability:", "", "The custody log has {entries} entries; its last line has SHA-256 {head}.", ""},
	{"27037", "Repeatability and reproducibility:", "", "The program {program} made the tables; \"pcapsule verify --rederive\" makes them again from the packets and compares them.", ""},
	{"27037", "Handling of keys:", "key_custody", "{key_custody}", ""},
	{"27037", "Handling of keys:", "no key_custody", "not stated.", ""},
	{"27037", "Traceability of clocks to UTC:", "clock_reference", "{clock_reference}", ""},
	{"27037", "Traceability of clocks to UTC:", "no clock_reference", "not stated.", ""},

	{"eIDAS", "Signatures.", "seals", "The bundle has seals with valid signatures (number: {seals}). They are electronic signatures in the sense of Article 3(10).", ""},
	{"eIDAS", "Signatures.", "no seals", "The bundle has no seal with valid signatures.", ""},
	{"eIDAS", "Signatures.", "seals", "Whether one is an advanced (Article 26) or a qualified signature (Article 3(12)) depends on how the signer holds the key and on its certificate, which this sheet does not assess.", law},
	{"eIDAS", "Time stamps.", "stamps", "The bundle has valid time stamps by RFC 3161 (number: {stamps}). They are electronic time stamps (Article 3(33)).", ""},
	{"eIDAS", "Time stamps.", "no stamps", "The bundle has no valid time stamp.", ""},
	{"eIDAS", "Time stamps.", "stamps", "One is qualified (Article 42) only if a qualified trust service provider issued it.", law},
	{"eIDAS", "Legal effect.", "", "An electronic signature or time stamp may not be denied legal effect as evidence only because it is electronic or not qualified (Articles 25(1) and 41(1)).", law},
}

// drafts are drafts of statements about the bundle for legal proceedings, which a person completes, corrects and signs.
func (c *Cover) drafts() []section {
	return []section{
		{Title: "Draft certification, US Federal Rules of Evidence 902(13) and 902(14)", NewPage: true, Paragraphs: c.paragraphs("902"),
			Blanks: []string{"Exceptions to 3", "Name and title", "Qualification", "Place and date", "Signature"}},
		{Title: "Draft record of acquisition and transfer, wording of ISO/IEC 27037:2012", NewPage: true, Paragraphs: c.paragraphs("27037"),
			Blanks: []string{"Handed over by (name, signature, date, time)", "Received by (name, signature, date, time)", "Condition on receipt, fingerprint compared by", "Remarks"}},
		{Title: "Draft statement on signatures and time stamps, Regulation (EU) No 910/2014 (eIDAS)", Paragraphs: c.paragraphs("eIDAS"),
			Blanks: []string{"Trust service provider and certificate, if qualified", "Name and date"}},
	}
}

// paragraphs are the sentences of a draft that hold for the bundle.
func (c *Cover) paragraphs(name string) []string {
	list, last := []string{draft}, ""
	for i := range sentences {
		s := &sentences[i]
		if s.draft != name || !c.holds(s.when) {
			continue
		}
		if s.paragraph == "" || s.paragraph != last {
			list = append(list, s.paragraph)
		}
		list[len(list)-1] = strings.TrimSpace(list[len(list)-1] + " " + c.filled(s.text))
		last = s.paragraph
	}
	return list
}

// holds reports whether the condition of a sentence is true.
func (c *Cover) holds(when string) bool {
	name, empty := strings.CutPrefix(when, "no ")
	return when == "" || (c.value(name) == "") == empty
}

// value is the text of a value of this bundle.
func (c *Cover) value(name string) string {
	return values[slices.IndexFunc(values, func(v value) bool { return v.name == name })].of(c)
}

// filled is a sentence with its values. A value is never read as a sentence.
func (c *Cover) filled(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		b.WriteString(cmp.Or(c.value(name), "none"))
		text = after
	}
}

// moment is a time, empty if there is none.
func moment(t *bundle.Time) string {
	if t == nil {
		return ""
	}
	return t.String()
}

// number is a number, empty for 0.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// inputs counts the capture files for which a condition holds.
func (c *Cover) inputs(holds func(*bundle.Input) bool) string {
	n := 0
	for i := range c.Manifest.Inputs {
		if holds(&c.Manifest.Inputs[i]) {
			n++
		}
	}
	return number(n)
}

// excluded lists what recorders left out on request.
func excluded(c *Cover) string {
	var list []string
	for i := range c.Manifest.Inputs {
		s := c.Manifest.Inputs[i].Segment
		if s == nil {
			continue
		}
		for _, part := range []struct{ what, text string }{{"all but what the filter selects: ", s.Filter}, {"all but ", s.Only}, {"policy: ", s.Policy}} {
			if text := clean(part.what + part.text); part.text != "" && !slices.Contains(list, text) {
				list = append(list, text)
			}
		}
	}
	return strings.Join(list, "; ")
}

// leftOut is what the tables leave out on request.
func leftOut(c *Cover) string {
	f := &c.Manifest.Filters
	var list []string
	if f.BPF != "" {
		list = append(list, "all but packets that match "+clean(f.BPF))
	}
	if f.FromNs != nil {
		list = append(list, "packets before "+f.FromNs.String())
	}
	if f.ToNs != nil {
		list = append(list, "packets after "+f.ToNs.String())
	}
	return strings.Join(list, "; ")
}

// valid counts the seals or time stamps that have no wrong verdict.
func (c *Cover) valid(check string) string {
	good, bad := map[string]bool{}, map[string]bool{}
	for _, v := range c.Verdicts {
		if v.Check == check && v.Place != "" {
			good[v.Place] = true
			bad[v.Place] = bad[v.Place] || v.State == seal.No
		}
	}
	n := 0
	for place := range good {
		if !bad[place] {
			n++
		}
	}
	return number(n)
}
