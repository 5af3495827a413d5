package chain

import (
	"cmp"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Limits of the search for the ways of mails.
const (
	maxMails  = 50_000 // calls with a mail that other calls have too
	maxCopies = 64     // of them, calls with the same mail
)

// mails are the calls that carry the same mail, by its Message-ID (RFC 5322 section 3.6.4), which
// servers keep when they pass it on.
type mails struct {
	ids   map[ask.Key]string
	calls map[string][]ask.Key // in order of time
}

// loadMails finds the mails that more than one call carried.
func (k *Builder) loadMails() error {
	if k.mails != nil {
		return nil
	}
	k.mails = &mails{map[ask.Key]string{}, map[string][]ask.Key{}}
	if !k.C.MayHave("smtp", "imap", "pop3") {
		return nil
	}
	type row struct {
		Bundle int64  `json:"bundle"`
		No     int64  `json:"call_no"`
		ID     string `json:"id"`
	}
	list, more, err := ask.Rows[row](k.Ctx, k.C, maxMails, `WITH m AS (SELECT `+terms.BundleOf(k.C, "")+`, call_no, ts_ns, coalesce(smtp_message_id, imap_message_id, pop3_message_id) AS id FROM calls
			WHERE protocol = 'smtp' AND smtp_command = 'MAIL' OR protocol = 'imap' AND imap_command LIKE '%FETCH' OR protocol = 'pop3' AND pop3_command = 'RETR')
		SELECT bundle, call_no, id FROM (SELECT *, count(*) OVER (PARTITION BY id) AS n, row_number() OVER (PARTITION BY id ORDER BY ts_ns, bundle, call_no) AS nth FROM m WHERE id IS NOT NULL)
		WHERE n > 1 AND nth <= ? ORDER BY ts_ns, bundle, call_no`, int64(maxCopies))
	if err != nil {
		return err
	}
	k.Cut = k.Cut || more
	for _, r := range list {
		key := ask.Key{Bundle: r.Bundle, No: r.No}
		k.mails.ids[key] = r.ID
		k.mails.calls[r.ID] = append(k.mails.calls[r.ID], key)
	}
	return nil
}

// sameMails loads the calls that carried the mails of some steps.
func (k *Builder) sameMails(list []*Step) ([]*Step, error) {
	var keys []ask.Key
	for _, s := range list {
		keys = append(keys, k.mails.calls[k.mails.ids[s.Key()]]...)
	}
	return k.Load(keys)
}

// senderOf links a call that passed a mail on, or fetched it, to the call by which its server got it.
func (k *Builder) senderOf(child *Step) *Link {
	id := k.mails.ids[child.Key()]
	if id == "" {
		return nil
	}
	server := child.Dst
	if child.Protocol == "smtp" {
		server = child.Src
	}
	var before []*Step
	for _, key := range k.mails.calls[id] {
		p := k.Steps[key]
		if p == nil || p == child || p.Protocol != "smtp" || p.Failed || server == nil || p.Dst == nil || p.Dst.Key != server.Key {
			continue
		}
		if slack, _ := k.slack(p, child); p.Start <= child.Start+slack {
			before = append(before, p)
		}
	}
	if len(before) == 0 {
		return nil
	}
	p := slices.MaxFunc(before, func(a, b *Step) int { return cmp.Or(cmp.Compare(a.Start, b.Start), InTime(a, b)) })
	return &Link{Parent: p, Confidence: messageConfidences[0], How: "message: the same Message-ID, at the server that got it", Queue: max(0, child.Start-p.End), Through: true}
}
