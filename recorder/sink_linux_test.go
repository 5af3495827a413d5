package recorder

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestFileStatisticsAfterRedeclaring: a file says of each interface how many packets it has,
// also of one that another description replaced.
func TestFileStatisticsAfterRedeclaring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcapng")
	s, err := newFileSink(&Options{File: path}, ring.Header{}, linkEthernet, maxCaptured)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.declare(pcapng.Interface{Name: "before"})
	for i := range 5 {
		if i == 2 && err == nil {
			id, err = s.redeclare(id, pcapng.Interface{Name: "after"})
		}
		if err == nil {
			err = s.append(&ring.Packet{Interface: id, Time: int64(i + 1), Data: make([]byte, 60), OrigLen: 60})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	err = s.close(func(ring.Taken) ring.Account {
		return ring.Account{Interfaces: []ring.InterfaceAccount{{ID: id, At: int64(time.Second), Start: 1, Lost: 1}}}
	})
	if err != nil {
		t.Fatal(err)
	}
	checkStatistics(t, path, 5)
}
