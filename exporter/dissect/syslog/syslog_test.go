package syslog

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client = dissecttest.Client

const (
	full  = `<165>1 2003-10-11T22:14:15.003Z till.shop.example evntslog 42 ID47 [exampleSDID@32473 iut="3" eventSource="App\"]lication"][x@1] ` + "\ufeffAn application event"
	short = "<34>1 - - - - - -"
	old   = "<34>Oct 11 22:14:15 mymachine su[99]: 'su root' failed for lonvick on /dev/pts/8"
)

var overTCP = []dissecttest.Sample{
	{Name: "newlines", Rows: 3, Chunks: chunks{client(full + "\n" + old + "\r\n"), client(old + "\n")}},
	{Name: "lengths", Rows: 3, Chunks: chunks{client("152 " + full + "17 " + short), client("17 " + short)}},
}

func inDatagrams() *dissect.Protocol {
	p := Protocol()
	p.Transports = []dissect.Transport{dissect.UDP}
	return p
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), overTCP...) }

func TestSuiteOfDatagrams(t *testing.T) {
	dissecttest.Run(t, inDatagrams(), dissecttest.Sample{Name: "datagrams", Rows: 3, Chunks: chunks{client(full), client(old), client(short)}})
}

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), overTCP...) }

func TestRows(t *testing.T) {
	columns := []string{"host", "syslog_format", "syslog_framing", "syslog_time", "syslog_host", "syslog_app", "syslog_process", "syslog_message_id", "syslog_data", "syslog_message"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "lengths", Chunks: overTCP[1].Chunks[:1], Want: []string{
			`local4.notice evntslog: An application event host=till.shop.example syslog_format=rfc5424 syslog_framing=octets syslog_time=2003-10-11T22:14:15.003Z syslog_host=till.shop.example syslog_app=evntslog syslog_process=42 syslog_message_id=ID47 syslog_data=[exampleSDID@32473 iut="3" eventSource="App\"]lication"][x@1] syslog_message=An application event`,
			"auth.crit:  syslog_format=rfc5424 syslog_framing=octets"}},
		{Name: "newlines", Chunks: chunks{client(old + "\r\n<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!\n<13>Feb  5 17:32:18 cron: no host\n<0>2024-01-02T03:04:05+01:00 till app: x\n<191>just text\n")}, Want: []string{
			"auth.crit su: 'su root' failed for lonvick on /dev/pts/8 host=mymachine syslog_format=rfc3164 syslog_framing=newline syslog_time=Oct 11 22:14:15 syslog_host=mymachine syslog_app=su syslog_process=99 syslog_message='su root' failed for lonvick on /dev/pts/8",
			"user.notice: Use the BFG! host=10.0.0.99 syslog_format=rfc3164 syslog_framing=newline syslog_time=Feb  5 17:32:18 syslog_host=10.0.0.99 syslog_message=Use the BFG!",
			"user.notice cron: no host syslog_format=rfc3164 syslog_framing=newline syslog_time=Feb  5 17:32:18 syslog_app=cron syslog_message=no host",
			"kern.emerg app: x host=till syslog_format=rfc3164 syslog_framing=newline syslog_time=2024-01-02T03:04:05+01:00 syslog_host=till syslog_app=app syslog_message=x",
			"local7.debug: just text syslog_format=text syslog_framing=newline syslog_message=just text"}},
		{Name: "the last one without a newline", Chunks: chunks{client(old)}, End: dissect.EndFin, Want: []string{
			"auth.crit su: 'su root' failed for lonvick on /dev/pts/8 host=mymachine syslog_format=rfc3164 syslog_framing=newline syslog_time=Oct 11 22:14:15 syslog_host=mymachine syslog_app=su syslog_process=99 syslog_message='su root' failed for lonvick on /dev/pts/8"}},
		{Name: "a gap", Anomalies: 1, Chunks: chunks{client(old + "\n"), {Dir: dissect.ToServer, Gap: 9}, client("c\n"), client("<34>Oct 11 22:14:17 a b: c\n")}, Want: []string{
			"auth.crit su: 'su root' failed for lonvick on /dev/pts/8 host=mymachine syslog_format=rfc3164 syslog_framing=newline syslog_time=Oct 11 22:14:15 syslog_host=mymachine syslog_app=su syslog_process=99 syslog_message='su root' failed for lonvick on /dev/pts/8",
			"auth.crit b: c host=a syslog_format=rfc3164 syslog_framing=newline syslog_time=Oct 11 22:14:17 syslog_host=a syslog_app=b syslog_message=c"}},
	}...)
}

// TestLimits announces more than a message may have, and sends a line without an end.
func TestLimits(t *testing.T) {
	for name, s := range map[string]string{"length": "300000 " + full, "line": old + strings.Repeat("x", maxFrame)} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(old+"\n"), client(s))
		if len(r.Anomalies) == 0 || len(r.Emissions) != 1 {
			t.Errorf("%s: %d rows, anomalies %v", name, len(r.Emissions), r.Anomalies)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name   string
		dir    dissect.Dir
		head   string
		want   dissect.Verdict
		onPort dissect.Verdict
	}{
		{"RFC 5424", dissect.ToServer, full, dissect.Yes, dissect.Yes},
		{"RFC 3164", dissect.ToServer, old, dissect.Yes, dissect.Yes},
		{"a length", dissect.ToServer, "152 " + full, dissect.Yes, dissect.Yes},
		{"from the receiver", dissect.ToClient, full, dissect.No, dissect.No},
		{"text", dissect.ToServer, "<13>anything", dissect.No, dissect.Yes},
		{"a priority of 192", dissect.ToServer, "<192>Oct 11 22:14:15 a b: c", dissect.No, dissect.No},
		{"a priority with a zero", dissect.ToServer, "<034>Oct 11 22:14:15 a b: c", dissect.No, dissect.No},
		{"the beginning of a length", dissect.ToServer, "13", dissect.More, dissect.No},
		{"the beginning of a time", dissect.ToServer, "<34>Oct 1", dissect.More, dissect.Yes},
		{"XML", dissect.ToServer, "<?xml version='1.0'?>", dissect.No, dissect.No},
		{"no text", dissect.ToServer, "<34>\x00\x01\x02\x03\x04", dissect.No, dissect.No},
	} {
		if got := detect(c.dir, []byte(c.head)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := detectOnPort(c.dir, []byte(c.head)); got != c.onPort {
			t.Errorf("%s on the port: %v, want %v", c.name, got, c.onPort)
		}
	}
}
