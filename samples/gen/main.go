// Command gen remakes the captures in samples/: real servers and clients communicate in separate
// network namespaces, and tcpdump or dumpcap records them.
//
// It needs root, ip, tcpdump, dumpcap, dnsmasq, nginx, redis-server, PostgreSQL, MariaDB, mosquitto,
// rabbitmq-server, clickhouse-server, memcached, libmemcached-tools, slapd, Postfix, Dovecot, vsftpd, OpenSSH, chrony, udhcpc,
// dhclient, rsyslog, dante-server, HAProxy, curl, SIPp, freeDiameter, minidlna, xrdp, FreeRDP with Xvfb, OpenVPN, wireguard-go,
// wireguard-tools, Python, Node, and Java with Maven. No traffic leaves
// the machine: every address is private or from a range for documentation, and the namespaces have no
// route to other networks. It ends only processes that it started, and removes its files.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pcapsule/pcapsule/samples/gen/broker"
	"github.com/pcapsule/pcapsule/samples/gen/lab"
	"github.com/pcapsule/pcapsule/samples/gen/network"
	"github.com/pcapsule/pcapsule/samples/gen/office"
	"github.com/pcapsule/pcapsule/samples/gen/store"
	"github.com/pcapsule/pcapsule/samples/gen/web"
	"github.com/pcapsule/pcapsule/samples/gen/webshop"
)

func scenarios() []lab.Scenario {
	return slices.Concat(web.Scenarios(), store.Scenarios(), broker.Scenarios(), network.Scenarios(), office.Scenarios(), webshop.Scenarios())
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	out := flag.String("o", ".", "folder for the captures")
	only := flag.String("only", "", "names of the captures to make, with commas; empty means all")
	role := flag.String("role", "", "the part that this process plays inside a namespace; gen sets it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *role != "" {
		if err := play(ctx, *role, flag.Args()); err != nil {
			log.Fatalf("%s: %v", *role, err)
		}
		return
	}
	if err := run(ctx, *out, *only); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out, only string) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("making network namespaces needs root; hint: run with sudo")
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	known := ""
	for _, s := range scenarios() {
		known += s.Name + " "
		if only != "" && !strings.Contains(","+only+",", ","+s.Name+",") {
			continue
		}
		log.Printf("making %s", s.Name)
		if err := s.Make(ctx, out); err != nil {
			return fmt.Errorf("making %s: %w", s.Name, err)
		}
	}
	for name := range strings.SplitSeq(only, ",") {
		if name != "" && !strings.Contains(known, name+" ") {
			return fmt.Errorf("no capture %q; there are: %s", name, known)
		}
	}
	return nil
}

// play runs one role until it is done or stopped.
func play(ctx context.Context, role string, args []string) error {
	parts := map[string]lab.Part{"wait": lab.WaitFor}
	for _, more := range []map[string]lab.Part{web.Parts(), store.Parts(), broker.Parts(), network.Parts(), office.Parts(), webshop.Parts()} {
		maps.Copy(parts, more)
	}
	do, ok := parts[role]
	if !ok {
		return fmt.Errorf("no such part")
	}
	return do(ctx, args)
}
