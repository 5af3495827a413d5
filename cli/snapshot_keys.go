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

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const (
	maxNearKeys     = 256      // key files of other segments that a snapshot reads
	maxNearKeyBytes = 64 << 20 // of all of them
)

// makeDecrypted makes a bundle. If connections in it lack keys, it makes the bundle again with
// the key files of other segments of the ring, for connections that began before the time
// range and for keys that were read late. If the hellos are not in the time range, the keys
// must be tried one by one, which TLS 1.3 allows.
func (s *snapshot) makeDecrypted(ctx context.Context, to string, o exporter.Options) (*bundle.Manifest, exporter.Options, error) {
	m, err := s.make(ctx, s.hold, to, o)
	if err != nil || withoutKey(m) == 0 {
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

// withoutKey is the number of connections that have no key.
func withoutKey(m *bundle.Manifest) int64 {
	keys := m.Accounts.Counters["keys"]
	return keys["connections_none_no_handshake"] + keys["connections_none_no_key"]
}

// nearKeys copies the key files of segments that are not in the snapshot, because they grow
// and may be removed. It returns the copies, the nearest in time first.
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
			s.e.Warn("%s not tried: too many", plural.Count(int64(len(all)-i), "key file of another segment was", "key files of other segments were"))
			break
		}
		path := filepath.Join(dir, x.name)
		n, err := copyKeys(path, filepath.Join(s.dir, x.name))
		switch {
		case errors.Is(err, fs.ErrNotExist): // retention has removed it
			continue
		case errors.Is(err, fs.ErrPermission):
			continue // pinSegments has warned of this
		case err != nil:
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		room -= n
		list = append(list, path)
	}
	return list, nil
}

// copyKeys copies a key file into one that only its owner can read.
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

// warnEncrypted warns of connections that cannot be decrypted because they began before the
// time range.
func (s *snapshot) warnEncrypted(m *bundle.Manifest) {
	n := m.Accounts.Counters["keys"]["connections_none_no_handshake"]
	if n == 0 {
		return
	}
	text := fmt.Sprintf("%s before the time range and cannot be decrypted without the first packets", plural.Count(n, "encrypted connection began", "encrypted connections began"))
	if first, _ := s.sealedRange(); first != 0 && int64(first) < s.o.FromNs {
		text += fmt.Sprintf("; the ring has packets since %s", first)
	}
	s.e.Warn("%s", text)
}
