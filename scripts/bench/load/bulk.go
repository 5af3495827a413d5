//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

const chunk = 128 << 10

// bulk writes into one connection at a rate.
func (k *kind) bulk() error {
	c, err := net.Dial("tcp4", net.JoinHostPort(k.host, bulkPort))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	data := make([]byte, chunk)
	for i := range data {
		data[i] = byte(i * 7)
	}
	start := time.Now()
	var sent int64
	for passed := time.Duration(0); passed < k.length && sent < k.most; passed = time.Since(start) {
		if k.rate > 0 && float64(sent)*8 > k.rate*passed.Seconds() {
			time.Sleep(nap)
			continue
		}
		n, err := c.Write(data)
		sent += int64(n)
		if err != nil {
			return fmt.Errorf("writing after %d bytes: %w", sent, err)
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return fmt.Errorf("ending: %w", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); err != nil { // the other side closes when it has everything
		return fmt.Errorf("waiting for the other side: %w", err)
	}
	passed := time.Since(start).Seconds()
	answer("sent", sent, "seconds", fmt.Sprintf("%.3f", passed), "rate", fmt.Sprintf("%.2f", float64(sent)*8/passed/1e9), "unit", "Gbit/s", "p50", "-", "p99", "-", "cpu", processor())
	return c.Close()
}

// swallow reads connections to their ends.
func swallow(host string, bytes *atomic.Int64) error {
	l, err := net.Listen("tcp4", net.JoinHostPort(host, bulkPort))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				data := make([]byte, 2*chunk)
				for {
					n, err := c.Read(data)
					bytes.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return nil
}
