package tls

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

func play(t testing.TB, end dissect.End, chunks ...dissecttest.Chunk) *dissecttest.Result {
	return dissecttest.Play(t, dissecttest.Options{ServerPort: 443, Protocols: []*dissect.Protocol{Protocol()}, End: end}, chunks...)
}
