package forensics_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// callComments are the labels of a packet and its four comments.
func callComments(t *testing.T, c *forensics.Case, p *pcapng.Packet) (labels, texts []string) {
	t.Helper()
	list := p.Comments()
	at := len(list) - 5
	if at < 0 || list[at] != c.PacketLabel() {
		t.Fatalf("comments %q", list)
	}
	for _, text := range list[:at] {
		if label, ok := strings.CutPrefix(text, c.PacketLabel()+" "); ok {
			labels = append(labels, label)
		}
	}
	return labels, list[at+1:]
}

// TestPacketsNameTheirCalls compares the comments of all packets of a capture with the calls that cite them.
func TestPacketsNameTheirCalls(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	type said struct {
		calls, outcomes []string
		failed          bool
	}
	want := map[int64]*said{}
	r := query(t, c, forensics.Query{SQL: "SELECT call_id, protocol, endpoint, outcome, failed, src_who, dst_who, cites FROM calls ORDER BY cites[1].first, call_no", Limit: 10_000, MaxBytes: 64 << 20})
	for i, row := range r.Rows {
		for _, span := range r.Citations[i].Packets {
			for n := span.First; n <= span.Last; n++ {
				if want[n] == nil {
					want[n] = &said{}
				}
				w := want[n]
				w.calls = append(w.calls, hex.EncodeToString(row[0].([]byte))[:12])
				w.outcomes = append(w.outcomes, row[3].(string))
				w.failed = w.failed || row[4] == true
			}
		}
	}
	path, _ := slice(t, c, forensics.Selection{KFL: "http && status_code >= 500", Context: forensics.WholeConnections, Comments: forensics.CallComments})
	selected, _ := slice(t, c, forensics.Selection{KFL: "http && status_code >= 500"})
	matching, none := 0, 0
	for _, p := range packets(t, path) {
		labels, texts := callComments(t, c, &p)
		var place string
		var no int64
		for _, text := range p.Comments() {
			if rest, ok := strings.CutPrefix(text, "pcapsule:"); ok && strings.Contains(rest, "#") {
				place = rest
			}
		}
		if _, err := fmt.Sscanf(place[9:], "%d", &no); err != nil { // one file: its number is packet_no
			t.Fatal(place)
		}
		w := want[no]
		if w == nil {
			w = &said{}
			none++
			if texts[2] != forensics.NoValue || texts[3] != forensics.NoValue {
				t.Errorf("packet %d: %q, but no call cites it", no, texts)
			}
		}
		for i, id := range w.calls[:min(4, len(w.calls))] {
			if !strings.Contains(texts[2], id+" ") || !strings.Contains(texts[3], w.outcomes[i]) {
				t.Errorf("packet %d: %q, want call %s, %s", no, texts, id, w.outcomes[i])
			}
		}
		if slices.Contains(labels, forensics.LabelFailed) != w.failed {
			t.Errorf("packet %d: labels %q, failed is %t", no, labels, w.failed)
		}
		if !strings.Contains(texts[0], " → ") || strings.Contains(texts[0], "10.244.") {
			t.Errorf("packet %d: service %q", no, texts[0])
		}
		if slices.Contains(labels, forensics.LabelMatch) {
			matching++
		}
	}
	if n := len(packets(t, selected)); matching != n || n == 0 || none == 0 {
		t.Errorf("%d packets match, want %d; %d have no call", matching, n, none)
	}
}

// TestPacketsOfManyCalls checks a packet with more calls than its comments name, and what else they say of calls.
func TestPacketsOfManyCalls(t *testing.T) {
	c := open(t, sample(t, "redis.pcap")) // with pipelines
	path, _ := slice(t, c, forensics.Selection{Comments: forensics.CallComments})
	more := false
	for _, p := range packets(t, path) {
		_, texts := callComments(t, c, &p)
		for _, text := range texts {
			if len(text) > 260 {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}
		more = more || strings.Contains(texts[2], " more")
	}
	if !more {
		t.Error("no packet has more calls than its comments name")
	}
}

// TestUndeliveredAndResentPacketsAreLabelled checks the labels of what the network did to a call.
func TestUndeliveredAndResentPacketsAreLabelled(t *testing.T) {
	for name, label := range map[string]string{"hard/retransmission.pcap": forensics.LabelResent, "icmp.pcap": forensics.LabelUndelivered} {
		c := open(t, sample(t, name))
		condition := map[string]string{forensics.LabelResent: "coalesce(resent_segments, 0) > 0", forensics.LabelUndelivered: "request_delivered = 'no'"}[label]
		calls := number(t, c, "select count(*) from calls where "+condition)
		path, _ := slice(t, c, forensics.Selection{Comments: forensics.CallComments})
		labelled := 0
		for _, p := range packets(t, path) {
			if labels, _ := callComments(t, c, &p); slices.Contains(labels, label) {
				labelled++
			}
		}
		if calls == 0 || labelled == 0 {
			t.Errorf("%s: %d calls, %d packets are labelled %s", name, calls, labelled, label)
		}
	}
}

// TestNoCommentImitatesALabel slices a slice whose comments were changed to claim something else: the new slice has
// another label, and only its own comments follow it.
func TestNoCommentImitatesALabel(t *testing.T) {
	first := open(t, sample(t, "http1.pcapng"))
	path, _ := slice(t, first, forensics.Selection{Comments: forensics.CallComments})
	dir := filepath.Join(t.TempDir(), "again.pcapsule")
	if _, err := exporter.Run(ctx, []string{path}, dir, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if again.PacketLabel() == first.PacketLabel() {
		t.Fatal("both cases have one label")
	}
	other, _ := slice(t, again, forensics.Selection{Comments: forensics.CallComments})
	data, err := os.ReadFile(other)
	if err != nil || !bytes.Contains(data, []byte(first.PacketLabel())) {
		t.Fatalf("the old comments are gone, %v", err)
	}
	for _, p := range packets(t, other) {
		callComments(t, again, &p)
	}
}
