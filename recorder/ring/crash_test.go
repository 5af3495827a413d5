package ring

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

var long = flag.Bool("long", false, "kill 200 times and fill the disk 50 times, instead of 20 and 10")

// crashDir makes the test binary the recorder that is killed.
const (
	crashDir  = "PCAPSULE_RING_CRASH"
	crashKeep = "PCAPSULE_RING_CRASH_KEEP" // bytes; 0 for all
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
	}
	if dir := os.Getenv(holdDir); dir != "" {
		holdUntilKilled(dir)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// writeUntilKilled numbers its packets without gaps and prints each seal to standard output.
func writeUntilKilled(dir string) {
	out := json.NewEncoder(os.Stdout)
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	key, err := signingkey.Load(filepath.Join(filepath.Dir(dir), "key"))
	die(err)
	keep, err := strconv.ParseInt(os.Getenv(crashKeep), 10, 64)
	die(err)
	w, err := Create(Options{Dir: dir, Node: "n", Key: key, MaxBytes: keep, SegmentBytes: 300 << 10, SegmentTime: 40 * time.Millisecond,
		FlushEvery: 2 * time.Millisecond, SyncEvery: 5 * time.Millisecond, OnError: die, OnSeal: func(r Record) { die(out.Encode(r.Segment)) }})
	die(err)
	s, err := w.Series(SeriesOptions{Name: "sockets", LinkType: 276})
	die(err)
	var ids []InterfaceID
	for i := range 5 {
		id, err := s.Interface(pcapng.Interface{Name: fmt.Sprint("workload ", i)})
		die(err)
		ids = append(ids, id)
	}
	other, err := w.Series(SeriesOptions{Name: "interfaces", LinkType: 1})
	die(err)
	eth, err := other.Interface(pcapng.Interface{Name: "eth0"})
	die(err)
	id := w.FirstPacketID()
	data := udp(1400)
	for i := 0; ; i++ {
		die(s.Append(&Packet{Interface: ids[i%5], Time: time.Now().UnixNano(), Prefix: sll2, Data: data[:28+i*37%1300], OrigLen: 1420, ID: id, Flags: 1}))
		id++
		if i%3 == 0 {
			die(other.Append(&Packet{Interface: eth, Time: time.Now().UnixNano(), Data: data[:60], OrigLen: 60}))
		}
		if i%50 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestKilledRecorderLosesNothingSealed kills a recorder repeatedly, always in the same ring,
// so that crashes interrupt recovery too.
func TestKilledRecorderLosesNothingSealed(t *testing.T) {
	rounds := 10
	if *long {
		rounds = 100
	}
	for _, c := range []struct {
		what string
		keep int64
	}{{"all is kept", 0}, {"retention removes the oldest", 3 << 20}} {
		t.Run(c.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ring")
			sealed := map[ID]Seal{}
			for round := range rounds {
				for _, s := range killedRun(t, dir, c.keep, time.Duration(5+rand.IntN(200))*time.Millisecond) {
					sealed[s.ID()] = s
				}
				if round%5 != 4 {
					continue // the next round recovers it
				}
				key, err := signingkey.Load(filepath.Join(filepath.Dir(dir), "key"))
				must(t, err)
				finish(t, create(t, Options{Dir: dir, Node: "n", Key: key}))
				checkRing(t, dir, sealed)
			}
			list, err := Segments(dir)
			must(t, err)
			t.Logf("%d kills, %d segments, %d reported as sealed before a kill", rounds, len(list), len(sealed))
			agreeOnPackets(t, list[max(len(list)-40, 0):])
		})
	}
}

// killedRun starts a recorder, kills it, and returns the seals that it printed.
func killedRun(t *testing.T, dir string, keep int64, after time.Duration) (sealed []Seal) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprint(crashKeep, "=", keep))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	must(t, cmd.Start())
	time.Sleep(after)
	must(t, cmd.Process.Kill())
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != -1 || errs.Len() > 0 {
		t.Fatalf("the recorder ended by itself: %v\n%s", err, errs.String())
	}
	for sc := bufio.NewScanner(&out); sc.Scan(); {
		var s Seal
		if json.Unmarshal(sc.Bytes(), &s) == nil {
			sealed = append(sealed, s)
		}
	}
	return sealed
}

// checkRing checks that a ring has no problems and all seals that were ever printed, and that
// its packets are numbered without gaps except at crashes, which it must state.
func checkRing(t *testing.T, dir string, sealed map[ID]Seal) {
	t.Helper()
	rep, err := Verify(dir, VerifyOptions{})
	must(t, err)
	if !rep.OK() || len(rep.Open) > 0 || rep.Signed != rep.Records {
		t.Fatalf("%d of %d records signed, open %v, problems %v", rep.Signed, rep.Records, rep.Open, rep.Problems)
	}
	r, err := Open(dir)
	must(t, err)
	list := r.Segments
	there := map[ID]*Seal{}
	var last uint64
	gaps := 0
	for _, s := range list {
		there[s.ID] = s.Seal
		packets, first := uint64(0), true
		readAll(t, s.Path, func(_ pcapng.Interface, p *pcapng.Packet) {
			id, ok := p.PacketID()
			packets++
			if s.ID.Series == "interfaces" {
				return
			}
			id &= packetIDMask
			if !ok || id != last+1 && last > 0 && (!first || id <= last) {
				t.Fatalf("%s: packet %d after %d", s.ID, id, last)
			}
			if id != last+1 && last > 0 {
				gaps++
			}
			last, first = id, false
		})
		if packets != s.Seal.Packets {
			t.Fatalf("%s: %d packets, sealed with %d", s.ID, packets, s.Seal.Packets)
		}
	}
	for id, was := range sealed {
		is := there[id]
		if is == nil && within(r.Deleted[id.Series], id.Sequence) {
			continue
		}
		if is == nil || is.SHA256 != was.SHA256 {
			t.Fatalf("%s was sealed, and is now %+v", id, is)
		}
	}
	restarts := 0
	for _, h := range rep.Holes {
		if h.Reason == "restart" {
			restarts++
		}
	}
	if gaps > restarts {
		t.Fatalf("%d gaps in packet numbers, %d restarts stated", gaps, restarts)
	}
}

// agreeOnPackets compares the packet count of each segment with that of other programs.
func agreeOnPackets(t *testing.T, list []Segment) {
	t.Helper()
	for _, tool := range []string{"tcpdump", "capinfos"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	number := regexp.MustCompile(`Number of packets:\s+(\d+)`)
	for _, s := range list {
		out, err := exec.Command("tcpdump", "--count", "-r", s.Path).Output()
		must(t, err)
		want := fmt.Sprint(s.Seal.Packets)
		if got, _, _ := strings.Cut(string(out), " "); got != want {
			t.Fatalf("%s: tcpdump read %s packets, sealed with %s", s.ID, out, want)
		}
		out, err = exec.Command("capinfos", "-M", "-c", s.Path).CombinedOutput()
		must(t, err)
		if m := number.FindSubmatch(out); m == nil || string(m[1]) != want || strings.Contains(string(out), "appears") {
			t.Fatalf("%s: sealed with %s packets, capinfos printed:\n%s", s.ID, want, out)
		}
	}
}
