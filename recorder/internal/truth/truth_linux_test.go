package truth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/recorder"
)

// stage is a control group with networks, each kept by a sleeping process.
type stage struct {
	t      *testing.T
	cgroup string
	begun  string         // a file that exists once the recording has started
	keeper map[string]int // by the network's name; "" is for parts and commands without one
}

// newStage creates a stage with the networks that commands and parts name: "@pod ip link" is a
// command in the network pod, which has a control group below the stage's.
func newStage(t *testing.T, cgroup string, lines ...string) *stage {
	t.Helper()
	for _, tool := range []string{"nsenter", "ip", "nft", "sysctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	s := &stage{t, cgroup, filepath.Join(t.TempDir(), "begun"), map[string]int{}}
	for _, line := range append(lines, "-") {
		name, _ := cutWord(line, "@")
		if s.keeper[name] != 0 {
			continue
		}
		c := exec.Command("sleep", "60")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Skip("needs CAP_SYS_ADMIN: ", err)
		}
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		s.keeper[name] = c.Process.Pid
		if name != "" {
			s.makeGroup(name)
		}
		s.net("@" + name + " ip link set lo up")
	}
	return s
}

func (s *stage) makeGroup(name string) {
	path := filepath.Join(s.cgroup, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { removeGroup(path) })
}

// cutWord removes a first word with a prefix from a line.
func cutWord(line, prefix string) (word, rest string) {
	if first, more, _ := strings.Cut(line, " "); strings.HasPrefix(first, prefix) {
		return first[len(prefix):], more
	}
	return "", line
}

// net runs commands in the stage's networks. {pod} is replaced with a process of the network pod.
func (s *stage) net(commands ...string) {
	s.t.Helper()
	for _, line := range commands {
		name, command := cutWord(line, "@")
		for name, pid := range s.keeper {
			command = strings.ReplaceAll(command, "{"+name+"}", fmt.Sprint(pid))
		}
		args := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", s.keeper[name])}, strings.Fields(command)...)
		if text, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
			s.t.Fatalf("%s: %v: %s", line, err, text)
		}
	}
}

// part runs a part to its end, and returns the calls that it and its children reported. "@pod"
// before it is its network, and "by:uring" is the way in which it sends.
func (s *stage) part(line string) (list []reported) {
	network, role := cutWord(line, "@")
	way, role := cutWord(role, "by:")
	dir, err := os.Open(filepath.Join(s.cgroup, network))
	if err != nil {
		s.t.Error(err)
		return nil
	}
	defer dir.Close()
	self, _ := os.Executable()
	c := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", s.keeper[network]), self)
	c.Env = append(os.Environ(), roleEnv+"="+role, wayEnv+"="+way, begunEnv+"="+s.begun)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	text, err := c.CombinedOutput()
	if err != nil {
		s.t.Errorf("%s: %v: %s", role, err, text)
	}
	for line := range strings.Lines(string(text)) {
		var x reported
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			s.t.Errorf("%s: %q", role, line)
			continue
		}
		list = append(list, x)
	}
	return list
}

// parts runs several parts at once.
func (s *stage) parts(roles ...string) (list []reported) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, role := range roles {
		all.Go(func() {
			x := s.part(role)
			mu.Lock()
			list = append(list, x...)
			mu.Unlock()
		})
	}
	all.Wait()
	return list
}

func cgroup(t *testing.T) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
			continue
		}
		path := filepath.Join(root, fmt.Sprintf("pcapsule-truth-%d-%d", os.Getpid(), time.Now().UnixNano()))
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Skip("needs a control group: ", err)
		}
		t.Cleanup(func() { removeGroup(path) })
		return path
	}
	t.Skip("needs a control group")
	return ""
}

// removeGroup waits until the last process has left, and removes the group.
func removeGroup(path string) {
	for range 100 {
		if os.Remove(path) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// record records a control group during a function call, and returns the file.
func record(t *testing.T, group string, during func()) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.pcapng")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	started, ended := make(chan recorder.Started, 1), make(chan error, 1)
	go func() {
		_, err := recorder.Run(ctx, recorder.Options{File: out, Cgroup: group, NoNames: true, RingBuffer: 4 << 20,
			OnStart: func(s recorder.Started) { started <- s }, OnError: func(err error) { t.Error(err) }})
		ended <- err
	}()
	select {
	case err := <-ended:
		var right *recorder.PrivilegeError
		if errors.As(err, &right) {
			t.Skip("needs CAP_BPF: ", err)
		}
		t.Fatal(err)
	case <-started:
	}
	during()
	time.Sleep(100 * time.Millisecond)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return out
}

// call is a row of the bundle.
type call struct {
	what, outcome, dst string
	pid, guess         map[string]string
	flows              int
}

// calls returns the calls of a recording, decrypted with a key log unless it is missing.
func calls(t *testing.T, capture, keys string) (list []call) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcapsule")
	options := exporter.Options{Release: "test", Repanic: true}
	if _, err := os.Stat(keys); err == nil {
		options.Keys = []string{keys}
	}
	if _, err := exporter.Run(context.Background(), []string{capture}, path, options); err != nil {
		t.Fatal(err)
	}
	db := duckdbtest.Open(t)
	views, err := os.ReadFile(filepath.Join(path, "data", "open.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(strings.ReplaceAll(string(views), "'tables/", "'"+filepath.Join(path, "data", "tables")+"/")); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(`select coalesce(path, host, summary), outcome, concat(dst_ip, ':', dst_port),
		coalesce(src_pid::varchar, '-'), coalesce(dst_pid::varchar, '-'), coalesce(src_owner_guess::varchar, '-'), coalesce(dst_owner_guess::varchar, '-'),
		(select count(*) from flows f where f.conn_id = c.conn_id)
		from calls c where protocol in ('http1', 'http3', 'dns') order by call_no`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c call
		var who [4]string
		if err := rows.Scan(&c.what, &c.outcome, &c.dst, &who[0], &who[1], &who[2], &who[3], &c.flows); err != nil {
			t.Fatal(err)
		}
		c.pid, c.guess = map[string]string{"src": who[0], "dst": who[1]}, map[string]string{"src": who[2], "dst": who[3]}
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestEachCallHasItsProcesses compares the caller, the responder and the dialled address of each
// call with what the processes reported.
func TestEachCallHasItsProcesses(t *testing.T) {
	for _, c := range scenes() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			group := cgroup(t)
			s := newStage(t, group, slices.Concat(c.net, c.roles)...)
			s.net(c.net...)
			truth := make(chan []reported, 1)
			play := func() { truth <- s.parts(c.roles...) }
			older := strings.Contains(strings.Join(c.roles, " "), " later")
			if older {
				go play()
				time.Sleep(500 * time.Millisecond)
			}
			var reported []reported
			out := record(t, group, func() {
				if err := os.WriteFile(s.begun, nil, 0o600); err != nil {
					t.Error(err)
				}
				if !older {
					play()
				}
				reported = <-truth
			})
			compare(t, &c, reported, calls(t, out, s.begun+keyLog))
		})
	}
}

// owner describes the process that the bundle names for one side of a call.
func (c *call) owner(side string) string {
	if c.guess[side] == "true" {
		return c.pid[side] + " (guess)"
	}
	return c.pid[side]
}

// expected describes the process that reported one side of a call.
func (s *scene) expected(side, what string, want map[string]map[string]string) string {
	if slices.Contains(s.guess, side+" "+what) {
		return want[what][side] + " or a guess"
	}
	return want[what][side]
}

// compare prints a table of the calls with the expected processes, and compares them.
func compare(t *testing.T, s *scene, truth []reported, list []call) {
	t.Helper()
	want := map[string]map[string]string{}
	for _, x := range truth {
		if want[x.What] == nil {
			want[x.What] = map[string]string{}
		}
		want[x.What][x.Side] = fmt.Sprint(x.PID)
	}
	if len(list) != len(want) || len(want) == 0 {
		t.Errorf("%d calls, want %d", len(list), len(want))
	}
	rows := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
	defer rows.Flush()
	fmt.Fprintln(rows, "call\tto\tflows\tclient\texpected\tserver\texpected\t")
	for _, c := range list {
		fmt.Fprintf(rows, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t\n", c.what, c.dst, c.flows,
			c.owner("src"), s.expected("src", c.what, want), c.owner("dst"), s.expected("dst", c.what, want))
		if c.outcome != "ok" || c.dst != s.dst || s.flows != 0 && c.flows != s.flows {
			t.Errorf("%s: outcome %s, to %s, seen by %d flows; want ok, to %s, by %d", c.what, c.outcome, c.dst, c.flows, s.dst, s.flows)
		}
		for _, side := range []string{"src", "dst"} {
			right := c.pid[side] == want[c.what][side] && c.guess[side] == "false"
			if mayGuess := slices.Contains(s.guess, side+" "+c.what); !right && !(mayGuess && c.guess[side] == "true") {
				t.Errorf("%s: %s is process %s, a guess %s; want %s", c.what, side, c.pid[side], c.guess[side], s.expected(side, c.what, want))
			}
		}
	}
}

// TestEqualConversationsInTwoNetworks checks that conversations with the same addresses and
// ports in two network namespaces at the same time are two connections, even in one control
// group.
func TestEqualConversationsInTwoNetworks(t *testing.T) {
	group := cgroup(t)
	stages := []*stage{newStage(t, group), newStage(t, group)}
	var truth [2][]reported
	out := record(t, group, func() {
		var all sync.WaitGroup
		for i, s := range stages {
			all.Go(func() {
				truth[i] = s.parts("serve tcp 127.0.0.1:8080 20", fmt.Sprintf("ask tcp 127.0.0.1:8080 20 net%d 127.0.0.1:40000 slowly", i))
			})
		}
		all.Wait()
	})
	compare(t, &scene{dst: "127.0.0.1:8080"}, append(truth[0], truth[1]...), calls(t, out, ""))
}

// TestServerOfTheRecordersParent checks that a socket is not the recorder's own only because
// the recorder inherited it from a server that still uses it.
func TestServerOfTheRecordersParent(t *testing.T) {
	group := cgroup(t)
	record(t, group, func() {}) // skips if it cannot
	s := newStage(t, group)
	out := filepath.Join(t.TempDir(), "out.pcapng")
	truth := s.parts("host tcp 127.0.0.1:8080 3 "+out+" "+group, "newer tcp 127.0.0.1:8080 3 a")
	compare(t, &scene{dst: "127.0.0.1:8080"}, truth, calls(t, out, ""))
}
