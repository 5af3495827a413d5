package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeNTP records chrony with clients of all versions.
func makeNTP(ctx context.Context, out string) error {
	const server = "10.1.25.20"
	l, err := lab.New("ntp", "", lab.At("client", "10.1.25.5"), lab.At("time", server))
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Start("time", "chronyd version", "chronyd", "-d", "-x", "-u", "root", "local stratum 5", "allow all", "cmdport 0", "pidfile "+l.Tmp+"/chronyd.pid"); err != nil {
		return err
	}
	time.Sleep(lab.Settle)
	return l.Python(ctx, out, "ntp", server)
}

// makeDHCP records DHCP for both versions of IP, and a client that acts as a relay.
func makeDHCP(ctx context.Context, out string) error {
	const server = "10.1.26.20"
	l, err := lab.New("dhcp", "", lab.Host{Name: "client", IP: "10.1.26.5", IP6: "fd00:26::5"}, lab.Host{Name: "dhcp", IP: server, IP6: "fd00:26::20"})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.IP("-n", l.NsOf("dhcp"), "addr", "add", server+"/24", "dev", "eth0"); err != nil {
		return err
	}
	if _, err := l.Start("dhcp", "started", "dnsmasq", "-k", "-d", "-C", "/dev/null", "--port=0", "--no-ping", "--dhcp-authoritative", "--dhcp-leasefile="+l.Tmp+"/leases",
		"--dhcp-range=10.1.26.100,10.1.26.120,10m", "--dhcp-range=fd00:26::100,fd00:26::1ff,64,10m", "--dhcp-option=option:router,10.1.26.1", "--dhcp-option=option:dns-server,10.1.26.2,10.1.26.3", "--domain=shop.example", "--dhcp-boot=pxe.0"); err != nil {
		return err
	}
	time.Sleep(5 * lab.Settle) // until link-local addresses may be used
	return l.Python(ctx, out, "dhcp", server)
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
	l, err := lab.New("syslog", "", lab.At("client", "10.1.27.5"), lab.At("log", server))
	if err != nil {
		return err
	}
	defer l.Close()
	conf := filepath.Join(l.Tmp, "rsyslog.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, rsyslogConf, l.Tmp), 0o644); err != nil {
		return err
	}
	if _, err := l.Start("log", "", "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(l.Tmp, "pid")); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":514"); err != nil {
		return err
	}
	return l.Python(ctx, out, "syslog", server)
}

const radiusConf = `prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = %[1]s
run_dir = %[1]s
security {
	allow_core_dumps = no
	status_server = yes
}
client all {
	ipaddr = 0.0.0.0/0
	secret = testing123
	require_message_authenticator = no
}
modules {
	pap { }
	chap { }
	mschap { }
	files { usersfile = %[1]s/users }
	detail { filename = %[1]s/detail }
	always ok { rcode = ok }
	always reject { rcode = reject }
	eap {
		default_eap_type = md5
		md5 { }
	}
}
server default {
	listen { type = auth
		ipaddr = *
		port = 1812
	}
	listen { type = acct
		ipaddr = *
		port = 1813
	}
	listen { type = coa
		ipaddr = *
		port = 3799
	}
	authorize {
		Autz-Type Status-Server {
			ok
		}
		chap
		mschap
		eap
		files
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
		Auth-Type MS-CHAP {
			mschap
		}
		eap
	}
	accounting {
		detail
	}
	recv-coa {
		if (&Acct-Session-Id == "s-9") {
			update reply {
				Error-Cause := Session-Context-Not-Found
			}
			reject
		}
		ok
	}
}
`

const radiusUsers = `ann Cleartext-Password := "%s"
	Reply-Message = "Hello, Ann", Framed-IP-Address = 10.0.0.7, Session-Timeout = 3600
`

// makeRADIUS records FreeRADIUS with logins of all kinds, accounting and dynamic authorization.
func makeRADIUS(ctx context.Context, out string) error {
	const server = "10.1.28.20"
	l, err := lab.New("radius", "", lab.At("client", "10.1.28.5"), lab.At("aaa", server))
	if err != nil {
		return err
	}
	defer l.Close()
	for name, text := range map[string]string{"radiusd.conf": fmt.Sprintf(radiusConf, l.Tmp), "users": fmt.Sprintf(radiusUsers, lab.Password), "dictionary": ""} {
		if err := os.WriteFile(filepath.Join(l.Tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if _, err := l.Start("aaa", "Ready to process requests", "freeradius", "-d", l.Tmp, "-D", "/usr/share/freeradius", "-fxx", "-l", "stdout"); err != nil {
		return err
	}
	return l.Python(ctx, out, "radius", server)
}
