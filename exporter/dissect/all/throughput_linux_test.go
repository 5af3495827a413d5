package all

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

const (
	measuredBytes = 8 << 20 // of each protocol in each run
	measuredRuns  = 3       // the best counts, because other programs interfere
)

var update = flag.Bool("update", false, "BenchmarkProtocols rewrites throughput.tsv")

// BenchmarkProtocols plays the samples of each protocol to an engine with all protocols, again and
// again as new connections, and prints the megabytes of payload and the calls per second of processor
// time. A protocol whose samples have less than a third of http1's megabytes and calls is too slow: the
// samples of some protocols have only small messages.
func BenchmarkProtocols(b *testing.B) {
	var base Speed
	table := fmt.Sprintf("# %s\t%s\t%s\t%s\t%s\n", "protocol", "MB/s", "calls/s", "of http1", "bytes of a packet")
	for _, p := range Protocols(nil) {
		play := newPlay(b, p.Name)
		for range measuredRuns {
			play.run(b)
		}
		s := Speed{MBPerS: float64(play.bytes) / 1e6 / play.best.Seconds(), CallsPerS: float64(play.calls) / play.best.Seconds()}
		if p.Name == "http1" {
			base = s
		}
		s.OfHTTP1 = s.MBPerS / base.MBPerS
		if s.OfHTTP1 < 1./3 && s.CallsPerS < base.CallsPerS/3 {
			b.Errorf("%s is slow: %.2f of http1's MB/s, %.2f of its calls/s", p.Name, s.OfHTTP1, s.CallsPerS/base.CallsPerS)
		}
		table += fmt.Sprintf("%s\t%.0f\t%.0f\t%.2f\t%d\n", p.Name, s.MBPerS, s.CallsPerS, s.OfHTTP1, play.bytes/play.packets)
	}
	fmt.Print("\n" + table)
	if *update {
		if err := os.WriteFile("throughput.tsv", []byte(table), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSamplesArePlayed checks that BenchmarkProtocols has something to measure for each protocol.
func TestSamplesArePlayed(t *testing.T) {
	for _, p := range Protocols(nil) {
		y := newPlay(t, p.Name)
		y.want = 1
		y.run(t)
	}
	if s, ok := Throughput("http1"); !ok || s.OfHTTP1 != 1 || s.MBPerS < 1 {
		t.Errorf("http1: %+v, %v", s, ok)
	}
}

// playing is a protocol's samples, and what playing them took.
type playing struct {
	protocol string
	want     int // bytes of a run
	talks    []*talk
	keys     *secrets.Store

	bytes, packets, calls int // of a run
	best                  time.Duration
}

// Call implements dissect.Sink.
func (y *playing) Call(e dissect.Emission) {
	if e.Row.Base().Protocol == y.protocol {
		y.calls++
	}
}

// Anomaly implements dissect.Sink.
func (y *playing) Anomaly(*dissect.Conn, table.Anomaly) {}

func newPlay(t testing.TB, protocol string) *playing {
	t.Helper()
	y := &playing{protocol: protocol, want: measuredBytes, keys: secrets.NewStore()}
	files := []string{otherSamples[protocol]}
	for _, file := range slices.Sorted(maps.Keys(samples)) {
		if samples[file] == protocol && !slices.Contains(slices.Collect(maps.Values(otherSamples)), file) {
			files = append(files, file)
		}
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		y.talks = append(y.talks, conversations(t, file)...)
		log := filepath.Join("..", "..", "..", "samples", strings.TrimSuffix(file, filepath.Ext(file))+".keylog")
		if _, err := os.Stat(log); err == nil {
			if err := y.keys.AddFile(log); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(y.talks) == 0 {
		t.Fatalf("protocol %s has no sample with conversations: add \"%[1]s.pcapng\": \"%[1]s\" to variable samples of exporter/dissect/all/talks_test.go", protocol)
	}
	if err := y.keys.Ready(); err != nil {
		t.Fatalf("%s: %v", protocol, err)
	}
	return y
}

// run plays the talks until that many bytes were played.
func (y *playing) run(t testing.TB) {
	t.Helper()
	e, err := dissect.NewEngine(Protocols(y.keys), nil, y, true)
	if err != nil {
		t.Fatal(err)
	}
	y.bytes, y.packets, y.calls = 0, 0, 0
	at := dissect.Packet{Time: 1_700_000_000_000_000_000}
	begin := used(t)
	for port := 0; y.bytes < y.want; port++ {
		for _, k := range y.talks {
			c := e.NewConn(dissect.Info{Transport: k.kind, ClientPort: uint16(32768 + port%32768), ServerPort: k.port, RolesKnown: k.kind == dissect.TCP, Began: [2]bool{k.kind == dissect.TCP, k.kind == dissect.TCP}, ConnectUs: -1, IPVersion: 4})
			var sent [2]uint32
			for _, chunk := range k.chunks {
				at = dissect.Packet{No: at.No + 1, Time: at.Time + 1000, Seq: sent[chunk.Dir], Ack: sent[chunk.Dir.Other()]}
				if k.kind == dissect.TCP {
					c.Data(chunk.Dir, chunk.Data, at)
				} else {
					c.Datagram(chunk.Dir, chunk.Data, at)
				}
				sent[chunk.Dir] += uint32(len(chunk.Data))
				y.bytes += len(chunk.Data)
			}
			y.packets += len(k.chunks)
			if k.kind == dissect.TCP {
				c.End(dissect.ToServer, at)
				c.End(dissect.ToClient, at)
			}
			c.Close(dissect.EndFin, at)
		}
	}
	if took := used(t) - begin; y.best == 0 || took < y.best {
		y.best = took
	}
	if y.calls == 0 {
		t.Fatalf("%s: its samples have no call", y.protocol)
	}
}
