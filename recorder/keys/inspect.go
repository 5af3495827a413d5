package keys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Able states whether keys or plaintext can be read.
type Able string

// Values of Able.
const (
	Yes    Able = "yes"
	Learns Able = "learns" // once the first connections of this build have been captured
	No     Able = "no"
)

// Ability lists the data that can be read from a process with a TLS library.
type Ability struct {
	PID        uint32 `json:"pid"`
	Executable string `json:"executable"`
	File       string `json:"file"` // that has the library
	Library    string `json:"library"`
	Version    string `json:"version,omitempty"`
	BuildID    string `json:"build_id,omitempty"`
	Keys       Able   `json:"keys"`
	Method     string `json:"method,omitempty"` // how keys are found
	Reason     Reason `json:"reason,omitempty"` // why they are not
	Plaintext  Able   `json:"plaintext"`
	Detail     string `json:"detail,omitempty"`
	Need       string `json:"need,omitempty"` // what to do to read keys
}

// LayoutFile is the stored layout of one build of a library.
type LayoutFile struct {
	Path    string    `json:"path"`
	Library string    `json:"library"`
	BuildID string    `json:"build_id"`
	Learned time.Time `json:"learned"`
	Fields  []string  `json:"fields"`          // that are known
	Error   string    `json:"error,omitempty"` // why it cannot be used
}

const maxLayoutFiles = 4096

// Layouts lists the layouts in a folder, which need not exist.
func Layouts(dir string) ([]LayoutFile, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []LayoutFile
	for _, e := range entries[:min(len(entries), maxLayoutFiles)] {
		name, is := strings.CutSuffix(e.Name(), ".json")
		lib, build, dash := strings.Cut(name, "-")
		if !is || !dash || strings.HasPrefix(name, ".") || !e.Type().IsRegular() {
			continue
		}
		f := LayoutFile{Path: filepath.Join(dir, e.Name()), Library: lib, BuildID: build}
		if info, err := e.Info(); err == nil {
			f.Learned = info.ModTime().UTC()
		}
		i := slices.Index([]string{OpenSSL.String(), GnuTLS.String()}, lib)
		if i < 0 {
			f.Error = "for an unknown library"
		} else if l, err := readLayout(dir, OpenSSL+Library(i), build); err != nil {
			f.Error = err.Error()
		} else {
			f.Fields = l.names()
		}
		list = append(list, f)
	}
	return list, nil
}

// names are the fields that a layout has, as named in its file.
func (l *layout) names() (list []string) {
	for _, x := range []struct {
		name string
		at   *place
	}{{"random", l.Random}, {"handshake", l.Handshake}, {"hash", l.Hash}, {"client_handshake", l.ClientHandshake}, {"server_handshake", l.ServerHandshake},
		{"client_traffic", l.ClientTraffic}, {"server_traffic", l.ServerTraffic}, {"master", l.Master}} {
		if x.at != nil {
			list = append(list, x.name)
		}
	}
	return list
}
