package bundle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestCustodyLogGrowsByAChain(t *testing.T) {
	dir := build(t, testOptions())
	b, err := Open(dir)
	must(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := b.AppendCustody(Entry{Event: "verified", User: "ann", Note: "line\nend <&>", Details: map[string]string{"b": "2", "a": "1"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, head, err := b.Custody()
	must(t, err)
	if len(entries) != 9 || entries[8].Seq != 8 || entries[8].Prev == nil || entries[8].Time == 0 {
		t.Errorf("entries %+v", entries)
	}
	r := verify(t, dir)
	must(t, r.Err())
	if len(r.Custody) != 9 || r.CustodyHead != head {
		t.Errorf("report has %d entries, head %s", len(r.Custody), r.CustodyHead)
	}
}

func TestCustodyLogThatWasEditedIsSeen(t *testing.T) {
	tests := []struct {
		name string
		edit func(lines [][]byte) [][]byte
		want string
	}{
		{"nothing edited", func(l [][]byte) [][]byte { return l }, ""},
		{"text of an entry", func(l [][]byte) [][]byte {
			l[1] = bytes.Replace(l[1], []byte("ann"), []byte("bob"), 1)
			return l
		}, "line 3: prev"},
		{"entry taken out", func(l [][]byte) [][]byte { return append(l[:1], l[2:]...) }, "line 2: seq 2"},
		{"first entry taken out", func(l [][]byte) [][]byte { return l[1:] }, "line 1: seq 1"},
		{"entries swapped", func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }, "line 2: seq 2"},
		{"half an entry at the end", func(l [][]byte) [][]byte { l[2] = l[2][:len(l[2])-9]; return l }, "line 3: not ended"},
		{"blank line", func(l [][]byte) [][]byte { return append(l, []byte("\n")) }, "line 4"},
		{"two values in a line", func(l [][]byte) [][]byte {
			l[2] = append(bytes.TrimSpace(l[2]), []byte("{}\n")...)
			return l
		}, "line 3: reading JSON: more"},
		{"second made", func(l [][]byte) [][]byte {
			l[1] = bytes.Replace(l[1], []byte("verified"), []byte("made"), 1)
			return l
		}, "line 2: event"},
		{"emptied", func([][]byte) [][]byte { return nil }, "empty"},
		{"endless line", func(l [][]byte) [][]byte { return append(l, bytes.Repeat([]byte("x"), maxEntry), []byte("\n")) }, "line 4: 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := build(t, testOptions())
			b, err := Open(dir)
			must(t, err)
			for _, event := range []string{"verified", "copied"} {
				_, _, err := b.AppendCustody(Entry{Event: event, User: "ann"})
				must(t, err)
			}
			p := filepath.Join(dir, custodyName)
			data, err := os.ReadFile(p)
			must(t, err)
			edited := bytes.Join(tt.edit(slices.Collect(bytes.Lines(data))), nil)
			must(t, os.WriteFile(p, edited, 0o666))
			r := verify(t, dir)
			if r.OK() != (tt.want == "") || !r.OK() && !strings.Contains(r.Problems[0].String(), tt.want) {
				t.Errorf("problems %v, want %q", r.Problems, tt.want)
			}
			_, _, err = b.AppendCustody(Entry{Event: "verified"})
			if (err == nil) != (tt.want == "") {
				t.Errorf("appending: %v", err)
			}
			if got, _ := os.ReadFile(p); tt.want != "" && !bytes.Equal(got, edited) {
				t.Error("a damaged log was written to")
			}
		})
	}
}

func TestAppendCustodyRefuses(t *testing.T) {
	dir := build(t, testOptions())
	b, err := Open(dir)
	must(t, err)
	for name, e := range map[string]Entry{
		"no event":          {},
		"event in capitals": {Event: "Verified"},
		"second made":       {Event: EventMade},
		"entry too large":   {Event: "noted", Note: strings.Repeat("x", maxEntry)},
	} {
		if _, _, err := b.AppendCustody(e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	p := filepath.Join(dir, custodyName)
	must(t, os.Rename(p, p+".real"))
	must(t, os.Symlink("log.jsonl.real", p))
	var damaged *DamagedError
	if _, _, err := b.AppendCustody(Entry{Event: "verified"}); !errors.As(err, &damaged) {
		t.Errorf("log that is a link: %v", err)
	}
}

func FuzzCustody(f *testing.F) {
	sum := Digest{1}
	first, err := encodeEntry(Entry{Event: EventMade, TagManifest: &sum})
	if err != nil {
		f.Fatal(err)
	}
	c, err := parseCustody(first)
	if err != nil {
		f.Fatal(err)
	}
	second, err := encodeEntry(Entry{Seq: 1, Event: "verified", Prev: &c.head, Details: map[string]string{"a": "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first)
	f.Add(append(first, second...))
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"seq":0,"time":"2026-13-02T03:04:05.000000006Z","event":"made"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCustody(data)
		if err != nil {
			return
		}
		if len(c.entries) == 0 || c.entries[0].TagManifest == nil || c.size != int64(len(data)) {
			t.Fatalf("accepted %q as %+v", data, c)
		}
		more, err := encodeEntry(Entry{Seq: int64(len(c.entries)), Event: "noted", Prev: &c.head})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseCustody(append(bytes.Clone(data), more...)); err != nil {
			t.Fatalf("cannot go on: %v", err)
		}
	})
}
