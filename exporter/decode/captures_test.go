package decode

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// readCapture returns the packets of a capture, each with its own bytes.
func readCapture(path string) ([]Input, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := pcapng.Open(f, pcapng.Limits{})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	r, err := pcapng.NewReader(src, pcapng.Options{})
	if err != nil {
		return nil, err
	}
	var all []Input
	for {
		var b pcapng.Batch // a new one each time, so that its packets stay valid
		if err := r.Next(&b); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		for i := range b.Packets {
			p := &b.Packets[i]
			all = append(all, Input{
				LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time, No: int64(len(all)),
			})
		}
	}
}

// captureFiles lists the captures with a truth file, by path below dir.
func captureFiles(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	root := filepath.Join(dir, "truth")
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".keys.json") {
			return err
		}
		rel, err := filepath.Rel(root, strings.TrimSuffix(path, ".json"))
		if _, serr := os.Stat(filepath.Join(dir, rel)); serr == nil {
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
