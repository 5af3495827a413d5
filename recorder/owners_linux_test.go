package recorder

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/uring"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// TestOwners plays scenes with known socket owners. Each is recorded next to a tcpdump of
// the same place: every packet must have the right owner, direction, order and bytes.
func TestOwners(t *testing.T) {
	for _, name := range []string{
		"single", "single6", "prefork", "prefork6", "passed", "forked", "forked6", "noaddress", "sent", "sent6", "inetd", "inetd6", "threads", "threads6",
		"gone", "gone6", "moved", "older", "older6", "udp", "udp6", "shared", "shared6", "uring", "uring6", "uringpoll", "unix",
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "uring") {
				if _, err := uring.New(name == "uringpoll"); err != nil {
					t.Skip("needs io_uring: ", err)
				}
			}
			s := newStage(t, "scene "+name)
			out := filepath.Join(t.TempDir(), "out.pcapng")
			named := strings.TrimSuffix(out, ".pcapng") + ".owners.jsonl"
			w := watch(t, s)
			var facts []truth
			stats := record(t, Options{File: out, Cgroup: s.cgroup, RingBuffer: 4 << 20}, func() {
				if name == "moved" { // the recorder must know the first group before the worker leaves it
					go s.goOn(func() bool { return namesOther(named, s.pid) })
				}
				facts = s.play()
				w.end()
			})
			packets, owners := readAll(t, out), readOwners(t, named)
			if len(facts) < 2 {
				t.Fatalf("the scene reported %d sockets", len(facts))
			}
			if stats.Dropped != 0 || stats.Delivered != uint64(len(packets)) {
				t.Errorf("%+v, %d packets in the file", stats.Counters, len(packets))
			}
			for _, fact := range facts {
				checkOwner(t, fact, packets, owners)
			}
			checkSockets(t, facts, packets, owners)
			w.compare(packets)
			switch name {
			case "gone", "gone6":
				checkGone(t, out, facts, packets)
			case "moved":
				checkMoved(t, facts, owners, filepath.Base(s.cgroup))
			}
		})
	}
}

// namesOther reports whether the side file at path names a process other than pid.
func namesOther(path string, pid int) bool {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		var l ownerLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Process != "" && l.PID != pid {
			return true
		}
	}
	return false
}

func checkOwner(t *testing.T, fact truth, packets []seen, owners []ownerLine) {
	t.Helper()
	local, remote, _ := strings.Cut(fact.Local, " ")
	sent := 0
	for _, p := range packets {
		if p.local != local || remote != "" && p.remote != remote {
			continue
		}
		if payload := payloadLen(p.ip); !p.out || payload == 0 {
			if p.pid != 0 && int(p.pid) != fact.PID && !slices.Contains(fact.Also, int(p.pid)) {
				t.Errorf("a packet of %s without data names process %d, want %d or %v", fact.Local, p.pid, fact.PID, fact.Also)
			}
			continue
		}
		sent++
		if int(p.pid) != fact.PID || p.tid == 0 || fact.TID != 0 && int(p.tid) != fact.TID {
			t.Errorf("data of %s names process %d, thread %d, want %d, %d", fact.Local, p.pid, p.tid, fact.PID, fact.TID)
		}
	}
	if sent == 0 {
		t.Errorf("%s sent no data", fact.Local)
	}
	found := false
	for _, p := range packets {
		if p.local != local || remote != "" && p.remote != remote || workload.KnowledgeOf(p.socket.Kind).String() != fact.Kind {
			continue
		}
		found = found || int(p.owner) == fact.PID
		if int(p.owner) != fact.PID && !slices.Contains(fact.Also, int(p.owner)) {
			t.Errorf("%s: %s is %d, want %d", fact.Local, fact.Kind, p.owner, fact.PID)
		}
		if !slices.ContainsFunc(owners, func(l ownerLine) bool { return l.PID == int(p.owner) }) {
			t.Errorf("%s: process %d is unknown", fact.Local, p.owner)
		}
		if p.socket.Cookie == 0 || p.socket.Netns == 0 {
			t.Errorf("%s: socket %+v", fact.Local, p.socket)
		}
	}
	if !found {
		t.Errorf("no packet says that %d was the %s of %s", fact.PID, fact.Kind, fact.Local)
	}
}

// checkSockets checks that only sockets that the scene reported were recorded.
func checkSockets(t *testing.T, facts []truth, packets []seen, owners []ownerLine) {
	t.Helper()
	ends := map[string]bool{}
	for _, f := range facts {
		local, _, _ := strings.Cut(f.Local, " ")
		ends[local] = true
	}
	for _, p := range packets {
		if !ends[p.local] {
			t.Errorf("packet from %s to %s, which the scene did not report", p.local, p.remote)
		}
	}
	for _, l := range owners {
		if l.Process != "" && (l.Name == "" || l.Exe == "" || l.UID == nil) {
			t.Errorf("process without its facts: %+v", l)
		}
	}
}

// checkGone checks that the server had ended before its last data left.
func checkGone(t *testing.T, out string, facts []truth, packets []seen) {
	t.Helper()
	var ended time.Time
	for _, e := range readEvents(t, out) {
		for _, f := range facts {
			if f.Gone && e.Kind == "exit" && e.PID == f.PID {
				ended = e.Time
			}
		}
	}
	late := 0
	for _, p := range packets {
		if p.out && payloadLen(p.ip) > 0 && p.Time > ended.UnixNano() {
			late++
		}
	}
	if ended.IsZero() || late == 0 {
		t.Errorf("it ended at %v, %d packets with data left later", ended, late)
	}
}

// checkMoved checks that the lines show the worker in two control groups.
func checkMoved(t *testing.T, facts []truth, owners []ownerLine, group string) {
	t.Helper()
	for _, f := range facts {
		var groups []string
		for _, l := range owners {
			if l.Process != "" && l.PID == f.PID && !slices.Contains(groups, l.Cgroup) {
				groups = append(groups, l.Cgroup)
			}
		}
		if want := []string{"/" + group, "/" + group + "/other"}; len(f.Also) > 0 && !slices.Equal(groups, want) {
			t.Errorf("process %d was in %v, want %v", f.PID, groups, want)
		}
	}
}

// dump is a tcpdump of a stage's loopback.
type dump struct {
	t    *testing.T
	cmd  *exec.Cmd
	said *bufio.Reader
	raw  string
}

func watch(t *testing.T, s *stage) *dump {
	t.Helper()
	d := &dump{t: t, raw: filepath.Join(t.TempDir(), "raw.pcap")}
	d.cmd = exec.Command(mustLook(t, "nsenter"), fmt.Sprintf("--net=/proc/%d/ns/net", s.pid), mustLook(t, "tcpdump"),
		"-Z", "root", "--immediate-mode", "-B", "65536", "-U", "-s", "65535", "-i", "lo", "-w", d.raw)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.said = bufio.NewReader(stderr)
	if _, err := d.said.ReadString('\n'); err != nil { // listening on lo
		t.Fatal(err)
	}
	t.Cleanup(func() { d.cmd.Process.Kill() })
	return d
}

// end waits until tcpdump has written all packets, which may be later than the recorder.
func (d *dump) end() {
	for size, same := int64(0), 0; same < 10; same++ {
		time.Sleep(20 * time.Millisecond)
		if info, err := os.Stat(d.raw); err == nil && info.Size() != size {
			size, same = info.Size(), 0
		}
	}
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		d.t.Error(err)
	}
	if _, err := io.ReadAll(d.said); err != nil {
		d.t.Error(err)
	}
	d.cmd.Wait()
}

// compare compares a recording with what tcpdump saw: each packet of the loopback must be
// there once on its way out and once on its way in, with the same bytes, and those of each
// socket in the same order.
func (d *dump) compare(packets []seen) {
	t := d.t
	t.Helper()
	f, err := os.Open(d.raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type sighting struct {
		out, in int
		time    int64
	}
	want := map[string]*sighting{}
	total := 0
	for b := (pcapng.Batch{}); ; {
		err := r.Next(&b)
		for _, p := range b.Packets {
			total++
			x := want[string(p.Data[14:])]
			if x == nil {
				x = &sighting{time: p.Time}
				want[string(p.Data[14:])] = x
			}
			x.out, x.in = x.out+1, x.in+1
		}
		if err != nil {
			break
		}
	}
	in, out, last := 0, 0, int64(0)
	type way struct {
		local, remote string
		out           bool
	}
	latest := map[way]int64{}
	for _, p := range packets {
		if p.Time < last {
			t.Errorf("packet at %d comes after one at %d", p.Time, last)
		}
		last = p.Time
		if now := time.Now().UnixNano(); p.Time > now || p.Time < now-60e9 {
			t.Errorf("packet at %d, now it is %d", p.Time, now)
		}
		x := want[string(p.ip)]
		if x == nil {
			t.Errorf("packet %x is not in tcpdump's capture", p.ip[:min(len(p.ip), 60)])
			continue
		}
		n := &x.in
		if p.out {
			out++
			n = &x.out
		} else {
			in++
		}
		if *n--; *n < 0 {
			t.Errorf("packet %x was recorded more often than tcpdump saw it, outgoing %v", p.ip[:min(len(p.ip), 60)], p.out)
		}
		// Both see a packet at almost the same time; a large difference means another order.
		w := way{p.local, p.remote, p.out}
		if x.time < latest[w]-100e6 {
			t.Errorf("packet %x is %d ns later than in tcpdump's capture", p.ip[:min(len(p.ip), 60)], latest[w]-x.time)
		}
		latest[w] = max(latest[w], x.time)
	}
	if in != total || out != total || total < 6 {
		t.Errorf("%d packets in, %d out, tcpdump saw %d", in, out, total)
	}
}

// eventLine is a line of an events file.
type eventLine struct {
	Time     time.Time
	Kind     string
	Process  string
	PID      int
	Parent   int `json:"parent_pid"`
	Name     string
	ExitCode *int `json:"exit_code"`
	Signal   int
	Protocol string
	Local    string
	Remote   string
	Socket   string
	Before   string
	After    string
	Reason   string
	Cgroup   string
	Args     []string
}

func readEvents(t *testing.T, out string) (list []eventLine) {
	t.Helper()
	b, err := os.ReadFile(strings.TrimSuffix(out, ".pcapng") + ".events")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var l eventLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, l)
	}
	return list
}

// TestHostNetwork records a control group on the machine's network while other processes
// use it too.
func TestHostNetwork(t *testing.T) {
	s := newStage(t, "scene idle")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	noise := child("flood 300", nil) // in the group of the test, on the same loopback
	var facts []truth
	record(t, Options{File: out, Cgroup: s.cgroup, RingBuffer: 4 << 20}, func() {
		host := startStage(t, "scene prefork", s.cgroup, 0)
		facts = host.play()
	})
	noise.Wait()
	packets, owners := readAll(t, out), readOwners(t, strings.TrimSuffix(out, ".pcapng")+".owners.jsonl")
	if len(facts) < 6 {
		t.Fatalf("the scene reported %d sockets", len(facts))
	}
	for _, fact := range facts {
		checkOwner(t, fact, packets, owners)
	}
	checkSockets(t, facts, packets, owners)
}

// TestGroupMadeAnew checks that a container recreated within a second, with the same path or
// with another ID, has its own packets each time.
func TestGroupMadeAnew(t *testing.T) {
	s := newStage(t, "scene idle")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	const a, b = "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "bbbb456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	record(t, Options{File: out, Cgroup: s.cgroup, RingBuffer: 4 << 20}, func() {
		for _, id := range []string{a, a, b, a} {
			dir := filepath.Join(s.cgroup, "docker-"+id+".scope")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			s.run(dir, "flood 5")
			for deadline := time.Now().Add(20 * time.Second); os.Remove(dir) != nil; {
				if time.Now().After(deadline) {
					t.Fatal("the control group cannot be removed")
				}
				time.Sleep(time.Millisecond)
			}
		}
	})
	packets := readAll(t, out)
	var said []string
	faces := map[int32]bool{}
	for i := 0; i < len(packets); i += 10 {
		c, ok := workload.ParseInterfaceComment(packets[i].iface.Comments[0])
		if !ok {
			t.Fatalf("comment %q", packets[i].iface.Comments)
		}
		faces[packets[i].Interface] = true
		said = append(said, c.Identity.Container[:1])
		pids := map[uint32]bool{}
		for _, p := range packets[i:min(i+10, len(packets))] {
			if p.Interface != packets[i].Interface {
				t.Errorf("packets of one container have interfaces %d and %d", p.Interface, packets[i].Interface)
			}
			if p.out {
				pids[p.pid] = true
			}
		}
		if len(pids) != 1 || pids[0] {
			t.Errorf("sent by processes %v", pids)
		}
	}
	if strings.Join(said, "") != "aaba" || len(faces) != 4 || len(packets) != 40 {
		t.Errorf("%d packets of containers %v, of %d groups", len(packets), said, len(faces))
	}
}

// TestHugePacketsPass checks that packets of the largest size that the kernel makes are not
// altered by recording, and are accounted for.
func TestHugePacketsPass(t *testing.T) {
	s := newStage(t, "scene idle")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	stats := record(t, Options{File: out, Cgroup: s.cgroup, Snap: 200}, func() { s.run(s.cgroup, "huge") })
	largest := uint32(0)
	var reported uint64
	packets := readAll(t, out)
	for _, p := range packets {
		largest = max(largest, p.OrigLen)
		reported += p.drops
	}
	if largest < 60_000 || stats.Delivered != uint64(len(packets)) || reported > stats.Dropped {
		t.Errorf("largest packet %d bytes, %+v", largest, stats.Counters)
	}
	t.Logf("%d packets, the largest of %d bytes", len(packets), largest)
}

// waitFor waits until a file that is being written contains a string.
func waitFor(t *testing.T, path, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no %q, %v", path, want, err)
		}
	}
}

// endpointRow is a part of a row of a bundle's endpoints.
type endpointRow struct {
	HowKnown     *string `parquet:"how_known,optional"`
	Container    *string `parquet:"container,optional"`
	Image        *string `parquet:"image,optional"`
	Workload     *string `parquet:"workload,optional"`
	WorkloadKind *string `parquet:"workload_kind,optional"`
}

// TestContainerNames checks that a container's name from its runtime is in the segment and
// the bundle, even if the runtime knows it only after the first packet. Units are named by path.
func TestContainerNames(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := t.TempDir()
	root, out := filepath.Join(dir, "root"), filepath.Join(dir, "out.pcapng")
	const early, late = "cccc456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "dddd456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	writeName := func(id, name string) {
		path := filepath.Join(root, "var/lib/docker/containers", id, "config.v2.json")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`{"ID":%q,"Name":"/%s","Config":{"Image":"%s:1","Labels":{"com.docker.compose.project":"shop"}}}`, id, name, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	group := func(name string) string {
		path := filepath.Join(s.cgroup, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
		return path
	}
	writeName(early, "web")
	first := group("docker-" + early + ".scope")
	stats := record(t, Options{File: out, Cgroup: s.cgroup, RingBuffer: 4 << 20, root: root}, func() {
		s.run(first, "pair")
		second := group("docker-" + late + ".scope")
		s.run(second, "pair")
		waitFor(t, out, "/-/"+late[:12]) // its packets are written, without a name
		writeName(late, "db")
		s.run(group("mail.service"), "pair")
		waitFor(t, strings.TrimSuffix(out, ".pcapng")+".owners.jsonl", `"container":"db"`)
	})
	// The machine may run other containers, which this test does not name.
	if c := stats.Containers; c == nil || c.Named != 2 || c.Runtimes["docker"] != 2 {
		t.Errorf("%+v", stats.Containers)
	}
	var faces []string
	for _, p := range readAll(t, out) {
		if _, name, _ := strings.Cut(p.iface.Name, "/-/"); !slices.Contains(faces, name) {
			faces = append(faces, name)
		}
	}
	if len(faces) != 3 || faces[0] != "web" {
		t.Errorf("interfaces %q", faces)
	}
	var who []string
	for _, r := range tableOf[endpointRow](t, bundleAt(t, out), "endpoints") {
		if of(r.HowKnown) == "none" {
			continue // an end before its owner was seen
		}
		text := strings.Join([]string{of(r.Container), of(r.Image), of(r.WorkloadKind), of(r.Workload)}, " ")
		if !slices.Contains(who, text) {
			who = append(who, text)
		}
	}
	slices.Sort(who)
	if want := []string{"  systemd mail.service", "db db:1 compose shop", "web web:1 compose shop"}; !slices.Equal(who, want) {
		t.Errorf("endpoints %q, want %q", who, want)
	}
}
