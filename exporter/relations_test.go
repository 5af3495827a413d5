package exporter

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestLostPacketsMoveNoResponse removes up to 3 adjacent packets from samples of protocols whose
// responses come in the order of the requests. A complete row must not have the response of another
// request: its status, its body and its length are those of the untouched capture, if it has them.
func TestLostPacketsMoveNoResponse(t *testing.T) {
	const places = 60 // in each sample
	for _, name := range []string{"apis", "http1", "mcp", "memcached", "mysql", "thrift"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("../samples", name+".pcapng"))
			if err != nil {
				t.Fatal(err)
			}
			want, kept := completeCalls(t, data), 0
			ends := blockEnds(data)
			rnd := rand.New(rand.NewSource(1))
			for k := range places {
				n, from := 1+2*(k%2), rnd.Intn(len(ends)-4)
				from = max(from, 4) // after the section header and the interfaces
				lost := slices.Concat(data[:ends[from]], data[ends[from+n]:])
				for id, got := range completeCalls(t, lost) {
					if w, ok := want[id]; ok {
						kept++
						if why := otherResponse(w, got); why != "" {
							t.Errorf("without %d packets from byte %d: %s: %s", n, ends[from], id, why)
						}
					}
				}
			}
			if kept < places {
				t.Errorf("only %d rows were compared", kept)
			}
		})
	}
}

// completeCalls are the complete calls of a capture, by connection and time. Times with several
// calls are left out.
func completeCalls(t *testing.T, data []byte) map[string]*table.Call {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	sources, err := read.Open([]string{path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	list, times := map[string]*table.Call{}, map[string]int{}
	o := Options{Repanic: true, Jobs: 1}
	_, err = pipe(context.Background(), o.reads(sources, nil, Protocols), false, Protocols, o, func(r *round.Round) error {
		for s := range r.Out {
			for _, c := range r.Out[s].Calls {
				b := *c.Row.Base()
				id := fmt.Sprint(b.Protocol, " ", b.SrcIP, " ", b.SrcPort, " ", b.DstPort, " ", b.TsNs)
				if times[id]++; b.Complete && !b.Error.OK {
					list[id] = &b
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range times {
		if n > 1 {
			delete(list, id)
		}
	}
	return list
}

// otherResponse says how the response of a call differs from the one it had. A part may be unknown.
func otherResponse(want, got *table.Call) string {
	var none table.Hash
	was, is := want.ResponseBodyHash.V, got.ResponseBodyHash.V
	switch {
	case got.StatusCode.OK && got.StatusCode != want.StatusCode:
		return fmt.Sprintf("status code %d became %d", want.StatusCode.V, got.StatusCode.V)
	case got.StatusText.OK && got.StatusText != want.StatusText:
		return fmt.Sprintf("status text %q became %q", want.StatusText.V, got.StatusText.V)
	case is != none && !bytes.Equal(was[:], is[:]):
		return fmt.Sprintf("response body %x became %x", was[:4], is[:4])
	case got.ResponseBytes > want.ResponseBytes:
		return fmt.Sprintf("%d bytes of response became %d", want.ResponseBytes, got.ResponseBytes)
	}
	return ""
}
