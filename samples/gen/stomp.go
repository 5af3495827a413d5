package main

import (
	"context"
	_ "embed" // stomp.py
	"fmt"
	"os"
	"path/filepath"
)

//go:embed stomp.py
var stompScript string

// makeSTOMP records stomp.py with RabbitMQ, in all versions of the protocol.
func makeSTOMP(ctx context.Context, out string) error {
	python, err := pythonWith(ctx, "stomp.py==9.0.0")
	if err != nil {
		return err
	}
	const server = "10.1.40.20"
	l, err := newLab("stomp", "", host{"client", "10.1.40.5", ""}, host{"rabbitmq", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	script := filepath.Join(l.tmp, "client.py") // not the name of a module that it imports
	if err := os.WriteFile(script, []byte(stompScript), 0o644); err != nil {
		return err
	}
	stop, err := l.rabbitMQ("rabbitmq", "rabbitmq_stomp", fmt.Sprintf("stomp.listeners.tcp.1 = %s:61613\n", server))
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	return l.recordClient(ctx, out, "stomp", python, script, server, samplePassword, filepath.Join(out, "stomp.said.tsv"))
}
