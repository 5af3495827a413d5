package broker

import (
	"context"
	_ "embed" // pulsar.py

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed pulsar.py
var pulsarScript string

// makePulsar records the client of Pulsar with a server of its script.
func makePulsar(ctx context.Context, out string) error {
	return lab.RecordScript(ctx, out, "pulsar", pulsarScript, "10.1.67", "pulsar-client==3.13.0")
}
