package exporter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/recorder/filter"
)

func TestFilterGivesThePacketsOfTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump")
	}
	for _, tt := range []struct{ capture, expr string }{
		{"icmp/packetbeat-icmp6_ping_over_vlan.pcap", "vlan and icmp6"},
		{"redis/zeek-reply-off-on.pcap", "tcp port 6379 and greater 80"},
		{"dns/zeek-mdns.pcap", "udp port 5353 and not ip6"},
		{"icmp/tcpdump-icmpv6-ns-nonce.pcap", "icmp6[icmp6type] = icmp6-neighborsolicit"},
		{"dns/ipfixprobe-dnssd.pcap", "host 224.0.0.251 or net ff02::/16"},
		{"ftp/ndpi-ftp_failed.pcap", "src port 21 or less 70"},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			file := sharedCapture(t, tt.capture)
			want, err := exec.Command("tcpdump", "-r", file, "-w", "-", "--", tt.expr).Output()
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "x.pcapsule")
			m, err := Run(context.Background(), []string{file}, out, Options{Release: "test", Filter: tt.expr})
			if err != nil {
				t.Fatal(err)
			}
			if n := countRecords(want); m.Accounts.Packets != n || n == 0 {
				t.Errorf("%d packets in the tables, tcpdump has %d", m.Accounts.Packets, n)
			}
			if m.Filters.BPF != tt.expr {
				t.Errorf("manifest has the filter %q", m.Filters.BPF)
			}
		})
	}
}

// countRecords counts the packets in a classic capture in this machine's byte order.
func countRecords(b []byte) (n int64) {
	for b = b[min(24, len(b)):]; len(b) >= 16; n++ {
		size := int(binary.NativeEndian.Uint32(b[8:]))
		b = b[min(16+size, len(b)):]
	}
	return n
}

func sharedCapture(t *testing.T, name string) string {
	return filepath.Join(captures.Dir(t), name)
}

func TestFilterThatIsWrongLeavesNothing(t *testing.T) {
	for _, tt := range []struct{ name, expr string }{
		{"a mistake", "tcp prt 80"},
		{"a name of a host", "host example.com"},
		{"what no link type can answer", "vlan and inbound"},
		{"what no packet can be", "tcp and udp"},
		{"a tag looked for behind what it carries", "udp and vlan"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := writeCapture(t, 1)
			out := filepath.Join(t.TempDir(), "x.pcapsule")
			_, err := Run(context.Background(), []string{in}, out, Options{Release: "test", Filter: tt.expr})
			var wrong *filter.Error
			if !errors.As(err, &wrong) {
				t.Errorf("got %v, want a *filter.Error", err)
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("output is there: %v", err)
			}
		})
	}
}

func TestFilterThatDoesNotFitALinkType(t *testing.T) {
	in := writeCapture(t, 195)
	_, err := Run(context.Background(), []string{in}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Filter: "tcp"})
	var input *InputError
	var link *filter.LinkTypeError
	if !errors.As(err, &input) || input.Path != in || !errors.As(err, &link) || link.LinkType != 195 {
		t.Errorf("got %v, want an InputError for link type 195", err)
	}
	for _, expr := range []string{"", " ", "len > 5"} {
		m, err := Run(context.Background(), []string{in}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Filter: expr})
		if err != nil || m.Accounts.Packets != 1 {
			t.Errorf("%q: %v, %v", expr, m, err)
		}
	}
}

// writeCapture makes a capture with one packet of zeros.
func writeCapture(t *testing.T, link uint32) string {
	var b bytes.Buffer
	for _, v := range []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 65535, link, 1700000000, 0, 60, 60} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(make([]byte, 60))
	file := filepath.Join(t.TempDir(), "in.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
