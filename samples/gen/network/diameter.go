package network

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// diameterHosts are the peers; the first one is the server.
var diameterHosts = []struct{ name, ip string }{{"hss", "10.1.35.20"}, {"gate", "10.1.35.5"}, {"stranger", "10.1.35.6"}}

// makeDiameter records two peers of freeDiameter that meet, watch each other and part, and one that the server does
// not know. What was said is what the server's log says.
func makeDiameter(ctx context.Context, out string) error {
	var hosts []lab.Host
	for _, h := range diameterHosts {
		hosts = append(hosts, lab.At(h.name, h.ip))
	}
	l, err := lab.New("diam", "", hosts...)
	if err != nil {
		return err
	}
	defer l.Close()
	for i, h := range diameterHosts {
		lines := []string{fmt.Sprintf("ListenOn = %q;", h.ip), fmt.Sprintf("LoadExtension = \"/usr/lib/freeDiameter/acl_wl.fdx\" : %q;", l.Tmp+"/acl")}
		if i > 0 {
			lines[1] = fmt.Sprintf(`ConnectPeer = "hss.shop.example" { No_TLS; ConnectTo = %q; Port = 3868; };`, diameterHosts[0].ip)
		}
		if err := diameterPeer(ctx, l, h.name, lines...); err != nil {
			return err
		}
	}
	if err := os.WriteFile(l.Tmp+"/acl", []byte("ALLOW_IPSEC gate.shop.example\n"), 0o644); err != nil {
		return err
	}
	log := l.Tmp + "/hss.log"
	if _, err := l.Start("hss", "", "sh", "-c", fmt.Sprintf("exec freeDiameterd -c %s/hss.conf >%s 2>&1", l.Tmp, log)); err != nil {
		return err
	}
	if err := l.Do(ctx, "gate", "wait", diameterHosts[0].ip+":3868"); err != nil {
		return err
	}
	file := filepath.Join(out, "diameter.pcapng")
	r, err := l.Record(file)
	if err != nil {
		return err
	}
	for _, h := range diameterHosts[1:] {
		p, err := l.Start(h.name, "", "sh", "-c", fmt.Sprintf("exec freeDiameterd -c %s/%s.conf >%s/%s.log 2>&1", l.Tmp, h.name, l.Tmp, h.name))
		if err != nil {
			return err
		}
		time.Sleep(20 * time.Second) // long enough for watchdogs
		p.End()
	}
	if err := r.Stop(); err != nil {
		return err
	}
	b, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "diameter.said.tsv"), []byte(diameterSaid(string(b))), 0o644)
}

// diameterPeer writes the configuration of freeDiameter.
func diameterPeer(ctx context.Context, l *lab.Lab, peer string, more ...string) error {
	name := l.Tmp + "/" + peer
	if err := exec.CommandContext(ctx, "openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "3650", "-subj", "/CN="+peer+".shop.example", "-keyout", name+".key", "-out", name+".crt").Run(); err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	lines := []string{fmt.Sprintf("Identity = %q;", peer+".shop.example"), `Realm = "shop.example";`, "No_SCTP;", "No_IPv6;", "SecPort = 0;", "TwTimer = 6;",
		fmt.Sprintf("TLS_Cred = %q, %q;", name+".crt", name+".key"), fmt.Sprintf("TLS_CA = %q;", name+".crt"), `LoadExtension = "/usr/lib/freeDiameter/dbg_msg_dumps.fdx" : "0x0080";`}
	return os.WriteFile(name+".conf", []byte(strings.Join(append(lines, more...), "\n")+"\n"), 0o644)
}

var (
	diameterAnswer = regexp.MustCompile(`NOTI +'(\S+)-Answer'`)
	diameterResult = regexp.MustCompile(`NOTI +AVP: 'Result-Code'.* val='(\w+)'`)
)

// diameterSaid lists the answers in a server's log with their results.
func diameterSaid(log string) string {
	said, answer := "# command\tresult\n", ""
	for line := range strings.Lines(log) {
		if m := diameterAnswer.FindStringSubmatch(line); m != nil {
			answer = m[1]
		}
		if m := diameterResult.FindStringSubmatch(line); m != nil && answer != "" {
			said += answer + "\t" + m[1] + "\n"
			answer = ""
		}
	}
	return said
}
