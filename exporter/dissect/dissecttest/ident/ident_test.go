package ident

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

var samples = []dissecttest.Sample{
	{Name: "one after the other", Rows: 2, Chunks: chunks{
		client("6193, 23\r\n"), server("6193, 23 : USERID : UNIX : stjohns\r\n"),
		client("6195,23\r\n"), server("6195,23 : ERROR : NO-USER\r\n")}},
	{Name: "two at once", Rows: 2, Chunks: chunks{
		client("1, 2\r\n3, 4\r\n"), server("1, 2:USERID:OTHER:a\r\n3, 4:USERID:OTHER:b\r\n")}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	dissecttest.Converse(t, Protocol(), []string{"status_text", "ident_user"}, []dissecttest.Conversation{
		{Name: "an error is an error", Chunks: samples[0].Chunks, Want: []string{
			"IDENT 6193, 23 → stjohns ident_user=stjohns",
			"IDENT 6195, 23 → NO-USER outcome=client_error status_text=NO-USER"}},
		{Name: "a question without a reply", Chunks: chunks{client("1, 2\r\n")}, End: dissect.EndReset, Want: []string{
			"IDENT 1, 2 → reset error=reset outcome=no_answer"}},
		{Name: "the reply after a lost one is paired", Chunks: chunks{client("1, 2\r\n"), {Dir: dissect.ToClient, Gap: 20},
			client("3, 4\r\n"), server("3, 4:USERID:OTHER:b\r\n")}, Want: []string{
			"IDENT 1, 2 → gap error=gap outcome=unread",
			"IDENT 3, 4 → b ident_user=b"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a question", dissect.ToServer, "6193, 23\r\n", dissect.Likely},
		{"the beginning of a question", dissect.ToServer, "6193,", dissect.More},
		{"a reply", dissect.ToClient, "6193, 23 : ERROR : HIDDEN-USER\r\n", dissect.Yes},
		{"a line of SMTP", dissect.ToClient, "220 mail.example ESMTP\r\n", dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
	})
}
