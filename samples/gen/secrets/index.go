package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// row is a line of INDEX.tsv: the data of one connection, or of one stream.
type row struct {
	file, keys string // names in the folder; keys is "-" if there are none
	conn       int    // number of the connection in the file, by first packet, from 1
	inTshark   int    // tshark's number, if different; from 1
	stream     string // "-", or the number of a stream of HTTP/2 or QUIC
	layer      string // tls, dtls, quic
	version    string
	suite      string
	features   string // words separated by commas, "-" for none
	protocol   string // inside
	what       string // bytes: all data of the application; bodies: the HTTP bodies of the stream
	sent       [2]digest
	state      string // expected key_state
	tshark     string // how much of these bytes tshark shows: whole, part, none, or more (including bytes that were discarded)
}

// digest is a direction's plaintext.
type digest struct {
	n   int
	sum string
}

func digestOf(b []byte) digest {
	return digest{len(b), fmt.Sprintf("%x", sha256.Sum256(b))}
}

const indexHead = `# What the endpoints of these captures sent, see ../README.md. Made by samples/gen/secrets.
# file	keys	conn	stream	layer	version	suite	features	protocol	what	client_bytes	client_sha256	server_bytes	server_sha256	key_state	tshark
`

func (r row) String() string {
	return strings.Join([]string{r.file, r.keys, strconv.Itoa(r.conn), r.stream, r.layer, r.version, r.suite, r.features, r.protocol, r.what,
		strconv.Itoa(r.sent[0].n), r.sent[0].sum, strconv.Itoa(r.sent[1].n), r.sent[1].sum, r.state, r.tshark}, "\t")
}

// index has the lines of INDEX.tsv by capture.
type index map[string][]string

func readIndex(path string) (index, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return index{}, nil
	}
	if err != nil {
		return nil, err
	}
	x := index{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line == "" || line[0] == '#' {
			continue
		}
		file, _, _ := strings.Cut(line, "\t")
		name := stem(file)
		x[name] = append(x[name], line)
	}
	return x, nil
}

// stem is a capture's name without its extension.
func stem(file string) string {
	for _, end := range []string{".pcapng", ".pcap"} {
		if s, ok := strings.CutSuffix(file, end); ok {
			return s
		}
	}
	return file
}

func (x index) replace(name string, rows []row) {
	delete(x, name)
	for _, r := range rows {
		x[name] = append(x[name], r.String())
	}
}

func (x index) write(path string) error {
	var names []string
	for n := range x {
		names = append(names, n)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(indexHead)
	for _, n := range names {
		for _, line := range x[n] {
			b.WriteString(line + "\n")
		}
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
