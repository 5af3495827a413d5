package proof_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestUnansweredQuestionThroughAKnownTranslation has a service whose server answers one client's question, but not the
// next one: that the capture shows the second one before and after its translation is one call only if both of its ends
// are translated as those of the first one were.
func TestUnansweredQuestionThroughAKnownTranslation(t *testing.T) {
	const again, masked = "10.244.0.5:40001", "10.0.0.1:61001"
	one, two := "10.96.0.10 true, 10.96.0.10 false", "10.96.0.10 true, 10.96.0.10 false, 10.244.1.7 false"
	for _, tt := range []struct {
		name           string
		first, second  [2]string // clients: of the two questions, and what they become
		server, answer string    // of the second question
		packets        int       // between it and its answer
		want           string
	}{
		{"the same client", [2]string{pod, nodeEnd}, [2]string{again, masked}, dnsPod, "", 0, one},
		{"a client whose address stays", [2]string{pod, nodeEnd}, [2]string{"10.244.0.9:40001", "10.244.0.9:40001"}, dnsPod, "", 0, one},
		{"the answer comes after more packets than can wait", [2]string{pod, nodeEnd}, [2]string{again, masked}, dnsPod, "both", 20_000, "10.96.0.10 true, 10.96.0.10 true"},
		{"another client", [2]string{pod, nodeEnd}, [2]string{"10.244.0.9:40001", masked}, dnsPod, "", 0, two},
		{"another machine", [2]string{pod, nodeEnd}, [2]string{again, "10.0.0.2:61001"}, dnsPod, "", 0, two},
		{"another port of the server", [2]string{pod, nodeEnd}, [2]string{again, masked}, "10.244.1.7:8054", "", 0, two},
		{"the server answered what is not a copy", [2]string{pod, nodeEnd}, [2]string{again, masked}, dnsPod, "near", 0, "10.96.0.10 true, 10.96.0.10 true, 10.244.1.7 false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			q := frames.Query(77, "svc.local")
			c.UDP(tt.first[0], dnsService, q)
			c.UDP(tt.first[1], dnsPod, q)
			c.UDP(dnsPod, tt.first[1], frames.Reply(q, 1))
			c.UDP(dnsService, tt.first[0], frames.Reply(q, 1))
			q = frames.Query(78, "svc.local")
			c.UDP(tt.second[0], dnsService, q)
			c.UDP(tt.second[1], tt.server, q)
			for i := range tt.packets {
				c.UDP("10.9.0.1:9", "10.9.0.2:9", fmt.Sprintf("payload of stream %d", i))
			}
			if tt.answer == "both" {
				c.UDP(tt.server, tt.second[1], frames.Reply(q, 1))
			}
			if tt.answer != "" {
				c.UDP(dnsService, tt.second[0], frames.Reply(q, 1))
			}
			got := exportertest.Answers(t, &c.Buf, "select string_agg(dst_ip || ' ' || complete, ', ' order by dst_ip desc, complete desc) from calls where protocol = 'dns'")
			if got[0] != tt.want {
				t.Errorf("\n got %q\nwant %q", got[0], tt.want)
			}
		})
	}
}

// TestTranslationThatIsProvedLate has questions whose answers come after more packets than can wait. The first one is a
// call at both places, but its answer proves the translation for the next ones, if both places show it in time.
func TestTranslationThatIsProvedLate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  string // under the other ends
		answers bool   // under these ends at all
		pause   uint32 // µs before it
		want    string
	}{
		{"equal answers", "", true, 0, "4 3 1"},
		{"another answer", "other", true, 0, "6 3 3"},
		{"no answer under the other ends", "", false, 0, "6 3 0"},
		{"an answer that is too late", "", true, 1e6, "6 3 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			unrelated := func(n int) {
				for i := range 20_000 {
					c.UDP("10.9.0.1:9", "10.9.0.2:9", fmt.Sprintf("payload %d of stream %d", i, n))
				}
			}
			for n := range 3 {
				q := frames.Query(uint16(77+n), "svc.local")
				client, masked := fmt.Sprintf("10.244.0.5:%d", 40001+n), fmt.Sprintf("10.0.0.1:%d", 61001+n)
				c.UDP(client, dnsService, q)
				c.UDP(masked, dnsPod, q)
				unrelated(n)
				c.Time += tt.pause
				if tt.answers {
					a := frames.Reply(q, 1)
					if tt.answer != "" {
						a = frames.Reply(q, 9)
					}
					c.UDP(dnsPod, masked, a)
				}
				c.UDP(dnsService, client, frames.Reply(q, 1))
			}
			got := exportertest.Answers(t, &c.Buf, "select count(*) || ' ' || count(*) filter (dst_ip = '10.96.0.10') || ' ' || count(*) filter (dst_ip = '10.244.1.7' and complete) from calls where protocol = 'dns'")
			if got[0] != tt.want {
				t.Errorf("got %q, want %q", got[0], tt.want)
			}
		})
	}
}

// TestEqualQuestionsWithoutProof has datagrams with equal payload between several pairs of ends, in one file each. Nothing
// proves that two of them are one, nor that they are two.
func TestEqualQuestionsWithoutProof(t *testing.T) {
	const log, masked = "<13>Oct 11 22:14:15 till shop: order 1", "10.0.0.1:40000"
	q := frames.Query(77, "svc.local")
	type packet struct{ src, dst, payload string }
	one, two := "10.96.0.10:false 10.96.0.10:false", "10.96.0.10:false 10.244.1.7:true"
	for _, tt := range []struct {
		name        string
		first, then []packet
		later       uint32 // µs by which the clock of the second file is ahead
		want        string // server and whether a row has a mark
	}{
		{"a message that has no answer", []packet{{pod, "10.96.0.10:514", log}}, []packet{{nodeEnd, "10.244.1.7:514", log}}, 100, two},
		{"a question that has no answer", []packet{{pod, dnsService, q}}, []packet{{pod, dnsPod, q}}, 100, two},
		{"an answer at one place only", []packet{{pod, dnsService, q}, {dnsService, pod, frames.Reply(q, 1)}}, []packet{{pod, dnsPod, q}}, 100, two},
		{"the client alone is translated", []packet{{pod, dnsService, q}}, []packet{{masked, dnsService, q}}, 100, "10.96.0.10:false 10.96.0.10:true"},
		{"another clock", []packet{{pod, dnsService, q}, {dnsService, pod, frames.Reply(q, 1)}}, []packet{{pod, dnsPod, q}, {dnsPod, pod, frames.Reply(q, 1)}}, 2e6, two},
		{"a clock that differs by too much", []packet{{pod, dnsService, q}}, []packet{{pod, dnsPod, q}}, 31e6, "10.96.0.10:false 10.244.1.7:false"},
		{"another answer", []packet{{pod, dnsService, q}, {dnsService, pod, frames.Reply(q, 1)}}, []packet{{pod, dnsPod, q}, {dnsPod, pod, frames.Reply(q, 2)}}, 100, "10.96.0.10:false 10.244.1.7:false"},
		{"a client that asks again from another port", []packet{{pod, dnsService, q}}, []packet{{"10.244.0.5:40001", dnsService, q}}, 100, one},
		{"another question", []packet{{pod, dnsService, q}}, []packet{{pod, dnsPod, frames.Query(78, "svc.local")}}, 100, "10.96.0.10:false 10.244.1.7:false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var files []string
			for i, list := range [][]packet{tt.first, tt.then} {
				c := frames.NewViews()
				c.Time = uint32(i) * tt.later
				for _, p := range list {
					c.UDP(p.src, p.dst, p.payload)
				}
				path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.pcap", i))
				if err := os.WriteFile(path, c.Buf.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, path)
			}
			_, path := exportertest.Run(t, exporter.Options{}, files...)
			got := bundletest.Ask(t, path, "select string_agg(dst_ip || ':' || (anomalies > 0), ' ' order by ts, src_ip desc) from calls")
			if got[0] != tt.want {
				t.Errorf("got  %s\nwant %s", got[0], tt.want)
			}
		})
	}
}
