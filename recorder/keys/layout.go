package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// place is where a value is: in the object, or after a pointer in it.
type place struct {
	Hop uint32 `json:"hop"` // offset of the pointer, noHop for none
	At  uint32 `json:"at"`
}

const noHop = bpf.NoHop

// layout says where a build of a library keeps the values that keys are derived from. Places
// that are nil have not been found yet.
type layout struct {
	Random *place `json:"random,omitempty"`
	// TLS 1.3: the traffic secrets of the handshake, or the values they are derived from.
	ClientHandshake *place `json:"client_handshake,omitempty"`
	ServerHandshake *place `json:"server_handshake,omitempty"`
	Handshake       *place `json:"handshake,omitempty"`
	Hash            *place `json:"hash,omitempty"`
	ClientTraffic   *place `json:"client_traffic,omitempty"`
	ServerTraffic   *place `json:"server_traffic,omitempty"`
	// TLS 1.2 and earlier.
	Master *place `json:"master,omitempty"`
}

func (l *layout) has13() bool {
	return l.Random != nil && (l.Handshake != nil && l.Hash != nil || l.ClientHandshake != nil && l.ServerHandshake != nil) && l.ClientTraffic != nil && l.ServerTraffic != nil
}

func (l *layout) has12() bool { return l.Random != nil && l.Master != nil }

// plan says how the programs read the object. They distinguish TLS 1.3 from older versions by
// the second field. If only TLS 1.2 is known, the whole object must be read.
func (l *layout) plan(success int32, number uint32) bpf.Plan {
	if !l.has13() {
		return bpf.Plan{Mode: bpf.Whole, Success: success}
	}
	p := bpf.Plan{Mode: bpf.Only, Success: success, Number: number, Other: !l.has12()}
	for _, f := range l.fields() {
		if f == nil {
			f = l.Random
		}
		p.Fields = append(p.Fields, bpf.Field{Hop: f.Hop, At: f.At})
	}
	return p
}

// fields are the places in the order in which a plan reads them.
func (l *layout) fields() []*place {
	if l.Handshake != nil {
		return []*place{l.Random, l.Handshake, l.Hash, l.ClientTraffic, l.ServerTraffic, l.Master}
	}
	return []*place{l.Random, l.ServerHandshake, l.ClientHandshake, l.ClientTraffic, l.ServerTraffic, l.Master}
}

// get reads bpf.MaxSecret bytes at a place, or returns nil if they were not read.
type get func(*place) []byte

// secrets extracts the secrets that a layout finds in an object. size is the size of the hash,
// or 0 if unknown: buffers have 64 bytes, and shorter secrets are followed by zeros.
func (l *layout) secrets(read get, size int) (list []secrets.Secret) {
	value := func(p *place, n int) []byte {
		if p == nil {
			return nil
		}
		if b := read(p); len(b) >= n && len(bytes.Trim(b[:n], "\x00")) > 0 {
			return b[:n]
		}
		return nil
	}
	random := value(l.Random, 32)
	if random == nil {
		return nil
	}
	add := func(label secrets.Label, v []byte) {
		if v != nil {
			list = append(list, secrets.Secret{Label: label, ID: random, Value: v})
		}
	}
	if l.has13() {
		first := l.ServerHandshake
		if l.Handshake != nil {
			first = l.Handshake
		}
		if b := value(first, 64); b != nil {
			if size == 0 {
				size = 48
				if len(bytes.Trim(b[32:48], "\x00")) == 0 {
					size = 32
				}
			}
			client, server := value(l.ClientHandshake, size), value(l.ServerHandshake, size)
			if hash := value(l.Hash, size); l.Handshake != nil && hash != nil {
				client = derive(b[:size], "c hs traffic", hash)
				server = derive(b[:size], "s hs traffic", hash)
			}
			add(secrets.ClientHandshakeTraffic, client)
			add(secrets.ServerHandshakeTraffic, server)
			add(secrets.ClientTraffic, value(l.ClientTraffic, size))
			add(secrets.ServerTraffic, value(l.ServerTraffic, size))
			return list
		}
	}
	add(secrets.ClientRandom, value(l.Master, 48))
	return list
}

const layoutVersion = 1

// layoutFile is the file of one build in the folder of layouts.
type layoutFile struct {
	Version int    `json:"version"`
	Library string `json:"library"`
	BuildID string `json:"build_id"`
	Layout  layout `json:"layout"`
}

const maxLayoutFile = 64 << 10

func layoutName(l Library, build string) string { return l.String() + "-" + build + ".json" }

// check refuses places that the programs cannot reach.
func (l *layout) check() error {
	if l.Random == nil {
		return errors.New("the layout has no client random")
	}
	for _, p := range append(l.fields(), l.ClientHandshake, l.ServerHandshake, l.Handshake, l.Hash) {
		if p != nil && (p.Hop != noHop && p.Hop > bpf.MaxDump-8 || p.At > bpf.MaxDump-32) {
			return fmt.Errorf("place %d after pointer %d is out of range; the limit is %d", p.At, p.Hop, bpf.MaxDump)
		}
	}
	if !l.has13() && !l.has12() {
		return errors.New("the layout has no secrets")
	}
	return nil
}

func readLayout(dir string, lib Library, build string) (*layout, error) {
	f, err := os.Open(filepath.Join(dir, layoutName(lib, build)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var v layoutFile
	if err := json.NewDecoder(io.LimitReader(f, maxLayoutFile)).Decode(&v); err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if v.Version != layoutVersion || v.Library != lib.String() || v.BuildID != build {
		return nil, fmt.Errorf("reading %[1]s: expected version %[5]d of %[6]s %[7]s, found version %[2]d of %[3]s %[4]s", f.Name(), v.Version, v.Library, v.BuildID, layoutVersion, lib, build)
	}
	if err := v.Layout.check(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	return &v.Layout, nil
}

// writeLayout stores a layout that opened a record. A file that a crash truncated is refused
// when it is read, so it need not be synced.
func writeLayout(dir string, lib Library, build string, l *layout) error {
	name := layoutName(lib, build)
	if strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("build id %q cannot be part of a file name", build)
	}
	b, err := json.MarshalIndent(layoutFile{layoutVersion, lib.String(), build, *l}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return whole.Replace(filepath.Join(dir, name), 0o600, whole.Text(append(b, '\n')))
}
