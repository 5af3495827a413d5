package agent

import (
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// ringState is the contents of a ring's folder. It does not read the records: they only
// grow, and a scrape must stay cheap.
type ringState struct {
	segments, open int
	packets, sides int64 // bytes
	oldest         int64 // ns; time of the first packet of the oldest segment, 0 if unknown
}

func readRing(dir string) (st ringState, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return st, err
	}
	var first ring.ID
	found := false
	for _, e := range list {
		id, kind, hidden, ok := ring.ParseName(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		if kind != "pcapng" {
			st.sides += info.Size()
			continue
		}
		st.packets += info.Size()
		if hidden {
			st.open++
			continue
		}
		st.segments++
		// Each series has its own numbers; use the oldest segment of the first series.
		if !found || id.Series < first.Series || id.Series == first.Series && id.Sequence < first.Sequence {
			first, found = id, true
		}
	}
	if found {
		st.oldest = firstPacket(filepath.Join(dir, first.Segment()))
	}
	return st, nil
}

// firstPacket returns the time of a capture's first packet, 0 if there is none.
func firstPacket(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{Window: 256 << 10, MaxBlock: 1 << 20})
	if err != nil {
		return 0
	}
	var b pcapng.Batch
	for {
		if err := r.Next(&b); err != nil {
			return 0
		}
		if len(b.Packets) > 0 {
			return b.Packets[0].Time
		}
	}
}

func (a *agent) collectRing(out chan<- prometheus.Metric) {
	st, err := readRing(a.o.Record.Ring.Dir)
	if err != nil {
		return // the ring does not exist yet, or its disk is gone, which the drop metrics show
	}
	gauge := func(name, help string, v float64) { out <- number(prometheus.GaugeValue, name, help).is(v) }
	gauge("ring_segments", "Sealed segments in the ring.", float64(st.segments))
	gauge("ring_segments_open", "Segments being written or waiting to be sealed.", float64(st.open))
	gauge("ring_packet_bytes", "Bytes of segments, including open ones.", float64(st.packets))
	gauge("ring_side_bytes", "Bytes of the side files of segments: owners, events and keys.", float64(st.sides))
	if st.oldest != 0 {
		gauge("ring_oldest_packet_timestamp_seconds", "Time of the oldest packet in the ring.", float64(st.oldest)/1e9)
	}
}
