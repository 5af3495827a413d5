package all_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

const password = "hunter2-Zq7x"

// alerted opens a bundle of a request with alerts: 1 about it, 1 about ends that the capture lacks, and 2 of a kind that is
// no finding.
func alerted(t *testing.T, masked bool) *forensics.Case {
	t.Helper()
	dir := t.TempDir()
	var w traffic.Capture
	w.Exchange(time.Second, 10*time.Millisecond, "a", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET /one HTTP/1.1", "Host: shop", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Length: 2", "ok"))
	pcap, eve, out := filepath.Join(dir, "x.pcap"), filepath.Join(dir, "eve.json"), filepath.Join(dir, "x.pcapsule")
	if err := w.Write(pcap); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	line := func(ns int64, kind, server, rule string, port uint16) {
		fmt.Fprintf(&log, `{"timestamp":%q,"event_type":%q,"suricata_version":"8.0.1","src_ip":"10.0.0.1","src_port":%d,"dest_ip":%q,"dest_port":80,"proto":"TCP","alert":{"gid":1,"signature_id":9,"rev":1,"signature":%q,"severity":1},"fileinfo":{"filename":"x"},"http":{"hostname":"shop","url":"/login?password=%s"}}`+"\n",
			time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000+0000"), kind, port, server, rule, password)
	}
	no := 0
	w.Packets(func(ns int64, data []byte) {
		port := uint16(data[34])<<8 | uint16(data[35])
		if len(data) > 60 && no < 2 { // the request, then the response
			if no == 0 {
				line(ns, "alert", "10.0.0.2", "ET TEST login", port)
				line(ns, "alert", "10.0.0.9", "ET TEST elsewhere", port)
			}
			line(ns, "fileinfo", "10.0.0.2", "", port)
			no++
		}
	})
	if err := os.WriteFile(eve, []byte(log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exporter.Run(ctx, []string{pcap}, out, exporter.Options{Release: "test", Repanic: true, Alerts: []string{eve}}); err != nil {
		t.Fatal(err)
	}
	k, err := forensics.Open(ctx, []string{out}, forensics.Options{Threads: 2, MaskSecrets: masked})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	finding.Bind(k, all.Analyzers())
	return k
}

// TestClaimsOfOthers checks that alerts are findings as that program's words, and that sentences count them apart.
func TestClaimsOfOthers(t *testing.T) {
	for _, masked := range []bool{false, true} {
		out, err := finding.Run(ctx, alerted(t, masked), all.Analyzers(), finding.In{})
		if err != nil {
			t.Fatal(err)
		}
		own, said := out.Own()
		var got []string
		for _, f := range out.Findings {
			if f.Finding != finding.OfOthers {
				continue
			}
			got = append(got, fmt.Sprintf("%s %s %s %s", f.Severity, f.Confidence, f.Said.Here, f.What))
			if text := strings.Join(f.Evidence, " "); strings.Contains(text, password) == masked {
				t.Errorf("masked %v: evidence %s", masked, text)
			}
			if f.Said.Here == "yes" && (len(f.CallIDs) != 1 || len(f.FlowIDs) != 1) {
				t.Errorf("%s cites calls %v, flows %v", f.What, f.CallIDs, f.FlowIDs)
			}
		}
		want := []string{`info guess no Suricata 8.0.1 said: ET TEST elsewhere (alert, rule 1:9:1, its severity 1), about 10.0.0.1 and 10.0.0.9; its packets are not in this recording`,
			`info likely yes Suricata 8.0.1 said: ET TEST login (alert, rule 1:9:1, its severity 1), about 10.0.0.1 and 10.0.0.2; its packets are in this recording`}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%q", got)
		}
		sentence := out.Sentence()
		if !strings.HasPrefix(sentence, fmt.Sprintf("%d finding", len(own.Findings))) || !strings.HasSuffix(sentence, fmt.Sprintf("Suricata made %d claims about it, which were not checked.", said)) {
			t.Error(sentence)
		}
		if own.Findings[0].Finding == finding.OfOthers || strings.Contains(out.Searched, fmt.Sprintf("%d analyzers", len(all.Analyzers()))) {
			t.Errorf("%s %s", own.Findings[0].What, out.Searched)
		}
	}
	out, err := finding.Run(ctx, alerted(t, false), all.Analyzers(), finding.In{Names: []string{finding.OfOthers}})
	if err != nil || strings.Contains(out.Searched, "No finding") || strings.Contains(out.Sentence(), "0 findings") {
		t.Errorf("%v %q %q", err, out.Sentence(), out.Searched)
	}
}

// TestAlertsInTheTimeline checks that a timeline has what other programs said, with its packets.
func TestAlertsInTheTimeline(t *testing.T) {
	c := alerted(t, true)
	for _, who := range []string{"10.0.0.1", "10.0.0.2", ""} {
		out, err := service.AskTimeline(ctx, c, service.TimelineIn{Workload: who})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range out.Events {
			if e.Kind != "alert" {
				continue
			}
			n++
			if !strings.HasPrefix(e.What, "said by suricata 8.0.1: ET TEST") || strings.Contains(e.What, password) || strings.Contains(e.What, "packets here: yes") != (e.Packets != "") {
				t.Errorf("%q: %+v", who, e)
			}
		}
		if want := map[string]int{"10.0.0.1": 2, "10.0.0.2": 1, "": 2}[who]; n != want {
			t.Errorf("%q: %d alerts, want %d, in %+v", who, n, want, out.Events)
		}
	}
}
