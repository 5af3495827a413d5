package tls

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

const samplesDir = "../../../samples/secrets"

// keysOf reads a key file, or the secrets inside a capture if there is no such file.
func keysOf(t testing.TB, capture, file string) *secrets.Store {
	t.Helper()
	keys := secrets.NewStore()
	if _, err := os.Stat(file); err == nil && filepath.Ext(file) != ".pcapng" && !strings.HasSuffix(file, "-") {
		err = keys.AddFile(file)
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(capture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, err := pcapng.Scan(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range found.List {
		if err := keys.AddLog("block "+strconv.Itoa(i), bytes.NewReader(s.Data), int64(len(s.Data))); err != nil {
			t.Fatal(err)
		}
	}
	if err := keys.Ready(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestSamples compares the data decrypted from captures of other stacks with the data that was
// sent.
func TestSamples(t *testing.T) {
	f, err := os.Open(filepath.Join(samplesDir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	walks := map[string][]*walked{}
	for lines.Scan() {
		c := strings.Split(lines.Text(), "\t")
		if strings.HasPrefix(lines.Text(), "#") || len(c) < 15 || c[4] == "quic" || c[3] != "-" {
			continue
		}
		conn, _ := strconv.Atoi(c[2])
		name := c[0] + " " + c[2]
		t.Run(name, func(t *testing.T) {
			w := walks[c[0]]
			if w == nil {
				w = walkCapture(t, filepath.Join(samplesDir, c[0]), keysOf(t, filepath.Join(samplesDir, c[0]), filepath.Join(samplesDir, c[1])))
				walks[c[0]] = w
			}
			if conn > len(w) {
				t.Fatalf("%d connections, want %d", len(w), conn)
			}
			got := w[conn-1]
			e := got.Conn.Encrypted()
			if e == nil {
				t.Fatal("not detected as TLS")
			}
			if e.State.String() != c[14] || e.Layer != c[4] {
				t.Errorf("keys of %s are %s %q, want %s of %s", e.Layer, e.State, e.Reason, c[14], c[4])
			}
			if c[14] != "verified" {
				return
			}
			for dir, at := range map[dissect.Dir]int{dissect.ToServer: 10, dissect.ToClient: 12} {
				b := got.plain(dir)
				sum := sha256.Sum256(b)
				if c[5] == "TLS 1.0" && c[9] == "records" { // more can be decrypted than is counted there
					if n, _ := strconv.Atoi(c[at]); len(b) < n {
						t.Errorf("%s: %d bytes came out, want at least %d", dir, len(b), n)
					}
				} else if hex.EncodeToString(sum[:]) != c[at+1] {
					t.Errorf("%s: %d bytes came out, want %s; features %s, anomalies %v", dir, len(b), c[at], c[7], got.Anomalies)
				}
			}
			list, _ := rows(&got.Result)
			for _, row := range list {
				if len(list) == 1 && c[5] != row.VersionName.V || row.SuiteName.V != c[6] && len(list) == 1 {
					t.Errorf("%s with %s, want %s with %s", row.VersionName.V, row.SuiteName.V, c[5], c[6])
				}
			}
		})
	}
}
