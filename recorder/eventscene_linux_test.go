package recorder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/parquet-go/parquet-go"
	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/exporter"
)

// A process is known by its first thread, on which package initialization runs.
func init() {
	if strings.HasPrefix(os.Getenv(roleEnv), "events threads") {
		runtime.LockOSThread()
	}
}

// eventPart plays a part in TestEventsOfEachKind.
func eventPart(arg string) {
	name, rest, _ := strings.Cut(arg, " ")
	switch name {
	case "exit": // with a code
		code := must(strconv.Atoi(rest))
		os.Exit(code)
	case "threads": // the first thread ends shortly before the rest of the process
		code := must(strconv.Atoi(rest))
		time.AfterFunc(100*time.Millisecond, func() { os.Exit(code) })
		unix.RawSyscallNoError(unix.SYS_EXIT, 3, 0, 0)
	case "wait":
		time.Sleep(time.Minute)
	case "eat": // more memory than its group's limit
		must(0, os.WriteFile(filepath.Join(rest, "cgroup.procs"), fmt.Append(nil, os.Getpid()), 0))
		for {
			b := must(unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE))
			_ = b
		}
	case "reset": // connects, then resets the connection or is reset
		c := must(net.Dial("tcp4", rest)).(*net.TCPConn)
		must(c.Write([]byte("question")))
		_, err := c.Read(make([]byte, 10))
		reportAll(os.Stdout, truth{Local: c.LocalAddr().String(), PID: os.Getpid(), Kind: fmt.Sprint("reset ", errors.Is(err, unix.ECONNRESET))})
	case "lose": // a server whose client's packets are dropped for a while
		l := must(net.Listen("tcp4", "127.0.0.1:7199"))
		c := must(net.Dial("tcp4", l.Addr().String())).(*net.TCPConn)
		in := must(l.Accept())
		stop := loseByNft
		if rest == "bpf" {
			stop = loseByBPF
		}
		carryOn := stop()
		must(c.Write([]byte("dropped")))
		u := must(net.Dial("udp4", "127.0.0.1:7198"))
		u.Write([]byte("not even sent")) // the caller gets an error
		time.Sleep(time.Second)          // several times the minimum retransmission timeout
		carryOn()
		must(in.Read(make([]byte, 100))) // it arrived in the end
		reportAll(os.Stdout, truth{Local: c.LocalAddr().String(), PID: os.Getpid(), Kind: "retransmit"})
		reportAll(os.Stdout, truth{Local: u.LocalAddr().String(), PID: os.Getpid(), Kind: "unsent"})
		c.Close()
		in.Close()
	}
}

// loseByNft makes netfilter drop packets until carryOn is called.
func loseByNft() (carryOn func()) {
	nft := must(exec.LookPath("nft"))
	rules := func(text string) {
		run := exec.Command(nft, "-f", "-")
		run.Stdin = strings.NewReader(text)
		if said, err := run.CombinedOutput(); err != nil {
			must(0, fmt.Errorf("%w: %s", err, said))
		}
	}
	rules("table inet lose {\nchain in {\ntype filter hook input priority 0\ntcp dport 7199 drop\n}\nchain out {\ntype filter hook output priority 0\nudp dport 7198 drop\n}\n}\n")
	return func() { rules("delete table inet lose\n") }
}

// loseByBPF drops them with programs at the control group.
func loseByBPF() (carryOn func()) {
	var links []link.Link
	for _, x := range []struct {
		attach ebpf.AttachType
		port   int32
	}{{ebpf.AttachCGroupInetIngress, 7199}, {ebpf.AttachCGroupInetEgress, 7198}} {
		p := must(ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupSKB, AttachType: x.attach, License: "Dual BSD/GPL", Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R2, 0),
			asm.StoreMem(asm.RFP, -8, asm.R2, asm.DWord),
			asm.Mov.Imm(asm.R2, 22), // the port, after an IP header without options
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, -8),
			asm.Mov.Imm(asm.R4, 2),
			asm.FnSkbLoadBytes.Call(),
			asm.LoadMem(asm.R1, asm.RFP, -8, asm.Half),
			asm.HostTo(asm.BE, asm.R1, asm.Half),
			asm.JEq.Imm(asm.R1, x.port, "lose"),
			asm.Mov.Imm(asm.R0, 1),
			asm.Return(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("lose"),
			asm.Return(),
		}}))
		links = append(links, must(link.AttachCgroup(link.CgroupOptions{Path: ownCgroup(), Attach: x.attach, Program: p})))
	}
	return func() {
		for _, l := range links {
			must(0, l.Close())
		}
	}
}

// eventScene triggers an event of each kind.
func eventScene() {
	failed := child("events exit 7", nil)
	failed.Wait()
	reportAll(os.Stdout, truth{PID: failed.Process.Pid, Kind: "exit 7"})
	threads := child("events threads 9", nil)
	threads.Wait()
	reportAll(os.Stdout, truth{PID: threads.Process.Pid, Kind: "exit 9"})
	killed := child("events wait", nil)
	must(0, killed.Process.Kill())
	killed.Wait()
	reportAll(os.Stdout, truth{PID: killed.Process.Pid, Kind: "killed"})

	l := must(net.Listen("tcp4", "127.0.0.1:0")).(*net.TCPListener)
	c := child("events reset "+l.Addr().String(), nil)
	in := must(l.AcceptTCP())
	must(in.Read(make([]byte, 100)))
	must(0, in.SetLinger(0)) // closing it resets it
	reportAll(os.Stdout, truth{Local: in.LocalAddr().String() + " " + in.RemoteAddr().String(), PID: os.Getpid(), Kind: "resets"})
	in.Close()
	c.Wait()
	l.Close()

	u := must(net.Dial("udp4", "127.0.0.1:9"))
	must(u.Write([]byte("to nobody")))
	reportAll(os.Stdout, truth{Local: u.LocalAddr().String(), PID: os.Getpid(), Kind: "nobody"})
}

// osEvent is a row of a bundle's os_events.
type osEvent struct {
	Event      string  `parquet:"event"`
	PID        *int64  `parquet:"pid,optional"`
	ExitCode   *int32  `parquet:"exit_code,optional"`
	Signal     *int32  `parquet:"signal,optional"`
	LocalIP    *string `parquet:"local_ip,optional"`
	LocalPort  *int32  `parquet:"local_port,optional"`
	RemoteIP   *string `parquet:"remote_ip,optional"`
	RemotePort *int32  `parquet:"remote_port,optional"`
	Before     *string `parquet:"state_before,optional"`
	After      *string `parquet:"state_after,optional"`
	Reason     *string `parquet:"reason,optional"`
	Cgroup     *string `parquet:"cgroup,optional"`
	Process    *string `parquet:"process,optional"`
}

// osEvents returns the os_events rows of a bundle made from a recording, one line each.
func osEvents(t *testing.T, out string) (list []string) {
	t.Helper()
	for _, r := range tableOf[osEvent](t, bundleAt(t, out), "os_events") {
		list = append(list, fmt.Sprintf("%s pid=%d code=%d signal=%d %s:%d %s:%d %s>%s %s %s %s", r.Event, of(r.PID), of(r.ExitCode), of(r.Signal), of(r.LocalIP), of(r.LocalPort),
			of(r.RemoteIP), of(r.RemotePort), of(r.Before), of(r.After), of(r.Reason), of(r.Cgroup), of(r.Process)))
	}
	return list
}

// bundleAt makes a bundle from a recording and returns its path.
func bundleAt(t *testing.T, out string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcapsule")
	if _, err := exporter.Run(t.Context(), []string{out}, path, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	return path
}

// tableOf reads a table of a bundle.
func tableOf[R any](t *testing.T, path, name string) (list []R) {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(path, "data/tables", name, "*.parquet"))
	if err != nil || len(parts) == 0 {
		t.Fatalf("no table %s: %v", name, err)
	}
	for _, part := range parts {
		rows, err := parquet.ReadFile[R](part)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rows...)
	}
	return list
}

func of[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// asLine formats an event in the same way as osEvents.
func (e *eventLine) asLine() string {
	end := func(s string) string {
		if s == "" {
			return ":0"
		}
		return s
	}
	code := 0
	if e.ExitCode != nil {
		code = *e.ExitCode
	}
	return fmt.Sprintf("%s pid=%d code=%d signal=%d %s %s %s>%s %s %s %s", e.Kind, e.PID, code, e.Signal, end(e.Local), end(e.Remote), e.Before, e.After, e.Reason, e.Cgroup, e.Name)
}

// checkEvents checks that a matching event is in the file and in the bundle.
func checkEvents(t *testing.T, events []eventLine, rows []string, what string, is func(*eventLine) bool) {
	t.Helper()
	for i := range events {
		e := &events[i]
		if !is(e) {
			continue
		}
		line := e.asLine()
		for _, r := range rows {
			if r == line {
				return
			}
		}
		t.Errorf("%s: os_events has no row %q", what, line)
		return
	}
	t.Errorf("%s: no such event", what)
	for i := range events {
		t.Log(events[i].asLine())
	}
}

// TestEventsOfEachKind triggers an event of each kind in a control group and looks for it
// in the events file and in the bundle, with the process or socket that it concerns.
func TestEventsOfEachKind(t *testing.T) {
	s := newStage(t, "scene events")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	var facts []truth
	record(t, Options{File: out, RingBuffer: 4 << 20, Filter: "host 127.0.0.1"}, func() {
		facts = s.play()
		time.Sleep(150 * time.Millisecond)
	})
	events, rows := readEvents(t, out), osEvents(t, out)
	group := "/" + filepath.Base(s.cgroup)
	if len(facts) != 6 {
		t.Fatalf("the scene reported %+v", facts)
	}
	for _, f := range facts {
		switch f.Kind {
		case "exit 7":
			checkEvents(t, events, rows, "exec", func(e *eventLine) bool {
				return e.Kind == "exec" && e.PID == f.PID && e.Cgroup == group && len(e.Args) > 0
			})
			checkEvents(t, events, rows, "exit with a code", func(e *eventLine) bool {
				return e.Kind == "exit" && e.PID == f.PID && e.ExitCode != nil && *e.ExitCode == 7 && e.Cgroup == group && e.Name != ""
			})
		case "exit 9":
			exit := func(e *eventLine) bool { return e.Kind == "exit" && e.PID == f.PID }
			checkEvents(t, events, rows, "exit of the last thread", func(e *eventLine) bool { return exit(e) && e.ExitCode != nil && *e.ExitCode == 9 && e.Name != "" })
			if n := len(slices.DeleteFunc(slices.Clone(events), func(e eventLine) bool { return !exit(&e) })); n != 1 {
				t.Errorf("%d exit events for a process whose first thread ends before the others, want 1", n)
			}
		case "killed":
			checkEvents(t, events, rows, "exit by a signal", func(e *eventLine) bool {
				return e.Kind == "exit" && e.PID == f.PID && e.ExitCode == nil && e.Signal == 9 && e.Cgroup == group
			})
		case "resets":
			local, remote, _ := strings.Cut(f.Local, " ")
			checkEvents(t, events, rows, "reset sent", func(e *eventLine) bool {
				return e.Kind == "tcp_reset_sent" && e.Local == local && e.Remote == remote && e.Socket != "" && e.Cgroup == group
			})
			checkEvents(t, events, rows, "reset received", func(e *eventLine) bool {
				return e.Kind == "tcp_reset_received" && e.Local == remote && e.Remote == local && e.Socket != "" && e.Cgroup == group
			})
			for _, state := range []struct{ before, after, local, remote string }{
				{"close", "listen", local, "0.0.0.0:0"}, {"syn_sent", "established", remote, local}, {"syn_recv", "established", local, remote},
				{"established", "close", remote, local}, {"listen", "close", local, "0.0.0.0:0"},
			} {
				checkEvents(t, events, rows, state.before+" to "+state.after, func(e *eventLine) bool {
					return e.Kind == "tcp_state" && e.Before == state.before && e.After == state.after && e.Local == state.local && e.Remote == state.remote && e.Cgroup == group
				})
			}
		case "nobody":
			checkEvents(t, events, rows, "no socket", func(e *eventLine) bool {
				return e.Kind == "packet_drop" && e.Reason == "NO_SOCKET" && e.Protocol == "udp" && e.Remote == f.Local && e.Local == "127.0.0.1:9"
			})
		case "reset true":
		default:
			t.Errorf("unexpected %+v", f)
		}
	}
}

// TestRetransmitsAndDrops drops packets in two ways: with programs at the control group,
// and with netfilter.
func TestRetransmitsAndDrops(t *testing.T) {
	for _, c := range []struct {
		by      string
		in, out []string // the kernel's drop reasons
	}{
		{"bpf", []string{"SOCKET_FILTER", "TCP_FILTER", "BPF_CGROUP_INGRESS"}, []string{"BPF_CGROUP_EGRESS"}},
		{"nft", []string{"NETFILTER_DROP"}, []string{"NETFILTER_DROP"}},
	} {
		t.Run(c.by, func(t *testing.T) {
			if c.by == "nft" {
				mustLook(t, "nft")
			}
			s := newStage(t, "scene idle")
			out := filepath.Join(t.TempDir(), "out.pcapng")
			var facts []truth
			record(t, Options{File: out, RingBuffer: 4 << 20, Filter: "host 127.0.0.1"}, func() {
				facts = s.runReporting(s.cgroup, "events lose "+c.by)
				time.Sleep(50 * time.Millisecond)
			})
			events, rows := readEvents(t, out), osEvents(t, out)
			group := "/" + filepath.Base(s.cgroup)
			if len(facts) != 2 {
				t.Fatalf("the scene reported %+v", facts)
			}
			client, unsent := facts[0].Local, facts[1].Local
			const server = "127.0.0.1:7199"
			checkEvents(t, events, rows, "retransmit", func(e *eventLine) bool {
				return e.Kind == "tcp_retransmit" && e.Local == client && e.Remote == server && e.Socket != "" && e.Cgroup == group
			})
			checkEvents(t, events, rows, "dropped on its way in", func(e *eventLine) bool {
				return e.Kind == "packet_drop" && slices.Contains(c.in, e.Reason) && e.Protocol == "tcp" && e.Local == server && e.Remote == client
			})
			checkEvents(t, events, rows, "dropped on its way out", func(e *eventLine) bool {
				return e.Kind == "packet_drop" && slices.Contains(c.out, e.Reason) && e.Protocol == "udp" && e.Local == unsent && e.Remote == "127.0.0.1:7198" && e.Cgroup == group && e.Socket != ""
			})
		})
	}
}

// memoryGroup creates a control group limited to 32 MiB, in whichever version has the
// memory controller on this machine.
func memoryGroup(t *testing.T, s *stage) string {
	t.Helper()
	for _, v := range []struct{ parent, limit string }{{s.cgroup, "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}} {
		dir := filepath.Join(v.parent, fmt.Sprintf("pcapsule-eat-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() {
			for range 100 {
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		if os.WriteFile(filepath.Join(dir, v.limit), []byte("33554432"), 0) == nil {
			return dir
		}
	}
	t.Skip("needs the memory controller")
	return ""
}

// TestOutOfMemory checks that the process killed by the kernel to free memory is recorded.
func TestOutOfMemory(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := memoryGroup(t, s)
	out := filepath.Join(t.TempDir(), "out.pcapng")
	var pid int
	record(t, Options{File: out, RingBuffer: 4 << 20, Cgroup: s.cgroup}, func() {
		s.run(s.cgroup, "flood 1") // a capture without packets has no segment to write events next to
		eater := startStage(t, "events eat "+dir, s.cgroup, 0)
		pid = eater.pid
		eater.cmd.Wait()
	})
	events, rows := readEvents(t, out), osEvents(t, out)
	checkEvents(t, events, rows, "killed for memory", func(e *eventLine) bool {
		return e.Kind == "oom_kill" && e.PID == pid && e.Name != "" && strings.HasPrefix(e.Cgroup, "/"+filepath.Base(s.cgroup))
	})
	checkEvents(t, events, rows, "its end", func(e *eventLine) bool { return e.Kind == "exit" && e.PID == pid && e.Signal == 9 })
}
