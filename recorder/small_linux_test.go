package recorder

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

func TestMaskArguments(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"curl http://example.test/", "curl http://example.test/"},
		{"mysql --password=hunter2 db", "mysql --password=*** db"},
		{"mysql --password hunter2 db", "mysql --password *** db"},
		{"app --token -v", "app --token -v"},
		{"curl -u joe:secret x", "curl -u joe:*** x"},
		{"psql postgres://joe:pw@db/x", "psql postgres://joe:***@db/x"},
		{"env API_KEY=abc run", "env API_KEY=*** run"},
		{"curl https://x.test/?a=1&access_token=abc&b=2", "curl https://x.test/?a=1&access_token=***&b=2"},
		{"gh ghp_0123456789abcdefghijABCDEFGHIJ012345", "gh ***"},
		{"aws AKIAIOSFODNN7EXAMPLE", "aws ***"},
	} {
		got := strings.Join(maskArguments(strings.Split(c.in, " ")), " ")
		if got != c.want {
			t.Errorf("%s\n gave %s\n want %s", c.in, got, c.want)
		}
	}
	if got := maskArguments([]string{"curl", "-H", "Authorization: Bearer abc"}); got[2] != "Authorization: ***" {
		t.Errorf("header became %q", got[2])
	}
}

func TestCleanText(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		limit          int
	}{
		{"plain", "nginx", "nginx", 10},
		{"cut", "abcdefgh", "abc", 3},
		{"cut before a character that does not fit", "abé", "ab", 3},
		{"escape sequence", "a\x1b[31mb", "a\uFFFD[31mb", 20},
		{"direction override", "a\u202eb", "a\uFFFDb", 20},
		{"bytes that are no text", "a\xffb", "a\uFFFDb", 20},
	} {
		if got := clean(c.in, c.limit); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestChecksumNotReady(t *testing.T) {
	// 10.0.0.1:1 → 10.0.0.2:2, UDP, 1 byte: the pseudo-header's sum is 0x001D + 0x000A…
	partial := "4500001d0000000040110000" + "0a000001" + "0a000002" + "00010002" + "0009" + "141d" + "41"
	whole := strings.Replace(partial, "141d", "beef", 1)
	later := strings.Replace(partial, "45000"+"01d00000000", "4500001d00000010", 1)
	for _, c := range []struct {
		name, packet string
		want         bool
	}{
		{"pseudo-header's sum", partial, true},
		{"another sum", whole, false},
		{"a later fragment has no checksum", later, false},
		{"cut before the checksum", partial[:50], false},
		{"nothing", "", false},
	} {
		b, err := hex.DecodeString(c.packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := checksumNotReady(b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// fullDisk takes so many bytes and then refuses.
type fullDisk struct {
	f    *os.File
	left int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n, err := d.f.Write(p[:min(len(p), d.left)])
	if d.left -= n; err == nil && n < len(p) {
		err = errors.New("no space left")
	}
	return n, err
}

// TestFileIsCutBehindWholeBlocks: a disk that fills up leaves a file that reads to its end.
func TestFileIsCutBehindWholeBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.pcapng")
	s, err := newFileSink(&Options{File: path}, ring.Header{Node: "n"}, linkCooked, maxCaptured)
	if err != nil {
		t.Fatal(err)
	}
	s.to = &fullDisk{s.f, 300_001}
	id, err := s.declare(pcapng.Interface{Name: "n/-/x"})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 1000)
	for i := 0; err == nil; i++ {
		if i > 1000 {
			t.Fatal("the disk never filled up")
		}
		err = s.append(&ring.Packet{Interface: id, Time: int64(i), Prefix: data[:20], Data: data, Flags: 1, ID: uint64(i + 1), PID: 7, TID: 8, Drops: 3, Comment: "x"})
	}
	if closeErr := s.close(func(ring.Taken) ring.Account { return ring.Account{Counters: &ring.Counters{}} }); closeErr != nil {
		t.Error(closeErr)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for b := (pcapng.Batch{}); err == nil; {
		err = r.Next(&b)
	}
	if r.Packets() < 250 || len(r.Damage()) != 0 {
		t.Errorf("%d packets, damage %v", r.Packets(), r.Damage())
	}
}

// TestNarrowRefuses names a control group that is not there.
func TestNarrowRefuses(t *testing.T) {
	if _, err := narrow(t.TempDir(), "nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
