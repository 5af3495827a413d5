package recorder

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/keys"
)

const insteadEnv = "PCAPSULE_TEST_INSTEAD"

// TestInsteadOfSockets checks that a machine that cannot record sockets records interfaces
// and says why, unless an option needs sockets.
func TestInsteadOfSockets(t *testing.T) {
	if os.Getenv(insteadEnv) != "" {
		insteadHere(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: a machine that lacks something")
	}
	for _, tt := range []struct{ name, lacking string }{
		{"without control groups", `awk '{for (i = 7; i <= NF; i++) if ($i == "-" && $(i+1) == "cgroup2") print $5}' /proc/self/mountinfo | while read -r dir; do umount -l "$dir"; done; exec "$0" "$@"`},
		{"without kernel types", `mount -t tmpfs none /sys/kernel/btf; exec "$0" "$@"`},
		{"with rights for interfaces only", `exec setpriv --bounding-set=-all,+net_raw --inh-caps=-all "$0" "$@"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := exec.Command("sh", "-ec", "mount --make-rprivate /; ip link set lo up; "+tt.lacking, os.Args[0], "-test.run=^TestInsteadOfSockets$", "-test.timeout=2m", "-test.v")
			c.Env = append(os.Environ(), insteadEnv+"=1", "TMPDIR="+t.TempDir())
			c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// insteadHere runs on the machine that lacks something.
func insteadHere(t *testing.T) {
	for _, o := range []Options{{Capture: Sockets}, {Capture: Auto, Cgroup: "/"}, {Capture: Auto, Keys: &Keys{Select: keys.Selector{PIDs: []uint32{uint32(os.Getpid())}}}}} {
		o.File = filepath.Join(t.TempDir(), "none.pcapng")
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v recorded, want an error", o)
		}
		if _, err := os.Stat(o.File); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it left a file: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var why error
	o := Options{Capture: Auto, File: filepath.Join(t.TempDir(), "x.pcapng"), Filter: "udp port 9", Count: 3}
	o.OnStart = func(s Started) {
		why = s.Instead
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for range 6 {
			_, _ = c.Write([]byte("x")) // no listener: every other write is refused
		}
	}
	s, err := Run(ctx, o)
	if err != nil || s.Delivered != 3 || why == nil {
		t.Errorf("%d packets, error %v, reason %v", s.Delivered, err, why)
	}
	t.Log(why)
}
