package proof_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestQuestionsBeforeHoles asks in datagrams, without an answer, before times from which packets are missing.
func TestQuestionsBeforeHoles(t *testing.T) {
	const noOption, dropCount, damage, counted, untimed = 0, 4, -1, 5, 6
	type question struct {
		second float64
		option int
	}
	file := func(list ...question) []byte {
		w := frames.NewFile(1)
		w.Add(0, int64(list[0].second*1e6)-2, frames.Ethernet(0x800, nil, frames.UDP(1, 1, 2, 9, 9, []byte("x"))), 0)
		w.Add(0, int64(list[0].second*1e6)-1, frames.Ethernet(0x800, nil, frames.UDP(1, 2, 1, 9, 9, []byte("x"))), 0) // the other direction
		for i, q := range list {
			id, n := uint16(i), w.Buf.Len()
			frame := frames.Ethernet(0x800, nil, frames.UDP(id, 1, 2, 40000+uint16(q.second), 53, fmt.Appendf(nil, "\x01%c\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", id)))
			us, size := uint64(1.7e15+q.second*1e6), uint32(len(frame))
			var body []byte
			if q.option == counted || q.option == untimed { // 3 packets so far
				if q.option == untimed {
					us = 0
				}
				for _, v := range []uint32{0, uint32(us >> 32), uint32(us), 5 | 8<<16, 3, 0, 0} {
					body = binary.LittleEndian.AppendUint32(body, v)
				}
				w.Block(5, body)
				continue
			}
			for _, v := range []uint32{0, uint32(us >> 32), uint32(us), size, size} {
				body = binary.LittleEndian.AppendUint32(body, v)
			}
			body = append(append(body, frame...), make([]byte, -len(frame)&3)...)
			if q.option == dropCount {
				body = binary.LittleEndian.AppendUint64(append(body, dropCount, 0, 8, 0), 3)
			}
			w.Block(6, body)
			if q.option == damage {
				copy(w.Buf.Bytes()[n:], bytes.Repeat([]byte{0xee}, w.Buf.Len()-n))
			}
		}
		return w.Buf.Bytes()
	}
	const lost, none, cut = "unread gap", "no_answer no_response", "cut no_response"
	const perhaps = none + " unplaced_losses"
	for _, c := range []struct {
		name  string
		files [][]byte
		want  string
	}{
		{"no hole", [][]byte{file(question{10, noOption}, question{20, noOption}, question{90, noOption})}, none + "; " + none + "; " + cut},
		{"a damaged place soon after", [][]byte{file(question{1, noOption}, question{10, noOption}, question{11, damage}, question{90, noOption})}, none + "; " + lost + "; " + cut},
		{"a packet after lost ones", [][]byte{file(question{1, noOption}, question{10, noOption}, question{14, dropCount}, question{90, noOption})}, none + "; " + lost + "; " + none + "; " + cut},
		{"lost packets after others that show that nothing was lost before", [][]byte{file(question{1, noOption}, question{10, noOption}, question{16, noOption}, question{17, dropCount}, question{90, noOption})}, none + "; " + none + "; " + lost + "; " + none + "; " + cut},
		{"statistics soon after the beginning", [][]byte{file(question{1, noOption}, question{10, noOption}, question{40, noOption}, question{41, counted})}, lost + "; " + lost + "; " + lost},
		{"statistics long after the beginning", [][]byte{file(question{1, noOption}, question{10, noOption}, question{90, noOption}, question{91, counted})}, perhaps + "; " + perhaps + "; " + cut},
		{"statistics after two questions, and again", [][]byte{file(question{1, noOption}, question{10, noOption}, question{11, counted}, question{12, noOption}, question{90, noOption}, question{91, counted})}, lost + "; " + lost + "; " + none + "; " + cut},
		{"statistics without a time", [][]byte{file(question{1, noOption}, question{90, noOption}, question{91, untimed})}, perhaps + "; " + cut},
		{"statistics at the end of the next file", [][]byte{file(question{1, noOption}, question{10, noOption}), file(question{12, noOption}, question{60, noOption}, question{61, counted})}, none + "; " + lost + "; " + lost + "; " + lost},
		{"the next file begins much later", [][]byte{file(question{1, noOption}, question{10, noOption}), file(question{50, noOption}, question{90, noOption})}, none + "; " + lost + "; " + none + "; " + cut},
		{"the next file begins soon", [][]byte{file(question{1, noOption}, question{10, noOption}), file(question{12, noOption}, question{90, noOption})}, none + "; " + none + "; " + none + "; " + cut},
	} {
		dir, paths := t.TempDir(), []string(nil)
		for i, data := range c.files {
			paths = append(paths, filepath.Join(dir, fmt.Sprintf("x_%05d_%d.pcapng", i+1, 20231114221321+i)))
			if err := os.WriteFile(paths[i], data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, path := exportertest.Run(t, exporter.Options{}, paths...)
		got := bundletest.Ask(t, path, "select string_agg(outcome || ' ' || error || if(anomalies > 0, ' unplaced_losses', ''), '; ' order by ts_ns) from calls where error is not null")
		if got[0] != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got[0], c.want)
		}
	}
}
