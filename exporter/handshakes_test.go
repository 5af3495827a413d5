package exporter

import (
	"maps"
	"slices"
	"testing"
)

// TestHandshakesInPart leaves packets out of each handshake of the samples. The others say where both directions begin,
// so the rows are the same. A greeting without its SYN-ACK may have lost bytes before it, so it is not compared.
func TestHandshakesInPart(t *testing.T) {
	all, err := conversations()
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, c := range all {
		c = c.placed(0, false)
		if !c.tcp() || len(c.pieces) < 4 || c.pieces[0].flags != 2 || c.pieces[1].flags != 0x12 || c.pieces[2].flags != 0x10 || c.pieces[2].payload != "" {
			continue
		}
		whole, _ := composed([]*conversation{c})
		want, _ := tell(t, whole)
		for _, lost := range [][]int{{0}, {1}, {2}, {0, 2}} {
			if greets := c.pieces[3].src == c.pieces[1].src; greets && lost[0] == 1 {
				continue
			}
			part := slices.DeleteFunc(slices.Clone(c.pieces), func(p piece) bool { return slices.Contains(lost, p.no) })
			data, _ := composed([]*conversation{{c.name, part}})
			got, _ := tell(t, data)
			for ends, w := range want {
				rows := []saidRow{}
				if g := got[ends]; g != nil {
					rows = g.rows
				}
				compared++
				if !slices.EqualFunc(rows, w.rows, func(a, b saidRow) bool { return a.text == b.text && a.ts == b.ts }) {
					t.Errorf("%s without its packets %v: other rows:", c.name, lost)
					for _, r := range rows {
						t.Logf("\tgot  %s", r.text)
					}
					for _, r := range w.rows {
						t.Logf("\twant %s", r.text)
					}
				}
			}
		}
	}
	if compared < 400 {
		t.Errorf("%d handshakes were compared", compared)
	}
}

// TestHandshakesInAnyOrder changes the order of each handshake of the samples and the first payload after it. The rows are
// the same, and nothing is an anomaly.
func TestHandshakesInAnyOrder(t *testing.T) {
	all, err := conversations()
	if err != nil {
		t.Fatal(err)
	}
	var list []*conversation
	for i, c := range all {
		if c = c.placed(i, false); c.shakesHands() && len(list) < 100 {
			list = append(list, c)
		}
	}
	if len(list) < 40 {
		t.Fatalf("%d handshakes", len(list))
	}
	data, _ := composed(list)
	want, _ := tell(t, data)
	for n := range 4 * 4 * 4 * 4 {
		order := [4]int{n / 64, n / 16 % 4, n / 4 % 4, n % 4}
		if slices.Equal(order[:], []int{0, 1, 2, 3}) || 1<<order[0]|1<<order[1]|1<<order[2]|1<<order[3] != 15 {
			continue
		}
		var moved []*conversation
		for _, c := range list {
			m := &conversation{c.name, slices.Clone(c.pieces)}
			for to, from := range order {
				m.pieces[to] = c.pieces[from]
				m.pieces[to].order = c.pieces[to].order
			}
			moved = append(moved, m)
		}
		data, _ := composed(moved)
		got, _ := tell(t, data)
		for _, c := range list {
			ends := endsOf(c.pieces[0], false)
			g, w := got[ends], want[ends]
			if w == nil {
				continue
			}
			if g == nil || !slices.EqualFunc(g.rows, w.rows, func(a, b saidRow) bool { return a.text == b.text && a.ts == b.ts }) || !maps.Equal(g.kinds, w.kinds) {
				t.Errorf("%s in the order %v: other rows, or anomalies %v, want %v", c.name, order, g.kinds, w.kinds)
			}
		}
	}
}

// shakesHands reports whether a conversation begins with SYN, SYN-ACK, ACK and a segment with payload.
func (c *conversation) shakesHands() bool {
	return c.tcp() && len(c.pieces) >= 4 && c.pieces[0].flags == 2 && c.pieces[1].flags == 0x12 && c.pieces[2].flags == 0x10 && c.pieces[2].payload == "" && c.pieces[3].payload != ""
}

// TestPlacesWithoutTheirSYN has a connection at three places with networks of their own, 50 ms apart, as a mirror port
// shows it. The capture begins after the first SYN. Its calls count once.
func TestPlacesWithoutTheirSYN(t *testing.T) {
	c := conversationNamed(t, "http1.pcapng 3", 0)
	whole, _ := composed([]*conversation{c})
	want, _ := tell(t, whole)
	ends := endsOf(c.pieces[0], false)
	var pieces []piece
	for k, vlan := range []uint16{0, 42, 77} {
		for _, p := range c.pieces {
			p.vlan, p.at, p.order = vlan, p.at+int64(k)*50e6, p.order+int64(k)*50e6
			pieces = append(pieces, p)
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return int(a.order - b.order) })
	for lost := 1; pieces[lost-1].payload == ""; lost++ {
		data, _ := composed([]*conversation{{c.name, pieces[lost:]}})
		got, _ := tell(t, data)
		if g := got[ends]; g == nil || !slices.EqualFunc(g.rows, want[ends].rows, func(a, b saidRow) bool { return a.text == b.text }) {
			t.Errorf("from packet %d: %d rows, want %d", lost+1, len(g.rows), len(want[ends].rows))
		}
	}
}
