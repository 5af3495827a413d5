package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/bpf"
)

// TestMachineErrorsHaveHints checks the errors and hints for a machine that cannot record.
// make kernels runs the program on such machines.
func TestMachineErrorsHaveHints(t *testing.T) {
	if len(missingCapabilities()) > 0 || bpf.LockedDown() || nestedUsers() {
		t.Skip("needs CAP_BPF: the errors are those of this process")
	}
	refused := &bpf.RefusedError{Program: "packet_in", Log: []string{"R4 invalid zero-sized read"}, Err: fs.ErrPermission}
	for _, row := range []struct {
		name       string
		err        error
		want, hint string
	}{
		{"the verifier rejects a program", fmt.Errorf("loading programs: %w", refused), "R4 invalid zero-sized read", "docs/guide/recorder.md"},
		{"no BTF", bpf.ErrNoBTF, "no BTF", "CONFIG_DEBUG_INFO_BTF"},
		{"no control groups", fmt.Errorf("looking: %w", ErrCgroup), "control groups version 2 are not mounted", "mount -t cgroup2"},
		{"forbidden despite the capabilities", fmt.Errorf("loading maps: %w", fs.ErrPermission), "seccomp", "run it as root"},
	} {
		err := hostError(row.err)
		if !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q in it", row.name, err, row.want)
		}
		if hint := Hint(err); !strings.Contains(hint, row.hint) {
			t.Errorf("%s: hint %q, want %q in it", row.name, hint, row.hint)
		}
		var right *PrivilegeError
		if errors.As(err, &right) != (row.name == "forbidden despite the capabilities") {
			t.Errorf("%s: reported as missing rights: %t", row.name, right != nil)
		}
	}
	if err := hostError(fs.ErrNotExist); err != fs.ErrNotExist || Hint(err) != "" {
		t.Errorf("%v, which is unrelated to the machine, has the hint %q", err, Hint(err))
	}
	if hint := Hint(&PrivilegeError{Missing: []string{capRaw}}); !strings.Contains(hint, "NET_RAW") || strings.Contains(hint, "PERFMON") {
		t.Errorf("recording interfaces has the hint %q", hint)
	}
	missing := &PrivilegeError{Missing: []string{"CAP_BPF"}}
	if text := missing.Error() + Hint(missing); !strings.Contains(text, "missing privileges to record: CAP_BPF") || !strings.Contains(text, "BPF, PERFMON and NET_ADMIN") {
		t.Error(text)
	}
}

// TestOldContainersAreCounted: containers that control groups of version 2 do not tell.
func TestOldContainersAreCounted(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	proc := t.TempDir()
	for pid, text := range map[string]string{
		"1":   "1:name=systemd:/\n0::/\n",
		"20":  "8:pids:/docker/" + a + "\n1:name=systemd:/docker/" + a + "\n0::/\n",
		"21":  "8:pids:/docker/" + a + "\n",
		"30":  "8:pids:/docker/" + b + "\n0::/docker/" + b + "\n",
		"40":  "0::/system.slice/docker-" + b + ".scope\n",
		"net": "8:pids:/docker/" + b + "\n",
	} {
		must(0, os.MkdirAll(filepath.Join(proc, pid), 0o755))
		must(0, os.WriteFile(filepath.Join(proc, pid, "cgroup"), []byte(text), 0o644))
	}
	if n := oldContainers(proc); n != 1 {
		t.Errorf("%d, want 1", n)
	}
	if c := checkGroups("/sys/fs/cgroup/unified", 1); c.State != Partial || !strings.Contains(c.Detail, "version 1 only: 1") {
		t.Errorf("%+v", c)
	}
}
