package recorder

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// segments is an output whose open segment is set by the test.
type segments struct {
	dir string
	now ring.ID
}

func (s *segments) segment() ring.ID     { return s.now }
func (s *segments) reopen(ring.ID) error { return nil }
func (s *segments) sidePath(id ring.ID, kind string) string {
	return filepath.Join(s.dir, id.Side(kind))
}

func keyOf(random byte) keys.Key {
	return keys.Key{PID: 7, TID: 7, Library: keys.Go, Executable: "/bin/x", Time: 1, Secret: secrets.Secret{
		Label: secrets.ClientRandom, ID: bytes.Repeat([]byte{random}, 32), Value: make([]byte, 48)}}
}

func TestKeysAreWrittenNextToTheOpenSegment(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	one, two := ring.ID{Series: "sockets", Node: "n", Sequence: 1}, ring.ID{Series: "sockets", Node: "n", Sequence: 2}
	none := ring.ID{}
	for _, tt := range []struct {
		name           string
		to             []age.Recipient
		keys           []ring.ID // the open segment when each key arrives
		last           ring.ID
		one, two       int // lines next to each
		lost, reported int
	}{
		{"one key per segment", nil, []ring.ID{one, two}, two, 1, 1, 0, 0},
		{"between two segments keys wait for the next", nil, []ring.ID{one, none, two}, two, 1, 2, 0, 0},
		{"before the first segment too", nil, []ring.ID{none, one}, one, 2, 0, 0, 0},
		{"at the end, keys are written next to the last segment", nil, []ring.ID{one, none}, none, 2, 0, 0, 0},
		{"a segment without keys has no file", nil, []ring.ID{one}, two, 1, 0, 0, 0},
		{"without any segment, keys are lost and counted", nil, []ring.ID{none}, none, 0, 0, 1, 0},
		{"an encrypted file is closed with its segment", []age.Recipient{id.Recipient()}, []ring.ID{one, none, two}, two, 1, 1, 0, 0},
		{"a closed encrypted file is not extended", []age.Recipient{id.Recipient()}, []ring.ID{one, none}, none, 1, 0, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &segments{dir: t.TempDir()}
			reported := 0
			k := &keyring{out: out, to: tt.to, onError: func(error) { reported++ }}
			for i, at := range tt.keys {
				out.now = at
				k.tick()
				if err := k.current.Key(keyOf(byte(i))); err != nil {
					t.Fatal(err)
				}
			}
			out.now = tt.last
			k.tick()
			k.settle()
			lines := "CLIENT_RANDOM "
			if tt.to != nil {
				lines = "age-encryption.org/v1\n"
			}
			for id, want := range map[ring.ID]int{one: tt.one, two: tt.two} {
				b, err := os.ReadFile(out.sidePath(id, ring.KeysKind))
				if got := strings.Count(string(b), lines); got != want || want == 0 && err == nil {
					t.Errorf("%s: %d times %q, want %d; %v", id, got, lines, want, err)
				}
			}
			if lost := int(k.current.Waiting()); lost != tt.lost || reported != tt.reported {
				t.Errorf("%d keys without a file, want %d; %d errors, want %d", lost, tt.lost, reported, tt.reported)
			}
		})
	}
}
