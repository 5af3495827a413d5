package http2

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Call(dissect.Emission)                {}
func (discard) Anomaly(*dissect.Conn, table.Anomaly) {}
