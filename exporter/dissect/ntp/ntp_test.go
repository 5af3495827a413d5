package ntp

import (
	"encoding/hex"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

func client(s string) dissecttest.Chunk { return dissecttest.Client(raw(s)) }
func server(s string) dissecttest.Chunk { return dissecttest.Server(raw(s)) }

func raw(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// The packets of dissecttest are captured from 1700000000 s on, which is e8fe6f80 since 1900, 1 µs apart.
const (
	zeros16 = "00000000000000000000000000000000"
	ask     = "230000fa0000000000000000000000000000000000000000" + "0000000000000000" + "0000000000000000" + "1122334455667788"
	reply   = "240206ec0000028f0000051ec0000201e8fe6f0000000000" + "1122334455667788" + "e8fe6f8080000000" + "e8fe6f8080100000"
	local   = "2401f8ec00000000000000004750530" + "0" + "e8fe6f0000000000" + "1122334455667788" + "e8fe6f8000000000" + "e8fe6f8000000000"
	kiss    = "e40006ec000000000000000052415445" + "0000000000000000" + "1122334455667788" + "e8fe6f8000000000" + "e8fe6f8000000000"
	lost    = "e40006ec000000000000000000000000" + "0000000000000000" + "1122334455667788" + "e8fe6f8000000000" + "e8fe6f8000000000"
	every   = "250206ec0000028f0000051ec0000201e8fe6f0000000000" + "0000000000000000" + "0000000000000000" + "e8fe6f8080000000"
	read    = "160200010000000000000000"
	variab  = "16820001061500000000000876657273696f6e3d"
	denied  = "16c20001070000000000000" + "0"
	monlist = "1700032a00000000"
)

var samples = []dissecttest.Sample{
	{Name: "a server", Rows: 2, Chunks: chunks{client(ask), server(reply), client(ask), server(kiss)}},
	{Name: "broadcast", Rows: 1, Chunks: chunks{client(every)}},
	{Name: "control", Rows: 2, Chunks: chunks{client(read), server(variab), client(read), server(denied)}},
	{Name: "private", Rows: 1, Chunks: chunks{client(monlist + zeros16 + zeros16 + zeros16[:16]), server("d700032a00010048" + zeros16 + zeros16 + zeros16 + zeros16 + zeros16[:16]), server("9701032a00010048" + zeros16 + zeros16 + zeros16 + zeros16 + zeros16[:16])}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"ntp_leap", "ntp_stratum", "ntp_reference", "ntp_kiss", "ntp_poll", "ntp_root_delay_us", "ntp_root_dispersion_us", "ntp_offset_us", "ntp_server_us", "ntp_key_id", "ntp_extensions", "ntp_error"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a server", Chunks: samples[0].Chunks[:2], Want: []string{"NTPv4 client → stratum 2 192.0.2.1, offset 500.120 ms ntp_leap=none ntp_stratum=2 ntp_reference=192.0.2.1 ntp_poll=6 ntp_root_delay_us=9994 ntp_root_dispersion_us=19989 ntp_offset_us=500120 ntp_server_us=244"}},
		{Name: "a reference clock", Chunks: chunks{client(ask), server(local)}, Want: []string{"NTPv4 client → stratum 1 GPS, offset -0.001 ms ntp_leap=none ntp_stratum=1 ntp_reference=GPS ntp_poll=-8 ntp_root_delay_us=0 ntp_root_dispersion_us=0 ntp_offset_us=-1 ntp_server_us=0"}},
		{Name: "a kiss of death", Chunks: chunks{client(ask), server(kiss)}, Want: []string{"NTPv4 client → RATE outcome=client_error ntp_leap=unsynchronized ntp_stratum=0 ntp_kiss=RATE ntp_poll=6 ntp_root_delay_us=0 ntp_root_dispersion_us=0 ntp_offset_us=-1 ntp_server_us=0"}},
		{Name: "a server that has no time", Chunks: chunks{client(ask), server(lost)}, Want: []string{"NTPv4 client → unsynchronized outcome=server_error ntp_leap=unsynchronized ntp_stratum=0 ntp_poll=6 ntp_root_delay_us=0 ntp_root_dispersion_us=0 ntp_offset_us=-1 ntp_server_us=0"}},
		{Name: "a broadcast", Chunks: samples[1].Chunks, Want: []string{"NTPv4 broadcast: stratum 2 ntp_leap=none ntp_stratum=2 ntp_reference=192.0.2.1 ntp_poll=6 ntp_root_delay_us=9994 ntp_root_dispersion_us=19989"}},
		{Name: "control", Chunks: samples[2].Chunks, Want: []string{"NTPv2 control read_variables → ok", "NTPv2 control read_variables → administratively prohibited outcome=refused ntp_error=7"}},
		{Name: "private, with two responses", Chunks: samples[3].Chunks, Want: []string{"NTPv2 private monlist → ok"}},
		{Name: "a key, and extension fields", Chunks: chunks{client(ask + "00000007" + zeros16), client(ask[:len(ask)-1] + "9" + "01040018" + zeros16 + "00000000" + "02040010" + "000000000000000000000000")}, Want: []string{
			"NTPv4 client → no_response error=no_response outcome=no_answer ntp_leap=none ntp_stratum=0 ntp_poll=0 ntp_root_delay_us=0 ntp_root_dispersion_us=0 ntp_key_id=7",
			"NTPv4 client → no_response error=no_response outcome=no_answer ntp_leap=none ntp_stratum=0 ntp_poll=0 ntp_root_delay_us=0 ntp_root_dispersion_us=0 ntp_extensions=[0x0104 0x0204]"}},
		{Name: "a response to another request", Chunks: chunks{client(ask), server(reply[:48] + "9922334455667788" + reply[64:])}, Want: []string{
			"NTPv4 server → stratum 2 192.0.2.1, no_request error=no_request outcome=cut ntp_leap=none ntp_stratum=2 ntp_reference=192.0.2.1 ntp_poll=6 ntp_root_delay_us=9994 ntp_root_dispersion_us=19989 ntp_server_us=244",
			"NTPv4 client → no_response error=no_response outcome=no_answer ntp_leap=none ntp_stratum=0 ntp_poll=0 ntp_root_delay_us=0 ntp_root_dispersion_us=0"}},
	}...)
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name string
		dir  dissect.Dir
		head string
		want dissect.Verdict
	}{
		{"a request", dissect.ToServer, ask, dissect.Likely},
		{"a request of SNTP", dissect.ToServer, "1b" + zeros16 + zeros16 + zeros16[2:], dissect.Likely},
		{"a request that hides the precision", dissect.ToServer, "23000620" + ask[8:], dissect.Likely},
		{"a precision of 33", dissect.ToServer, "23000621" + ask[8:], dissect.No},
		{"a response", dissect.ToClient, reply, dissect.Likely},
		{"a response from the client", dissect.ToServer, reply, dissect.No},
		{"a broadcast", dissect.ToServer, every, dissect.Likely},
		{"a control message", dissect.ToServer, read, dissect.Likely},
		{"a private message", dissect.ToServer, monlist, dissect.Likely},
		{"a request that is cut", dissect.ToServer, ask[:94], dissect.No},
		{"version 0", dissect.ToServer, "03" + ask[2:], dissect.No},
		{"stratum 17", dissect.ToClient, "2411" + reply[4:], dissect.No},
		{"a time in 1960", dissect.ToClient, reply[:32] + "7000000000000000" + reply[48:], dissect.No},
		{"zeros", dissect.ToServer, zeros16 + zeros16 + zeros16, dissect.No},
		{"a SHA-512 digest", dissect.ToServer, ask + "00000004" + zeros16 + zeros16 + zeros16 + zeros16, dissect.Likely},
		{"an extension field and a SHA-256 digest", dissect.ToServer, ask + "01040010" + zeros16[:24] + "00000004" + zeros16 + zeros16, dissect.Likely},
		{"a digest of a size that no hash has", dissect.ToServer, ask + "00000004" + zeros16 + zeros16 + zeros16[:24], dissect.No},
		{"bytes after the message", dissect.ToServer, ask + "0000", dissect.No},
	} {
		if got := detect(c.dir, []byte(raw(c.head))); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
