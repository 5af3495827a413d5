package all

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed throughput.tsv
var throughput string

// Speed is how fast a protocol's samples were dissected, with detection and decryption.
type Speed struct {
	MBPerS    float64 `json:"mb_per_s"`
	CallsPerS float64 `json:"calls_per_s"`
	OfHTTP1   float64 `json:"of_http1"` // MBPerS, as a fraction of http1's on the same machine
}

// Throughput returns the speed of a protocol as BenchmarkProtocols measured it last; ok is false if it
// was not measured. The values are of one processor of another machine: compare protocols by them.
func Throughput(protocol string) (s Speed, ok bool) {
	for line := range strings.Lines(throughput) {
		var name string
		if _, err := fmt.Sscan(line, &name, &s.MBPerS, &s.CallsPerS, &s.OfHTTP1); err == nil && name == protocol {
			return s, true
		}
	}
	return Speed{}, false
}
