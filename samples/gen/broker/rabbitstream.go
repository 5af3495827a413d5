package broker

import (
	"context"
	_ "embed" // rabbitstream.py
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed rabbitstream.py
var rabbitStreamScript string

// makeRabbitStream records rabbitstream.py with the stream plugin of RabbitMQ.
func makeRabbitStream(ctx context.Context, out string) error {
	python, err := lab.PythonWith(ctx, "rstream==1.1.1")
	if err != nil {
		return err
	}
	const server = "10.1.49.20"
	l, err := lab.New("rstream", "", lab.At("client", "10.1.49.5"), lab.At("rabbitmq", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, "client.py") // not the name of a module that it imports
	if err := os.WriteFile(script, []byte(rabbitStreamScript), 0o644); err != nil {
		return err
	}
	stop, err := startRabbitMQ(l, "rabbitmq", "rabbitmq_stream", fmt.Sprintf("stream.listeners.tcp.1 = %s:5552\n", server))
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "rabbitstream", python, script, server, lab.Password, filepath.Join(out, "rabbitstream.said.tsv"))
}
