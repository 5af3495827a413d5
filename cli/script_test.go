package cli_test

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/scripttest"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

func TestMain(m *testing.M) { clitest.Main(m, map[string]func(){"yr": standIn}) }

// TestScript runs testdata/script. In addition to testscript's commands, a script can use
//
//	exits CODE pcapsule ARG...   the command ends with this code; an error has a hint
//	only FOLDER NAME...          the folder contains exactly these names, hidden ones included
//	json FILE [LENGTH]           FILE or stdout is one JSON value, a list of that length
//	ndjson FILE LENGTH           as many lines, each a JSON object
//	parquet FILE ROWS COLUMN...  a Parquet file with these columns
//	cut FILE LENGTH TO           copies the first bytes of a file; below 0 all but the last ones
//	patch FILE OFFSET HEX        overwrites bytes; an offset below 0 counts from the end
//	bytes FILE HEX [TIMES]       makes a file
//	pack BUNDLE ZIP              makes a transport ZIP
//	bomb FILE                    makes a small zstd file that decompresses to far more than its size
//	ringof FOLDER CAPTURE [KEYS] makes a ring of the capture's packets, 50 per segment; KEYS is the first one's key log
func TestScript(t *testing.T) {
	samples, err := filepath.Abs("../samples")
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("pcapsule")
	if err != nil {
		t.Fatal(err)
	}
	worker, err := duckdbtest.Program()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SAMPLES", samples)
			e.Setenv("COMMANDS", filepath.Dir(program))
			e.Setenv(duckdbtest.Variable, worker)
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TMPDIR", filepath.Join(e.WorkDir, ".tmp"))
			return os.Mkdir(filepath.Join(e.WorkDir, "out"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scripttest.Exits, "only": only, "json": scripttest.JSON, "ndjson": isNDJSON, "parquet": isParquet,
			"cut": cut, "patch": patch, "bytes": makeBytes, "bomb": bomb, "pack": pack, "ringof": ringOf, "refused": refused, "offers": offers,
		},
	})
}

// offers checks that a completion has a line that matches a pattern. A completion offers nothing if a busy machine needs
// longer for it than people wait, so it is tried again.
func offers(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	for range 20 {
		ts.Check(ts.Exec("pcapsule", append([]string{"__complete"}, args[1:]...)...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("no line matches %q", args[0])
}

func only(ts *testscript.TestScript, _ bool, args []string) {
	list, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	names := []string{}
	for _, f := range list {
		names = append(names, f.Name())
	}
	slices.Sort(args[1:])
	if !slices.Equal(names, args[1:]) {
		ts.Fatalf("%s contains %q, want %q", args[0], names, args[1:])
	}
}

func isNDJSON(ts *testscript.TestScript, neg bool, args []string) {
	n := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var v map[string]any
		ts.Check(json.Unmarshal([]byte(line), &v))
		n++
	}
	if strconv.Itoa(n) != args[1] {
		ts.Fatalf("%d lines, want %s", n, args[1])
	}
}

func isParquet(ts *testscript.TestScript, neg bool, args []string) {
	data := ts.ReadFile(args[0])
	f, err := parquet.OpenFile(strings.NewReader(data), int64(len(data)))
	ts.Check(err)
	if strconv.FormatInt(f.NumRows(), 10) != args[1] {
		ts.Fatalf("%d rows, want %s", f.NumRows(), args[1])
	}
	names := []string{}
	for _, c := range f.Schema().Columns() {
		names = append(names, c[0])
	}
	want := slices.Clone(args[2:])
	slices.Sort(want)
	if slices.Sort(names); !slices.Equal(names, want) {
		ts.Fatalf("columns %q, want %q", names, want)
	}
}

func cut(ts *testscript.TestScript, _ bool, args []string) {
	data := ts.ReadFile(args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 0 {
		n += len(data)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(data[:n]), 0o644))
}

func patch(ts *testscript.TestScript, _ bool, args []string) {
	data := []byte(ts.ReadFile(args[0]))
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	with, err := hex.DecodeString(args[2])
	ts.Check(err)
	if len(args) > 3 {
		n, err := strconv.Atoi(args[3])
		ts.Check(err)
		with = bytes.Repeat(with, n)
	}
	if at < 0 {
		at += len(data)
	}
	copy(data[at:], with)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

func makeBytes(ts *testscript.TestScript, _ bool, args []string) {
	data, err := hex.DecodeString(args[1])
	ts.Check(err)
	if len(args) > 2 {
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		data = bytes.Repeat(data, n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

func pack(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	w := zip.NewWriter(f)
	ts.Check(errors.Join(w.AddFS(os.DirFS(ts.MkAbs(args[0]))), w.Close(), f.Close()))
}

// bomb compresses a capture of one endless block: 8 GiB in about 0.5 MB.
func bomb(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
	ts.Check(err)
	head, err := hex.DecodeString("d4c3b2a1020004000000000000000000ffff000001000000")
	ts.Check(err)
	_, err = w.Write(head)
	ts.Check(err)
	ts.Check(w.Close())
	// Repeat a frame of 64 MiB of zeros: a zstd file may contain many frames.
	var frame bytes.Buffer
	z, err := zstd.NewWriter(&frame, zstd.WithEncoderLevel(zstd.SpeedFastest))
	ts.Check(err)
	_, err = z.Write(make([]byte, 64<<20))
	ts.Check(err)
	ts.Check(z.Close())
	_, err = f.Write(bytes.Repeat(frame.Bytes(), 128))
	ts.Check(err)
	ts.Check(f.Close())
}

// ringOf writes the packets of a capture with one link type into a ring.
func ringOf(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	names, err := ringtest.Fill(ts.MkAbs(args[0]), data, 1, 50)
	ts.Check(err)
	if len(args) > 2 {
		keys, err := os.ReadFile(ts.MkAbs(args[2]))
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), names[0].Side(ring.KeysKind)), keys, 0o600))
	}
}
