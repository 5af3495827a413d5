package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const (
	maxNearKeys     = 256      // key files of other segments that a snapshot reads
	maxNearKeyBytes = 64 << 20 // of all of them
)

// makeOpen makes a bundle, and where connections in it stay shut another one, with keys
// that lie beside other segments of the ring: those of connections that began before the
// time, and those that were read late. Connections whose hellos were before the time need
// them to be found by their keys alone, which TLS 1.3 allows.
func (s *snapshot) makeOpen(ctx context.Context, to string, o exporter.Options) (*bundle.Manifest, exporter.Options, error) {
	m, err := s.make(ctx, s.hold, to, o)
	if err != nil || shut(m) == 0 {
		return m, o, err
	}
	dir, release, err := ring.Hold(filepath.Dir(filepath.Clean(s.f.output)))
	if err != nil {
		return m, o, exit.OutputError(err, s.f.output)
	}
	s.release = append(s.release, release)
	near, err := s.nearKeys(dir)
	if err != nil {
		return m, o, exit.OutputError(err, s.f.output)
	}
	if len(near) == 0 {
		return m, o, nil
	}
	if err := os.RemoveAll(to); err != nil {
		return m, o, exit.OutputError(err, s.f.output)
	}
	o.Keys = append(slices.Clip(o.Keys), near...)
	m, err = s.make(ctx, s.hold, to, o)
	return m, o, err
}

// shut is how many connections have no key.
func shut(m *bundle.Manifest) int64 {
	keys := m.Accounts.Counters["keys"]
	return keys["connections_none_no_handshake"] + keys["connections_none_no_key"]
}

// nearKeys copies key files of segments that are not in the snapshot, as they grow and may
// be removed, the nearest in time first.
func (s *snapshot) nearKeys(dir string) (list []string, err error) {
	type near struct {
		name string
		away int64
	}
	var all []near
	for i := range s.ring.Segments {
		x := &s.ring.Segments[i]
		if slices.Contains(s.pin.Segments, x.ID.Segment()) {
			continue
		}
		var away int64
		if x.Seal != nil {
			away = max(s.o.FromNs-int64(x.Seal.Last), int64(x.Seal.First)-s.o.ToNs)
		}
		for _, name := range x.Side {
			sealed := strings.HasSuffix(name, "."+ring.KeysKind+".age")
			if strings.HasSuffix(name, "."+ring.KeysKind) || sealed && len(s.o.Identities) > 0 {
				all = append(all, near{name, away})
			}
		}
	}
	slices.SortFunc(all, func(a, b near) int { return cmp.Or(cmp.Compare(a.away, b.away), cmp.Compare(a.name, b.name)) })
	room := int64(maxNearKeyBytes)
	for i, x := range all {
		if i >= maxNearKeys || room <= 0 {
			s.e.warn("%s of other times were not tried", plural.Count(int64(len(all)-i), "key file", "key files"))
			break
		}
		path := filepath.Join(dir, x.name)
		n, err := copyKeys(path, filepath.Join(s.dir, x.name))
		switch {
		case errors.Is(err, fs.ErrNotExist): // retention was quicker
			continue
		case errors.Is(err, fs.ErrPermission):
			continue // take has told that it may not read them
		case err != nil:
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		room -= n
		list = append(list, path)
	}
	return list, nil
}

// copyKeys copies a key file for our eyes only.
func copyKeys(to, from string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}

// tellShut says which connections stay shut since they began before the time.
func (s *snapshot) tellShut(m *bundle.Manifest) {
	n := m.Accounts.Counters["keys"]["connections_none_no_handshake"]
	if n == 0 {
		return
	}
	text := fmt.Sprintf("%s encrypted before the time began, and cannot be opened without their first packets", plural.Count(n, "connection was", "connections were"))
	if first, _ := s.has(); first != 0 && int64(first) < s.o.FromNs {
		text += fmt.Sprintf("; the ring has packets since %s", first)
	}
	s.e.warn("%s", text)
}
