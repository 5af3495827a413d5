package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// size is a type of flags that the program defines.
type size struct{}

func (size) String() string   { return "" }
func (size) Type() string     { return "size" }
func (size) Set(string) error { return errors.New("must be a size such as 5MB") }

func TestText(t *testing.T) {
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags.IntP("limit", "l", 0, "")
	flags.Uint16("port", 0, "")
	flags.Bool("json", false, "")
	flags.Float64("part", 0, "")
	flags.Duration("last", 0, "")
	flags.Var(size{}, "size", "")
	flags.StringSlice("columns", nil, "")
	for arg, want := range map[string]string{
		"--limit=x":    `--limit "x": must be a whole number`,
		"-lx":          `--limit "x": must be a whole number`,
		"--port=-1":    `--port "-1": must be a whole number from 0`,
		"--json=3":     `--json "3": must be true or false`,
		"--part=half":  `--part "half": must be a number`,
		"--last=abc":   `--last "abc": must be a length of time such as 30s, 15m or 2h`,
		"--size=abc":   `--size "abc": must be a size such as 5MB`,
		`--columns=a"`: `--columns "a\"": must be values with commas between them; the quotation marks do not match`,
	} {
		if got := Text(With(flags.Parse([]string{arg}), Usage, "")); got != want {
			t.Errorf("%s: %s, want %s", arg, got, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "nope")
	_, err := os.Open(missing)
	_, pattern := syntax.Parse("a(", syntax.Perl)
	refused := &fs.PathError{Op: "open", Path: "secret", Err: fs.ErrPermission}
	for _, c := range []struct {
		err  error
		want string
	}{
		{err, missing + " does not exist"},
		{fmt.Errorf("opening bundle: %w", err), "opening bundle: " + missing + " does not exist"},
		{fmt.Errorf("reading %s: %w", missing, err), "reading " + missing + ": it does not exist"},
		{fmt.Errorf("reading x%s: %w", missing, err), "reading x" + missing + ": " + missing + " does not exist"},
		{fmt.Errorf("reading a ring: %w: first", refused), "reading a ring: secret: permission denied: first"},
		{errors.New("open question"), "open question"},
		{fmt.Errorf("rule 1: %w", pattern), `rule 1: pattern "a(": missing closing )`},
		{fmt.Errorf("control group x: %w", fs.ErrNotExist), "control group x: it does not exist"},
	} {
		if got := Text(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func TestTextOfFolders(t *testing.T) {
	dir := t.TempDir()
	_, err := os.ReadFile(dir)
	_, empty := os.ReadFile("")
	for _, c := range []struct {
		err  error
		want string
	}{
		{err, dir + " is a folder, not a file"},
		{fmt.Errorf("reading %s: %w", dir, err), "reading " + dir + ": it is a folder, not a file"},
		{fmt.Errorf("reading %s: %w", "", empty), "reading: the name of the file is empty"},
	} {
		if got := Text(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

// TestTextOfServers asks servers that are not there, or do not use TLS.
func TestTextOfServers(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	_, noTLS := http.Get(strings.Replace(plain.URL, "http", "https", 1))
	_, refused := http.Get(gone.URL)
	_, unknown := http.Get("http://nosuch.invalid")
	_, taken := net.Listen("tcp", plain.Listener.Addr().String())
	for _, c := range []struct {
		err   error
		begin string
	}{
		{noTLS, plain.Listener.Addr().String() + ": it does not use TLS"},
		{refused, gone.Listener.Addr().String() + ": "},
		{unknown, "nosuch.invalid: "},
		{taken, plain.Listener.Addr().String() + ": "},
	} {
		text, ok := strings.CutPrefix(Text(fmt.Errorf("asking: %w", c.err)), "asking: "+c.begin)
		if !ok || regexp.MustCompile("Get|tcp|lookup|connect:|bind:").MatchString(text) {
			t.Errorf("%v: %s, want %s…", c.err, text, c.begin)
		}
	}
}
