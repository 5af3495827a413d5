package reader

import (
	"cmp"
	"math"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
)

// coverage is what forensics.Case.Coverage returns. from and to are nanoseconds, 0 leaves an end open.
func (r *Reader) coverage(from, to int64) (forensics.Coverage, error) {
	if r.record == nil {
		if err := r.readRecord(); err != nil {
			return forensics.Coverage{}, err
		}
	}
	return forensics.Cover(*r.record, from, to), nil
}

// window is the times of the first and the last packet; ok is false without packets.
func (r *Reader) window() (first, last int64, ok bool) {
	if w := r.b.Manifest.Window; w.FirstNs != nil && w.LastNs != nil {
		return int64(*w.FirstNs), int64(*w.LastNs), true
	}
	return 0, 0, false
}

func (r *Reader) readRecord() error {
	t, err := r.table("coverage", "from_ns")
	if err == nil {
		err = t.load(t.names()...)
	}
	if err != nil {
		return err
	}
	out := forensics.Recording{}
	out.First, out.Last, out.Any = r.window()
	rows := make([]int, t.rows)
	for i := range rows {
		rows[i] = i
	}
	slices.SortFunc(rows, func(a, b int) int {
		less := cmp.Or(cmp.Compare(t.int("from_ns", a), t.int("from_ns", b)), cmp.Compare(t.int("to_ns", a), t.int("to_ns", b)))
		for _, name := range []string{"source", "reason"} {
			less = cmp.Or(less, cmp.Compare(t.text(name, a), t.text(name, b)))
		}
		return cmp.Or(less, cmp.Compare(t.int("packets", a), t.int("packets", b)), cmp.Compare(t.text("detail", a), t.text("detail", b)), cmp.Compare(t.int("file_id", a), t.int("file_id", b)))
	})
	text := func(name string, row int) string {
		s, _ := r.cell(t, row, name, t.at(name, row)).(string)
		return s
	}
	for _, i := range rows {
		s := forensics.Stretch{Hole: forensics.Hole{Source: text("source", i), From: t.int("from_ns", i), To: t.int("to_ns", i), Reason: text("reason", i), Packets: t.int("packets", i), Detail: text("detail", i)},
			Recorded: t.text("kind", i) == "recorded", Silence: t.int("to_ns", i) - t.int("from_ns", i)}
		if n, ok := t.at("silence_ns", i).(int64); ok {
			s.Silence = n
		}
		s.Quiet, _ = t.at("quiet_from_ns", i).(int64)
		out.Stretches = append(out.Stretches, s)
	}
	out.Stretches = append(out.Stretches, forensics.StretchesOf(0, r.b.Manifest, t.rows > 0)...)
	out.Redacted = slices.ContainsFunc(r.b.Manifest.Derived.Lacks(), func(l bundle.Lack) bool { return l.Reason == bundle.LackRedaction })
	if out.Unread, err = r.unread(); err != nil {
		return err
	}
	r.record = &out
	return nil
}

// unread are the times in which something was recorded that could not be read, as forensics reads them.
func (r *Reader) unread() (list [][2]int64, err error) {
	add := func(name, key string, columns []string, unread func(t *relation, row int) bool, span func(t *relation, row int) [2]int64) {
		t, e := r.table(name, key)
		if err = cmp.Or(err, e); err == nil {
			err = t.load(columns...)
		}
		for row := 0; err == nil && row < t.rows; row++ {
			if unread(t, row) {
				list = append(list, span(t, row))
			}
		}
	}
	ends := func(t *relation, row int) [2]int64 { return [2]int64{t.int("first_ns", row), t.int("last_ns", row)} }
	among := func(text string, of ...string) bool { return slices.Contains(of, text) }
	add("flows", "flow_id", []string{"gap_bytes", "one_sided", "transport", "completeness", "state", "first_ns", "last_ns"}, func(t *relation, row int) bool {
		return t.int("gap_bytes", row) > 0 || t.at("one_sided", row) == true && t.text("transport", row) == "tcp" && t.int("completeness", row)&47 != 0 && !among(t.text("state", row), "syn_sent", "refused")
	}, ends)
	add("connections", "conn_id", []string{"key_state", "payload_protocol", "protocol", "calls", "first_ns", "last_ns"}, func(t *relation, row int) bool {
		return among(t.text("key_state", row), "none", "unverified") || t.at("payload_protocol", row) != nil || t.at("protocol", row) == nil && t.at("key_state", row) == nil && t.int("calls", row) > 0
	}, ends)
	add("anomalies", "packet_no", []string{"source", "kind", "lost_bytes", "count", "ts_ns"}, func(t *relation, row int) bool {
		kind := t.text("kind", row)
		return among(t.text("source", row), "link", "ip") && among(kind, "truncated", "header_cut", "bad_header", "unknown_link", "depth_limit", "fragment_dropped", "fragment_missing", "fragments_missing", "encrypted", "aggregate") ||
			t.int("lost_bytes", row) > 0 && !among(kind, "bad_checksum", "old_timestamp", "old_ack", "unsent_ack") || among(kind, "evicted", "limit", "panic")
	}, func(t *relation, row int) [2]int64 {
		if t.int("count", row) > 1 {
			return [2]int64{t.int("ts_ns", row), math.MaxInt64}
		}
		return [2]int64{t.int("ts_ns", row), t.int("ts_ns", row)}
	})
	return list, err
}
