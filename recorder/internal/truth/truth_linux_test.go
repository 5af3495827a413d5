package truth

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/recorder"
)

// stage is a control group, and a network namespace that a sleeping process keeps.
type stage struct {
	t      *testing.T
	cgroup string
	keeper int
}

func newStage(t *testing.T, cgroup string) *stage {
	t.Helper()
	for _, tool := range []string{"nsenter", "ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs "+tool+": ", err)
		}
	}
	c := exec.Command("sleep", "60")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: ", err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	s := &stage{t, cgroup, c.Process.Pid}
	s.net("ip link set lo up")
	return s
}

// net runs commands in the stage's network.
func (s *stage) net(commands ...string) {
	s.t.Helper()
	for _, line := range commands {
		args := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", s.keeper)}, strings.Fields(line)...)
		if text, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
			s.t.Fatalf("%s: %v: %s", line, err, text)
		}
	}
}

// part runs a part to its end, and returns what it and its children said.
func (s *stage) part(role string) (list []said) {
	dir, err := os.Open(s.cgroup)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	defer dir.Close()
	self, _ := os.Executable()
	c := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", s.keeper), self)
	c.Env = append(os.Environ(), roleEnv+"="+role)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	text, err := c.CombinedOutput()
	if err != nil {
		s.t.Errorf("%s: %v: %s", role, err, text)
	}
	for line := range strings.Lines(string(text)) {
		var x said
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			s.t.Errorf("%s: %q", role, line)
			continue
		}
		list = append(list, x)
	}
	return list
}

// parts runs several at once.
func (s *stage) parts(roles ...string) (list []said) {
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
		t.Cleanup(func() {
			for range 100 {
				if os.Remove(path) == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		return path
	}
	t.Skip("needs a control group")
	return ""
}

// record records a control group while during runs, and returns the file.
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

func calls(t *testing.T, capture string) (list []call) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{capture}, path, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
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
		from calls c where protocol in ('http1', 'dns') order by call_no`)
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

// addresses of a machine with a service, as a node has them.
var addresses = []string{"ip addr add 10.1.1.1/32 dev lo", "ip addr add 10.1.1.2/32 dev lo", "ip route add 10.96.0.0/16 dev lo src 10.1.1.1"}

func nat(rules ...string) []string {
	list := append([]string(nil), addresses...)
	list = append(list, "nft add table ip nat", "nft add chain ip nat output { type nat hook output priority -100 ; }",
		"nft add chain ip nat postrouting { type nat hook postrouting priority 100 ; }")
	return append(list, rules...)
}

func nat6(rules ...string) []string {
	return append([]string{"ip addr add fd00::1/128 dev lo", "ip addr add fd00::2/128 dev lo", "ip route add fd96::/16 dev lo src fd00::1",
		"nft add table ip6 nat", "nft add chain ip6 nat output { type nat hook output priority -100 ; }"}, rules...)
}

// TestEachCallHasItsProcesses: who made and who answered each call, and what the caller
// dialled, against what the processes said themselves.
func TestEachCallHasItsProcesses(t *testing.T) {
	for _, c := range []struct {
		name  string
		net   []string
		roles []string
		dst   string // as dialled
		flows int    // that saw a connection, 0: any
	}{
		{"one server, one client", nil, []string{"serve tcp 127.0.0.1:8080 3", "ask tcp 127.0.0.1:8080 3 a"}, "127.0.0.1:8080", 0},
		{"datagrams, connected", nil, []string{"serve udp 127.0.0.1:5353 3", "ask udp 127.0.0.1:5353 3 a connected"}, "127.0.0.1:5353", 0},
		{"datagrams, not connected", nil, []string{"serve udp 127.0.0.1:5353 3", "ask udp 127.0.0.1:5353 3 a -"}, "127.0.0.1:5353", 0},
		{"datagrams of IPv6", nil, []string{"serve udp [::1]:5353 3", "ask udp [::1]:5353 3 a -"}, "::1:5353", 0},
		{"answers of several processes on one connection", nil, []string{"workers tcp 127.0.0.1:8080 3", "ask tcp 127.0.0.1:8080 3 a"}, "127.0.0.1:8080", 0},
		{"questions of several processes on one connection", nil, []string{"serve tcp 127.0.0.1:8080 3", "askers tcp 127.0.0.1:8080 3"}, "127.0.0.1:8080", 0},
		{"questions of several processes on one UDP socket", nil, []string{"serve udp 127.0.0.1:5353 3", "askers udp 127.0.0.1:5353 3"}, "127.0.0.1:5353", 0},
		{"a sidecar takes what was for a service", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 redirect to :15001"),
			[]string{"serve tcp 127.0.0.1:15001 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2},
		{"a service's address becomes a pod's", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.1.2:8080"),
			[]string{"serve tcp 10.1.1.2:8080 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2},
		{"the same with masquerading", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.1.2:8080",
			"nft add rule ip nat postrouting ip daddr 10.1.1.2 snat to 10.1.1.2"),
			[]string{"serve tcp 10.1.1.2:8080 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2},
		{"masquerading alone", nat("nft add rule ip nat postrouting ip daddr 10.1.1.2 tcp dport 8080 snat to 10.1.1.2:6000-6100"),
			[]string{"serve tcp 10.1.1.2:8080 3", "ask tcp 10.1.1.2:8080 3 a"}, "10.1.1.2:8080", 2},
		{"datagrams to a service, connected", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.2:5353"),
			[]string{"serve udp 10.1.1.2:5353 3", "ask udp 10.96.0.10:53 3 a connected"}, "10.96.0.10:53", 2},
		{"datagrams to a service, not connected", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.2:5353"),
			[]string{"serve udp 10.1.1.2:5353 3", "ask udp 10.96.0.10:53 3 a -"}, "10.96.0.10:53", 2},
		{"datagrams to a service, a server on all addresses", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.1:5353"),
			[]string{"serve udp 0.0.0.0:5353 3", "ask udp 10.96.0.10:53 3 a -"}, "10.96.0.10:53", 2},
		{"a sidecar takes datagrams", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 redirect to :15053"),
			[]string{"serve udp 127.0.0.1:15053 3", "ask udp 10.96.0.10:53 3 a -"}, "10.96.0.10:53", 2},
		{"masquerading of datagrams", nat("nft add rule ip nat postrouting ip daddr 10.1.1.2 udp dport 5353 snat to 10.1.1.2:6000-6100"),
			[]string{"serve udp 10.1.1.2:5353 3", "ask udp 10.1.1.2:5353 3 a -"}, "10.1.1.2:5353", 2},
		{"a sidecar on all addresses of both versions", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 redirect to :15001"),
			[]string{"serve tcp [::]:15001 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2},
		{"IPv6, a service's address becomes a pod's", nat6("nft add rule ip6 nat output ip6 daddr fd96::10 tcp dport 80 dnat to [fd00::2]:8080"),
			[]string{"serve tcp [fd00::2]:8080 3", "ask tcp [fd96::10]:80 3 a"}, "fd96::10:80", 2},
		{"IPv6, a sidecar takes datagrams", nat6("nft add rule ip6 nat output ip6 daddr fd96::10 udp dport 53 redirect to :15053"),
			[]string{"serve udp [::1]:15053 3", "ask udp [fd96::10]:53 3 a -"}, "fd96::10:53", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			group := cgroup(t)
			s := newStage(t, group)
			s.net(c.net...)
			var truth []said
			out := record(t, group, func() { truth = s.parts(c.roles...) })
			compare(t, truth, calls(t, out), c.dst, c.flows)
		})
	}
}

func compare(t *testing.T, truth []said, list []call, dst string, flows int) {
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
	for _, c := range list {
		if c.outcome != "ok" || c.dst != dst || flows != 0 && c.flows != flows {
			t.Errorf("%s: outcome %s, to %s, seen by %d flows; want ok, to %s, by %d", c.what, c.outcome, c.dst, c.flows, dst, flows)
		}
		for _, side := range []string{"src", "dst"} {
			if c.pid[side] != want[c.what][side] || c.guess[side] != "false" {
				t.Errorf("%s: %s is process %s, a guess %s; want %s", c.what, side, c.pid[side], c.guess[side], want[c.what][side])
			}
		}
	}
}

// TestEqualConversationsInTwoNetworks: what has the same addresses and ports in two network
// namespaces at the same time is two connections, even inside one control group.
func TestEqualConversationsInTwoNetworks(t *testing.T) {
	group := cgroup(t)
	stages := []*stage{newStage(t, group), newStage(t, group)}
	var truth [2][]said
	out := record(t, group, func() {
		var all sync.WaitGroup
		for i, s := range stages {
			all.Go(func() {
				truth[i] = s.parts("serve tcp 127.0.0.1:8080 20", fmt.Sprintf("ask tcp 127.0.0.1:8080 20 net%d 127.0.0.1:40000 slowly", i))
			})
		}
		all.Wait()
	})
	compare(t, append(truth[0], truth[1]...), calls(t, out), "127.0.0.1:8080", 0)
}
