package diameter

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// avp is an AVP with padding.
func avp(code uint32, value string) string {
	b := binary.BigEndian.AppendUint32(nil, code)
	b = binary.BigEndian.AppendUint32(b, 0x40000000|uint32(8+len(value)))
	return string(b) + value + strings.Repeat("\x00", -len(value)&3)
}

// number is an AVP with a number.
func number(code, n uint32) string { return avp(code, string(binary.BigEndian.AppendUint32(nil, n))) }

// msg is a message; id is both identifiers.
func msg(flags byte, command, application, id uint32, avps ...string) string {
	body := strings.Join(avps, "")
	b := binary.BigEndian.AppendUint32(nil, 1<<24|uint32(20+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(flags)<<24|command)
	for _, n := range [...]uint32{application, id, id} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return string(b) + body
}

func origin(name string) string { return avp(264, name+".example") + avp(296, "example") }

const (
	r = 0x80
	p = 0x40
	e = 0x20
)

var (
	cer  = msg(r, 257, 0, 1, origin("a"), avp(269, "gate"), avp(260, number(266, 10415)+number(258, 16777251)), number(258, 4))
	cea  = msg(0, 257, 0, 1, number(268, 2001), origin("b"), number(258, 4))
	dwr  = msg(r, 280, 0, 2, origin("b"))
	dwa  = msg(0, 280, 0, 2, number(268, 2001), origin("a"))
	ccr  = msg(r|p, 272, 4, 3, avp(263, "s;1"), origin("a"), avp(283, "example"), avp(293, "b.example"), number(416, 1), number(415, 0), avp(443, number(450, 0)+avp(444, "4912345")))
	cca  = msg(p, 272, 4, 3, avp(263, "s;1"), number(268, 4012), origin("b"), avp(281, "no credit"))
	aar  = msg(r|p, 265, 1, 4, avp(263, "s;2"), origin("a"), avp(283, "example"), avp(1, "ann"), avp(2, "secret"))
	aaa  = msg(p, 265, 1, 4, avp(263, "s;2"), number(268, 4001), origin("b"))
	air  = msg(r|p, 318, 16777251, 5, avp(263, "s;3"), origin("a"), avp(1, "00101"))
	aia  = msg(p, 318, 16777251, 5, avp(263, "s;3"), avp(297, number(266, 10415)+number(298, 5001)), origin("b"))
	late = msg(p|e, 275, 1, 9, number(268, 3002), origin("b"), avp(279, avp(283, "")))
)

var whole = chunks{client(cer), server(cea), server(dwr), client(dwa), client(ccr + aar), server(aaa), server(cca), client(air), server(aia)}

var samples = []dissecttest.Sample{{Name: "sessions", Rows: 5, Chunks: whole}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"attempt", "auth_kind", "diameter_application_name", "diameter_session", "diameter_origin_host", "diameter_destination_host", "diameter_response_host", "diameter_user", "diameter_subscription", "diameter_request_number", "diameter_product", "diameter_applications", "diameter_response_applications", "diameter_error_message", "diameter_failed_avp", "diameter_avps"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "sessions", Chunks: whole, Want: []string{
			"Capabilities-Exchange → DIAMETER_SUCCESS diameter_application_name=base diameter_origin_host=a.example diameter_response_host=b.example diameter_product=gate diameter_applications=[3GPP S6a Credit Control] diameter_response_applications=[Credit Control] diameter_avps=[Origin-Host Origin-Realm Product-Name Vendor-Specific-Application-Id Auth-Application-Id]",
			"Device-Watchdog → DIAMETER_SUCCESS diameter_application_name=base diameter_origin_host=b.example diameter_response_host=a.example diameter_avps=[Origin-Host Origin-Realm]",
			"AA ann example → DIAMETER_AUTHENTICATION_REJECTED outcome=refused auth_kind=pap diameter_application_name=NASREQ diameter_session=s;2 diameter_origin_host=a.example diameter_response_host=b.example diameter_user=ann diameter_avps=[Session-Id Origin-Host Origin-Realm Destination-Realm User-Name User-Password]",
			"Credit-Control INITIAL_REQUEST example → DIAMETER_CREDIT_LIMIT_REACHED outcome=refused diameter_application_name=Credit Control diameter_session=s;1 diameter_origin_host=a.example diameter_destination_host=b.example diameter_response_host=b.example diameter_subscription=4912345 diameter_request_number=0 diameter_error_message=no credit diameter_avps=[Session-Id Origin-Host Origin-Realm Destination-Realm Destination-Host CC-Request-Type CC-Request-Number Subscription-Id]",
			"Authentication-Information 00101 → experimental_5001 outcome=client_error diameter_application_name=3GPP S6a diameter_session=s;3 diameter_origin_host=a.example diameter_response_host=b.example diameter_user=00101 diameter_avps=[Session-Id Origin-Host Origin-Realm User-Name]"}},
		{Name: "an answer without a request", Chunks: chunks{server(late)}, Want: []string{
			"Session-Termination → DIAMETER_UNABLE_TO_DELIVER error=no_request outcome=server_error diameter_application_name=NASREQ diameter_response_host=b.example diameter_failed_avp=Destination-Realm"}},
		{Name: "an answer of another command", Chunks: chunks{client(cer), server(msg(0, 280, 0, 1, number(268, 2001), origin("b")))}, End: dissect.EndReset, Want: []string{
			"Device-Watchdog → DIAMETER_SUCCESS error=no_request diameter_application_name=base diameter_response_host=b.example",
			"Capabilities-Exchange → reset error=reset outcome=no_answer diameter_application_name=base diameter_origin_host=a.example diameter_product=gate diameter_applications=[3GPP S6a Credit Control] diameter_avps=[Origin-Host Origin-Realm Product-Name Vendor-Specific-Application-Id Auth-Application-Id]"}},
		{Name: "an AVP that does not fit", Chunks: chunks{client(cer), server(cea), client(msg(r, 280, 0, 7, origin("a"), "\x00\x00\x01\x08\x40\x00\x00\xff")), server(msg(0, 280, 0, 7, number(268, 5014), origin("b")))}, Anomalies: 1, Want: []string{
			"Capabilities-Exchange → DIAMETER_SUCCESS diameter_application_name=base diameter_origin_host=a.example diameter_response_host=b.example diameter_product=gate diameter_applications=[3GPP S6a Credit Control] diameter_response_applications=[Credit Control] diameter_avps=[Origin-Host Origin-Realm Product-Name Vendor-Specific-Application-Id Auth-Application-Id]",
			"Device-Watchdog → DIAMETER_INVALID_AVP_LENGTH outcome=client_error diameter_application_name=base diameter_origin_host=a.example diameter_response_host=b.example diameter_avps=[Origin-Host Origin-Realm]"}},
	}...)
}

// TestNoSecrets states that no column has a password.
func TestNoSecrets(t *testing.T) { dissecttest.NoSecret(t, Protocol(), samples[0], "secret") }

// TestNested states that AVPs inside one another have a limit.
func TestNested(t *testing.T) {
	deep := number(298, 5001)
	for range 100 {
		deep = avp(297, deep)
	}
	c := content{row: &Row{}}
	if c.read([]byte(deep), 0); c.result.OK {
		t.Error("AVPs are read at any depth")
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, cer, dissect.Yes},
		{"a request of the server", dissect.ToClient, dwr, dissect.Likely},
		{"an answer", dissect.ToClient, cea, dissect.Yes},
		{"the beginning of a request", dissect.ToServer, cer[:10], dissect.More},
		{"an unknown command", dissect.ToServer, msg(r, 7, 0, 1, origin("a")), dissect.No},
		{"a reserved flag", dissect.ToServer, msg(r|1, 257, 0, 1, origin("a")), dissect.No},
		{"an error that is a request", dissect.ToServer, msg(r|e, 257, 0, 1, origin("a")), dissect.No},
		{"an answer that is sent again", dissect.ToClient, msg(isRepeated, 257, 0, 1, origin("a")), dissect.No},
		{"an AVP beyond the end", dissect.ToServer, cer[:27] + "\xff" + cer[28:], dissect.No},
		{"an unknown AVP first", dissect.ToServer, msg(r, 257, 0, 1, avp(9999, "x")), dissect.No},
		{"a length that is no multiple of 4", dissect.ToServer, cer[:3] + "\x7d" + cer[4:], dissect.No},
		{"TLS", dissect.ToServer, "\x16\x03\x01\x02\x00\x01", dissect.No},
	})
}
