package cli_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// reads has an invocation of each command that reads: B is a bundle, C a capture, S the address of a
// store, T a text file, L a collection. Words in upper case are replaced.
var reads = map[string][]string{
	"info": {"B"}, "query": {"B", "http"}, "sql": {"B", "select count(*) from calls"}, "show": {"B", "226"}, "follow": {"B", "226"}, "objects": {"B"}, "findings": {"B"},
	"verify": {"B"}, "custody show": {"B"}, "custody verify": {"B"}, "check": {"B", "RULES"}, "report diff": {"R", "R"},
	"schema": {}, "protocols": {}, "version": {}, "doctor": {}, "completion": {"bash"}, "man": {},
	"store ls": {"S"}, "store check": {"S/shop.pcapsule"},
	"kfl check": {"http"}, "kfl complete": {"ht"}, "kfl explain": {"http"}, "kfl fields": {}, "kfl fmt": {"http"}, "kfl sql": {"http"},
	"ring ls": {"C"}, "ring verify": {"C"}, "ring cat": {"C"}, "report verify": {"T", "B"},
	"mcp": {"B"}, "mcp clients": {}, "shell": {"B"}, "help": {"query"}, // standard input ends at once
}

// writes has the commands that make or change something, or that wait: their failures are tried.
var writes = map[string][]string{
	"bundle": {"C", "-o", "new.pcapsule"}, "cut": {"B", "http", "-o", "new.pcapsule"}, "merge": {"B", "-o", "new.pcapsule"}, "decrypt": {"C", "-o", "new.pcapng"},
	"redact": {"B", "--policy", "T", "-o", "new.pcapsule"}, "packets": {"B", "http", "-o", "new.pcapng"}, "wireshark": {"B", "http", "--print", "-o", "new"}, "report": {"B", "-o", "new.html"}, "handover": {"B", "--to", "Ann"},
	"receive": {"B"}, "seal": {"B", "--key", "T"}, "timestamp": {"B"}, "reveal": {"B", "--seed", "T", "-o", "new.json"}, "custody add": {"B", "--event", "copied"},
	"snapshot": {"C", "--last", "10m", "-o", "new.pcapsule"}, "store push": {"B", "S"}, "store fetch": {"S/shop.pcapsule"}, "ring anchor": {"C", "--key", "new.key", "-o", "new.anchor"},
	"collection status": {"L"}, "collection report": {"L", "-o", "new.html"}, "collection sample": {"L", "-o", "new.csv"}, "collection accept": {"L", "pci/4.2.1", "--owner", "A", "--reason", "r", "--until", "2026-12-31"},
	"report sign": {"T", "B", "--key", "new.key"}, "serve": {"B", "--addr", "127.0.0.1:0"}, "open": {"B", "--print"}, "tail": {"--ring", "C"}, "record": {"-w", "C"},
}

// absent has the commands that need a cluster or a program that is not there: each fails, and leaves nothing.
var absent = map[string][]string{
	"fetch": {"https://127.0.0.1:1", "incident", "-o", "new"}, "kubectl fetch": {"incident", "-o", "new"}, "kubectl snapshot": {"--last", "10m"},
	"kubectl record": {"shop/payment", "--for", "1s", "-o", "new.pcapsule"}, "kubectl tail": {"http"}, "kubectl mcp": {},
	"kubectl ask": {"get-overview", "incident"}, "kubectl info": {"incident"}, "kubectl query": {"incident", "http"}, "kubectl report": {"incident"},
	"kubectl shell": {"incident"}, "kubectl show": {"incident", "1"}, "kubectl sql": {"incident", "select 1"},
	"lake add": {"S/shop.pcapsule"}, "lake ls": {}, "lake files": {"calls"}, "lake bundles": {}, "lake check": {}, "lake expire": {"shop"},
	"lake remove": {"shop"}, "lake query": {"http"}, "lake sql": {"select 1"},
}

// elsewhere are commands with tests of their own: they write into configurations of other programs.
var elsewhere = []string{"extcap install", "mcp install", "mcp uninstall"}

// TestReadingWritesNothing runs every command that reads, and every command with paths that are wrong:
// no file around it changes, and none appears.
func TestReadingWritesNothing(t *testing.T) {
	w := newWorld(t)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "pcapsule ")
		switch args, ok := reads[name]; {
		case slices.Contains(elsewhere, name):
			return
		case absent[name] != nil:
			w.untouched(t, append(strings.Fields(name), absent[name]...), true)
		case ok:
			w.untouched(t, append(strings.Fields(name), args...), false)
			w.wrong(t, name, args)
		case writes[name] != nil:
			w.wrong(t, name, writes[name])
		case strings.HasPrefix(name, "ask "):
			w.wrong(t, name, []string{"B"})
		case c.Runnable() && !c.HasSubCommands():
			t.Errorf("command %q is in no list: say whether it reads or writes", name)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cli.Root())
}

// world is a folder with one file of each kind.
type world struct {
	dir   string
	names map[string]string
}

func newWorld(t *testing.T) *world {
	dir, other := t.TempDir(), t.TempDir()
	sample, err := os.ReadFile("../samples/shop.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("HOME", other)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(other, "cache"))
	t.Setenv("TMPDIR", other)
	t.Setenv("PATH", other) // neither kubectl nor pcapsule-lake
	for name, data := range map[string][]byte{"shop.pcapng": sample, "notes.txt": []byte("not what you look for\n"), "list.yaml": []byte("version: 1\nperiod: {from: 2026-11-01, to: 2026-11-30}\nbundles: [shop.pcapsule]\n"), "rules.yaml": []byte("rules:\n  - name: few\n    at_most: 1000\n    kfl: http\n")} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	store := "file://" + filepath.ToSlash(filepath.Join(dir, "volume"))
	for _, args := range [][]string{{"bundle", "shop.pcapng", "-o", "shop.pcapsule"}, {"store", "push", "shop.pcapsule", store}, {"report", "shop.pcapsule", "-o", "r.json"}} {
		clitest.Done(t, args...)
	}
	return &world{dir, map[string]string{"B": "shop.pcapsule", "C": "shop.pcapng", "T": "notes.txt", "S": store, "R": "r.json", "RULES": "rules.yaml", "L": "list.yaml", "S/shop.pcapsule": store + "/shop.pcapsule"}}
}

// wrong gives a command each of its paths as one that does not exist, and as a text.
func (w *world) wrong(t *testing.T, name string, args []string) {
	for i, a := range args {
		if w.names[a] == "" {
			continue
		}
		for _, bad := range []string{"nosuch/nosuch.pcapsule", "file://" + w.dir + "/nosuch/nosuch.pcapsule", "notes.txt"} {
			if a == "T" && bad == "notes.txt" || strings.HasPrefix(name, "store push") && a == "S" && strings.HasPrefix(bad, "file:") {
				continue
			}
			changed := slices.Clone(args)
			changed[i] = bad
			w.untouched(t, append(strings.Fields(name), changed...), true)
		}
	}
}

// untouched runs a command and compares all files. A command that must fail says why, once.
func (w *world) untouched(t *testing.T, args []string, fails bool) {
	t.Helper()
	for i, a := range args {
		if path := w.names[a]; path != "" {
			args[i] = path
		}
	}
	before := w.files(t)
	code, out, errOut := clitest.Run(args...)
	after := w.files(t)
	for name := range maps.Keys(after) {
		if before[name] != after[name] && !(fails && name == ".") { // a command that fails may remove what it began
			t.Errorf("%q changed %s", args, name)
			if before[name] == "" {
				os.RemoveAll(filepath.Join(w.dir, name))
			}
		}
	}
	if len(before) > len(after) {
		t.Errorf("%q removed a file", args)
	}
	if fails && (code == exit.Done || out != "" || !strings.HasPrefix(errOut, "error: ") || strings.Count(errOut, "\nhint: ") != 1) {
		t.Errorf("%q: exit %d, output %q, errors:\n%s", args, code, out, errOut)
	}
}

// files are the files and folders of the world, with their hashes and times.
func (w *world) files(t *testing.T) map[string]string {
	list := map[string]string{}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(w.dir, path)
		list[rel] = fmt.Sprint(info.Mode(), info.ModTime())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			list[rel] += fmt.Sprintf(" %x", sha256.Sum256(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
