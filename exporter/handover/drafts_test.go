package handover

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

var update = flag.Bool("update", false, "rewrite the tables of DRAFTS.md")

// TestPageOfDrafts compares the tables of the page with the sentences of the program.
func TestPageOfDrafts(t *testing.T) {
	const page = "DRAFTS.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var rows, lines strings.Builder
	for _, v := range values {
		fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", v.name, v.fields, v.rule)
	}
	for _, s := range sentences {
		when := s.when
		if when != "" {
			when = "`" + when + "`"
		}
		fmt.Fprintf(&lines, "| %s | %s | %s | %s | %s |\n", s.draft, s.paragraph, when, s.text, cmp.Or(s.source, "bundle"))
	}
	const first, second = "|---|---|---|\n", "|---|---|---|---|---|\n"
	before, rest, _ := strings.Cut(string(text), first)
	_, middle, _ := strings.Cut(rest, "\n## Sentences")
	middle, _, _ = strings.Cut(middle, second)
	want := before + first + rows.String() + "\n## Sentences" + middle + second + lines.String()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Error("DRAFTS.md is not what the program writes; run go test ./exporter/handover -run PageOfDrafts -update")
	}
}

var named = regexp.MustCompile(`\{(\w+)\}`)

// TestSentencesNameValues checks that sentences use values that exist, and every value is used. Digits that no value
// gives may only be the numbers of laws and paragraphs.
func TestSentencesNameValues(t *testing.T) {
	known, used := map[string]bool{}, map[string]bool{}
	for _, v := range values {
		if v.fields == "" || v.rule == "" {
			t.Errorf("%s has no field or rule", v.name)
		}
		known[v.name] = true
	}
	for _, s := range sentences {
		names := named.FindAllStringSubmatch(s.text, -1)
		for _, m := range append(names, []string{"", strings.TrimPrefix(s.when, "no ")}) {
			if m[1] != "" && !known[m[1]] {
				t.Errorf("%q: unknown value %s", s.text, m[1])
			}
			used[m[1]] = true
		}
		if s.source == "" && len(names) == 0 && s.when == "" {
			t.Errorf("%q says the same of each bundle", s.text)
		}
		if s.source != "" && len(names) > 0 {
			t.Errorf("%q is of the %s, and has values of the bundle", s.text, s.source)
		}
	}
	for name := range known {
		if !used[name] {
			t.Errorf("no sentence has %s", name)
		}
	}
}

// sheet is a cover sheet of a bundle about which little is known.
func sheet() *Cover {
	return &Cover{Manifest: &bundle.Manifest{Tool: bundle.Tool{Name: "pcapsule", Release: "1.2.3"}, Inputs: []bundle.Input{{Packets: 3}}, Accounts: bundle.Accounts{Packets: 3}}}
}

// said is all paragraphs of a draft.
func said(c *Cover, name string) string { return strings.Join(c.paragraphs(name), "\n") }

// TestSentencesFollowFields changes one field of a bundle at a time. Each must change exactly these sentences.
func TestSentencesFollowFields(t *testing.T) {
	day := bundle.Time(time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC).UnixNano())
	segment := func(c *Cover) *bundle.Segment {
		c.Manifest.Inputs[0].Segment = &bundle.Segment{Seal: "sealed"}
		return c.Manifest.Inputs[0].Segment
	}
	for _, tt := range []struct {
		name   string
		change func(c *Cover)
		draft  string
		yes    string // in the draft, and not in that of the bundle without the change
		no     string // not in the draft, and in that of the bundle without the change
	}{
		{"times", func(c *Cover) { c.Manifest.Window = bundle.Window{FirstNs: &day, LastNs: &day} }, "902", "from 2026-11-20T09:00:00.000000000Z to 2026", ""},
		{"times in the other draft", func(c *Cover) { c.Manifest.Window = bundle.Window{FirstNs: &day, LastNs: &day} }, "27037", "potential digital evidence", "has no packet"},
		{"packets", func(c *Cover) { c.Manifest.Accounts.Packets = 4 }, "902", "Number of packets: 4.", "Number of packets: 3."},
		{"the program", func(c *Cover) { c.Manifest.Tool.Release = "9" }, "902", "pcapsule 9 copied", "pcapsule 1.2.3"},
		{"tables", func(c *Cover) { c.Manifest.Tables = make([]bundle.Table, 7) }, "902", "tables from the packets (number: 7)", ""},
		{"a second file", func(c *Cover) { c.Manifest.Inputs = append(c.Manifest.Inputs, bundle.Input{}) }, "902", "byte for byte (files: 2)", "(files: 1)"},
		{"compression", func(c *Cover) { c.Manifest.Inputs[0].Compression = "gzip" }, "902", "decompressed some of them (files: 1)", ""},
		{"a redaction keeps no file", func(c *Cover) {
			c.Manifest.Derived = &bundle.Derived{Kind: "redacted", Packets: bundle.DerivedCount{Unchanged: 1, Changed: 2, Removed: 3}}
		}, "902", "(kind: redacted), so its capture files are not those that were recorded (packets: 1 unchanged, 2 changed, 3 removed)", "byte for byte"},
		{"a redaction preserves no file", func(c *Cover) { c.Manifest.Derived = &bundle.Derived{Kind: "cut"} }, "27037", "must be preserved too", "kept byte for byte"},
		{"a recorder", func(c *Cover) { segment(c); c.Manifest.Inputs[0].Node = "node-1" }, "27037", "wrote packets into rings (segments: 1; machines: node-1)", "does not state how they were recorded"},
		{"ARP is no loss", func(c *Cover) {
			c.Manifest.Accounts.Counters = map[string]map[string]int64{bundle.NotIP: {"arp": 52}}
		}, "902", "because they are not IP: arp 52.", ""},
		{"dropped packets", func(c *Cover) { c.Manifest.Inputs[0].Drops = 7 }, "902", "Losses that the bundle states: 7 packets dropped.", "states no loss"},
		{"damage", func(c *Cover) { c.Manifest.Inputs[0].Damage = make([]bundle.Damage, 1) }, "27037", "1 place damaged", "states no loss"},
		{"more damage", func(c *Cover) { c.Manifest.Inputs[0].DamageMore = 1 }, "27037", "1 place damaged", "states no loss"},
		{"gaps", func(c *Cover) { c.Manifest.Accounts.GapBytes = 9 }, "902", "9 bytes missing in gaps", "states no loss"},
		{"a snap length", func(c *Cover) { c.Manifest.Accounts.CutBytes = 9 }, "27037", "9 bytes cut by the snap length", "states no loss"},
		{"a broken seal of a ring", func(c *Cover) { segment(c).Seal = "broken" }, "902", "1 segment with the seal broken", "states no loss"},
		{"counters of lost packets", func(c *Cover) { c.Manifest.Inputs[0].Interfaces = []bundle.Interface{{Received: 3}} }, "902", "", "do not count lost packets"},
		{"a sealed segment counts", func(c *Cover) { segment(c) }, "27037", "", "do not count lost packets"},
		{"a policy", func(c *Cover) { segment(c).Policy = "never port=5432" }, "902", "Not recorded, on request: policy: never port=5432.", ""},
		{"selected pods", func(c *Cover) { segment(c).Only = "pod=web" }, "27037", "on request: all but pod=web.", ""},
		{"a filter of the recorder", func(c *Cover) { segment(c).Filter = "tcp" }, "902", "all but what the filter selects: tcp", ""},
		{"a filter of the import", func(c *Cover) { c.Manifest.Filters = bundle.Filters{BPF: "tcp", FromNs: &day, ToNs: &day} }, "902", "Not in the tables, on request: all but packets that match tcp; packets before 2026", ""},
		{"warnings", func(c *Cover) { c.Manifest.Warnings = []string{"one", "two"} }, "902", "Warnings of the program: one; two.", ""},
		{"files", func(c *Cover) { c.Hashed = 12 }, "902", "(files: 12)", "(files: none)"},
		{"the fingerprint", func(c *Cover) { c.Fingerprint[0] = 0xab }, "27037", "of the whole is ab000000 00000000", "of the whole is 00000000"},
		{"the custody log", func(c *Cover) { c.Custody = make([]bundle.Entry, 3); c.Head[0] = 0xcd }, "902", "(entries: 3); its last line has SHA-256 cd000000", "(entries: none)"},
		{"who holds keys", func(c *Cover) { c.Record = &seal.Acquisition{Request: seal.Request{KeyCustody: "the court"}} }, "27037", "Handling of keys: the court", "Handling of keys: not stated."},
		{"clocks", func(c *Cover) { c.Record = &seal.Acquisition{Request: seal.Request{ClockReference: "chrony"}} }, "27037", "to UTC: chrony", "to UTC: not stated."},
		{"a seal", func(c *Cover) {
			c.Verdicts = []seal.Verdict{{Check: "signature", State: seal.NotChecked, Place: "custody/seal-000.dsse.json"}}
		}, "eIDAS", "valid signatures (number: 1)", "has no seal with valid"},
		{"a wrong seal", func(c *Cover) {
			c.Verdicts = []seal.Verdict{{Check: "signature", State: seal.Yes, Place: "s"}, {Check: "signature", State: seal.No, Place: "s"}}
		}, "eIDAS", "", ""},
		{"a time stamp", func(c *Cover) { c.Verdicts = []seal.Verdict{{Check: "timestamp", State: seal.NotChecked, Place: "t"}} }, "eIDAS", "(number: 1). They are electronic time stamps", "has no valid time stamp"},
		{"a value that looks like a sentence", func(c *Cover) { c.Manifest.Warnings = []string{"{packets} {x} {"} }, "902", "Warnings of the program: {packets} {x} {.", ""},
	} {
		plain, c := said(sheet(), tt.draft), sheet()
		tt.change(c)
		text := said(c, tt.draft)
		if tt.yes != "" && (!strings.Contains(text, tt.yes) || strings.Contains(plain, tt.yes)) {
			t.Errorf("%s: want %q in\n%s", tt.name, tt.yes, text)
		}
		if tt.no != "" && (strings.Contains(text, tt.no) || !strings.Contains(plain, tt.no)) {
			t.Errorf("%s: want no %q in\n%s", tt.name, tt.no, text)
		}
		if tt.yes == "" && tt.no == "" && text != plain {
			t.Errorf("%s: the draft changed:\n%s", tt.name, text)
		}
	}
}

// TestDraftsHaveTheirSentences checks that nothing but the sentences of the table is in a draft.
func TestDraftsHaveTheirSentences(t *testing.T) {
	c := sheet()
	for _, s := range c.drafts() {
		if len(s.Rows)+len(s.Commands) > 0 || s.Paragraphs[0] != draft {
			t.Errorf("%s has more than paragraphs", s.Title)
		}
	}
	for _, name := range []string{"902", "27037", "eIDAS"} {
		left := strings.Join(c.paragraphs(name)[1:], " ")
		for _, s := range sentences {
			if s.draft == name && c.holds(s.when) {
				left = strings.Replace(left, c.filled(s.text), "", 1)
				left = strings.Replace(left, s.paragraph, "", 1)
			}
		}
		if strings.TrimSpace(left) != "" {
			t.Errorf("%s has more than its sentences: %q", name, left)
		}
	}
	if i := slices.IndexFunc(sentences, func(s sentence) bool { return !slices.Contains([]string{"", signer, law}, s.source) }); i >= 0 {
		t.Errorf("an unknown source: %s", sentences[i].source)
	}
}
