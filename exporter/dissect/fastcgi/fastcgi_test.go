package fastcgi

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// rec is a record of request 1.
func rec(kind byte, content string) string {
	return string([]byte{1, kind, 0, 1, byte(len(content) >> 8), byte(len(content)), 2, 0}) + content + "\x00\x00"
}

func pairs(list ...string) (s string) {
	for i := 0; i < len(list); i += 2 {
		s += string([]byte{byte(len(list[i])), byte(len(list[i+1]))}) + list[i] + list[i+1]
	}
	return s
}

const begins = "\x00\x01\x01\x00\x00\x00\x00\x00"

var (
	get = rec(1, begins) + rec(4, pairs("REQUEST_METHOD", "GET", "REQUEST_URI", "/shop?item=7", "SCRIPT_FILENAME", "/srv/shop.php", "REMOTE_ADDR", "192.0.2.7", "HTTP_HOST", "shop.example", "HTTP_USER_AGENT", "curl/8", "DB_PASSWORD", "hunter-2")) +
		rec(4, "") + rec(5, "")
	ok    = rec(6, "Content-Type: text/plain\r\n\r\nhel") + rec(6, "lo") + rec(6, "") + rec(3, "\x00\x00\x00\x00\x00\x00\x00\x00")
	post  = rec(1, begins) + rec(4, pairs("REQUEST_METHOD", "POST", "SCRIPT_NAME", "/a.php", "CONTENT_TYPE", "text/plain")) + rec(4, "") + rec(5, "item=7") + rec(5, "")
	fails = rec(7, "PHP message: no table") + rec(6, "Status: 500 Internal Server Error\r\n\r\n") + rec(3, "\x00\x00\x00\xff\x00\x00\x00\x00")
	full  = rec(3, "\x00\x00\x00\x00\x02\x00\x00\x00")
	exits = rec(3, "\x00\x00\x00\x09\x00\x00\x00\x00")
)

var samples = []dissecttest.Sample{{Name: "two requests", Rows: 2, Chunks: chunks{client(get), server(ok), client(post), server(fails)}}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_code", "host", "query_string", "user_agent", "request_body_size", "response_body_size", "response_content_type", "fastcgi_role", "fastcgi_script", "fastcgi_remote_addr", "fastcgi_stderr", "fastcgi_app_status", "fastcgi_protocol_status"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "two requests", Chunks: samples[0].Chunks, Want: []string{
			"GET /shop → 200 host=shop.example query_string=item=7 status_code=200 response_content_type=text/plain response_body_size=5 user_agent=curl/8 fastcgi_role=RESPONDER fastcgi_script=/srv/shop.php fastcgi_remote_addr=192.0.2.7 fastcgi_app_status=0 fastcgi_protocol_status=REQUEST_COMPLETE",
			"POST /a.php → 500 Internal Server Error outcome=server_error status_code=500 request_body_size=6 fastcgi_role=RESPONDER fastcgi_stderr=PHP message: no table fastcgi_app_status=255 fastcgi_protocol_status=REQUEST_COMPLETE"}},
		{Name: "overloaded, an exit code, and no answer", Chunks: chunks{client(get), server(full), client(post), server(exits), client(post)}, End: dissect.EndReset, Want: []string{
			"GET /shop → OVERLOADED outcome=refused host=shop.example query_string=item=7 user_agent=curl/8 fastcgi_role=RESPONDER fastcgi_script=/srv/shop.php fastcgi_remote_addr=192.0.2.7 fastcgi_app_status=0 fastcgi_protocol_status=OVERLOADED",
			"POST /a.php → exit code 9 outcome=server_error request_body_size=6 fastcgi_role=RESPONDER fastcgi_app_status=9 fastcgi_protocol_status=REQUEST_COMPLETE",
			"POST /a.php → reset error=reset outcome=no_answer request_body_size=6 fastcgi_role=RESPONDER"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, get, dissect.Yes},
		{"a part of one", dissect.ToServer, get[:12], dissect.More},
		{"a response", dissect.ToClient, ok, dissect.Yes},
		{"one record of it", dissect.ToClient, ok[:20], dissect.More},
		{"a role that there is not", dissect.ToServer, rec(1, "\x00\x07\x01\x00\x00\x00\x00\x00"), dissect.No},
		{"no header", dissect.ToClient, rec(6, "\x00\x00\x00\x00\x00") + rec(6, ""), dissect.No},
		{"another version", dissect.ToServer, "\x02" + get[1:], dissect.No},
	})
}
