//go:build linux

package bpf

import (
	"fmt"
	"strings"
	"testing"

	classic "golang.org/x/net/bpf"

	"github.com/pcapsule/pcapsule/recorder/filter"
)

// TestNever: packets that match a never-rule are forbidden, if the filter accepts them; each
// packet is counted once.
func TestNever(t *testing.T) {
	many := make([]string, 64)
	for i := range many {
		many[i] = fmt.Sprintf("portrange %d-%d", 10_000+i*10, 10_003+i*10)
	}
	for _, c := range []struct{ filter, never string }{
		{"", "udp port 53"}, {"udp", "port 53 or portrange 400-500"}, {"udp port 53", "udp port 53"}, {"tcp", "udp"}, {"len > 50", "ip[8] << 2 = 256"},
		{"", "portrange 53-53 or " + strings.Join(many[1:], " or ")}, {"not udp", ""},
	} {
		t.Run(c.filter+" never "+c.never[:min(len(c.never), 40)], func(t *testing.T) {
			compile := func(expr string) (*filter.Program, []classic.RawInstruction) {
				if expr == "" {
					return nil, nil
				}
				p, err := filter.Compile(expr, 276, 0)
				if err != nil {
					t.Fatal(err)
				}
				return p, p.Instructions()
			}
			wanted, raw := compile(c.filter)
			never, rawNever := compile(c.never)
			p := load(t, Options{Filter: raw, Never: rawNever})
			for _, n := range []int{28, 60, 200} {
				for _, port := range []uint16{53, 80, 443} {
					f := frame(n, port)
					before, _, err := p.Counts()
					if err != nil {
						t.Fatal(err)
					}
					p.run(t, "packet_in", f)
					after, _, err := p.Counts()
					if err != nil {
						t.Fatal(err)
					}
					cooked := make([]byte, 20, 20+len(f))
					cooked[0], cooked[1], cooked[7], cooked[8], cooked[9] = f[12], f[13], 1, 0xFF, 0xFE
					cooked = append(cooked, f[14:]...)
					size := uint32(len(cooked))
					filtered := wanted != nil && !wanted.Match(cooked, size)
					forbidden := !filtered && never != nil && never.Match(cooked, size)
					if (after.Filtered > before.Filtered) != filtered || (after.Forbidden > before.Forbidden) != forbidden ||
						(after.Delivered > before.Delivered) == (filtered || forbidden) || !after.Balanced() || after.Seen != before.Seen+1 {
						t.Errorf("%d bytes, port %d: filtered %v, forbidden %v, counted %+v after %+v", n, port, filtered, forbidden, after, before)
					}
				}
			}
		})
	}
}
