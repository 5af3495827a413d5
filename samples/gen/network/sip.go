package network

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed sip/*.xml
var sipScenarios embed.FS

// makeSIP records SIPp: calls over UDP and TCP, a login, a busy phone. What SIPp logged is what was said.
func makeSIP(ctx context.Context, out string) error {
	const server = "10.1.33.20"
	l, err := lab.New("sip", "", lab.At("client", "10.1.33.5"), lab.At("phones", server))
	if err != nil {
		return err
	}
	defer l.Close()
	for _, name := range []string{"registrar", "phone", "busy", "caller"} {
		text, err := sipScenarios.ReadFile("sip/" + name + ".xml")
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.Tmp+"/"+name+".xml", []byte(strings.ReplaceAll(string(text), "@PASSWORD@", lab.Password)), 0o600); err != nil {
			return err
		}
	}
	parts := []struct{ port, server, client, transport string }{
		{"5060", "-sn uas", "-sn uac -m 2 -d 100", "u1"}, {"5062", "-sn uas", "-sn uac -m 1 -d 100", "t1"},
		{"5064", "-sf registrar.xml", "-sf phone.xml -m 1", "u1"}, {"5066", "-sf busy.xml", "-sf caller.xml -m 1", "t1"},
	}
	command := "cd " + l.Tmp
	for _, p := range parts {
		if _, err := l.Start("phones", "", "sh", "-c", fmt.Sprintf("cd %s && exec sipp %s -i %s -p %s -t %s -nostdin", l.Tmp, p.server, server, p.port, p.transport)); err != nil {
			return err
		}
		command += fmt.Sprintf(" && sipp %s %s:%s -i 10.1.33.5 -t %s -nostdin -trace_shortmsg -shortmessage_file %s.log", p.client, server, p.port, p.transport, p.port)
	}
	if err := l.Do(ctx, "client", "wait", server+":5066"); err != nil {
		return err
	}
	if err := l.RecordClient(ctx, out, "sip", "sh", "-c", command); err != nil {
		return err
	}
	said := "# method\tnumber\tresult\n"
	for _, p := range parts {
		lines, err := sipLog(filepath.Join(l.Tmp, p.port+".log"))
		if err != nil {
			return err
		}
		said += lines
	}
	return os.WriteFile(filepath.Join(out, "sip.said.tsv"), []byte(said), 0o644)
}

// sipLog reads the messages that SIPp logged: date, time, seconds, S or R, Call-ID, CSeq, first line.
func sipLog(path string) (said string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) < 7 {
			return "", fmt.Errorf("%s: %q", path, line)
		}
		number, method, _ := strings.Cut(strings.TrimPrefix(f[5], "CSeq:"), " ")
		status := strings.TrimPrefix(f[6], "SIP/2.0 ")
		if f[3] == "R" && status[0] != '1' || method == "ACK" {
			if method == "ACK" {
				status = ""
			}
			said += method + "\t" + number + "\t" + status + "\n"
		}
	}
	return said, nil
}
