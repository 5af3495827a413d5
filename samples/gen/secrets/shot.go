package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// shot is one capture under construction.
type shot struct {
	l       *lab
	name    string
	port    int
	file    string // name of the finished capture; the extension is its format
	keys    string // name of the finished key file, or "-"
	raw     string // path of tcpdump's output
	rows    []row
	truth   [][2][]byte // plaintext of each row
	secret  string      // path of the keys, if not keyfile()
	stop    func() error
	stopped bool
}

// take makes one capture, with its keys and rows.
func (l *lab) take(s scenario) ([]row, error) {
	h := &shot{l: l, name: s.name, port: l.nextPort(), file: s.name + ".pcap", keys: s.name + ".keylog", raw: l.path("raw.pcap")}
	os.Remove(l.path("keys"))
	var err error
	if h.stop, err = l.record(h.raw, h.port); err != nil {
		return nil, err
	}
	err = s.make(l, h)
	if e := h.end(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	if len(h.rows) == 0 {
		return nil, fmt.Errorf("no connection was noted")
	}
	return h.rows, h.finish()
}

// end ends the recording.
func (h *shot) end() error {
	if h.stopped {
		return nil
	}
	h.stopped = true
	return h.stop()
}

// note adds a connection, or one of its streams, with the data of each side.
func (h *shot) note(r row, client, server []byte) {
	r.file, r.keys = h.file, h.keys
	if r.conn == 0 {
		r.conn = 1
	}
	if r.stream == "" {
		r.stream = "-"
	}
	if r.features == "" {
		r.features = "-"
	}
	if r.what == "" {
		r.what = "bytes"
	}
	if r.state == "" {
		r.state = "verified"
	}
	r.sent = [2]digest{digestOf(client), digestOf(server)}
	h.rows, h.truth = append(h.rows, r), append(h.truth, [2][]byte{client, server})
}

// keyfile is the path to which programs write their keys.
func (h *shot) keyfile() string { return h.l.path("keys") }

// finish moves the capture and its keys to the folder, and compares them with tshark's output.
func (h *shot) finish() error {
	pcap := filepath.Join(h.l.out, h.file)
	raw, err := os.ReadFile(h.raw)
	if err != nil {
		return err
	}
	if h.keys != "-" {
		from := h.keyfile()
		if h.secret != "" {
			from = h.secret
		}
		keys, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if filepath.Ext(h.keys) == ".keylog" {
			keys = tidy(keys)
		}
		if err := os.WriteFile(filepath.Join(h.l.out, h.keys), keys, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(pcap, raw, 0o644); err != nil {
		return err
	}
	return h.askTshark()
}

// tidy removes the text that curl and others write around the lines of a key log.
func tidy(keys []byte) []byte {
	var out []byte
	seen := map[string]bool{}
	for line := range bytes.Lines(keys) {
		if line[0] == '#' || seen[string(line)] {
			continue
		}
		seen[string(line)] = true
		out = append(out, line...)
	}
	return out
}
