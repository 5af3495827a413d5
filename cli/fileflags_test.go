package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// aboutFiles matches the description of a flag that may name a file or a folder.
var aboutFiles = regexp.MustCompile(`(?i)\b(files?|folder|pem|certificate|authority|keys?|capture|policy|dump|layouts)\b`)

// notRead are flags with such a description that name no file to read, with the reason.
var notRead = map[string]string{
	"access-log": "an output", "output": "an output", "junit": "an output", "packets profile": "an output", "sarif": "an output", "commit": "an output", "extract": "an output", "write": "an output",
	"timestamp request": "an output", "timestamp url": "an address", "timestamp response": "needs a sealed bundle", "record key": "created if it does not exist", "ring anchor key": "created if it does not exist", "pin": "created if it does not exist",
	"record keys": "processes", "record plaintext": "processes", "process": "a process", "decrypt plaintext": "a choice", "extcap keys": "processes",
	"agent": "a key of ssh-agent", "pkcs11": "a key in a token", "name": "a name", "type": "a media type", "sha256": "a hash", "server-name": "a name", "interface": "an interface", "sight": "a choice", "layouts": "need not exist", "unknown": "a choice", "in": "a place in a call",
	"warehouse": "an address", "catalog": "an address", "context": "a name in the kubeconfig", "namespace": "a name", "oauth-issuer": "an address", "tls": "a choice",
	"never": "a filter", "order": "a choice", "yara": "needs the program yara", "cursor": "a place in an answer", "format": "a choice", "snapshots": "created if it does not exist", "account": "a name", "ask list-findings names": "a choice",
}

// TestFilesOfFlags gives every flag that names a file the name of one that does not exist, a folder, an
// empty file and a picture. The exit code must not depend on the flag: 3 for a file that cannot be read or
// is no file of the kind, 11 for a mistake in YAML or KFL. A new flag is tested, or gets a reason above.
func TestFilesOfFlags(t *testing.T) {
	p := placeFor(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	rules, err := filepath.Abs("../samples/policies/cards.yaml")
	if err != nil {
		t.Fatal(err)
	}
	capture, keyed := absolute(t, p.capture), absolute(t, p.keys)
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PATH", "")
	for name, text := range map[string]string{"plain.file": "hello\n", "empty.file": "", "picture.file": "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xdb\x00\x43"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"folder.file", "ring"} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"report", p.bundle, "-o", "r.html"}, {"custody", "show", p.bundle}} {
		clitest.Done(t, args...)
	}
	base := map[string][]string{
		"bundle": {capture, "-o", "n.pcapsule"}, "info": {capture}, "ask": {capture, "--external"}, "check": {capture, p.rules}, "query": {capture, "dns"}, "sql": {capture, "SELECT 1"},
		"shell": {capture}, "kfl check": {"dns"}, "kfl complete": {"d"}, "kfl explain": {"dns"}, "kfl sql": {"dns"}, "show": {capture, "1"}, "follow": {capture, "1"},
		"packets": {keyed, "--with-keys", "-o", "n.pcapng"}, "wireshark": {keyed, "--print", "-o", "n"}, "objects": {capture}, "findings": {capture}, "decrypt": {keyed, "-o", "n.pcapng"}, "report": {capture, "-o", "n.html"},
		"report sign": {"r.html", p.bundle, "--key", "plain.file"}, "report verify": {"r.html", p.bundle}, "verify": {p.bundle}, "seal": {p.bundle, "--key", "plain.file"},
		"timestamp": {p.bundle, "--request", "n.tsq"}, "redact": {p.bundle, "--policy", rules, "-o", "n.pcapsule"}, "reveal": {p.bundle, "--packet", "1", "--seed", "plain.file", "-o", "n.json"},
		"cut": {p.bundle, "dns", "-o", "n.pcapsule"}, "merge": {p.bundle, "-o", "n.pcapsule"}, "tail ring": {}, "tail mask": {"--ring", "ring"}, "handover": {p.bundle, "--to", "A", "--key", "plain.file", "-o", "n.handover"},
		"receive": {p.bundle}, "ring anchor": {"ring", "--check", "plain.file"}, "ring verify": {"ring"}, "snapshot": {"ring", "--last", "1m", "-o", "n.pcapsule"},
		"fetch": {"https://127.0.0.1:1", "s", "-o", "n"}, "tail": {"--server", "https://127.0.0.1:1"}, "record": {"-w", "n.pcapng", "--duration", "10ms"},
		"mcp": {p.bundle}, "open": {capture, "--print"}, "serve": {p.bundle, "--addr", "127.0.0.1:0"}, "kubectl": {"a", "b"}, "kubectl fetch": {"a"}, "kubectl info": {"a"}, "kubectl mcp": {}, "kubectl tail": {}, "kubectl report": {"a", "-o", "n.html"}, "kubectl record": {"a/b", "--for", "1s", "-o", "n"}, "kubectl snapshot": {"a", "--last", "1m"}, "kubectl shell": {"a"},
	}
	with := map[string][]string{ // what a flag needs beside it
		"keys-to": {"--embed-keys"}, "verify keys": {"--rederive"}, "verify identity": {"--rederive"}, "fetch ca": {"--token-file", "plain.file"},
		"log-key": {"--log", "https://127.0.0.1:1"}, "verify log-key": {}, "serve tls-cert": {"--tls-key", "plain.file"}, "serve tls-key": {"--tls-cert", "plain.file"},
		"record keys-to": {"--keys", "pid:1"}, "oauth-keys": {"--oauth-issuer", "https://127.0.0.1:1", "--url", "https://127.0.0.1:1/mcp"},
	}
	outputs := []string{"n.pcapsule", "n.pcapng", "n.html", "n.json", "n.handover", "n.tsq", "n", "r.html.dsse.json"}
	seen := map[string]bool{}
	leaves(cli.Root(), nil, func(c *cobra.Command, path []string) {
		command := strings.Join(path, " ")
		if path[0] == "lake" { // has the flags of others; the rest is pcapsule-lake's
			return
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			own := command + " " + f.Name
			usage := f.Name + f.Usage // commands that share a flag read it in one place
			if !strings.HasPrefix(f.Value.Type(), "string") || !aboutFiles.MatchString(f.Usage) || f.Hidden || notRead[f.Name]+notRead[own] != "" || seen[usage] {
				return
			}
			seen[usage] = true
			args, ok := base[own]
			for _, of := range []string{command, path[0]} {
				if !ok {
					args, ok = base[of]
				}
			}
			more, special := with[own]
			if !special {
				more = with[f.Name]
			}
			if !ok {
				t.Errorf("%s: no row above", command)
				return
			}
			for _, value := range []string{"nosuch.file", "folder.file", "empty.file", "picture.file"} {
				if value == "folder.file" && strings.Contains(f.Usage, "folder") {
					continue
				}
				args := slices.Concat(args, more)
				if i := slices.Index(args, "--"+f.Name); i >= 0 {
					args = slices.Delete(args, i, i+2)
				}
				args = slices.Concat(path, []string{"--" + f.Name + "=" + value}, args)
				_, errOut, code := mistaken(t, 200, args)
				readable := value == "empty.file" || value == "picture.file"
				switch what := strings.Join(args, " "); {
				case internals.MatchString(errOut):
					t.Errorf("%s: shows %q: %s", what, internals.FindString(errOut), errOut)
				case readable && code != exit.Usage && code != exit.Other: // it may be accepted
				case code != exit.NotCapture:
					t.Errorf("%s: exit code %d: %s", what, code, errOut)
				case !strings.Contains(errOut, value):
					t.Errorf("%s: does not name the file: %s", what, errOut)
				}
				for _, made := range outputs {
					os.RemoveAll(made)
				}
			}
		})
	})
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
