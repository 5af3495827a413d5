package modbus

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// msg is a message of unit 1.
func msg(transaction byte, pdu string) string {
	return "\x00" + string([]byte{transaction}) + "\x00\x00" + string([]byte{byte((1 + len(pdu)) >> 8), byte(1 + len(pdu))}) + "\x01" + pdu
}

var (
	read    = msg(1, "\x03\x00\x10\x00\x02")
	values  = msg(1, "\x03\x04\x00\x07\x01\x00")
	coil    = msg(2, "\x05\x00\x05\xff\x00")
	write   = msg(3, "\x10\x00\x20\x00\x02\x04\x00\x01\xff\xff")
	written = msg(3, "\x10\x00\x20\x00\x02")
	beyond  = msg(4, "\x01\xff\x00\x00\x08")
	illegal = msg(4, "\x81\x02")
	both    = msg(5, "\x17\x00\x01\x00\x01\x00\x09\x00\x01\x02\x00\x05")
	gave    = msg(5, "\x17\x02\x00\x2a")
	busy    = msg(6, "\x86\x06")
)

var whole = chunks{client(read), server(values), client(coil), server(coil), client(write + beyond), server(illegal), server(written), client(both), server(gave)}

var samples = []dissecttest.Sample{{Name: "reads and writes", Rows: 5, Chunks: whole}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_code", "modbus_transaction", "modbus_quantity", "modbus_write_address", "modbus_write_quantity", "modbus_written", "modbus_values", "modbus_subfunction", "modbus_exception"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "reads and writes", Chunks: whole, Want: []string{
			"Read Holding Registers, unit 1, address 16 to 17 modbus_transaction=1 modbus_quantity=2 modbus_values=[7 256]",
			"Write Single Coil, unit 1, address 5 modbus_transaction=2 modbus_quantity=1 modbus_written=[ON]",
			"Read Coils, unit 1, address 65280 to 65287 → ILLEGAL DATA ADDRESS outcome=client_error status_code=2 modbus_transaction=4 modbus_quantity=8 modbus_exception=ILLEGAL DATA ADDRESS",
			"Write Multiple Registers, unit 1, address 32 to 33 modbus_transaction=3 modbus_quantity=2 modbus_written=[1 65535]",
			"Read/Write Multiple Registers, unit 1, address 1 modbus_transaction=5 modbus_quantity=1 modbus_write_address=9 modbus_write_quantity=1 modbus_written=[5] modbus_values=[42]"}},
		{Name: "no response, and a response without a request", Chunks: chunks{client(read), server(busy)}, End: dissect.EndReset, Want: []string{
			"Write Single Register, unit 1 → SERVER DEVICE BUSY error=no_request outcome=server_error status_code=6 modbus_transaction=6 modbus_exception=SERVER DEVICE BUSY",
			"Read Holding Registers, unit 1, address 16 to 17 → reset error=reset outcome=no_answer modbus_transaction=1 modbus_quantity=2"}},
		{Name: "a function of a vendor, and a count that does not fit", Chunks: chunks{client(read), server(values), client(msg(7, "\x41\x01")), server(msg(7, "\x41\x02")), client(msg(8, "\x03\x00\x10\x00\x00")), server(msg(8, "\x83\x03"))}, Anomalies: 1, Want: []string{
			"Read Holding Registers, unit 1, address 16 to 17 modbus_transaction=1 modbus_quantity=2 modbus_values=[7 256]",
			"function_65, unit 1 modbus_transaction=7",
			"Read Holding Registers, unit 1 → ILLEGAL DATA VALUE outcome=client_error status_code=3 modbus_transaction=8 modbus_exception=ILLEGAL DATA VALUE"}},
	}...)
}

// On its port, a conversation that has only functions of a vendor is Modbus, too, with messages of any length.
func TestVendorOnPort(t *testing.T) {
	long := msg(2, "\x5a"+strings.Repeat("x", 1000))
	r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{Protocol()}, ServerPort: 502, End: dissect.EndFin},
		client(msg(1, "\x5a\x00\x02")), server(msg(1, "\x5a\x00\xfe")), client(long), server(long))
	if got, want := dissecttest.Lines(r), "0 function_90, unit 1 complete\n0 function_90, unit 1 complete\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	dissecttest.Detect(t, detectOnPort, dissecttest.Heads{
		{"a vendor's function", dissect.ToServer, msg(1, "\x5a\x00\x02"), dissect.Yes},
		{"a part of a message", dissect.ToServer, long[:40], dissect.No},
		{"something else after it", dissect.ToServer, msg(1, "\x5a\x00\x02") + "GET / HTTP/1.1", dissect.No},
		{"a long message of a standard function", dissect.ToServer, msg(2, "\x03"+strings.Repeat("x", 1000)), dissect.No},
	})
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, read, dissect.Likely},
		{"a response", dissect.ToClient, values, dissect.Likely},
		{"an exception", dissect.ToClient, illegal, dissect.Likely},
		{"an exception of the client", dissect.ToServer, illegal, dissect.No},
		{"two requests", dissect.ToServer, read + coil, dissect.Likely},
		{"the beginning of a request", dissect.ToServer, read[:9], dissect.More},
		{"another protocol number", dissect.ToServer, "\x00\x01\x00\x01" + read[4:], dissect.No},
		{"no registers", dissect.ToServer, msg(1, "\x03\x00\x10\x00\x00"), dissect.No},
		{"registers beyond the last", dissect.ToServer, msg(1, "\x03\xff\xff\x00\x02"), dissect.No},
		{"bytes that do not fit the count", dissect.ToServer, msg(1, "\x10\x00\x20\x00\x02\x05\x00\x01\xff\xff\x00"), dissect.No},
		{"an unknown function", dissect.ToServer, msg(1, "\x41\x00"), dissect.No},
		{"an unknown exception", dissect.ToClient, msg(1, "\x83\x7f"), dissect.No},
		{"something else after the message", dissect.ToServer, read + "GET / HTTP/1.1", dissect.No},
		{"a length below the unit and the function", dissect.ToServer, "\x00\x01\x00\x00\x00\x01\x01", dissect.No},
	})
}
