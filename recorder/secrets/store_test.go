package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

var (
	randomA = strings.Repeat("a1", 32)
	randomB = strings.Repeat("B2", 32)
	short   = strings.Repeat("0c", 32)
	long    = strings.Repeat("0d", 48)
)

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       string // Line of the secret; "" without one
		err        error
	}{
		{"a master secret", "CLIENT_RANDOM " + randomA + " " + long, "", nil},
		{"upper case is accepted", "CLIENT_RANDOM " + randomB + " " + long, "CLIENT_RANDOM " + strings.ToLower(randomB) + " " + long, nil},
		{"0-RTT", "CLIENT_EARLY_TRAFFIC_SECRET " + randomA + " " + short, "", nil},
		{"handshake of the client", "CLIENT_HANDSHAKE_TRAFFIC_SECRET " + randomA + " " + long, "", nil},
		{"handshake of the server", "SERVER_HANDSHAKE_TRAFFIC_SECRET " + randomA + " " + short, "", nil},
		{"first keys of the client", "CLIENT_TRAFFIC_SECRET_0 " + randomA + " " + short, "", nil},
		{"keys after an update", "SERVER_TRAFFIC_SECRET_12 " + randomA + " " + short, "", nil},
		{"exporter", "EXPORTER_SECRET " + randomA + " " + short, "", nil},
		{"early exporter", "EARLY_EXPORTER_SECRET " + randomA + " " + short, "", nil},
		{"early exporter with an older name", "EARLY_EXPORTER_MASTER_SECRET " + randomA + " " + short, "EARLY_EXPORTER_SECRET " + randomA + " " + short, nil},
		{"secret of ECH", "ECH_SECRET " + randomA + " " + short, "", nil},
		{"configuration of ECH", "ECH_CONFIG " + randomA + " fe0d0001", "", nil},
		{"premaster secret by its encryption", "RSA 0123456789abcdef " + long, "", nil},
		{"premaster secret by client random", "PMS_CLIENT_RANDOM " + randomA + " 010203", "", nil},
		{"master secret by session", "RSA Session-ID:0102 Master-Key:" + long, "", nil},
		{"label of QUIC's drafts", "QUIC_SERVER_TRAFFIC_SECRET_0 " + randomA + " " + short, "SERVER_TRAFFIC_SECRET_0 " + randomA + " " + short, nil},
		{"blanks and a carriage return", "  CLIENT_RANDOM\t" + randomA + "   " + long + " \r", "CLIENT_RANDOM " + randomA + " " + long, nil},
		{"a comment", "# CLIENT_RANDOM", "", nil},
		{"an empty line", " ", "", nil},

		{"an unknown label", "CLIENT_RANDOMS " + randomA + " " + long, "", errLabel},
		{"a label in lower case", "client_random " + randomA + " " + long, "", errLabel},
		{"traffic secret without a number", "CLIENT_TRAFFIC_SECRET_ " + randomA + " " + short, "", errLabel},
		{"traffic secret with a number that is too large", "CLIENT_TRAFFIC_SECRET_99999999999999999999 " + randomA + " " + short, "", errLabel},
		{"traffic secret with a negative number", "CLIENT_TRAFFIC_SECRET_-1 " + randomA + " " + short, "", errLabel},
		{"without a secret", "CLIENT_RANDOM " + randomA, "", errFields},
		{"one field too many", "CLIENT_RANDOM " + randomA + " " + long + " 00", "", errFields},
		{"a session without its key", "RSA Session-ID:0102 " + long, "", errFields},
		{"a random that is one byte too short", "CLIENT_RANDOM " + randomA[2:] + " " + long, "", errID},
		{"a random that is one byte too long", "CLIENT_RANDOM " + randomA + "00 " + long, "", errID},
		{"a master secret that is one byte too short", "CLIENT_RANDOM " + randomA + " " + long[2:], "", errValue},
		{"a traffic secret of the wrong size", "CLIENT_TRAFFIC_SECRET_0 " + randomA + " " + short + "00", "", errValue},
		{"an empty session id", "RSA Session-ID: Master-Key:" + long, "", errFields},
		{"a session id that is too long", "RSA Session-ID:" + randomA + "00 Master-Key:" + long, "", errID},
		{"half a byte", "CLIENT_RANDOM " + randomA + " " + long[1:], "", errHex},
		{"a letter that is not a digit", "CLIENT_RANDOM " + randomA[:63] + "g " + long, "", errHex},
		{"binary data", "\x00\xff\xfe\x01", "", errLabel},
	} {
		got, ok, err := parseLine([]byte(c.line), make([]byte, len(c.line)/2))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
			continue
		}
		want := c.want
		if want == "" && err == nil && !strings.HasPrefix(strings.TrimSpace(c.line)+"#", "#") {
			want = c.line
		}
		if ok != (want != "") || ok && got.Line() != want {
			t.Errorf("%s: %v %q, want %q", c.name, ok, got.Line(), want)
		}
	}
}

func TestLineEnds(t *testing.T) {
	line := "CLIENT_RANDOM " + randomA + " " + long
	other := "CLIENT_RANDOM " + randomB + " " + long
	for _, c := range []struct {
		name, text               string
		lines, keys, wrong, dups int64
		unfinished               bool
	}{
		{"LF", line + "\n" + other + "\n", 2, 2, 0, 0, false},
		{"CR LF", line + "\r\n" + other + "\r\n", 2, 2, 0, 0, false},
		{"CR", line + "\r" + other + "\r", 2, 2, 0, 0, false},
		{"a complete last line without its end", line + "\n" + other, 2, 2, 0, 0, false},
		{"half a random", line + "\n" + other[:30], 2, 1, 0, 0, true},
		{"half a label", line + "\nCLIENT_RAN", 2, 1, 0, 0, true},
		{"half a label of traffic", line + "\nQUIC_SERVER_TRAFFIC_SECRET_1", 2, 1, 0, 0, true},
		{"half a session", line + "\nRSA Session-ID:01 Mas", 2, 1, 0, 0, true},
		{"other text at the end", line + "\n<html>", 2, 1, 1, 0, false},
		{"other text in an incomplete line", line + "\nCLIENT_RANDOM x", 2, 1, 1, 0, false},
		{"a byte order mark", "\xef\xbb\xbf" + line + "\n", 1, 1, 0, 0, false},
		{"zeros of a log that was truncated while it grew", strings.Repeat("\x00", 300000) + line + "\n", 1, 1, 0, 0, false},
		{"nothing but zeros", strings.Repeat("\x00", 300000), 0, 0, 0, 0, false},
		{"empty lines and comments", "\n\n# hello\n" + line + "\n\n", 5, 1, 0, 0, false},
		{"a repeated line", line + "\n" + line + "\n" + strings.ToUpper(line) + "\n", 3, 3, 0, 2, false},
		{"a long line between", line + "\n" + strings.Repeat("x", 1<<20) + "\n" + other + "\n", 3, 2, 1, 0, false},
		{"a line that is just too long", line + "\n# " + strings.Repeat("x", maxLine) + "\n" + other + "\n", 3, 2, 1, 0, false},
		{"a long last line", line + "\n" + strings.Repeat("a", 1<<20), 2, 1, 1, 0, false},
		{"an empty file", "", 0, 0, 0, 0, false},
	} {
		// Line ends must be found wherever a read ends.
		for _, pad := range []int{0, readSize - 1, readSize - len(line) - 1, readSize - len(line), readSize - len(line) - 2} {
			text := c.text
			if pad > 0 {
				text = strings.Repeat("\n", pad) + text
				if strings.HasPrefix(c.text, "\xef") {
					continue
				}
			}
			s := storeOf(t, []byte(text))
			st := s.Stats()[0]
			if st.Lines != c.lines+int64(pad) || st.Keys != c.keys || st.Wrong != c.wrong || st.Duplicates != c.dups || st.Unfinished != c.unfinished {
				t.Errorf("%s after %d: %+v", c.name, pad, st)
			}
			if found := s.Lines(unhex(t, randomA)); (len(found) > 0) != (c.keys > 0) || c.keys > 0 && found[0] != line {
				t.Errorf("%s after %d: found %q", c.name, pad, found)
			}
			if int64(len(st.WrongLines)) != min(st.Wrong, maxWrong) || st.Wrong > 0 && (st.WrongLines[0].Line != int64(pad)+2 || st.WrongLines[0].Why == "") {
				t.Errorf("%s after %d: %+v", c.name, pad, st.WrongLines)
			}
		}
	}
}

func TestFindReturnsSecretsInOrder(t *testing.T) {
	other := strings.Repeat("0e", 48)
	s := NewStore()
	add := func(lines ...string) {
		text := strings.Join(lines, "\n") + "\n"
		if err := s.AddLog("log", strings.NewReader(text), int64(len(text))); err != nil {
			t.Fatal(err)
		}
	}
	add("# empty")
	add("SERVER_TRAFFIC_SECRET_0 "+randomA+" "+short, "CLIENT_RANDOM "+randomA+" "+long, "CLIENT_TRAFFIC_SECRET_1 "+randomA+" "+short)
	add()
	add("CLIENT_RANDOM "+randomA+" "+other, "CLIENT_RANDOM "+randomA+" "+long, "CLIENT_TRAFFIC_SECRET_0 "+randomA+" "+short, "RSA Session-ID:"+randomA+" Master-Key:"+other)
	if s.Find(unhex(t, randomA)) != nil {
		t.Error("found before Ready")
	}
	s.Ready()
	want := []string{
		"SERVER_TRAFFIC_SECRET_0 " + randomA + " " + short,
		"CLIENT_RANDOM " + randomA + " " + long,
		"CLIENT_TRAFFIC_SECRET_1 " + randomA + " " + short,
		"CLIENT_RANDOM " + randomA + " " + other,
		"CLIENT_TRAFFIC_SECRET_0 " + randomA + " " + short,
	}
	if got := s.Lines(unhex(t, randomA)); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	found := s.Find(unhex(t, randomA))
	if found[0].Source != 1 || found[4].Source != 3 {
		t.Errorf("sources %v", found)
	}
	if got := s.FindSession(unhex(t, randomA)); len(got) != 1 || got[0].Label != SessionID || !bytes.Equal(got[0].Value, unhex(t, other)) {
		t.Errorf("session %v", got)
	}
	if got := s.FindSession([]byte{1}); got != nil {
		t.Errorf("session %v", got)
	}
	if st := s.Stats(); st[3].Duplicates != 1 || st[3].Conflicts != 1 || st[1].Conflicts != 0 || st[3].Keys != 4 {
		t.Errorf("%+v", st)
	}
	if err := s.AddLog("late", strings.NewReader("x"), 1); err == nil {
		t.Error("added after Ready")
	}
	if err := s.AddKey("late", nil); err == nil {
		t.Error("added after Ready")
	}
}

func TestUpdatesAreNotConflicts(t *testing.T) {
	var text strings.Builder
	for n := range 200 {
		fmt.Fprintf(&text, "CLIENT_TRAFFIC_SECRET_%d %s %064x\nSERVER_TRAFFIC_SECRET_%d %s %064x\n", n, randomA, n, n, randomA, n+1)
	}
	s := storeOf(t, []byte(text.String()))
	if st := s.Stats()[0]; st.Conflicts != 0 || st.Duplicates != 0 || st.Keys != 400 {
		t.Errorf("%+v", st)
	}
	for i, f := range s.Find(unhex(t, randomA))[:40] {
		if f.N != i/2 || f.Value[31] != byte(i/2+i%2) {
			t.Errorf("secret %d: %v %d", i, f.Label, f.N)
		}
	}
}

func TestConflictsAreLimited(t *testing.T) {
	var text strings.Builder
	for n := range 5000 {
		fmt.Fprintf(&text, "CLIENT_RANDOM %s %096x\n", randomA, n)
	}
	fmt.Fprintf(&text, "CLIENT_RANDOM %s %s\n", randomB, long)
	s := storeOf(t, []byte(text.String()))
	found := s.Find(unhex(t, randomA))
	if len(found) != maxSame || found[15].Value[47] != 15 || s.Stats()[0].Conflicts != 4999 {
		t.Errorf("%d found, %+v", len(found), s.Stats()[0])
	}
	if len(s.Find(unhex(t, randomB))) != 1 {
		t.Error("another random is not found")
	}
}

func TestRandoms(t *testing.T) {
	var text strings.Builder
	for n := range 2000 {
		fmt.Fprintf(&text, "SERVER_TRAFFIC_SECRET_0 %064x %s\nCLIENT_HANDSHAKE_TRAFFIC_SECRET %064x %s\n", n, short, n+1<<20, short)
		fmt.Fprintf(&text, "CLIENT_RANDOM %064x %s\nCLIENT_TRAFFIC_SECRET_0 %064x %s\n", n+1<<21, long, n, short)
	}
	s := storeOf(t, []byte(text.String()))
	for _, n := range []int{3, 1000, 5, 2000, 5000, 0, -1} {
		got := s.Randoms(n)
		if len(got) != max(min(n, 2000), 0) {
			t.Errorf("%d randoms of %d", len(got), n)
		}
		for i, r := range got {
			if int(r[30])<<8+int(r[31]) != i || len(r) != 32 {
				t.Fatalf("random %d is %x", i, r)
			}
		}
	}
	if got := s.Masters(10); len(got) != 1 || !bytes.Equal(got[0], unhex(t, long)) {
		t.Errorf("masters %x", got)
	}
	var none *Store
	if none.Randoms(1) != nil || none.Masters(1) != nil || none.Find(fixed(1, 32)) != nil || none.FindSession(fixed(1, 32)) != nil || none.DecryptRSA(fixed(1, 32)) != nil || !none.Empty() {
		t.Error("a nil store finds something")
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	line := "CLIENT_RANDOM " + randomA + " " + long + "\n"
	filler := strings.Repeat("# filler\n", keepSize/8)
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"a key log", line, nil},
		{"a large key log", filler + line, nil},
		{"an empty file", "", nil},
		{"only comments", "# nothing yet\n", nil},
		{"half a first line", "CLIENT_RA", nil},
		{"invalid lines and a valid one", "hello\n" + line, nil},
		{"text", "hello\nworld\n", ErrNoKey},
		{"text without an end", "hello", ErrNoKey},
		{"a program", "\x7fELF\x02\x01\x01\x00\x00\x00", ErrNoKey},
		{"a capture", "\n\r\r\n\x1c\x00\x00\x00", ErrCapture},
		{"an old capture", "\xd4\xc3\xb2\xa1\x02\x00", ErrCapture},
		{"a file that age encrypted", "age-encryption.org/v1\n-> X25519", ErrEncrypted},
		{"a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ErrNoKey},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := NewStore()
		err := s.AddFile(path)
		var source *SourceError
		if !errors.Is(err, c.want) || (err != nil) != errors.As(err, &source) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
			continue
		}
		s.Ready()
		if has := strings.Contains(c.text, line); has != (len(s.Find(unhex(t, randomA))) == 1) || has == s.Empty() {
			t.Errorf("%s: found %v", c.name, !has)
		}
		if err == nil && (len(s.Stats()) != 1 || s.Stats()[0].Bytes != int64(len(c.text)) || s.Stats()[0].SHA256 == [32]byte{}) {
			t.Errorf("%s: %+v", c.name, s.Stats())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{filepath.Join(dir, "nowhere"), dir} {
		if err := NewStore().AddFile(path); err == nil {
			t.Errorf("%s is accepted", path)
		}
	}
}

func TestLogTruncatedLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.log")
	text := strings.Repeat("# filler\n", keepSize/8) + "CLIENT_RANDOM " + randomA + " " + long + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStore()
	if err := s.AddFile(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Ready()
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if got := s.Find(unhex(t, randomA)); got != nil || s.Gone() != 1 {
		t.Errorf("found %v, %d gone", got, s.Gone())
	}
}

// shrinking is a source that ends too early.
type shrinking struct{ io.ReaderAt }

func TestLogShorterThanItsSize(t *testing.T) {
	err := NewStore().AddLog("log", shrinking{strings.NewReader("CLIENT")}, 100)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want unexpected EOF", err)
	}
}

// endless is a line without an end.
type endless struct{}

func (endless) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		b[i] = 'A'
	}
	return len(b), nil
}

func TestLineWithoutEnd(t *testing.T) {
	s := NewStore()
	if err := s.AddLog("endless", endless{}, 1<<28); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats()[0]; st.Lines != 1 || st.Wrong != 1 || st.Keys != 0 || st.Unfinished {
		t.Errorf("%+v", st)
	}
}

func TestConcurrentLookups(t *testing.T) {
	m := manyLines{5000}
	s := NewStore()
	if err := s.AddLog("many", m, m.size()); err != nil {
		t.Fatal(err)
	}
	s.Ready()
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := range int64(500) {
				id := manyRandom(i*5 + int64(k))
				if len(s.Find(id)) != 5 || len(s.Randoms(int(i))) != int(i) {
					t.Errorf("%d is not found", i)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzKeyLog(f *testing.F) {
	f.Add([]byte("CLIENT_RANDOM " + randomA + " " + long + "\nRSA Session-ID:01 Master-Key:" + long + "\r\n# x\n"))
	f.Add([]byte("\xef\xbb\xbfQUIC_CLIENT_TRAFFIC_SECRET_0 " + randomB + " " + short + "\rPMS_CLIENT_RANDOM " + randomA + " 00\n"))
	f.Add([]byte("RSA 0123456789abcdef " + long + "\n\x00\x00ECH_CONFIG " + randomA + " 00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := storeOf(t, b)
		st := s.Stats()[0]
		if st.Keys-st.Duplicates != int64(s.index.entries) || st.Lines < st.Keys+st.Wrong {
			t.Fatalf("%d entries, %+v", s.index.entries, st)
		}
		// Every line that reads as a key must be found, and its text must read as itself.
		r := logReader{r: bytes.NewReader(b), size: int64(len(b)), buf: make([]byte, readSize), sum: nopHash{}}
		for r.next() {
			if r.long {
				continue
			}
			x, ok, err := parseLine(r.line, make([]byte, len(r.line)))
			if ok && err != nil {
				t.Fatal("value and error")
			}
			if !ok {
				continue
			}
			again, ok, err := parseLine([]byte(x.Line()), make([]byte, len(r.line)+100))
			if !ok || err != nil || again.Line() != x.Line() {
				t.Fatalf("%q reads as %v, %v", x.Line(), ok, err)
			}
			found := s.find(kindOf(x.Label), x.ID)
			has := len(found) >= maxSame
			for _, f := range found {
				has = has || f.Line() == x.Line()
			}
			if !has {
				t.Fatalf("%q is not found", x.Line())
			}
		}
		s.Randoms(4)
	})
}

type nopHash struct{}

func (nopHash) Write(b []byte) (int, error) { return len(b), nil }
func (nopHash) Sum(b []byte) []byte         { return b }
func (nopHash) Reset()                      {}
func (nopHash) Size() int                   { return 0 }
func (nopHash) BlockSize() int              { return 1 }

func FuzzRSAKey(f *testing.F) {
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"), []byte("x"))
	f.Add(fixed(0x30, 64), fixed(1, 64))
	f.Fuzz(func(t *testing.T, key, encrypted []byte) {
		s := NewStore()
		err := s.AddKey("key", key)
		if (err == nil) == s.Empty() {
			t.Fatal("error and value, or neither")
		}
		s.Ready()
		s.DecryptRSA(encrypted)
	})
}
