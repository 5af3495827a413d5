//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// checkRestart records twice into one ring. Packets pass in between, which the kernel keeps.
func checkRestart(ctx context.Context) {
	record := func() (x recorder.Started, s recorder.Stats, err error) {
		run, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		s, err = recorder.Run(run, recorder.Options{Mask: redact.Arguments, Ring: &ring.Options{Dir: "/tmp/restart"}, Pin: recorder.DefaultPin, NoNames: true, Filter: "udp port 7777",
			OnStart: func(started recorder.Started) { x = started; stop() }, OnError: func(err error) { fmt.Println("recording:", err) }})
		return x, s, err
	}
	_, _, err := record()
	if err == nil {
		err = playGap(ctx)
	}
	var x recorder.Started
	var s recorder.Stats
	if err == nil {
		x, s, err = record()
	}
	removed, unpinErr := recorder.Unpin(recorder.DefaultPin)
	switch r := x.Resumed; {
	case err != nil:
		report("restart", bad, err.Error())
	case unpinErr != nil || !removed:
		report("restart", bad, fmt.Sprint("nothing to unpin: ", unpinErr))
	case r == nil || r.Waiting != 2*gapPackets || r.Lost != 0 || s.Delivered != 2*gapPackets:
		report("restart", bad, fmt.Sprintf("%+v, %+v", r, s.Counters))
	default:
		report("restart", good, fmt.Sprintf("%d packets waited", r.Waiting))
	}
}

const gapPackets = 20

// playGap sends packets from another process: the recorder's own are left out.
func playGap(ctx context.Context) error {
	path, err := link("gapclient")
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// datagrams sends some over the loopback, each of which is seen twice.
func datagrams(addr string, n int) error {
	l, err := net.ListenPacket("udp4", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := net.Dial("udp4", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for range n {
		if _, err := c.Write([]byte("while no recorder runs")); err != nil {
			return err
		}
	}
	return nil
}
