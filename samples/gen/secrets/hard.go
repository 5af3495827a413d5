package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// hardAll are captures with missing data, or with data in unusual places.
func hardAll() (all []scenario) {
	add := func(n string, make func(*lab, *shot) error) { all = append(all, scenario{"hard-" + n, make}) }
	small := ossl{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256"}
	add("tls1.3-aes-128-gcm-sha256-keys_before", func(l *lab, h *shot) error { return small.embedded(l, h, false) })
	add("tls1.3-aes-128-gcm-sha256-keys_after", func(l *lab, h *shot) error { return small.embedded(l, h, true) })
	older := ossl{version: "-tls1_2", cipher: "ECDHE-RSA-CHACHA20-POLY1305"}
	add("tls1.2-ecdhe-rsa-chacha20-poly1305-keys_after", func(l *lab, h *shot) error { return older.embedded(l, h, true) })
	datagrams := ossl{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", plan: messages()}
	add("dtls1.2-ecdhe-rsa-aes128-gcm-sha256-keys_after", func(l *lab, h *shot) error { return datagrams.embedded(l, h, true) })

	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256"} {
		n := suiteShort(suite)
		o := ossl{version: "-tls1_3", cipher: suite, server: "-num_tickets 0 -max_send_frag 700"}
		add("tls1.3-"+n+"-beginning_lost", o.beginningLost)
		add("tls1.3-"+n+"-lost_segments", func(l *lab, h *shot) error { return o.lossy(l, h, false) })
		add("tls1.3-"+n+"-key_update_lost", func(l *lab, h *shot) error { return o.lossy(l, h, true) })
	}
	for _, o := range []ossl{
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-CHACHA20-POLY1305"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-SHA256", both: "-no_etm", features: "no_etm"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES256-SHA384", features: "etm"},
		{version: "-tls1", cipher: "AES128-SHA", both: "-no_etm -bugs", features: "no_etm"},
	} {
		o.server = "-max_send_frag 700"
		s := name("hard", versionNames[o.version], o.cipher, o.features, "lost_segments")
		all = append(all, scenario{s, func(l *lab, h *shot) error { return o.lossy(l, h, false) }})
	}
	add("dtls1.2-ecdhe-rsa-aes128-gcm-sha256-shuffled", func(l *lab, h *shot) error { return datagrams.shuffled(l, h) })
	cbc := ossl{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-SHA256"}
	add("dtls1.2-ecdhe-rsa-aes128-sha256-shuffled", func(l *lab, h *shot) error { return cbc.shuffled(l, h) })
	return all
}

// embedded puts the keys into the capture.
func (o ossl) embedded(l *lab, h *shot, after bool) error {
	o.features = "keys_before"
	if after {
		o.features = "keys_after"
	}
	if err := o.make(l, h); err != nil {
		return err
	}
	return h.embed(after)
}

// embed makes the capture a PCAPNG with embedded keys.
func (h *shot) embed(after bool) error {
	h.file, h.keys = h.name+".pcapng", "-"
	for i := range h.rows {
		h.rows[i].file, h.rows[i].keys = h.file, h.keys
	}
	if err := h.end(); err != nil {
		return err
	}
	list, err := readPackets(h.raw)
	if err != nil {
		return err
	}
	keys, err := os.ReadFile(h.keyfile())
	if err != nil {
		return err
	}
	h.raw = h.l.path("raw.pcapng")
	return os.WriteFile(h.raw, pcapng(list, tidy(keys), after), 0o600)
}

// edit changes the packets of a finished capture.
func (h *shot) edit(change func([]packet) ([]packet, error)) error {
	if err := h.end(); err != nil {
		return err
	}
	list, err := readPackets(h.raw)
	if err != nil {
		return err
	}
	if list, err = change(list); err != nil {
		return err
	}
	return writePackets(h.raw, list)
}

// beginningLost omits the handshake and the first exchange.
func (o ossl) beginningLost(l *lab, h *shot) error {
	o.features = "beginning_lost"
	s, err := o.serve(l, h.port)
	if err != nil {
		return err
	}
	defer s.kill()
	var from int64
	rest := steps(again(), []step{client(get("/export")), server(ok(text(5000)))})
	if _, _, err := o.once(h, s, steps(exchange(), one(step{mark: func() { from = time.Now().UnixNano() }}), rest), "-quiet", "-no_ign_eof"); err != nil {
		return err
	}
	var sent [2][]byte
	for _, x := range rest {
		side := 0
		if x.server {
			side = 1
		}
		sent[side] = append(sent[side], x.send...)
	}
	h.note(o.row(l), sent[0], sent[1])
	return h.edit(func(list []packet) ([]packet, error) {
		return slices.DeleteFunc(list, func(p packet) bool { return p.ns < from }), nil
	})
}

// lossy omits random segments of a download, or those around a key update. The expected plaintext is
// that of the records without missing bytes.
func (o ossl) lossy(l *lab, h *shot, update bool) error {
	more := []string{"lost_segments"}
	o.noisy = update
	if update {
		more = []string{"key_update_lost"}
	}
	if o.features != "" {
		more = append([]string{o.features}, more...)
	}
	o.features = more[0]
	for _, f := range more[1:] {
		o.features += "," + f
	}
	s, err := o.serve(l, h.port)
	if err != nil {
		return err
	}
	defer s.kill()
	var at [4]int64
	mark := func(i int) []step { return one(step{mark: func() { at[i] = time.Now().UnixNano() }}) }
	answer := ok(text(14_000))
	texts := slices.Collect(slices.Chunk(answer, 700)) // as -max_send_frag splits one write
	plan := steps(one(client(get("/export"))), mark(0), one(server(answer)), mark(1))
	if update {
		// A piece must not begin with the letter of a command, so each begins with a line.
		texts = lines(ok(text(7000)))
		half := len(texts) / 2
		plan = steps(plan[:1], mark(0), each(texts[:half]), mark(1), one(atServer("k\n")), mark(2), each(texts[half:]), mark(3))
	}
	_, sent, err := o.once(h, s, plan, "-quiet", "-no_ign_eof")
	if err != nil {
		return err
	}
	seed := rand.New(rand.NewPCG(9, crc64.Checksum([]byte(h.name), crc64.MakeTable(crc64.ISO))))
	return h.edit(func(list []packet) ([]packet, error) {
		end := at[1]
		if update {
			end = at[3]
		}
		var candidates []int // packets with bytes of the download
		for i, p := range list {
			if p.src == h.port && len(p.payload) > 0 && p.ns > at[0] && p.ns < end {
				candidates = append(candidates, i)
			}
		}
		lost := map[int]bool{}
		if update {
			for j, i := range candidates {
				if p := list[i]; p.ns > at[1] && p.ns < at[2] {
					lost[i] = true
					lost[candidates[j-1]] = true
					if j+1 < len(candidates) {
						lost[candidates[j+1]] = true
					}
				}
			}
		} else {
			// The first and the last segment stay, so that gaps are bounded.
			for _, k := range seed.Perm(len(candidates) - 2)[:3] {
				lost[candidates[k+1]] = true
			}
		}
		if len(lost) == 0 {
			return nil, errors.New("no segment to lose")
		}
		left, err := whole(list, candidates, lost, texts, o.version == "-tls1")
		if err != nil {
			return nil, err
		}
		r := o.row(l)
		r.what = "records"
		h.note(r, sent[0], left)
		var kept []packet
		for i, p := range list {
			if !lost[i] {
				kept = append(kept, p)
			}
		}
		return kept, nil
	})
}

// lines splits a response into its head and pieces of five lines.
func lines(b []byte) (list [][]byte) {
	head := bytes.Index(b, []byte("\r\n\r\n")) + 4
	list = append(list, b[:head])
	var piece []byte
	n := 0
	for line := range bytes.Lines(b[head:]) {
		if piece = append(piece, line...); n%5 == 4 {
			list, piece = append(list, piece), nil
		}
		n++
	}
	if piece != nil {
		list = append(list, piece)
	}
	return list
}

func each(texts [][]byte) (list []step) {
	for _, b := range texts {
		list = append(list, server(b))
	}
	return list
}

// whole returns the plaintext of the records without lost bytes. The candidates are the segments with
// the records of texts, one each, and possibly a key update. With chained, the initialization vector
// of a record is the last block of the previous one, which is then also needed.
func whole(list []packet, candidates []int, lost map[int]bool, texts [][]byte, chained bool) (left []byte, err error) {
	first := list[candidates[0]].seq
	var stream []byte
	var gone []bool
	for _, i := range candidates {
		p := list[i]
		if int(p.seq-first) != len(stream) {
			return nil, errors.New("the recorded download is not in order; hint: make it again")
		}
		stream = append(stream, p.payload...)
		for range p.payload {
			gone = append(gone, lost[i])
		}
	}
	for at := 0; at+5 <= len(stream); {
		n := 5 + int(binary.BigEndian.Uint16(stream[at+3:]))
		if stream[at] != 23 || at+n > len(stream) || len(texts) == 0 {
			return nil, errors.New("the records of the download are not those that were written")
		}
		if n != keyUpdateRecord {
			if n < len(texts[0])+5+8 || n > len(texts[0])+5+80 {
				return nil, fmt.Errorf("a record of %d bytes for %d of plaintext", n, len(texts[0]))
			}
			from := at
			if chained {
				from = max(0, at-16) // an AES block
			}
			if !slices.Contains(gone[from:at+n], true) {
				left = append(left, texts[0]...)
			}
			texts = texts[1:]
		}
		at += n
	}
	if len(texts) > 0 {
		return nil, fmt.Errorf("%d records are missing in the recorded download", len(texts))
	}
	return left, nil
}

// keyUpdateRecord is the length of a record with only a key update.
const keyUpdateRecord = 5 + 5 + 1 + 16

// shuffled omits some datagrams, repeats some and reorders others.
func (o ossl) shuffled(l *lab, h *shot) error {
	o.features = "lost_and_shuffled"
	o.plan = nil
	for i := range 12 {
		o.plan = append(o.plan, client(fmt.Appendf(nil, "sensor 17: %d.5 degrees\n", 20+i)), server(fmt.Appendf(nil, "noted %d.5 degrees\n", 20+i)))
	}
	s, err := o.serve(l, h.port)
	if err != nil {
		return err
	}
	defer s.kill()
	var from int64
	plan := steps(o.plan[:2], one(step{mark: func() { from = time.Now().UnixNano() }}), o.plan[2:])
	if _, _, err := o.once(h, s, plan, "-quiet", "-no_ign_eof"); err != nil {
		return err
	}
	return h.edit(func(list []packet) ([]packet, error) {
		start := slices.IndexFunc(list, func(p packet) bool { return p.ns > from })
		if start < 0 || len(list) < start+22 {
			return nil, errors.New("too few datagrams")
		}
		var order []int // order of the datagrams after the mark; each carries a message
		for i := range 22 {
			order = append(order, i)
		}
		order = slices.DeleteFunc(order, func(i int) bool { return i == 3 || i == 8 || i == 9 })
		order[4], order[6] = order[6], order[4]
		order[10], order[11], order[12] = order[12], order[10], order[11]
		again := slices.Clone(order[2:4]) // two are repeated later
		sent := [2][]byte{o.plan[0].send, o.plan[1].send}
		kept, times := list[:start:start], list[start:]
		for j, i := range order {
			p, x := times[i], o.plan[2+i]
			side := 0
			if x.server {
				side = 1
			}
			if (p.src == h.port) != x.server {
				return nil, errors.New("the datagrams are not in the order of the messages")
			}
			sent[side] = append(slices.Clip(sent[side]), x.send...)
			p.ns = times[j].ns
			kept = append(kept, p)
		}
		for j, i := range again {
			p := times[i]
			p.ns = times[20+j].ns
			kept = append(kept, p)
		}
		kept = append(kept, times[22:]...)
		r := o.row(l)
		r.what = "records"
		h.note(r, sent[0], sent[1])
		return kept, nil
	})
}
