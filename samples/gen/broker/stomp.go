package broker

import (
	"context"
	_ "embed" // stomp.py
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed stomp.py
var stompScript string

// makeSTOMP records stomp.py with RabbitMQ, in all versions of the protocol.
func makeSTOMP(ctx context.Context, out string) error {
	python, err := lab.PythonWith(ctx, "stomp.py==9.0.0")
	if err != nil {
		return err
	}
	const server = "10.1.40.20"
	l, err := lab.New("stomp", "", lab.At("client", "10.1.40.5"), lab.At("rabbitmq", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, "client.py") // not the name of a module that it imports
	if err := os.WriteFile(script, []byte(stompScript), 0o644); err != nil {
		return err
	}
	stop, err := startRabbitMQ(l, "rabbitmq", "rabbitmq_stomp", fmt.Sprintf("stomp.listeners.tcp.1 = %s:61613\n", server))
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "stomp", python, script, server, lab.Password, filepath.Join(out, "stomp.said.tsv"))
}
