//go:build linux

package main

import (
	"os"
	"os/signal"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// serve answers every kind of traffic until SIGTERM, then prints its counters.
func serve(host string) error {
	var datagrams, bytes atomic.Int64
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT)
	if err := receive(host, &datagrams); err != nil {
		return err
	}
	if err := swallow(host, &bytes); err != nil {
		return err
	}
	if err := answers(host); err != nil {
		return err
	}
	before := processor()
	answer("ready", 1)
	<-end
	answer("received", datagrams.Load(), "received_bytes", bytes.Load(), "server_cpu", processor(), "server_start", before)
	return nil
}
