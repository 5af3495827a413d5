package handover

import (
	"cmp"
	"fmt"
)

// certificates are drafts of statements about the bundle for legal proceedings. They contain
// what the bundle records; a person completes, corrects and signs them.
func (c *Cover) certificates() []section {
	return []section{c.rule902(), c.iso27037(), c.eIDAS()}
}

const draft = "DRAFT. Generated from the bundle's records; it is not legal advice. A lawyer must review it, and the person who signs must know every statement to be true."

func (c *Cover) rule902() section {
	m := c.Manifest
	s := section{Title: "Draft certification, US Federal Rules of Evidence 902(13) and 902(14)", NewPage: true, Paragraphs: []string{draft,
		"1. I, the undersigned, am qualified to make this certification by my training and my work with the systems described below.",
		"2. Rule 902(13), process. Network packets were recorded" + c.span() + fmt.Sprintf(" (number of packets: %d). ", m.Accounts.Packets) +
			fmt.Sprintf("The program %s %s stored the recorded files byte for byte and derived tables from them. The process is repeatable: the same files and the same release give the same tables, which \"pcapsule verify --rederive\" checks. Known losses of this recording: %s.",
				clean(m.Tool.Name), clean(m.Tool.Release), clean(c.Losses)),
		"3. To my knowledge the process produces an accurate result, and the recording systems worked properly in that time, except:",
		"4. Rule 902(14), copy. The files were identified by SHA-256 hash values when the bundle was made. The fingerprint of the whole bundle is " + hexGroups(c.Fingerprint) + ". I computed the same value from the copy that I offer. A copy with the same value is the same as the original.",
		"5. The custody log of the bundle, whose end has SHA-256 " + hexGroups(c.Head) + ", lists who handled it.",
		"I certify under penalty of perjury that the foregoing is true and correct.",
	}}
	s.Blanks = []string{"Exceptions to 3", "Name and title", "Qualification", "Place and date", "Signature"}
	return s
}

// span is the time of the packets, for the middle of a sentence.
func (c *Cover) span() string {
	w := c.Manifest.Window
	if w.FirstNs == nil || w.LastNs == nil {
		return ""
	}
	return " between " + w.FirstNs.String() + " and " + w.LastNs.String() + ", by the clocks of the recording machines"
}

func (c *Cover) iso27037() section {
	r := c.request()
	s := section{Title: "Draft record of acquisition and transfer, wording of ISO/IEC 27037:2012", NewPage: true, Paragraphs: []string{draft,
		"Identification: potential digital evidence in network traffic" + c.span() + ".",
		"Collection and acquisition: packets were copied while the systems kept running; the traffic itself was not changed. What could not be captured: " + clean(c.Losses) + ".",
		"Preservation: the packet files are kept byte for byte. Every file has a SHA-256 hash value; the fingerprint of the whole is " + hexGroups(c.Fingerprint) + ".",
		"Auditability, repeatability and reproducibility: bundle.json records inputs, options and releases; the custody log records every handover; the tables can be made again from the packets.",
		"Handling of keys: " + cmp.Or(clean(r.KeyCustody), "not stated") + ". Traceability of clocks to UTC: " + cmp.Or(clean(r.ClockReference), "not stated") + ".",
	}}
	s.Blanks = []string{"Handed over by (name, signature, date, time)", "Received by (name, signature, date, time)", "Condition on receipt, fingerprint compared by", "Remarks"}
	return s
}

func (c *Cover) eIDAS() section {
	return section{Title: "Draft statement on signatures and time stamps, Regulation (EU) No 910/2014 (eIDAS)", Paragraphs: []string{draft,
		"The signatures listed on this sheet are electronic signatures in the sense of Article 3(10). Whether one is an advanced (Article 26) or a qualified signature (Article 3(12)) depends on how the signer holds the key and on its certificate, which this sheet does not assess. " +
			"A time stamp by RFC 3161 is an electronic time stamp (Article 3(33)). It is qualified (Article 42) only if a qualified trust service provider issued it. " +
			"An electronic signature or time stamp may not be denied legal effect as evidence only because it is electronic or not qualified (Articles 25(1) and 41(1))."},
		Blanks: []string{"Trust service provider and certificate, if qualified", "Name and date"}}
}
