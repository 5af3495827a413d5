//go:build amd64 || arm64

package keys

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestInspect(t *testing.T) {
	needTools(t, "node", "/usr/bin/python3", "sleep")
	if os.Getuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN") // to open files that other users have mapped
	}
	talk := goTalk(t, "-ldflags=-s -w")
	dir := t.TempDir()
	start := func(args ...string) uint32 {
		c := exec.CommandContext(t.Context(), args[0], args[1:]...)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		if args[0] != "sleep" {
			if _, err := out.Read(make([]byte, 1)); err != nil { // it prints a line when it is ready
				t.Fatal(args[0], err)
			}
		}
		return uint32(c.Process.Pid)
	}
	pids := map[string]uint32{"go": start(talk, "-serve"), "python": start("/usr/bin/python3", "-c", "import ssl,time; print('up', flush=True); time.sleep(60)"),
		"node": start("node", "-e", "console.log('up');setTimeout(()=>0,60000)"), "none": start("sleep", "60")}
	inspect := func() map[string]Ability {
		got := map[string]Ability{}
		for name, pid := range pids {
			list := Inspect(func(p uint32, _ string) bool { return p == pid }, dir)
			if len(list) != 1 {
				t.Fatalf("%s: %+v", name, list)
			}
			got[name] = list[0]
		}
		return got
	}
	got := inspect()
	if a := got["go"]; a.Library != "go" || !strings.HasPrefix(a.Version, "go1.") || a.Keys != Yes || a.Plaintext != Yes || a.Need != "" {
		t.Errorf("Go: %+v", a)
	}
	for _, name := range []string{"python", "node"} {
		if a := got[name]; a.Library != "openssl" || !opensslVersion.MatchString(a.Version) || a.Keys != Learns || a.Plaintext != Yes || a.BuildID == "" || a.Need == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if a := got["none"]; a.Library != "unknown" || a.Keys != No || a.Reason != NoTLS || a.Plaintext != No || a.Need == "" {
		t.Errorf("sleep: %+v", a)
	}
	// A layout learned earlier is used and listed; a damaged one is reported.
	l := layout{Random: &place{Hop: noHop, At: 352}, Master: &place{Hop: 2328, At: 80}}
	if err := writeLayout(dir, OpenSSL, got["python"].BuildID, &l); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gnutls-00.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := inspect()["python"]; a.Keys != Yes || !strings.Contains(a.Method, "master") {
		t.Errorf("with a layout: %+v", a)
	}
	list, err := Layouts(dir)
	if err != nil || len(list) != 2 || list[0].Error == "" || list[1].Error != "" || strings.Join(list[1].Fields, " ") != "random master" || list[1].BuildID != got["python"].BuildID {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := Layouts(filepath.Join(dir, "nowhere")); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestProbe(t *testing.T) {
	ends, err := Probe()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ErrNamespace) {
		t.Skip("needs CAP_BPF: ", err)
	}
	if err != nil {
		t.Error(err)
	}
	t.Log("ends:", ends)
}

func FuzzVersion(f *testing.F) {
	f.Add([]byte("\x00OpenSSL 3.0.17 1 Jul 2025\x00"))
	f.Add([]byte("OpenSSL 3."))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v := opensslIn(b); len(v) > maxVersion || strings.ContainsAny(v, "\n\x1b") {
			t.Errorf("version %q", v)
		}
	})
}
