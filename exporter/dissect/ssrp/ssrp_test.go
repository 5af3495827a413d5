package ssrp

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// list is a response.
func list(s string) dissecttest.Chunk {
	return server("\x05" + string([]byte{byte(len(s)), byte(len(s) >> 8)}) + s)
}

// Examples of [MC-SQLR] section 4.
const (
	first  = "ServerName;ILSUNG1;InstanceName;YUKONSTD;IsClustered;No;Version;9.00.1399.06;tcp;57137;;"
	second = `ServerName;ILSUNG1;InstanceName;YUKONDEV;IsClustered;Yes;Version;9.00.1399.06;np;\\ILSUNG1\pipe\MSSQL$YUKONDEV\sql\query;;`
	admin  = "\x05\x06\x00\x01\x9a\x05"
)

var samples = []dissecttest.Sample{
	{Name: "all instances", Rows: 2, Chunks: chunks{client("\x03"), list(first + second), client("\x03"), list(first)}},
	{Name: "one instance", Rows: 2, Chunks: chunks{client("\x04YUKONSTD\x00"), list(first), client("\x0f\x01YUKONSTD\x00"), server(admin)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	dissecttest.Converse(t, Protocol(), []string{"ssrp_instance", "ssrp_instances", "ssrp_versions", "ssrp_endpoints", "ssrp_clustered", "ssrp_admin_port"}, []dissecttest.Conversation{
		{Name: "all instances", Chunks: samples[0].Chunks[:2], Want: []string{`CLNT_UCAST_EX → 2 instances ssrp_instances=[ILSUNG1\YUKONSTD ILSUNG1\YUKONDEV] ` +
			`ssrp_versions=[9.00.1399.06 9.00.1399.06] ssrp_endpoints=[tcp 57137 np \\ILSUNG1\pipe\MSSQL$YUKONDEV\sql\query] ssrp_clustered=true`}},
		{Name: "a part of a cluster before one that is not", Chunks: chunks{client("\x03"), list(second + first)}, Want: []string{`CLNT_UCAST_EX → 2 instances ssrp_instances=[ILSUNG1\YUKONDEV ILSUNG1\YUKONSTD] ` +
			`ssrp_versions=[9.00.1399.06 9.00.1399.06] ssrp_endpoints=[np \\ILSUNG1\pipe\MSSQL$YUKONDEV\sql\query tcp 57137] ssrp_clustered=true`}},
		{Name: "one instance", Chunks: samples[1].Chunks, Want: []string{
			`CLNT_UCAST_INST YUKONSTD → ILSUNG1\YUKONSTD ssrp_instance=YUKONSTD ssrp_instances=[ILSUNG1\YUKONSTD] ssrp_versions=[9.00.1399.06] ssrp_endpoints=[tcp 57137]`,
			"CLNT_UCAST_DAC YUKONSTD → port 1434 ssrp_instance=YUKONSTD ssrp_admin_port=1434"}},
		{Name: "a server without a browser", Chunks: chunks{client("\x04A\x00")}, Want: []string{"CLNT_UCAST_INST A → no_response error=no_response outcome=no_answer ssrp_instance=A"}},
		{Name: "a response to a broadcast", Chunks: chunks{list(first)}, Want: []string{
			`? → ILSUNG1\YUKONSTD error=no_request outcome=cut ssrp_instances=[ILSUNG1\YUKONSTD] ssrp_versions=[9.00.1399.06] ssrp_endpoints=[tcp 57137]`}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a response", dissect.ToClient, string(list(first).Data), dissect.Yes},
		{"a response with bytes after it", dissect.ToClient, string(list(first).Data) + "x", dissect.No},
		{"a request is too short", dissect.ToServer, "\x03", dissect.No},
		{"a question of DNS", dissect.ToServer, "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", dissect.No},
	})
	dissecttest.Detect(t, detectOnPort, dissecttest.Heads{
		{"a request for all", dissect.ToServer, "\x03", dissect.Yes},
		{"a request for one", dissect.ToServer, "\x04SHOP\x00", dissect.Yes},
		{"the worm of 2003", dissect.ToServer, "\x04" + strings.Repeat("\x01", 375), dissect.No},
		{"the port of administrators", dissect.ToClient, admin, dissect.Yes},
	})
}
