package dubbo

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// message has one of the flags and an id.
func message(flags, status, id byte, body string) string {
	return "\xda\xbb" + string([]byte{flags | hessian2, status, 0, 0, 0, 0, 0, 0, 0, id, 0, 0, byte(len(body) >> 8), byte(len(body))}) + body
}

// str is a string of Hessian.
func str(s string) string {
	if len(s) < 0x20 {
		return string([]byte{byte(len(s))}) + s
	}
	return string([]byte{0x30 + byte(len(s)>>8), byte(len(s))}) + s
}

var (
	asks    = str("2.0.2") + str("com.example.shop.stock.StockService") + str("0.0.0") + str("reserve") + str("Ljava/lang/String;")
	request = message(isRequest|twoWay, 0, 1, asks+str("mug")+"HZ")
	answer  = message(0, statusOK, 1, "\x94\x91HZ")
	throws  = message(0, statusOK, 2, "\x93C"+str("com.example.shop.SoldOut")+"\x91"+str("message")+"`"+str("none left"))
	again   = message(isRequest|twoWay, 0, 2, asks)
	third   = message(isRequest|twoWay, 0, 3, asks)
	unknown = message(0, notFound, 3, str("no such service"))
	tells   = message(isRequest, 0, 4, asks)
	beat    = message(isRequest|twoWay|isEvent, 0, 5, "N")
	beats   = message(isEvent, statusOK, 5, "N")
	full    = message(0, threadPoolFull, 1, str("pool is full"))
)

var samples = []dissecttest.Sample{{Name: "calls", Rows: 5, Chunks: chunks{client(request + again), server(throws), server(answer), client(third), server(unknown), client(tells), server(beat), client(beats)}}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"path", "status_code", "dubbo_request_id", "dubbo_version", "dubbo_service_version", "dubbo_parameter_types", "dubbo_oneway", "dubbo_exception", "dubbo_error"}
	const rest = " dubbo_version=2.0.2 dubbo_service_version=0.0.0 dubbo_parameter_types=Ljava/lang/String;"
	const at = " path=com.example.shop.stock.StockService"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "calls", Chunks: samples[0].Chunks, Want: []string{
			"com.example.shop.stock.StockService.reserve → com.example.shop.SoldOut outcome=server_error" + at + " status_code=20 dubbo_request_id=2" + rest + " dubbo_exception=com.example.shop.SoldOut",
			"com.example.shop.stock.StockService.reserve → OK" + at + " status_code=20 dubbo_request_id=1" + rest,
			"com.example.shop.stock.StockService.reserve → SERVICE_NOT_FOUND: no such service outcome=client_error" + at + " status_code=60 dubbo_request_id=3" + rest + " dubbo_error=no such service",
			"com.example.shop.stock.StockService.reserve" + at + " dubbo_request_id=4" + rest + " dubbo_oneway=true",
			"HEARTBEAT → OK status_code=20 dubbo_request_id=5"}},
		{Name: "a full pool, and no answer", Chunks: chunks{client(request), server(full), client(third)}, End: dissect.EndReset, Want: []string{
			"com.example.shop.stock.StockService.reserve → SERVER_THREADPOOL_EXHAUSTED_ERROR: pool is full outcome=refused" + at + " status_code=100 dubbo_request_id=1" + rest + " dubbo_error=pool is full",
			"com.example.shop.stock.StockService.reserve → reset error=reset outcome=no_answer" + at + " dubbo_request_id=3" + rest}},
		{Name: "a long argument with a gap", Chunks: chunks{client(message(isRequest|twoWay, 0, 6, asks+strings.Repeat("x", 9000))), {Dir: dissect.ToServer, Gap: 0}, server(message(0, statusOK, 6, "\x94"))}, Want: []string{
			"com.example.shop.stock.StockService.reserve → OK" + at + " status_code=20 dubbo_request_id=6" + rest}},
	}...)
}

// TestStrings reads strings of each length form, and in characters of UTF-16.
func TestStrings(t *testing.T) {
	for in, want := range map[string]string{"\x02ab": "ab", "\x30\x02ab": "ab", "S\x00\x02ab": "ab", "R\x00\x01aS\x00\x01b": "ab", "\x01é": "é", "\x03a😀": "a😀", "N": "", "\x05ab": "", "H": ""} {
		r := texts{[]byte(in)}
		if got := r.next().V; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, request, dissect.Yes},
		{"a response", dissect.ToClient, answer, dissect.Yes},
		{"a part of a head", dissect.ToServer, request[:15], dissect.More},
		{"a status that there is not", dissect.ToClient, message(0, 21, 1, ""), dissect.No},
		{"a status in a request", dissect.ToServer, message(isRequest, 20, 1, ""), dissect.No},
		{"another magic", dissect.ToServer, "\xda\xbc" + request[2:], dissect.No},
	})
}
