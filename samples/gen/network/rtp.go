package network

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// rtpPackets is how many packets of 20 ms each call sends.
const rtpPackets = 100

// makeRTP records calls of SIPp whose media the callee sends back. What is said is the size of the media.
func makeRTP(ctx context.Context, out string) error {
	const server = "10.1.34.20"
	l, err := lab.New("rtp", "", lab.At("client", "10.1.34.5"), lab.At("phones", server))
	if err != nil {
		return err
	}
	defer l.Close()
	audio := filepath.Join(l.Tmp, "silence.ulaw")
	if err := os.WriteFile(audio, bytes.Repeat([]byte{0xff}, rtpPackets*160), 0o644); err != nil {
		return err
	}
	text, err := sipScenarios.ReadFile("sip/talker.xml")
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.Tmp+"/talker.xml", []byte(strings.NewReplacer("@MEDIA@", audio, "@TYPE@", "0").Replace(string(text))), 0o600); err != nil {
		return err
	}
	const calls = 2 // one after another
	command := fmt.Sprintf("sleep 1; cd %s && exec sipp -sf talker.xml -m %d -l 1 %s:5060 -i 10.1.34.5 -mi 10.1.34.5 -t u1 -nostdin", l.Tmp, calls, server)
	said := "# media\tpackets\tbytes\tlost\n" + strings.Repeat(fmt.Sprintf("PCMU/8000\t%d\t%d\t0\n", rtpPackets, rtpPackets*160), 2*calls)
	if _, err := l.Start("phones", "", "sh", "-c", fmt.Sprintf("cd %s && exec sipp -sn uas -i %s -mi %s -mp 6000 -p 5060 -t u1 -rtp_echo -nostdin", l.Tmp, server, server)); err != nil {
		return err
	}
	if err := l.RecordClient(ctx, out, "rtp", "sh", "-c", command); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "rtp.said.tsv"), []byte(said), 0o644)
}
