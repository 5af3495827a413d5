package jsonrpc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// lsp is a message after its length.
func lsp(s string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(s), s) }

const (
	add     = `{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}`
	sum     = `{"jsonrpc":"2.0","id":1,"result":3}`
	add12   = `{"jsonrpc":"2.0","method":"add","params":[1,2],"id":12}`
	late    = `{"jsonrpc":"2.0","result":3,"id":12}`
	unknown = `{"jsonrpc":"2.0","id":"b","method":"nope"}`
	refused = `{"jsonrpc":"2.0","id":"b","error":{"code":-32601,"message":"Method \"nope\" not found"}}`
	note    = `{"jsonrpc":"2.0","method":"note","params":{"a":"}{"}}`
	batch   = `[{"jsonrpc":"2.0","id":7,"method":"a"},{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":8,"method":"fail"}]`
	both    = `[{"jsonrpc":"2.0","id":8,"error":{"code":-32603,"message":"no"}},{"jsonrpc":"2.0","id":7,"result":null}]`
	old     = `{"method":"mining.submit","params":["w","a"],"id":4}`
	oldOK   = `{"id":4,"result":true,"error":null}`
	oldBad  = `{"id":4,"result":null,"error":[23,"low difficulty share",null]}`
	oldNote = `{"id":null,"method":"mining.notify","params":[]}`
	arith   = `{"method":"Arith.Div","params":[{"A":1,"B":0}],"id":0}`
	arithNo = `{"id":0,"result":null,"error":"divide by zero"}`
)

var samples = []dissecttest.Sample{
	{Name: "texts with newlines", Rows: 4, Chunks: chunks{
		client(add + "\n"), server(sum + "\n"), client(unknown + "\n" + note + "\n"), server(refused + "\n"), client(batch + "\n"), server(both + "\n")}},
	{Name: "texts one after the other", Rows: 4, Chunks: chunks{client(add + unknown + note + batch), server(refused + sum + both)}},
	{Name: "a language server", Rows: 4, Chunks: chunks{client(lsp(add)), server(lsp(sum)), client(lsp(note)), server(lsp(unknown) + lsp(note)), client(lsp(refused))}},
	{Name: "version 1.0", Rows: 3, Chunks: chunks{client(old + "\n"), server(oldNote + "\n" + oldOK + "\n"), client(arith + "\n"), server(arithNo + "\n")}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	big := strings.Replace(sum, "3", `"`+strings.Repeat(`\"}`, 40_000)+`"`, 1)
	dissecttest.Converse(t, Protocol(), []string{"status_text", "jsonrpc_id", "jsonrpc_error", "jsonrpc_batch", "jsonrpc_version"}, []dissecttest.Conversation{
		{Name: "a request, an error, a notification, a batch with its responses in another order", Chunks: samples[0].Chunks, Want: []string{
			"add → ok jsonrpc_id=1 jsonrpc_version=2.0",
			"note jsonrpc_version=2.0",
			`nope → error -32601 outcome=client_error status_text=-32601 jsonrpc_id=b jsonrpc_error=Method "nope" not found jsonrpc_version=2.0`,
			"a, batch of 3 → error -32603 outcome=server_error status_text=-32603 jsonrpc_id=7 jsonrpc_batch=3 jsonrpc_error=no jsonrpc_version=2.0"}},
		{Name: "version 1.0: an error is a list, a text", Chunks: chunks{
			client(old + "\n"), server(oldNote + "\n" + oldBad + "\n"), client(arith + "\n"), server(arithNo + "\n")}, Want: []string{
			"mining.notify jsonrpc_version=1.0",
			"mining.submit → error 23 outcome=client_error status_text=23 jsonrpc_id=4 jsonrpc_error=low difficulty share jsonrpc_version=1.0",
			"Arith.Div → error divide by zero outcome=client_error status_text=divide by zero jsonrpc_id=0 jsonrpc_error=divide by zero jsonrpc_version=1.0"}},
		{Name: "both sides ask, with the same id", Chunks: chunks{client(lsp(add)), server(lsp(add)), client(lsp(sum)), server(lsp(refused) + lsp(sum))}, Want: []string{
			"add → ok jsonrpc_id=1 jsonrpc_version=2.0",
			`response → no_request → error -32601 error=no_request outcome=client_error status_text=-32601 jsonrpc_id=b jsonrpc_error=Method "nope" not found jsonrpc_version=2.0`,
			"add → ok jsonrpc_id=1 jsonrpc_version=2.0"}},
		{Name: "a long response", Chunks: chunks{client(add + "\n"), server(big[:100]), server(big[100:] + "\n")}, Want: []string{
			"add → ok jsonrpc_id=1 jsonrpc_version=2.0"}},
		{Name: "texts of several lines", Chunks: chunks{client("{\n\"jsonrpc\": \"2.0\",\n \"method\":\"a\",\"id\":1\n}\n{\n\"jsonrpc\": \"2.0\",\n \"method\":\"b\",\"id\":2\n}\n")}, Want: []string{
			"a → no_response error=no_response outcome=no_answer jsonrpc_id=1 jsonrpc_version=2.0",
			"b → no_response error=no_response outcome=no_answer jsonrpc_id=2 jsonrpc_version=2.0"}},
		{Name: "a line that is not JSON", Anomalies: 1, Chunks: chunks{client(add + "\n{bad\n" + unknown + "\n"), server(sum + "\n"), server(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}` + "\n" + refused + "\n")}, Want: []string{
			"message → malformed error=malformed outcome=unread",
			"add → ok jsonrpc_id=1 jsonrpc_version=2.0",
			"response → no_request → error -32700 error=no_request outcome=client_error status_text=-32700 jsonrpc_error=Parse error jsonrpc_version=2.0",
			`nope → error -32601 outcome=client_error status_text=-32601 jsonrpc_id=b jsonrpc_error=Method "nope" not found jsonrpc_version=2.0`}},
		{Name: "the same id twice", Anomalies: 2, Chunks: chunks{client(old + "\n" + strings.Replace(old, "submit", "authorize", 1) + "\n"), server(oldOK + "\n" + oldBad + "\n")}, Want: []string{
			"mining.submit → ok jsonrpc_id=4 jsonrpc_version=1.0",
			"mining.authorize → error 23 outcome=client_error status_text=23 jsonrpc_id=4 jsonrpc_error=low difficulty share jsonrpc_version=1.0"}},
		{Name: "no response", Chunks: chunks{client(add + "\n")}, Want: []string{
			"add → no_response error=no_response outcome=no_answer jsonrpc_id=1 jsonrpc_version=2.0"}},
		{Name: "a request that is cut", Chunks: chunks{client(add[:50])}, End: dissect.EndCapture, Want: []string{
			"tcp payload: 7b226a736f6e7270, 50 bytes sent, 0 received error=cut outcome=unread"}},
		{Name: "a response that is cut", Chunks: chunks{client(add), server(big[:90])}, End: dissect.EndCapture, Want: []string{
			"add → cut error=cut outcome=cut jsonrpc_id=1 jsonrpc_version=2.0"}},
		{Name: "bytes lost inside a message of known length", Chunks: chunks{client(lsp(add)), server(lsp(big)[:90]), {Dir: dissect.ToClient, Gap: 3}, server(lsp(big)[93:] + lsp(note))}, Want: []string{
			"message → gap error=gap outcome=unread",
			"note jsonrpc_version=2.0",
			"add → gap error=gap outcome=unread jsonrpc_id=1 jsonrpc_version=2.0"}},
		{Name: "bytes lost inside an id", Chunks: chunks{client(add + "\n" + add12 + "\n"), server(late[:len(late)-2]), {Dir: dissect.ToClient, Gap: 3}, server(sum + "\n")}, Want: []string{
			"response → gap error=gap outcome=unread jsonrpc_version=2.0",
			"add → ok jsonrpc_id=1 jsonrpc_version=2.0",
			"add → gap error=gap outcome=unread jsonrpc_id=12 jsonrpc_version=2.0"}},
		{Name: "a capture that ends inside an id", End: dissect.EndCapture, Chunks: chunks{client(lsp(add) + lsp(add12)), server(lsp(late)[:len(lsp(late))-2])}, Want: []string{
			"response → cut error=cut outcome=cut jsonrpc_version=2.0",
			"add → cut error=cut outcome=cut jsonrpc_id=1 jsonrpc_version=2.0",
			"add → cut error=cut outcome=cut jsonrpc_id=12 jsonrpc_version=2.0"}},
		{Name: "a header is lost", Chunks: chunks{client(lsp(add)), {Dir: dissect.ToClient, Gap: 22}, server(sum), server(lsp(note))}, Want: []string{
			"add → ok jsonrpc_id=1 jsonrpc_version=2.0",
			"note jsonrpc_version=2.0"}},
		{Name: "only notifications, of which the capture misses the first", Midway: true, Chunks: chunks{server(note + "\n"), server(note + "\n")}, Want: []string{
			"note jsonrpc_version=2.0",
			"note jsonrpc_version=2.0"}},
		{Name: "bytes lost", Chunks: chunks{client(add + "\n"), {Dir: dissect.ToClient, Gap: 40}, client(unknown + "\n"), server(refused + "\n")}, Want: []string{
			`nope → error -32601 outcome=client_error status_text=-32601 jsonrpc_id=b jsonrpc_error=Method "nope" not found jsonrpc_version=2.0`,
			"add → gap error=gap outcome=unread jsonrpc_id=1 jsonrpc_version=2.0"}},
		{Name: "a capture that begins in the middle", Midway: true, Chunks: chunks{server(sum + "\n"), client(unknown + "\n"), server(refused + "\n")}, Want: []string{
			"response → no_request error=no_request outcome=cut jsonrpc_id=1 jsonrpc_version=2.0",
			`nope → error -32601 outcome=client_error status_text=-32601 jsonrpc_id=b jsonrpc_error=Method "nope" not found jsonrpc_version=2.0`}},
	}...)
}

// TestSides has messages of both sides, and responses to requests that were not captured.
func TestSides(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{Protocol()}, Roles: true},
		client(note+"\n"+add+"\n"), server(unknown+"\n"+sum+"\n"+note+"\n"), client(refused+"\n"+refused+"\n"), server(sum+"\n"))
	got := ""
	for _, e := range r.Emissions {
		got += fmt.Sprintf("%s from the server: %v\n", e.Row.Base().Summary, e.Reversed)
	}
	const want = `note from the server: false
add → ok from the server: false
note from the server: true
nope → error -32601 from the server: true
response → no_request → error -32601 from the server: true
response → no_request from the server: false
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, add, dissect.Likely},
		{"a response", dissect.ToClient, sum, dissect.More},
		{"two responses", dissect.ToClient, sum + "\n" + refused, dissect.Likely},
		{"two notifications", dissect.ToClient, note + note, dissect.Likely},
		{"a batch of notifications", dissect.ToServer, "[" + note + "," + note + "]", dissect.More},
		{"a long request with its id at the end", dissect.ToServer, `{"jsonrpc":"2.0","method":"a","params":["` + strings.Repeat("b", maxDetect), dissect.Likely},
		{"a long response", dissect.ToClient, `{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("b", maxDetect), dissect.No},
		{"a request after its length", dissect.ToServer, lsp(add), dissect.Likely},
		{"a notification, then a request", dissect.ToServer, note + "\n" + add, dissect.Likely},
		{"a batch", dissect.ToServer, batch, dissect.Likely},
		{"a request of version 1.0", dissect.ToServer, old, dissect.Likely},
		{"a response of version 1.0", dissect.ToClient, oldBad, dissect.More},
		{"two messages of version 1.0", dissect.ToClient, oldBad + oldNote, dissect.Likely},
		{"a notification alone", dissect.ToServer, note, dissect.More},
		{"the beginning of a request", dissect.ToServer, add[:30], dissect.More},
		{"the beginning of a header", dissect.ToServer, "Content-Len", dissect.More},
		{"other JSON", dissect.ToServer, `{"execute":"query-status","id":1}`, dissect.No},
		{"a message of the debug adapter protocol", dissect.ToServer, lsp(`{"seq":1,"type":"request","command":"initialize"}`), dissect.No},
		{"a message of the browser's protocol", dissect.ToServer, `{"id":1,"method":"Page.enable","params":{}}`, dissect.No},
		{"version 1.0 with one more member", dissect.ToServer, `{"id":1,"method":"a","params":[],"x":1}`, dissect.No},
		{"a header of HTTP", dissect.ToServer, "Content-Length: 5\r\nHost: a\r\n\r\n" + add, dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
	})
}
