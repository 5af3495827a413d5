package duck

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// workers are the processes of a database.
func workers(d *DB) (pids []int) {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	for _, w := range d.pool.list {
		pids = append(pids, w.cmd.Process.Pid)
	}
	return pids
}

// watch measures what all workers hold, until it is stopped.
func watch(d *DB) (peak func() int64, stop func()) {
	var most atomic.Int64
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var sum int64
			for _, pid := range workers(d) {
				sum += resident(pid)
			}
			if sum > most.Load() {
				most.Store(sum)
			}
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return most.Load, func() { close(end); <-ended }
}

func alive(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

// zombies counts children that ended and that nobody waited for.
func zombies() (n int) {
	list, _ := os.ReadDir("/proc")
	for _, e := range list {
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		rest := string(text[bytes.LastIndexByte(text, ')')+1:])
		if f := strings.Fields(rest); f[0] == "Z" && f[1] == fmt.Sprint(os.Getpid()) {
			n++
		}
	}
	return n
}

// listenOnce is a port, and whether somebody called.
func listenOnce(t *testing.T) (port string, called func() bool) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var any atomic.Bool
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			any.Store(true)
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port, any.Load
}
