package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
)

// askTshark records for each row how much of its plaintext tshark shows with the same keys.
func (h *shot) askTshark() error {
	for i := range h.rows {
		r := &h.rows[i]
		got, err := h.follow(r)
		if err != nil {
			return err
		}
		if r.what == "bodies" {
			for side := range got {
				got[side] = bodies(r, got[side], side == 0)
			}
		}
		r.tshark = "none"
		if len(got[0])+len(got[1]) > 0 {
			r.tshark = "part"
		}
		if len(h.truth[i][0])+len(h.truth[i][1]) == 0 {
			r.tshark = "-"
		} else if bytes.Equal(got[0], h.truth[i][0]) && bytes.Equal(got[1], h.truth[i][1]) {
			r.tshark = "whole"
		} else if len(got[0]) >= len(h.truth[i][0]) && len(got[1]) >= len(h.truth[i][1]) {
			r.tshark = "more"
		}
	}
	return nil
}

// bodies returns the contents of a stream's DATA frames: for HTTP/2 from the connection's bytes, for
// HTTP/3 from the stream's.
func bodies(r *row, b []byte, client bool) (out []byte) {
	if r.layer == "quic" {
		for len(b) > 0 {
			kind, n := varint(b)
			size, m := varint(b[n:])
			if n == 0 || m == 0 || uint64(len(b)-n-m) < size {
				break
			}
			b = b[n+m:]
			if kind == 0 {
				out = append(out, b[:size]...)
			}
			b = b[size:]
		}
		return out
	}
	if client {
		b = bytes.TrimPrefix(b, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	}
	for len(b) >= 9 {
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if len(b) < 9+size {
			break
		}
		if b[3] == 0 && strconv.Itoa(int(binary.BigEndian.Uint32(b[5:])&^(1<<31))) == r.stream {
			out = append(out, b[9:9+size]...)
		}
		b = b[9+size:]
	}
	return out
}

// varint reads a QUIC integer; n is 0 if it is incomplete.
func varint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	if n = 1 << (b[0] >> 6); len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}

// follow returns the output of tshark's "follow stream" for a row, by direction.
func (h *shot) follow(r *row) (got [2][]byte, err error) {
	argv := []string{"tshark", "-r", filepath.Join(h.l.out, r.file)}
	if r.keys != "-" {
		if filepath.Ext(r.keys) == ".key" {
			argv = append(argv, "-o", fmt.Sprintf("uat:rsa_keys:%q,\"\"", filepath.Join(h.l.out, r.keys)))
		} else {
			argv = append(argv, "-o", "tls.keylog_file:"+filepath.Join(h.l.out, r.keys))
		}
	}
	which := fmt.Sprint(cmp.Or(r.inTshark, r.conn) - 1)
	if r.layer == "quic" {
		which += "," + r.stream
	}
	port := fmt.Sprint(h.port)
	switch r.layer {
	case "dtls":
		argv = append(argv, "-d", "udp.port=="+port+",dtls")
	case "tls":
		if r.protocol == "postgresql" { // it begins without TLS
			argv = append(argv, "-d", "tcp.port=="+port+",pgsql")
			break
		}
		argv = append(argv, "-d", "tcp.port=="+port+",tls")
	case "quic":
		argv = append(argv, "-d", "udp.port=="+port+",quic")
	}
	if r.layer == "dtls" { // tshark cannot follow it
		b, err := h.l.run(append(argv, "-Y", "udp.stream=="+which, "-T", "fields", "-e", "udp.srcport", "-e", "data.data")...)
		if err != nil {
			return got, err
		}
		for line := range bytes.Lines(b) {
			from, text, _ := bytes.Cut(bytes.TrimSpace(line), []byte("\t"))
			side := 0
			if string(from) == port {
				side = 1
			}
			data, _ := hex.DecodeString(string(bytes.ReplaceAll(text, []byte(","), nil)))
			got[side] = append(got[side], data...)
		}
		return got, nil
	}
	b, err := h.l.run(append(argv, "-q", "-z", "follow,"+r.layer+",raw,"+which)...)
	if err != nil {
		return got, err
	}
	// Lines of the second node begin with a tab; those before the data have a colon or a bar.
	first := 0
	for line := range bytes.Lines(b) {
		line = bytes.TrimRight(line, "\n")
		side := first
		if bytes.HasPrefix(line, []byte("Node 0: ")) && bytes.HasSuffix(line, []byte(":"+port)) {
			first = 1
		}
		if rest, ok := bytes.CutPrefix(line, []byte("\t")); ok {
			side, line = 1-first, rest
		}
		data := make([]byte, hex.DecodedLen(len(line)))
		if len(line) == 0 || len(line)%2 != 0 {
			continue
		}
		if _, err := hex.Decode(data, line); err == nil {
			got[side] = append(got[side], data...)
		}
	}
	return got, nil
}
