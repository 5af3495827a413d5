package flow

import (
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
)

// TestCommunityID holds the identifiers that the specification's reference gives.
func TestCommunityID(t *testing.T) {
	for _, tt := range []struct {
		name       string
		proto      uint8
		src, dst   string
		sport      uint16
		dport      uint16
		kind, code uint8
		want       string
	}{
		{"TCP", 6, "128.232.110.120", "66.35.250.204", 34855, 80, 0, 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"TCP the other way", 6, "66.35.250.204", "128.232.110.120", 80, 34855, 0, 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"UDP", 17, "192.168.1.52", "8.8.8.8", 54585, 53, 0, 0, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"SCTP", 132, "192.168.170.8", "192.168.170.56", 7, 80, 0, 0, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="},
		{"ICMP echo request", 1, "192.168.0.89", "192.168.0.1", 0, 0, 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"ICMP echo reply", 1, "192.168.0.1", "192.168.0.89", 0, 0, 0, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"ICMP that nothing answers", 1, "192.168.0.89", "192.168.0.1", 0, 0, 20, 0, "1:3o2RFccXzUgjl7zDpqmY7yJi8rI="},
		{"ICMP that nothing answers, other code", 1, "192.168.0.89", "192.168.0.1", 0, 0, 20, 1, "1:tz/fHIDUHs19NkixVVoOZywde+I="},
		{"ICMPv6 neighbor solicitation", 58, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 0, 0, 135, 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := end{addr: decode.Addr(netip.MustParseAddr(tt.src).As16()), port: tt.sport}
			b := end{addr: decode.Addr(netip.MustParseAddr(tt.dst).As16()), port: tt.dport}
			if got := communityID(&a, &b, tt.proto, tt.kind, tt.code); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
