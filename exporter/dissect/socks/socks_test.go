package socks

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	ask4     = "\x04\x01\x00\x50\x5d\xb8\xd8\x77ann\x00"
	ask4A    = "\x04\x01\x00\x50\x00\x00\x00\x01\x00shop.example\x00"
	granted4 = "\x00\x5a\xdf\xb2\x0a\xb4\x9c\xf9"
	offer    = "\x05\x02\x00\x02"
	login    = "\x01\x03ann\x06vZ7-q2"
	askName  = "\x05\x01\x00\x03\x0cshop.example\x01\xbb"
	ask6     = "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"
	granted  = "\x05\x00\x00\x01\x0a\x00\x00\x01\xd1\xcd"
	refused  = "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"
)

var samples = []dissecttest.Sample{
	{Name: "SOCKS 4", Rows: 1, Chunks: chunks{client(ask4), server(granted4)}},
	{Name: "SOCKS 4A", Rows: 1, Chunks: chunks{client(ask4A), server(granted4)}},
	{Name: "SOCKS 5", Rows: 1, Chunks: chunks{client(offer), server("\x05\x00"), client(askName), server(granted)}},
	{Name: "SOCKS 5 with a login", Rows: 1, Chunks: chunks{client("\x05\x01\x02"), server("\x05\x02"), client(login), server("\x01\x00"), client(ask6), server(refused)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_code", "auth_kind", "socks_version", "socks_offered", "socks_auth", "socks_user", "socks_bound", "socks_connected"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "SOCKS 4", Chunks: samples[0].Chunks, Want: []string{"CONNECT 93.184.216.119:80 as ann → granted status_code=90 socks_version=4 socks_user=ann socks_bound=10.180.156.249:57266"}},
		{Name: "SOCKS 4A", Chunks: samples[1].Chunks, Want: []string{"CONNECT shop.example:80 → granted status_code=90 socks_version=4 socks_bound=10.180.156.249:57266"}},
		{Name: "SOCKS 4, rejected", Chunks: chunks{client(ask4), server("\x00\x5b\x00\x00\x00\x00\x00\x00")}, Want: []string{
			"CONNECT 93.184.216.119:80 as ann → rejected or failed outcome=server_error status_code=91 socks_version=4 socks_user=ann"}},
		{Name: "SOCKS 5", Chunks: samples[2].Chunks, Want: []string{"CONNECT shop.example:443 → succeeded status_code=0 socks_version=5 socks_offered=[none password] socks_auth=none socks_bound=10.0.0.1:53709"}},
		{Name: "a login", Chunks: samples[3].Chunks, Want: []string{
			"CONNECT [2001:db8::1]:80 as ann → connection refused outcome=server_error status_code=5 auth_kind=password socks_version=5 socks_offered=[password] socks_auth=password socks_user=ann"}},
		{Name: "everything at once", Chunks: chunks{client(offer + askName), server("\x05\x00" + granted)}, Want: []string{
			"CONNECT shop.example:443 → succeeded status_code=0 socks_version=5 socks_offered=[none password] socks_auth=none socks_bound=10.0.0.1:53709"}},
		{Name: "a login that fails", Chunks: chunks{client("\x05\x01\x02"), server("\x05\x02"), client(login), server("\x01\x01")}, Want: []string{
			"NEGOTIATE as ann → login failed outcome=refused status_code=1 auth_kind=password socks_version=5 socks_offered=[password] socks_auth=password socks_user=ann"}},
		{Name: "nothing acceptable", Chunks: chunks{client("\x05\x01\x01"), server("\x05\xff")}, Want: []string{
			"NEGOTIATE → no acceptable authentication outcome=refused socks_version=5 socks_offered=[gssapi]"}},
		{Name: "GSSAPI", Chunks: chunks{client("\x05\x01\x01"), server("\x05\x01")}, Want: []string{
			"NEGOTIATE → not read behind gssapi auth_kind=gssapi socks_version=5 socks_offered=[gssapi] socks_auth=gssapi"}},
		{Name: "BIND", Chunks: chunks{client("\x05\x01\x00"), server("\x05\x00"), client("\x05\x02" + askName[2:]), server(granted), server("\x05\x00\x00\x01\x0a\x00\x00\x09\x00\x14")}, Want: []string{
			"BIND shop.example:443 → succeeded status_code=0 socks_version=5 socks_offered=[none] socks_auth=none socks_bound=10.0.0.1:53709 socks_connected=10.0.0.9:20"}},
		{Name: "UDP ASSOCIATE", Chunks: chunks{client("\x05\x01\x00"), server("\x05\x00"), client("\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"), server(granted)}, Want: []string{
			"UDP ASSOCIATE 0.0.0.0:0 → succeeded status_code=0 socks_version=5 socks_offered=[none] socks_auth=none socks_bound=10.0.0.1:53709"}},
		{Name: "no reply", Chunks: chunks{client(offer), server("\x05\x00"), client(askName)}, End: dissect.EndReset, Want: []string{
			"CONNECT shop.example:443 → reset error=reset outcome=no_answer socks_version=5 socks_offered=[none password] socks_auth=none"}},
		{Name: "the request was lost", Chunks: chunks{client(offer), server("\x05\x00"), {Dir: dissect.ToServer, Gap: 19}, server(granted)}, Want: []string{
			"NEGOTIATE → succeeded → gap error=gap status_code=0 socks_version=5 socks_offered=[none password] socks_auth=none socks_bound=10.0.0.1:53709"}},
		{Name: "the reply was lost", Chunks: chunks{client(ask4), {Dir: dissect.ToClient, Gap: 8}, client("\x16\x03\x01\x00\x05hello")}, Want: []string{
			"CONNECT 93.184.216.119:80 as ann → gap error=gap outcome=unread socks_version=4 socks_user=ann", `tcp payload: 160301000568656c, 10 bytes sent, 0 received outcome=unread`}},
		{Name: "from its middle", Midway: true, Chunks: chunks{client(askName), server(granted)}, Want: []string{"CONNECT shop.example:443 → succeeded → gap error=gap status_code=0 socks_version=5 socks_bound=10.0.0.1:53709"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"methods", dissect.ToServer, offer, dissect.Likely},
		{"methods and a login", dissect.ToServer, "\x05\x01\x02" + login, dissect.Likely},
		{"a part of the methods", dissect.ToServer, offer[:3], dissect.More},
		{"methods and something else", dissect.ToServer, offer + "GET", dissect.No},
		{"a method twice", dissect.ToServer, "\x05\x02\x00\x00", dissect.No},
		{"a reserved method", dissect.ToServer, "\x05\x01\x40", dissect.No},
		{"a request", dissect.ToServer, askName, dissect.Likely},
		{"a request to port 0", dissect.ToServer, askName[:len(askName)-2] + "\x00\x00", dissect.No},
		{"a name with a control character", dissect.ToServer, "\x05\x01\x00\x03\x02a\x01\x01\xbb", dissect.No},
		{"a chosen method", dissect.ToClient, "\x05\x00", dissect.More},
		{"a reply", dissect.ToClient, granted, dissect.Likely},
		{"a reply and more", dissect.ToClient, granted + "x", dissect.No},
		{"DCE/RPC", dissect.ToServer, "\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00\x00\x00\x01\x00\x00\x00", dissect.No},
		{"SOCKS 4", dissect.ToServer, ask4, dissect.Likely},
		{"SOCKS 4A", dissect.ToServer, ask4A, dissect.Likely},
		{"SOCKS 4 without the name's end", dissect.ToServer, ask4A[:len(ask4A)-1], dissect.More},
		{"SOCKS 4 with a control character", dissect.ToServer, ask4[:8] + "a\x01\x00", dissect.No},
		{"SOCKS 4 and more", dissect.ToServer, ask4 + "x", dissect.No},
		{"a request of CQL 4", dissect.ToServer, "\x04\x01\x00\xc0\x07\x00\x00\x00E\x00", dissect.No},
		{"CQL 4", dissect.ToServer, "\x04\x00\x00\x00\x05\x00\x00\x00\x00", dissect.No},
	})
}
