package recording

import "testing"

// TestRotated has names of files that capture programs rotate, and names of files of different machines.
func TestRotated(t *testing.T) {
	for _, tt := range []struct {
		why, before, after string
		want               bool
	}{
		{"dumpcap -b", "x_00001_20240102030405.pcapng", "x_00002_20240102030505.pcapng", true},
		{"dumpcap -b printname: time first", "x_20240102030405_00001.pcapng", "x_20240102030505_00002.pcapng", true},
		{"editcap -c", "x_00000_20240102030405.pcap", "x_00001_20240102030405.pcap", true},
		{"a counter alone", "ring_0009.pcap", "ring_0010.pcap", true},
		{"tcpdump -C, the second file", "x.pcap", "x.pcap1", true},
		{"tcpdump -C, later files", "x.pcap9", "x.pcap10", true},
		{"tcpdump -C -W", "x.pcap09", "x.pcap10", true},
		{"tcpdump -G with a date", "eth0-2024-01-02_03:04:05.pcap", "eth0-2024-01-02_03:05:05.pcap", true},
		{"tcpdump -G over midnight", "t20240131235900.pcap", "t20240201000000.pcap", true},
		{"tcpdump -G with seconds", "c-1704164645.pcap", "c-1704164705.pcap", true},

		{"the same name", "a.pcap", "a.pcap", false},
		{"other names", "before.pcap", "after.pcap", false},
		{"nodes", "node1.pcap", "node2.pcap", false},
		{"nodes with a date", "node1-20240102.pcap", "node2-20240102.pcap", false},
		{"nodes after a date", "2024-01-02-node1.pcap", "2024-01-02-node2.pcap", false},
		{"nodes with a time", "node1-20240102030405.pcap", "node2-20240102030505.pcap", false},
		{"interfaces", "eth0_00001.pcap", "eth1_00002.pcap", false},
		{"addresses", "10.0.0.1.pcap", "10.0.0.2.pcap", false},
		{"addresses at the end", "pcap-10.0.0.1", "pcap-10.0.0.2", false},
		{"a gap in the counter", "ring_00001.pcap", "ring_00003.pcap", false},
		{"a counter that goes back", "ring_00002.pcap", "ring_00001.pcap", false},
		{"an earlier date", "t20240201000000.pcap", "t20240131235900.pcap", false},
		{"another host of tcpdump -C", "a.pcap1", "b.pcap2", false},
		{"no name", "", "1", false},
		{"a number alone", "1", "2", false},
	} {
		if got := rotated(tt.before, tt.after); got != tt.want {
			t.Errorf("%s: %q, %q: %v", tt.why, tt.before, tt.after, got)
		}
	}
}
