package handover

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tyler-smith/go-bip39"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// Cover is the cover sheet of a package: one value with two renderings, HTML and PDF.
type Cover struct {
	Name        string // of the bundle
	Time        time.Time
	From, To    string // people or organizations, may be empty
	Note        string
	Fingerprint bundle.Digest // of tagmanifest-sha256.txt
	Head        bundle.Digest // of the custody log
	Files       []File        // that hold the bundle
	Reports     []File        // that are handed over with it
	Viewer      *File         // the page that checks and reads it in a browser, nil if there is none
	Recipients  int           // keys to which they are encrypted
	Passphrase  bool          // they are encrypted with a passphrase, not to keys
	Record      *seal.Acquisition
	Verdicts    []seal.Verdict // of seals and time stamps
	Losses      string
	Hashed      int64 // files of the bundle
	Manifest    *bundle.Manifest
	Custody     []bundle.Entry
	Retention   bundle.Retention
}

// newCover collects what the verified bundle says.
func newCover(ctx context.Context, b *bundle.Bundle, r *bundle.Report, files []File, recipients int) *Cover {
	c := &Cover{Name: strings.TrimSuffix(cutStem(files[0].Name), ".zip"), Fingerprint: r.TagManifest, Head: r.CustodyHead, Files: files, Recipients: recipients,
		Verdicts: seal.Check(ctx, r, seal.Trust{}), Hashed: r.Files, Manifest: b.Manifest, Custody: r.Custody, Retention: bundle.RetentionOf(r.Custody)}
	if s, _ := seal.Newest(ctx, r, seal.Trust{}); s != nil {
		c.Record = &s.Predicate
	}
	losses := seal.LossesOf(b.Manifest)
	c.Losses = losses.String()
	if len(r.Custody) > 0 {
		c.Time = time.Unix(0, int64(r.Custody[len(r.Custody)-1].Time)).UTC()
	}
	return c
}

func cutStem(name string) string {
	stem, _ := cutPart(name)
	return strings.TrimSuffix(stem, ".age")
}

// Words spells a fingerprint as 24 words of BIP-39. The last word has a checksum, so a word
// that was misheard is noticed.
func Words(d bundle.Digest) string {
	words, err := bip39.NewMnemonic(d[:])
	if err != nil {
		panic(err) // only the length can be wrong
	}
	return words
}

// hexGroups is a fingerprint in groups of eight digits.
func hexGroups(d bundle.Digest) string {
	text := hex.EncodeToString(d[:])
	var groups []string
	for i := 0; i < len(text); i += 8 {
		groups = append(groups, text[i:i+8])
	}
	return strings.Join(groups, " ")
}

// section is a part of the sheet: rows of a label and a text, paragraphs, and commands.
type section struct {
	Title      string
	NewPage    bool
	QR         string // text of a QR code, may be empty
	Rows       []row
	Paragraphs []string
	Commands   []string
	Blanks     []string // labels of lines to be filled in by hand
}

type row struct {
	Label, Text string
	Mono        bool
}

// sections are the sheet.
func (c *Cover) sections() []section {
	list := []section{c.summary(), c.fingerprint(), c.files(), c.signatures(), c.custody()}
	list = append(list, c.checking())
	return append(list, c.drafts()...)
}

// add appends a row if it has a text.
func (s *section) add(label, text string) {
	if text = clean(text); text != "" {
		s.Rows = append(s.Rows, row{Label: label, Text: text})
	}
}

func (c *Cover) summary() section {
	s := section{Title: "Evidence bundle " + clean(c.Name)}
	r := c.request()
	s.add("Case", r.CaseID)
	s.add("Handed over", c.Time.Format("2006-01-02 15:04:05 UTC"))
	s.add("By", c.From)
	s.add("To", c.To)
	s.add("Note", c.Note)
	s.add("Purpose", r.Purpose)
	s.add("Authority", r.Authority)
	s.add("Legal basis", r.LegalBasis)
	s.add("Requested by", r.Requester)
	s.add("Approved by", r.Approver)
	s.add("Examiner", r.Examiner)
	s.add("Scope requested", r.ScopeRequested)
	m := c.Manifest
	if m.Window.FirstNs != nil && m.Window.LastNs != nil {
		s.add("Packets from", m.Window.FirstNs.String())
		s.add("Packets to", m.Window.LastNs.String())
	}
	s.add("Packets", fmt.Sprint(m.Accounts.Packets))
	var calls []string
	for _, protocol := range slices.Sorted(maps.Keys(m.Calls)) {
		calls = append(calls, fmt.Sprintf("%s %d", protocol, m.Calls[protocol]))
	}
	s.add("Calls", cmp.Or(strings.Join(calls, ", "), "none"))
	s.add("Known losses", c.Losses)
	s.add("Clock", r.ClockReference)
	if c.Passphrase {
		s.add("Encryption", "age, with a passphrase")
	} else if c.Recipients > 0 {
		s.add("Encryption", fmt.Sprintf("age; recipients: %d", c.Recipients))
	} else {
		s.add("Encryption", "none")
	}
	if h := c.Retention.Hold; h != nil {
		s.add("Legal hold", strings.TrimSpace("since "+h.Time.String()+" "+h.Details["authority"]+" "+h.Note))
	}
	if !c.Retention.Until.IsZero() {
		s.add("Keep until", c.Retention.Until.Format(time.DateOnly))
	}
	for _, w := range m.Warnings {
		s.add("Warning", w)
	}
	return s
}

// request is what people said at the newest seal.
func (c *Cover) request() (r seal.Request) {
	if c.Record != nil {
		r = c.Record.Request
	}
	return r
}

// qrText is the text of the QR code.
func qrText(name string, d bundle.Digest) string { return "pcapsule " + name + " sha256:" + d.String() }

func (c *Cover) fingerprint() section {
	s := section{Title: "Fingerprint", QR: qrText(c.Name, c.Fingerprint),
		Paragraphs: []string{"The fingerprint is the SHA-256 of tagmanifest-sha256.txt in the bundle, and so of every file in it except its history in custody/. " +
			"Compare it over another channel: read the words on the phone, or scan the code. " +
			"The 24 words are the same number by the word list of BIP-39."}}
	s.Rows = []row{{"SHA-256", hexGroups(c.Fingerprint), true}, {"In words", Words(c.Fingerprint), false}, {"End of the custody log", hexGroups(c.Head), true}}
	return s
}

func (c *Cover) files() section {
	s := section{Title: "Files"}
	for _, f := range c.Files {
		s.Rows = append(s.Rows, row{clean(f.Name), fmt.Sprintf("%d bytes, SHA-256 ", f.Size) + hexGroups(f.SHA256), true})
	}
	for _, f := range c.Reports {
		s.Rows = append(s.Rows, row{clean(f.Name), fmt.Sprintf("report, %d bytes, SHA-256 ", f.Size) + hexGroups(f.SHA256), true})
	}
	if f := c.Viewer; f != nil {
		s.Rows = append(s.Rows, row{f.Name, fmt.Sprintf("viewer, %d bytes, SHA-256 ", f.Size) + hexGroups(f.SHA256), true})
		s.Paragraphs = append(s.Paragraphs, ViewerName+" checks and reads the bundle in a browser, without installation and network. It came from the sender: compare its SHA-256 with that of a release of pcapsule before you rely on it.")
	}
	if len(c.Reports) > 0 {
		s.Paragraphs = append(s.Paragraphs, "Reports are handed over as they were given; this sheet does not state that they are right. pcapsule report verify compares every figure of a report with the bundle.")
	}
	return s
}

func (c *Cover) signatures() section {
	s := section{Title: "Signatures and time stamps"}
	for _, v := range c.Verdicts {
		text := v.Detail
		if v.State == seal.No {
			text = "WRONG: " + text
		}
		s.add(cmp.Or(v.Place, v.Check), text)
	}
	return s
}

// maxCustodyRows is the number of entries that the sheet lists, the newest.
const maxCustodyRows = 40

func (c *Cover) custody() section {
	s := section{Title: "Custody (times in UTC)"}
	first := max(0, len(c.Custody)-maxCustodyRows)
	if first > 0 {
		s.Paragraphs = append(s.Paragraphs, fmt.Sprintf("Earlier entries, in custody/log.jsonl only: %d.", first))
	}
	for _, e := range c.Custody[first:] {
		var parts []string
		for _, p := range []struct{ label, text string }{{"by ", e.User}, {"on ", e.Host}, {"with ", e.Tool}, {"to ", e.Details["to"]}, {"", e.Note}} {
			if p.text != "" {
				parts = append(parts, p.label+p.text)
			}
		}
		s.add(time.Unix(0, int64(e.Time)).UTC().Format(time.DateTime), strings.ReplaceAll(e.Event, "_", " ")+" "+strings.Join(parts, ", "))
	}
	return s
}

// checking are the commands for the receiver.
func (c *Cover) checking() section {
	s := section{Title: "Check and open it with public tools"}
	s.Commands = append(s.Commands, "sha256sum -c "+SumsName)
	zip := cutStem(c.Files[0].Name)
	source := c.Files[0].Name
	if stem, numbered := cutPart(source); numbered {
		s.Commands, source = append(s.Commands, "cat "+stem+".??? > "+stem), stem
	}
	if c.Passphrase {
		s.Commands = append(s.Commands, "age --decrypt --output "+zip+" "+source)
	} else if c.Recipients > 0 {
		s.Commands = append(s.Commands, "age --decrypt --identity KEYFILE --output "+zip+" "+source)
	}
	s.Commands = append(s.Commands, "unzip "+zip, "cd "+c.Name, "sha256sum tagmanifest-sha256.txt",
		"sha256sum -c --quiet manifest-sha256.txt tagmanifest-sha256.txt")
	s.Paragraphs = []string{"The command sha256sum tagmanifest-sha256.txt prints the fingerprint if this is the bundle that was handed over. " +
		"README.html in the bundle explains how to verify signatures and how to open packets and tables. " +
		"With pcapsule, one command does all of it: pcapsule receive FOLDER"}
	return s
}

// clean removes characters that could change how a text is shown: control characters, and those that
// change the direction of writing.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s))
}
