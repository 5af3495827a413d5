package keys

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

func someKey(n byte) Key {
	return Key{Secret: secrets.Secret{Label: secrets.ClientTraffic, ID: bytes.Repeat([]byte{n}, 32), Value: bytes.Repeat([]byte{n + 1}, 48)},
		Time: time.Date(2026, 11, 20, 1, 2, 3, 4, time.UTC).UnixNano(), PID: 7, TID: 8, Executable: "/opt/a \"b\"\n\x1b[2J", Library: OpenSSL}
}

func TestFileIsPrivateKeyLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.keys")
	for round := range 2 { // the second round appends
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range byte(3) {
			if err := f.Key(someKey(byte(round)*10 + n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(f.Flush(), f.Close(), f.Close()); err != nil || f.Keys() != 3 {
			t.Fatal(err, f.Keys())
		}
		if f.Key(someKey(9)) == nil {
			t.Error("a closed file accepts a key")
		}
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o600 {
		t.Fatal(st.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := `# 2026-11-20T01:02:03.000000004Z pid 7 tid 8 openssl "/opt/a \"b\"\n\x1b[2J"` + "\n"; strings.Count(string(b), want) != 2 {
		t.Errorf("want the origin twice: %s:\n%s", want, b)
	}
	checkLog(t, b, 6)
}

func checkLog(t *testing.T, b []byte, keys int64) {
	t.Helper()
	s := secrets.NewStore()
	if err := s.AddLog("test", bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats()[0]; st.Keys != keys || st.Wrong != 0 || st.Unfinished {
		t.Errorf("%+v", st)
	}
}

func TestIncompleteLineDoesNotSpoilTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.keys")
	if err := os.WriteFile(path, []byte("CLIENT_RANDOM 00112233"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Key(someKey(1)), f.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !slices.Contains(strings.Split(string(b), "\n"), someKey(1).Line()) {
		t.Errorf("%s %v", b, err)
	}
}

func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(open); err == nil {
		t.Error("a file that others may read is accepted")
	}
	if _, err := Open(filepath.Join(dir, "not", "there")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a missing folder:", err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(open, id.Recipient()); !errors.Is(err, os.ErrExist) {
		t.Error("encrypting into an existing file:", err)
	}
}

func TestEncryptedFile(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.keys")
	f, err := Open(path, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	for n := range byte(100) {
		for range 10 {
			if err := errors.Join(f.Key(someKey(n)), f.Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(b, []byte("age-encryption.org/v1\n")) || bytes.Contains(b, []byte("TRAFFIC")) {
		t.Fatal("not an age file, or not encrypted", err)
	}
	r, err := age.Decrypt(bytes.NewReader(b), id)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	checkLog(t, plain, 1000)
}

func TestSelector(t *testing.T) {
	s := Selector{Executables: []string{"curl", "python3*", "/opt/app/*"}, Cgroups: []string{"/kube/pod1", "/sys/"}}
	for _, v := range []struct {
		name, exe, cgroup string
		want              bool
	}{
		{"a name", "/usr/bin/curl", "/", true},
		{"a name pattern", "/usr/bin/python3.11", "/", true},
		{"a path pattern", "/opt/app/server", "/", true},
		{"a path below the pattern", "/opt/app/bin/server", "/", false},
		{"part of a name", "/usr/bin/curlie", "/", false},
		{"a control group", "/bin/x", "/kube/pod1", true},
		{"a group below", "/bin/x", "/kube/pod1/container", true},
		{"a group with a slash", "/bin/x", "/sys/a", true},
		{"a group with the same prefix", "/bin/x", "/kube/pod12", false},
		{"nothing known", "", "", false},
	} {
		if got := s.matches(v.exe, v.cgroup); got != v.want {
			t.Errorf("%s: %v", v.name, got)
		}
	}
	if (Selector{}).matches("/usr/bin/curl", "/") || !(Selector{}).Empty() || s.Empty() {
		t.Error("the zero value chooses processes")
	}
}

func TestLabels(t *testing.T) {
	for _, v := range []struct {
		text string
		l    secrets.Label
		n    int
		ok   bool
	}{
		{"CLIENT_RANDOM", secrets.ClientRandom, 0, true},
		{"SERVER_HANDSHAKE_TRAFFIC_SECRET", secrets.ServerHandshakeTraffic, 0, true},
		{"CLIENT_TRAFFIC_SECRET_0", secrets.ClientTraffic, 0, true},
		{"SERVER_TRAFFIC_SECRET_12", secrets.ServerTraffic, 12, true},
		{"EXPORTER_SECRET", secrets.Exporter, 0, true},
		{"SERVER_TRAFFIC_SECRET_", 0, 0, false},
		{"SERVER_TRAFFIC_SECRET_99999999999", 0, 0, false},
		{"RSA", 0, 0, false},
		{"", 0, 0, false},
	} {
		l, n, ok := labelOf(v.text)
		if l != v.l || n != v.n || ok != v.ok {
			t.Errorf("%q: %v %d %v", v.text, l, n, ok)
		}
	}
}

func TestKeysWaitForTheNextSegment(t *testing.T) {
	var c Current
	for n := range byte(3) {
		if err := c.Key(someKey(n)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "a.keys")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if before, err := c.Set(f); before != nil || err != nil {
		t.Fatal(before, err)
	}
	if err := errors.Join(c.Key(someKey(3)), c.Flush()); err != nil || f.Keys() != 4 {
		t.Error(f.Keys(), err)
	}
	if before, err := c.Set(nil); before != f || err != nil {
		t.Fatal(before, err)
	}
	for range maxWaitingKeys + 5 {
		if err := c.Key(someKey(5)); err != nil {
			t.Fatal(err)
		}
	}
	if f.Keys() != 4 || c.Lost() != 5 {
		t.Error(f.Keys(), c.Lost())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Set(f); err == nil {
		t.Error("a closed file accepts the waiting keys")
	}
}
