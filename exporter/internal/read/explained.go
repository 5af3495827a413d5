package read

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Explained returns a function that tells how sure protocols other than QUIC are that a datagram is
// theirs, from either side.
func Explained(protocols []*dissect.Protocol) func([]byte) dissect.Verdict {
	var detect []func(dissect.Dir, []byte) dissect.Verdict
	for _, p := range protocols {
		if p.Name != "quic" && p.Detect != nil && slices.Contains(p.Transports, dissect.UDP) {
			detect = append(detect, p.Detect)
		}
	}
	return func(datagram []byte) (v dissect.Verdict) {
		for _, d := range detect {
			v = max(v, d(dissect.ToServer, datagram), d(dissect.ToClient, datagram))
		}
		return v
	}
}
