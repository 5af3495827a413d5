package pcapng

import (
	"bytes"
	"strings"
	"testing"
)

// TestClockMarks has comments that are marks of clocks, and others.
func TestClockMarks(t *testing.T) {
	yes := true
	id := ClockOfBoot("n1", "b1")
	full := ClockMark{ID: id, Node: "n1", BootID: "b1", ErrorNs: 7, Synchronized: &yes}
	hexID := (&ClockMark{ID: id}).Comment()
	for _, tt := range []struct {
		why, comment string
		ok           bool
		node         string
	}{
		{"an id alone", hexID, true, ""},
		{"with its node", full.Comment(), true, "n1"},
		{"blanked", hexID + strings.Repeat(" ", 40), true, ""},
		{"more text of a later version", hexID + ` {"node":"n2","new":[1]}`, true, "n2"},
		{"text that is no JSON", hexID + " hello", true, ""},
		{"JSON of another type", hexID + ` {"node":["n"]}`, true, ""},
		{"a short id", hexID[:len(hexID)-1], false, ""},
		{"no hexadecimal", strings.Replace(hexID, "clock ", "clock x", 1)[:len(hexID)], false, ""},
		{"a long text", hexID + strings.Repeat(" ", 2000), false, ""},
		{"another comment", "pcapsule:abcdef01#7", false, ""},
	} {
		m, ok := ParseClockMark(tt.comment)
		if ok != tt.ok || ok && m.ID != id || m.Node != tt.node {
			t.Errorf("%s: %+v, %v", tt.why, m, ok)
		}
		text := []byte(tt.comment)
		if BlankClockMark(text) != tt.ok || len(text) != len(tt.comment) || tt.ok && strings.TrimSpace(string(text)) != hexID || !tt.ok && string(text) != tt.comment {
			t.Errorf("%s: blanked %q", tt.why, text)
		}
	}
	if ClockOfBoot("n1", "b2") == id || ClockOfSection(id[:], 0) == ClockOfSection(id[:], 1) {
		t.Error("two clocks have one id")
	}
}

// TestMarkedKeepsOptions marks interfaces whose options have unknown codes, in both byte orders, or are
// damaged.
func TestMarkedKeepsOptions(t *testing.T) {
	m := ClockMark{ID: ClockOfSection([]byte("x"), 3)}
	for _, be := range []bool{false, true} {
		raw := put16(put16(nil, IfName, be), 3, be)
		raw = append(raw, "eth\x00"...)
		raw = append(put16(put16(raw, 60000, be), 2, be), 1, 2, 0, 0)
		for _, damaged := range []bool{false, true} {
			body := append(make([]byte, 8), raw...)
			if damaged {
				body = append(put16(put16(body, 5, be), 900, be), 1, 2, 3, 4)
			} else {
				body = append(body, 0, 0, 0, 0)
			}
			i, ok := readInterface(body, be)
			if !ok || i.OptionsIncomplete != damaged {
				t.Fatalf("%+v", i)
			}
			marked := i.Marked(&m)
			again := marked.Marked(&ClockMark{})
			var out bytes.Buffer
			w, err := NewWriter(&out, Section{}, WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.AddInterface(again); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			r, err := NewReader(&out, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var b Batch
			_ = r.Next(&b) // there are no packets
			got := r.Interfaces()[0]
			mark, ok := got.ClockMark()
			if !ok || mark.ID != m.ID || len(got.Comments) != 1 || got.Name != "eth" || (find(got.Options, false, 60000, 2) == nil) != damaged {
				t.Errorf("big endian %v, damaged %v: %+v", be, damaged, got)
			}
			if _, ok := i.ClockMark(); ok {
				t.Error("the original was changed")
			}
		}
	}
}
