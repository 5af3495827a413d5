package recorder

import (
	"errors"
	"fmt"
	"io/fs"
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
