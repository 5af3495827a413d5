package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// makeNTP records chrony with clients of all versions.
func makeNTP(ctx context.Context, out string) error {
	const server = "10.1.25.20"
	l, err := newLab("ntp", "", host{"client", "10.1.25.5", ""}, host{"time", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := l.start("time", "chronyd version", "chronyd", "-d", "-x", "-u", "root", "local stratum 5", "allow all", "cmdport 0", "pidfile "+l.tmp+"/chronyd.pid"); err != nil {
		return err
	}
	time.Sleep(settle)
	return l.python(ctx, out, "ntp", server)
}

// makeDHCP records DHCP for both versions of IP, and a client that acts as a relay.
func makeDHCP(ctx context.Context, out string) error {
	const server = "10.1.26.20"
	l, err := newLab("dhcp", "", host{"client", "10.1.26.5", "fd00:26::5"}, host{"dhcp", server, "fd00:26::20"})
	if err != nil {
		return err
	}
	defer l.close()
	if err := ip("-n", l.nsOf("dhcp"), "addr", "add", server+"/24", "dev", "eth0"); err != nil {
		return err
	}
	if _, err := l.start("dhcp", "started", "dnsmasq", "-k", "-d", "-C", "/dev/null", "--port=0", "--no-ping", "--dhcp-authoritative", "--dhcp-leasefile="+l.tmp+"/leases",
		"--dhcp-range=10.1.26.100,10.1.26.120,10m", "--dhcp-range=fd00:26::100,fd00:26::1ff,64,10m", "--dhcp-option=option:router,10.1.26.1", "--dhcp-option=option:dns-server,10.1.26.2,10.1.26.3", "--domain=shop.example", "--dhcp-boot=pxe.0"); err != nil {
		return err
	}
	time.Sleep(5 * settle) // until link-local addresses may be used
	return l.python(ctx, out, "dhcp", server)
}

const rsyslogConf = `module(load="imudp")
module(load="imtcp")
input(type="imudp" port="514")
input(type="imtcp" port="514")
*.* action(type="omfile" file="%[1]s/messages")
`

// makeSyslog records rsyslog with logger, in datagrams and both framings of TCP.
func makeSyslog(ctx context.Context, out string) error {
	const server = "10.1.27.20"
	l, err := newLab("syslog", "", host{"client", "10.1.27.5", ""}, host{"log", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	conf := filepath.Join(l.tmp, "rsyslog.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, rsyslogConf, l.tmp), 0o644); err != nil {
		return err
	}
	if _, err := l.start("log", "", "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(l.tmp, "pid")); err != nil {
		return err
	}
	if err := l.do(ctx, "client", "wait", server+":514"); err != nil {
		return err
	}
	return l.python(ctx, out, "syslog", server)
}
