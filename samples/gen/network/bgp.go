package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// bgpHosts are the routers of the sample and what they announce.
var bgpHosts = []struct{ name, ip, as, config string }{
	{"edge", "10.1.38.20", "65001", `
protocol static four { ipv4; route 192.0.2.0/25 blackhole; route 192.0.2.128/25 blackhole { bgp_community.add((65001,100)); }; }
protocol static six { ipv6; route 2001:db8:1::/48 blackhole; }
protocol bgp core { local 10.1.38.20 as 65001; multihop; connect delay time 1; neighbor 10.1.38.5 as 4200000001; hold time 9; ipv4 { import all; export where source = RTS_STATIC; }; ipv6 { import all; export where source = RTS_STATIC; next hop address 2001:db8::20; }; }
protocol bgp stranger { local 10.1.38.20 as 65001; multihop; connect delay time 1; neighbor 10.1.38.6 as 65099; passive; ipv4 { import all; export none; }; }
`},
	{"core", "10.1.38.5", "4200000001", `
protocol static four { ipv4; route 198.51.100.0/24 blackhole; }
protocol bgp edge { local 10.1.38.5 as 4200000001; multihop; connect delay time 1; neighbor 10.1.38.20 as 65001; hold time 9; ipv4 { import all; export where source = RTS_STATIC; }; ipv6 { import all; export none; }; }
`},
	{"stranger", "10.1.38.6", "65002", `
protocol bgp edge { local 10.1.38.6 as 65002; multihop; connect delay time 1; neighbor 10.1.38.20 as 65001; ipv4 { import all; export none; }; }
`},
}

// makeBGP records routers of BIRD: a session with routes of two families, one of them withdrawn, a refresh, a
// shutdown with a reason, and a peer with the wrong system. What was said is what the routers show of their routes.
func makeBGP(ctx context.Context, out string) error {
	var hosts []lab.Host
	for _, h := range bgpHosts {
		hosts = append(hosts, lab.At(h.name, h.ip))
	}
	l, err := lab.New("bgp", "", hosts...)
	if err != nil {
		return err
	}
	defer l.Close()
	r, err := l.Record(filepath.Join(out, "bgp.pcapng"))
	if err != nil {
		return err
	}
	for _, h := range bgpHosts {
		conf := filepath.Join(l.Tmp, h.name+".conf")
		if err := os.WriteFile(conf, []byte("router id "+h.ip+";\nprotocol device {}\n"+h.config), 0o644); err != nil {
			return err
		}
		if _, err := l.Start(h.name, "", "bird", "-f", "-c", conf, "-s", l.Tmp+"/"+h.name+".ctl"); err != nil {
			return err
		}
	}
	ask := func(on string, words ...string) (string, error) {
		b, err := exec.CommandContext(ctx, "birdc", append([]string{"-s", l.Tmp + "/" + on + ".ctl"}, words...)...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("birdc %s: %w: %s", strings.Join(words, " "), err, b)
		}
		return string(b), nil
	}
	said := "# prefix\tpath\n"
	time.Sleep(8 * time.Second) // KEEPALIVEs are sent every 3 s
	show := func(on string) error {
		text, err := ask(on, "show", "route", "where", "source = RTS_BGP", "all")
		said += bgpSaid(text)
		return err
	}
	if err := errors.Join(show("core"), show("edge")); err != nil {
		return err
	}
	for _, step := range [][]string{{"edge", "disable", "six"}, {"core", "reload", "in", "edge"}, {"edge", "disable", "core", `"maintenance"`}} {
		if _, err := ask(step[0], step[1:]...); err != nil {
			return err
		}
		time.Sleep(3 * time.Second)
		if step[1] == "reload" { // what is sent again
			if err := show("core"); err != nil {
				return err
			}
		}
	}
	if err := r.Stop(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "bgp.said.tsv"), []byte(said), 0o644)
}

// bgpSaid lists routes that a router got from another, with their paths.
func bgpSaid(text string) (said string) {
	prefix := ""
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && strings.Contains(f[0], "/") {
			prefix = f[0]
		}
		if _, path, ok := strings.Cut(line, "BGP.as_path:"); ok {
			said += prefix + "\t" + strings.TrimSpace(path) + "\n"
		}
	}
	return said
}
