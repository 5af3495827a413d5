package recorder

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
)

// TestNeverRuleOfAPath starts a program and a script in many ways. A rule about their paths
// applies to each.
func TestNeverRuleOfAPath(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := t.TempDir()
	other := filepath.Join(dir, "bin", "other")
	secret := filepath.Join(dir, "app", "secret")
	job := filepath.Join(dir, "app", "job.sh")
	for _, d := range []string{filepath.Join(dir, "bin"), filepath.Join(dir, "app")} {
		must(0, os.Mkdir(d, 0o755))
	}
	self := must(os.ReadFile("/proc/self/exe"))
	for _, path := range []string{other, secret} {
		must(0, os.WriteFile(path, self, 0o755))
	}
	must(0, os.WriteFile(job, []byte("#!"+other+"\n"), 0o755))
	must(0, os.Symlink(secret, filepath.Join(dir, "bin", "link")))
	port := 7100
	start := func(dir string, fd *os.File, path string, more ...string) *exec.Cmd {
		port++
		group := must(os.Open(s.cgroup))
		t.Cleanup(func() { group.Close() })
		c := exec.Command(mustLook(t, "nsenter"), append(more, fmt.Sprintf("--net=/proc/%d/ns/net", s.pid), path)...)
		c.Env, c.Dir = append(os.Environ(), fmt.Sprintf("%s=say %d 5 from %s", roleEnv, port, path), "PATH="+filepath.Dir(secret)), dir
		if fd != nil {
			c.ExtraFiles = []*os.File{fd}
		}
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
		return c
	}
	opened := must(os.Open(secret))
	defer opened.Close()
	app := filepath.Dir(secret)
	ways := []*exec.Cmd{start("/", nil, secret), start(app, nil, "./secret"), start(app, nil, "../app//secret"), start("/", nil, filepath.Join(dir, "bin", "link")),
		start("/", nil, "secret"), start("/", opened, "/proc/self/fd/3"), start("/", nil, job), start(app, nil, "./job.sh"), start(filepath.Dir(other), nil, "../app/job.sh"),
		start("/", nil, secret, "--root="+rootWith(t, self, secret))}
	out := filepath.Join(dir, "out.pcapng")
	stats := record(t, Options{File: out, Cgroup: s.cgroup, NoNames: true, Policy: selecting(t, "never", "process="+secret, "never", "process="+job)}, func() {
		for _, c := range append(ways, start("/", nil, other)) {
			if text, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
	})
	got := map[string]int{}
	for _, p := range readAll(t, out) {
		got[string(p.ip[28:])]++
	}
	if want := fmt.Sprint(map[string]int{"from " + other: 10}); fmt.Sprint(got) != want || stats.Policy != uint64(10*len(ways)) {
		t.Errorf("%v, want %s; %d by policy, want %d", got, want, stats.Policy, 10*len(ways))
	}
}

// rootWith is a root directory that has a program, with its libraries, at path.
func rootWith(t *testing.T, program []byte, path string) string {
	root := t.TempDir()
	put := func(path string, data []byte) {
		must(0, os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755))
		must(0, os.WriteFile(filepath.Join(root, path), data, 0o755))
	}
	put(path, program)
	libraries, _ := exec.Command(mustLook(t, "ldd"), must(os.Executable())).Output() // fails if it has none
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			put(word, must(os.ReadFile(word)))
		}
	}
	return root
}

// TestExecutableBelowItsRoot reads the path of a process that is older than the recorder.
func TestExecutableBelowItsRoot(t *testing.T) {
	const path = "/app/older"
	c := exec.Command(mustLook(t, "nsenter"), "--root="+rootWith(t, must(os.ReadFile("/proc/self/exe")), path), path)
	c.Env, c.SysProcAttr = append(os.Environ(), roleEnv+"=sleep"), &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	got := ""
	for range 200 { // until nsenter has become the program
		if got, _ = machine.Executable(uint32(c.Process.Pid)); got == path {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s, want %s", got, path)
}

// TestOlderScriptIsFound reads the script of a process that is older than the recorder.
func TestOlderScriptIsFound(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := t.TempDir()
	job := filepath.Join(dir, "job.sh")
	must(0, os.WriteFile(job, []byte("#!/proc/self/fd/3\n"), 0o755))
	self := must(os.Open("/proc/self/exe"))
	defer self.Close()
	group := must(os.Open(s.cgroup))
	defer group.Close()
	c := exec.Command(mustLook(t, "nsenter"), fmt.Sprintf("--net=/proc/%d/ns/net", s.pid), "./job.sh")
	c.Env, c.Dir, c.ExtraFiles = append(os.Environ(), roleEnv+"=counted"), dir, []*os.File{self}
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Pdeathsig: syscall.SIGKILL}
	in := must(c.StdinPipe())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer in.Close()
	for range 500 { // until it is the script
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.Process.Pid)); strings.TrimSpace(string(b)) == "job.sh" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stats := record(t, Options{File: filepath.Join(dir, "out.pcapng"), Cgroup: s.cgroup, NoNames: true, Policy: selecting(t, "never", "process="+job)}, func() { time.Sleep(300 * time.Millisecond) })
	if stats.Policy == 0 || stats.Delivered != 0 {
		t.Errorf("%d by policy, %d delivered", stats.Policy, stats.Delivered)
	}
}
