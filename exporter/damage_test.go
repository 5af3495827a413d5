package exporter

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// spot is the offset of a packet in a file, and its time.
type spot struct{ offset, ns int64 }

// TestDamageIsACoverageGap damages packets at the beginning, in the middle and at the end of files. The
// gap begins with the last packet before them and ends with the first one after them.
func TestDamageIsACoverageGap(t *testing.T) {
	original, err := os.ReadFile("../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	for form, data := range map[string][]byte{"pcapng": original, "pcap": aPcap(binary.LittleEndian, 1, ethernet(original))} {
		at := placesOf(data)
		n := len(at)
		for _, c := range []struct{ first, last int }{{0, 4}, {20, 24}, {n / 2, n/2 + 1}, {n - 5, n - 1}} {
			t.Run(fmt.Sprintf("%s packets %d to %d", form, c.first, c.last), func(t *testing.T) {
				end := int64(len(data))
				if c.last+1 < n {
					end = at[c.last+1].offset
				}
				bad := bytes.Clone(data)
				for i := at[c.first].offset; i < end; i++ {
					bad[i] = 0xee
				}
				checkGap(t, bad, "", at, c.first, c.last)
			})
		}
		t.Run(form+" cut short", func(t *testing.T) { checkGap(t, data[:at[n/2].offset+40], "", at, n/2, n-1) })
		t.Run(form+" compressed and cut short", func(t *testing.T) {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			w.Write(data[:at[n/2].offset])
			w.Flush() // the stream ends between two packets
			checkGap(t, packed.Bytes(), ".gz", at, n/2, n-1)
		})
	}
}

// checkGap makes a bundle of a file whose packets from first to last cannot be read.
func checkGap(t *testing.T, data []byte, ending string, at []spot, first, last int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcap"+ending)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got := answersOf(t, []string{path}, Options{}, "select string_agg(from_ns || ' to ' || to_ns, ', ' order by from_ns) from coverage where kind = 'hole'",
		"select string_agg(distinct epoch_ns(ts::timestamp_ns), ', ') from anomalies where source = 'file'")
	from, to := at[max(first-1, 0)].ns, at[min(last+1, len(at)-1)].ns
	if first == 0 {
		from = to
	} else if last == len(at)-1 {
		to = from
	}
	if want := fmt.Sprintf("%d to %d", from, to); got[0] != want {
		t.Errorf("gaps %s instead of %s", got[0], want)
	}
	if want := fmt.Sprint(from / 1000 * 1000); got[1] != want {
		t.Errorf("anomalies at %s instead of %s", got[1], want)
	}
}

// placesOf are the places of the packets of a capture.
func placesOf(data []byte) (out []spot) {
	packets := ethernet(data)
	for i, p := range packetBlocks(data) {
		out = append(out, spot{int64(p[0]), packets[i].at})
	}
	return out
}
