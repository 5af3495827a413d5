package pcapng

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// indexRow is a line of INDEX.tsv.
type indexRow struct{ path, packets string }

func index(t testing.TB, dir string) []indexRow {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []indexRow
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		col := strings.Split(in.Text(), "\t")
		if len(col) > 4 && col[0] != "path" && col[4] != "keylog" {
			rows = append(rows, indexRow{col[0], col[3]})
		}
	}
	return rows
}

// openSource opens a file of the corpus and decompresses it.
func openSource(path string) (*Source, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	src, err := Open(f, Limits{})
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return src, func() { src.Close(); f.Close() }, nil
}

// openCapture opens a file of the corpus as a capture.
func openCapture(path string, opt Options) (*Reader, func(), error) {
	src, done, err := openSource(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := NewReader(src, opt)
	if err != nil {
		done()
		return nil, nil, err
	}
	return r, done, nil
}

// drain reads to the end and counts the packets.
func drain(r *Reader, each func(*Packet)) (int64, error) {
	var b Batch
	var n int64
	for {
		err := r.Next(&b)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		for i := range b.Packets {
			n++
			if each != nil {
				each(&b.Packets[i])
			}
		}
	}
}
