package pcapng

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"
)

// disagreements are the captures for which capinfos counts differently, or for which damage
// is recorded, each with the reason.
func disagreements(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("testdata/disagreements.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := map[string][]string{}
	for in := bufio.NewScanner(f); in.Scan(); {
		if col := strings.Split(in.Text(), "\t"); len(col) == 5 && col[0] != "path" {
			rows[col[0]] = col[1:]
		}
	}
	return rows
}

func TestPacketCountsAgreeWithCapinfos(t *testing.T) {
	dir := captures.Dir(t)
	known := disagreements(t)
	agreed, explained := 0, 0
	for _, row := range index(t, dir) {
		got, places := "unreadable", "0"
		if r, done, err := openCapture(filepath.Join(dir, row.path), Options{}); err == nil {
			n, err := drain(r, nil)
			if err != nil {
				t.Errorf("%s: %v", row.path, err)
			}
			got, places = strconv.FormatInt(n, 10), strconv.FormatInt(r.DamageTotal().Places, 10)
			done()
		}
		why, ok := known[row.path]
		switch {
		case got == row.packets && places == "0" && !ok:
			agreed++
		case ok && why[0] == row.packets && why[1] == got && why[2] == places:
			explained++
			t.Logf("%-70s capinfos %3s, reader %3s, damage %3s: %s", row.path, row.packets, got, places, why[3])
		default:
			t.Errorf("%s: capinfos %s, reader %s with %s damaged places, explained as %v", row.path, row.packets, got, places, why)
		}
	}
	t.Logf("%d captures agree, %d differ and are explained", agreed, explained)
}

// frameSample keeps the test short: tshark takes a quarter of a second to start. All
// pcapng/ captures were compared once without a difference.
var frameSample = regexp.MustCompile(`advanced|difficult|test0(06|12|17|18)|nanosecs|zeek|ptcpdump-tcp|example.pcapng|901`)

func TestFrameNumbersMatchWireshark(t *testing.T) {
	dir := captures.Dir(t)
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	for _, row := range index(t, dir) {
		if !strings.HasPrefix(row.path, "pcapng/") || !frameSample.MatchString(row.path) {
			continue
		}
		path := filepath.Join(dir, row.path)
		out, _ := exec.Command("tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.number",
			"-e", "frame.cap_len", "-e", "frame.len", "-e", "frame.time_epoch", "-e", "frame.interface_id").Output()
		frames := map[string][]string{}
		for _, line := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
			if col := strings.Split(line, "\t"); len(col) == 5 {
				frames[col[0]] = col[1:]
			}
		}
		r, done, err := openCapture(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = drain(r, func(p *Packet) {
			f := frames[strconv.FormatInt(p.Frame, 10)]
			if p.Frame == 0 || f == nil {
				if p.Frame != 0 {
					t.Errorf("%s: packet %d has frame %d, which tshark does not show", row.path, p.Index, p.Frame)
				}
				return
			}
			if f[0] != strconv.Itoa(len(p.Data)) || f[1] != strconv.Itoa(int(p.OrigLen)) {
				t.Errorf("%s: frame %d: lengths %d of %d, tshark %v", row.path, p.Frame, len(p.Data), p.OrigLen, f)
			}
			if (f[2] != "") != p.TimeOK && !saturated(p) || p.TimeOK && p.Time > 0 && !saturated(p) && f[2] != epoch(p.Time) {
				t.Errorf("%s: frame %d: time %s, tshark %s", row.path, p.Frame, epoch(p.Time), f[2])
			}
			if r.Format() == FormatPcapng && f[3] != strconv.Itoa(int(r.Interfaces()[p.Interface].ID)) {
				t.Errorf("%s: frame %d: interface %d, tshark %s", row.path, p.Frame, p.Interface, f[3])
			}
		})
		if err != nil {
			t.Errorf("%s: %v", row.path, err)
		}
		if want := truthFrames(t, dir, row.path); r.frame != want {
			t.Errorf("%s: %d frames, tshark %d", row.path, r.frame, want)
		}
		done()
	}
}

func saturated(p *Packet) bool { return p.Time == lastTime || p.Time == 0 }

func epoch(ns int64) string {
	frac := strconv.FormatInt(ns%1e9+1e9, 10)[1:]
	return strconv.FormatInt(ns/1e9, 10) + "." + frac
}

func truthFrames(t *testing.T, dir, path string) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "truth", path+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth struct{ Packets int64 }
	if err := json.Unmarshal(b, &truth); err != nil {
		t.Fatal(err)
	}
	return truth.Packets
}
