package dnp3

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// link is a frame from the master, station 1, to station 10, or back.
func link(control byte, data string) string {
	ends := "\x0a\x00\x01\x00"
	if control&fromMaster == 0 {
		ends = "\x01\x00\x0a\x00"
	}
	s := "\x05\x64" + string([]byte{byte(5 + len(data)), control}) + ends
	add := func(part string) string {
		return part + string(binary.LittleEndian.AppendUint16(nil, sum([]byte(part))))
	}
	s = add(s)
	for len(data) > 0 {
		n := min(len(data), block)
		s += add(data[:n])
		data = data[n:]
	}
	return s
}

func ask(app string) string  { return link(0xc4, "\xc0"+app) }
func tell(app string) string { return link(0x44, "\xc0"+app) }

var (
	status   = link(0xc9, "")
	alive    = link(0x0b, "")
	readAll  = ask("\xc1\x01\x3c\x02\x06\x3c\x03\x06")
	values   = tell("\xe1\x81\x90\x00\x01\x02\x00\x00\x03\x81\x01\x81\x01")
	confirms = ask("\xc1\x00")
	control  = "\x0c\x01\x28\x01\x00\x05\x00\x41\x01\xe8\x03\x00\x00\xe8\x03\x00\x00"
	selects  = ask("\xc2\x03" + control + "\x00")
	selected = tell("\xc2\x81\x00\x00" + control + "\x00")
	operates = ask("\xc3\x04" + control + "\x00")
	denied   = tell("\xc3\x81\x00\x00" + control + "\x02")
	unknown  = ask("\xc4\x46\x01\x02\x06")
	noCode   = tell("\xc4\x81\x00\x01")
	event    = tell("\xf0\x82\x00\x00\x02\x01\x17\x01\x03\x81")
	long     = "\xc5\x81\x00\x00\x1e\x02\x00\x00\x27" + strings.Repeat("\x01\x10\x00", 80)
)

var samples = []dissecttest.Sample{{Name: "polls and controls", Rows: 7, Chunks: chunks{client(status), server(alive), client(readAll), server(values), client(confirms),
	client(selects), server(selected), client(operates), server(denied), client(unknown), server(noCode), server(event)}}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_code", "dnp3_function", "dnp3_sequence", "dnp3_response_objects", "dnp3_iin", "dnp3_fragments"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "polls and controls", Chunks: samples[0].Chunks, Want: []string{
			"REQUEST_LINK_STATUS 1 to 10 → LINK_STATUS",
			"READ 1 to 10, g60v2, g60v3 → g1v2 0-3 dnp3_function=1 dnp3_sequence=1 dnp3_response_objects=[g1v2 0-3] dnp3_iin=[DEVICE_RESTART NEED_TIME] dnp3_fragments=1",
			"CONFIRM 1 to 10 dnp3_function=0 dnp3_sequence=1",
			"SELECT 1 to 10, g12v1 x1 → g12v1 x1 dnp3_function=3 dnp3_sequence=2 dnp3_response_objects=[g12v1 x1] dnp3_fragments=1",
			"OPERATE 1 to 10, g12v1 x1 → NO_SELECT outcome=refused status_code=2 dnp3_function=4 dnp3_sequence=3 dnp3_response_objects=[g12v1 x1] dnp3_fragments=1",
			"function_70 1 to 10, g1v2 → NO_FUNC_CODE_SUPPORT outcome=client_error status_code=1 dnp3_function=70 dnp3_sequence=4 dnp3_iin=[NO_FUNC_CODE_SUPPORT] dnp3_fragments=1",
			"UNSOLICITED_RESPONSE 10 to 1, g2v1 x1 dnp3_function=130 dnp3_sequence=0 dnp3_fragments=1"}},
		{Name: "two segments, and two fragments", Chunks: chunks{client(ask("\xc5\x01\x1e\x00\x06")), server(link(0x44, "\x40"+long[:240])), server(link(0x44, "\x81"+long[240:])),
			client(ask("\xc6\x01\x1e\x00\x06")), server(tell("\xa6\x81\x00\x00\x1e\x02\x00\x00\x00\x01\x10\x00")), client(ask("\xc6\x00")), server(tell("\x67\x81\x00\x00\x1e\x02\x00\x01\x01\x01\x10\x00"))}, Want: []string{
			"READ 1 to 10, g30v0 → g30v2 0-39 dnp3_function=1 dnp3_sequence=5 dnp3_response_objects=[g30v2 0-39] dnp3_fragments=1",
			"CONFIRM 1 to 10 dnp3_function=0 dnp3_sequence=6",
			"READ 1 to 10, g30v0 → g30v2 0 dnp3_function=1 dnp3_sequence=6 dnp3_response_objects=[g30v2 0] dnp3_fragments=2"}},
		{Name: "no response, and one without a request", Chunks: chunks{client(readAll), server(noCode)}, End: dissect.EndReset, Want: []string{
			"RESPONSE 1 to 10 → NO_FUNC_CODE_SUPPORT error=no_request outcome=client_error status_code=1 dnp3_function=129 dnp3_sequence=4 dnp3_iin=[NO_FUNC_CODE_SUPPORT] dnp3_fragments=1",
			"READ 1 to 10, g60v2, g60v3 → reset error=reset outcome=no_answer dnp3_function=1 dnp3_sequence=1"}},
		{Name: "a damaged block", Chunks: chunks{client(readAll[:12] + "\x00" + readAll[13:]), server(values)}, Anomalies: 1, Want: []string{
			"CONFIRM 1 to 10, g60v2 dnp3_function=0 dnp3_sequence=1",
			"RESPONSE 1 to 10 → g1v2 0-3 error=no_request dnp3_function=129 dnp3_sequence=1 dnp3_response_objects=[g1v2 0-3] dnp3_iin=[DEVICE_RESTART NEED_TIME] dnp3_fragments=1"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, readAll, dissect.Yes},
		{"a head", dissect.ToClient, values[:10], dissect.Yes},
		{"a client that is no master", dissect.ToServer, values, dissect.Likely},
		{"a part of a head", dissect.ToServer, readAll[:9], dissect.More},
		{"a wrong checksum", dissect.ToServer, readAll[:8] + "\x00\x00", dissect.No},
		{"another beginning", dissect.ToServer, "\x05\x63" + readAll[2:], dissect.No},
	})
}
