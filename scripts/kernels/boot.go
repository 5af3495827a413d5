package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bootTime is the time limit of a guest. Software emulation needs half a minute in total, more if the
// machine is busy. Linux 5.10 needs longest, because there each probe loads a copy of its program.
const bootTime = 12 * time.Minute

var errStopped = errors.New("the kernel stopped")

// machine is a kernel with its root file system.
type machine struct {
	arch, kernel, initrd, log string
}

// qemu has the emulator of an architecture and the console of its machine.
var qemu = map[string]struct {
	program, console string
	args             []string
}{
	"amd64": {"qemu-system-x86_64", "ttyS0", []string{"-machine", "q35", "-cpu", "max"}},
	"arm64": {"qemu-system-aarch64", "ttyAMA0", []string{"-machine", "virt", "-cpu", "cortex-a72"}},
}

// prepare fetches a kernel and builds its root file system.
func (a *archive) prepare(ctx context.Context, k kernel) (*machine, error) {
	name, err := a.newest(ctx, k.image, k.arch)
	if err != nil {
		return nil, err
	}
	image, err := a.unpack(ctx, name, k.arch, k.suite)
	if err != nil {
		return nil, err
	}
	m := &machine{arch: k.arch, initrd: filepath.Join(a.dir, k.version+"-"+k.arch+".initrd"), log: filepath.Join(a.dir, "logs", k.version+"-"+k.arch+".log")}
	if m.kernel, err = find(image, "vmlinuz"); err != nil {
		return nil, err
	}
	modules := image
	if k.modules != "" {
		if name, err = a.newest(ctx, k.modules, k.arch); errors.Is(err, errNoPackage) {
			modules = ""
		} else if err != nil {
			return nil, err
		} else if modules, err = a.unpack(ctx, name, k.arch, k.suite); err != nil {
			return nil, err
		}
	}
	root, err := os.MkdirTemp(a.dir, ".root-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	if err := a.fill(ctx, root, k.arch); err != nil {
		return nil, err
	}
	if modules != "" {
		if err := addModule(ctx, modules, "veth", root); err != nil {
			return nil, err
		}
	}
	pack := exec.CommandContext(ctx, "sh", "-c", `find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1 >"$1"`, "-", m.initrd)
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("packing the root file system: %w: %s", err, out)
	}
	return m, nil
}

// fill copies the guest's program, the recorder and their tools to a root file system.
func (a *archive) fill(ctx context.Context, root, arch string) error {
	if err := os.Chmod(root, 0o755); err != nil { // other users also run its programs
		return err
	}
	for _, d := range []string{"proc", "sys", "dev", "tmp", "run", "etc"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"bin", "lib", "lib64"} { // merged /usr, as in Debian since 12
		if err := errors.Join(os.MkdirAll(filepath.Join(root, "usr", d), 0o755), os.Symlink("usr/"+d, filepath.Join(root, d))); err != nil {
			return err
		}
	}
	for _, p := range guestPackages {
		dir, err := a.unpack(ctx, p, arch, guestSuite)
		if err != nil {
			return err
		}
		// Only libraries and programs: nothing else in the packages is needed.
		for _, part := range []string{"bin", "usr/bin", "lib", "usr/lib", "lib64", "usr/lib64"} {
			from := filepath.Join(dir, part)
			if _, err := os.Stat(from); err != nil {
				continue
			}
			if _, err := command(ctx, root, "cp", "-a", from+"/.", filepath.Join(root, part)); err != nil {
				return err
			}
		}
	}
	for program, source := range map[string]string{"init": "./scripts/kernels/guest", "pcapsule-recorder": "./cmd/pcapsule-recorder"} {
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(root, program), source)
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", source, err, out)
		}
	}
	return nil
}

// find returns the file below a folder whose name has this prefix.
func find(dir, name string) (path string, err error) {
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasPrefix(d.Name(), name) {
			path = p
			return fs.SkipAll
		}
		return err
	})
	if err == nil && path == "" {
		err = fmt.Errorf("%s has no %s", dir, name)
	}
	return path, err
}

// addModule adds a decompressed kernel module to the root file system: busybox does not support xz.
func addModule(ctx context.Context, dir, name, root string) error {
	path, err := find(dir, name+".ko")
	if err != nil {
		return err
	}
	to := filepath.Join(root, name+".ko")
	if !strings.HasSuffix(path, ".xz") {
		_, err = command(ctx, root, "cp", path, to)
		return err
	}
	_, err = command(ctx, root, "sh", "-c", `xz -dc "$1" >"$2"`, "-", path, to)
	return err
}

// run boots the machine and reads the reports of its program from the console.
func (m *machine) run(ctx context.Context) (release string, seconds float64, list []result, err error) {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	q := qemu[m.arch]
	args := append([]string{}, q.args...)
	args = append(args, "-smp", "2", "-m", "2048", "-nographic", "-no-reboot", "-nic", "none", "-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console="+q.console+" panic=-1 loglevel=1 random.trust_cpu=on")
	c := exec.CommandContext(ctx, q.program, args...)
	out, err := c.StdoutPipe()
	if err != nil {
		return "", 0, nil, err
	}
	log, err := os.Create(m.log)
	if err != nil {
		return "", 0, nil, err
	}
	defer log.Close()
	c.Stderr = log
	begin := time.Now()
	if err := c.Start(); err != nil {
		return "", 0, nil, fmt.Errorf("starting the emulator: %w", err)
	}
	ended := false
	lines := bufio.NewScanner(io.TeeReader(out, log))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, text, ok := strings.Cut(lines.Text(), "@check ")
		if !ok {
			continue
		}
		var r result
		if json.Unmarshal([]byte(text), &r) != nil {
			continue // interrupted by a kernel message: then the check is missing, which fails
		}
		switch r.Name {
		case "release":
			release = r.Detail
		case "end":
			ended = true
		default:
			list = append(list, r)
		}
	}
	waited := c.Wait()
	seconds = time.Since(begin).Seconds()
	if !ended {
		why := cmp.Or(ctx.Err(), waited, errStopped)
		return release, seconds, list, fmt.Errorf("the guest did not come to its end (%w); %s has its console", why, m.log)
	}
	return release, seconds, list, nil
}
