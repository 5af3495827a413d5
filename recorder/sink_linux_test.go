package recorder

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
)

// TestFileStatisticsAfterRedeclaring checks that a file counts the packets of each interface,
// including one whose description was replaced.
func TestFileStatisticsAfterRedeclaring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcapng")
	var id ring.InterfaceID
	s, err := newSink(&Options{File: path}, machine.This(), ring.SeriesOptions{Name: "interfaces", LinkType: linkEthernet, Account: func(ring.Totals) ring.Account {
		return ring.Account{Interfaces: []ring.InterfaceAccount{{ID: id, At: int64(time.Second), Start: 1, Lost: 1}}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	id, err = s.declare(pcapng.Interface{Name: "before"})
	for i := range 5 {
		if i == 2 && err == nil {
			err = s.redeclare(id, pcapng.Interface{Name: "after"})
		}
		if err == nil {
			err = s.append(&ring.Packet{Interface: id, Time: int64(i + 1), Data: make([]byte, 60), OrigLen: 60})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	checkStatistics(t, path, 5)
}

// TestPacketsOnce checks that a packet between two local sockets is recorded once, and that
// Wireshark sees no retransmission.
func TestPacketsOnce(t *testing.T) {
	for _, v := range []struct {
		sight      sight.Sight
		in, resent bool
	}{{sight.Both, true, true}, {sight.Once, false, false}} {
		s := newStage(t, "scene prefork")
		path := filepath.Join(t.TempDir(), "x.pcapng")
		stats := record(t, Options{File: path, Cgroup: s.cgroup, Sight: v.sight}, func() { s.play() })
		in, out := 0, 0
		for _, p := range readAll(t, path) {
			if p.out {
				out++
			} else {
				in++
			}
		}
		if out < 20 || (in > 0) != v.in || v.in && in != out || !v.in && stats.Filtered < uint64(out) {
			t.Errorf("%s: %d packets leave, %d arrive; %+v", v.sight, out, in, stats.Counters)
		}
		text, err := exec.Command(mustLook(t, "tshark"), "-nr", path, "-Y", "tcp.analysis.retransmission or tcp.analysis.duplicate_ack or tcp.analysis.out_of_order").Output()
		if err != nil || (len(text) > 0) != v.resent {
			t.Errorf("%s: %v, tshark printed %d bytes of retransmissions", v.sight, err, len(text))
		}
	}
}
