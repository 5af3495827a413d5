package bundle

import (
	"fmt"
	"os"
	"path/filepath"
)

// Assemble returns a bundle of files below dir that no manifest lists, such as a view of a live run. It
// writes bundle.json. Packet files are read from packets. Such a bundle has no hashes of its tables and
// cannot be verified.
func Assemble(dir string, m *Manifest, files []string, packets Packets) (*Bundle, error) {
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(jsonName)), text, 0o600); err != nil {
		return nil, fmt.Errorf("writing %s: %w", jsonName, err)
	}
	b := &Bundle{Dir: dir, Manifest: m, packets: packets}
	for _, f := range files {
		b.files = append(b.files, line{path: f})
	}
	sortLines(b.files)
	return b, nil
}
