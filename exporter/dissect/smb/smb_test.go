package smb

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// le is numbers in little endian: bytes, words of 16, 32 and 64 bits, and text as it is.
func le(parts ...any) string {
	var b []byte
	for _, p := range parts {
		switch v := p.(type) {
		case byte:
			b = append(b, v)
		case uint16:
			b = binary.LittleEndian.AppendUint16(b, v)
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, v)
		case uint64:
			b = binary.LittleEndian.AppendUint64(b, v)
		case string:
			b = append(b, v...)
		}
	}
	return string(b)
}

func zeros(n int) string { return strings.Repeat("\x00", n) }

func utf(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// frame is a message of commands.
func frame(commands ...string) string {
	for i := range commands[:len(commands)-1] {
		c := commands[i] + zeros(-len(commands[i])&7)
		commands[i] = c[:20] + le(uint32(len(c))) + c[24:]
	}
	s := strings.Join(commands, "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// v2 is a command of SMB 2.
func v2(command int, id, status, flags, tree int, body string) string {
	return le(magic2, uint16(64), uint16(1), uint32(status), uint16(command), uint16(1), uint32(flags), uint32(0), uint64(id), uint32(0), uint32(tree), uint64(9), zeros(16), body)
}

func ask(command, id int, body string) string { return v2(command, id, 0, 0, 5, body) }
func reply(command, id, status int, body string) string {
	return v2(command, id, status, flagResponse, 5, body)
}

var fid = le(uint64(7), uint64(8))

const failure = "\x09\x00\x00\x00\x00\x00\x00\x00\x00"

func treeAsk(id int, share string) string {
	return ask(treeConnect2, id, le(uint16(9), uint16(0), uint16(72), uint16(len(utf(share))), utf(share)))
}
func treeReply(id int, kind byte) string {
	return reply(treeConnect2, id, 0, le(uint16(16), kind, byte(0), zeros(12)))
}
func createAsk(id int, name string) string {
	return ask(create2, id, le(uint16(57), zeros(22), uint32(0x81), uint32(0), uint32(7), uint32(1), uint32(0), uint16(120), uint16(len(utf(name))), uint32(0), uint32(0), utf(name)))
}
func createReply(id int) string {
	return reply(create2, id, 0, le(uint16(89), uint16(0), uint32(1), zeros(40), uint64(5000), uint32(0), uint32(0), fid, zeros(8)))
}
func readAsk(id, size, at int) string {
	return ask(read2, id, le(uint16(49), uint16(0), uint32(size), uint64(at), fid, zeros(17)))
}
func readReply(id, n int) string {
	return reply(read2, id, 0, le(uint16(17), byte(80), byte(0), uint32(n), uint64(0), strings.Repeat("x", n)))
}
func closeAsk(id int, file string) string {
	return ask(close2, id, le(uint16(24), uint16(0), uint32(0), file))
}
func closeReply(id int) string { return reply(close2, id, 0, le(uint16(60), zeros(58))) }

// setAsk names a file anew, MS-FSCC section 2.4.42.
func setAsk(id int, class byte, file, name string) string {
	return ask(setInfo2, id, le(uint16(33), byte(1), class, uint32(20+len(utf(name))), uint16(96), uint16(0), uint32(0), file, zeros(16), uint32(len(utf(name))), utf(name)))
}
func ioctlAsk(id int, pdu string) string {
	return ask(ioctl2, id, le(uint16(57), uint16(0), uint32(pipeTransact), fid, uint32(120), uint32(len(pdu)), uint32(0), uint32(0), uint32(0), uint32(1024), uint32(1), uint32(0), pdu))
}
func ioctlReply(id int, pdu string) string {
	return reply(ioctl2, id, 0, le(uint16(49), uint16(0), uint32(pipeTransact), fid, uint32(0), uint32(0), uint32(112), uint32(len(pdu)), uint32(0), uint32(0), pdu))
}
func pdu(kind byte, body string) string {
	return le(byte(5), byte(0), kind, byte(3), uint32(0x10), uint16(16+len(body)), uint16(0), uint32(1), body)
}

const secret = "secretsecretsecretsecret"

// ntlm3 is the last message of a login.
func ntlm3(domain, user, machine, response string) string {
	parts, list, at := []string{"", response, utf(domain), utf(user), utf(machine), ""}, "", 64
	for _, p := range parts {
		list += le(uint16(len(p)), uint16(len(p)), uint32(at))
		at += len(p)
	}
	return le("NTLMSSP\x00", uint32(3), list, uint32(1), strings.Join(parts, ""))
}

func loginAsk(id int, token string) string {
	return ask(sessionSetup2, id, le(uint16(25), zeros(10), uint16(88), uint16(len(token)), uint64(0), token))
}
func loginReply(id, status int, token string) string {
	return reply(sessionSetup2, id, status, le(uint16(9), uint16(0), uint16(72), uint16(len(token)), token))
}

var ntlm1, ntlm2 = le("NTLMSSP\x00", uint32(1), zeros(24)), le("NTLMSSP\x00", uint32(2), uint16(8), uint16(8), uint32(48), zeros(28), utf("SHOP"))

// v1 is a message of SMB 1.
func v1(command byte, flags byte, id int, words, data string) string {
	return frame(le(magic1, command, uint32(0), flags, uint16(0xc000), zeros(12), uint16(3), uint16(77), uint16(4), uint16(id), byte(len(words)/2), words, uint16(len(data)), data))
}

var samples = []dissecttest.Sample{
	{Name: "a file is read", Rows: 6, Chunks: chunks{client(frame(loginAsk(1, ntlm1))), server(frame(loginReply(1, statusMore, ntlm2))), client(frame(loginAsk(2, ntlm3("SHOP", "ann", "TILL", secret+"long")))),
		server(frame(loginReply(2, 0, ""))), client(frame(treeAsk(3, `\\files\public`))), server(frame(treeReply(3, 1))), client(frame(createAsk(4, `a\list.txt`))), server(frame(createReply(4))),
		client(frame(readAsk(5, 4000, 100))), server(frame(readReply(5, 4000))), client(frame(closeAsk(6, fid))), server(frame(closeReply(6)))}},
	{Name: "commands in one message, and out of order", Rows: 6, Chunks: chunks{client(frame(createAsk(4, "b"), v2(close2, 5, 0, flagRelated, 5, le(uint16(24), uint16(0), uint32(0), strings.Repeat("\xff", 16))))),
		server(frame(createReply(4), closeReply(5))), client(frame(createAsk(6, "c"))), client(frame(createAsk(7, "d"))), server(frame(reply(create2, 7, 0xc0000034, failure))), server(frame(createReply(6))),
		client(frame(readAsk(8, 70_000, 0))), server(frame(readReply(8, 70_000)))}},
	{Name: "SMB 1", Rows: 5, Chunks: chunks{client(v1(negotiate1, 8, 1, "", "\x02NT LM 0.12\x00")), server(v1(negotiate1, 0x88, 1, zeros(34), "")),
		client(v1(treeAndX, 8, 2, le(byte(0xff), zeros(3), uint16(0), uint16(1)), "\x00"+utf(`\\files\c`)+"\x00\x00?????\x00")), server(v1(treeAndX, 0x88, 2, le(byte(0xff), zeros(5)), "A:\x00")),
		client(v1(ntCreateAndX, 8, 3, le(byte(0xff), zeros(10), uint32(0), uint32(1), zeros(16), uint32(1), zeros(9)), "\x00"+utf("a.txt")+"\x00\x00")),
		server(v1(ntCreateAndX, 0x88, 3, le(byte(0xff), zeros(4), uint16(6), uint32(1), zeros(57)), "")),
		client(v1(readAndX, 8, 4, le(byte(0xff), zeros(3), uint16(6), uint32(10), uint16(100), zeros(10)), "")), server(v1(readAndX, 0x88, 4, le(byte(0xff), zeros(9), uint16(4), uint16(60), zeros(10)), "\x00data")),
		client(v1(close1, 8, 5, le(uint16(6), uint32(0)), "")), server(v1(close1, 0x88, 5, "", ""))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	srvsvc := "\xc8\x4f\x32\x4b\x70\x16\xd3\x01\x12\x78\x5a\x47\xbf\x6e\xe1\x88"
	bind := pdu(rpcBind, le(uint32(0), uint32(0), byte(1), zeros(3), uint16(2), byte(1), byte(0), srvsvc, uint32(3), zeros(20)))
	related := v2(setInfo2, 5, 0, flagRelated, 5, le(uint16(33), byte(1), byte(10), uint32(24), uint16(96), uint16(0), uint32(0), strings.Repeat("\xff", 16), zeros(16), uint32(4), utf("zz")))
	transform := frame(le(encrypted, zeros(40), uint64(9), zeros(100)))
	dissecttest.Converse(t, Protocol(), []string{"auth_kind", "smb_user", "smb_target", "smb_workstation", "smb_share", "smb_access", "smb_action", "smb_bytes", "smb_async", "smb_signed", "smb_compound", "smb_messages"}, []dissecttest.Conversation{
		{Name: "a login, a share, and a file", Chunks: samples[0].Chunks, Want: []string{
			"SESSION_SETUP ntlm → STATUS_MORE_PROCESSING_REQUIRED auth_kind=ntlm smb_target=SHOP",
			`SESSION_SETUP ntlmv2 SHOP\ann → STATUS_SUCCESS auth_kind=ntlm smb_user=ann smb_workstation=TILL`,
			`TREE_CONNECT \\files\public → STATUS_SUCCESS smb_user=ann smb_share=\\files\public`,
			`CREATE a\list.txt open → STATUS_SUCCESS smb_user=ann smb_share=\\files\public smb_access=[read_data read_attributes] smb_action=opened`,
			`READ a\list.txt 4000 at 100 → STATUS_SUCCESS smb_user=ann smb_share=\\files\public smb_bytes=4000`,
			`CLOSE a\list.txt → STATUS_SUCCESS smb_user=ann smb_share=\\files\public`}},
		{Name: "commands of one message, and answers out of order", Chunks: samples[1].Chunks, Want: []string{
			"CREATE b open → STATUS_SUCCESS smb_compound=true smb_access=[read_data read_attributes] smb_action=opened", "CLOSE b → STATUS_SUCCESS smb_compound=true",
			"CREATE d open → STATUS_OBJECT_NAME_NOT_FOUND outcome=client_error smb_access=[read_data read_attributes]",
			"CREATE c open → STATUS_SUCCESS smb_access=[read_data read_attributes] smb_action=opened", "READ c 70000 at 0 → STATUS_SUCCESS smb_bytes=70000", "TRANSFER c → cut error=cut outcome=cut"}},
		{Name: "SMB 1", Chunks: samples[2].Chunks, Want: []string{
			"NEGOTIATE NT LM 0.12 → STATUS_SUCCESS", `TREE_CONNECT_ANDX \\files\c → STATUS_SUCCESS smb_share=\\files\c`,
			`NT_CREATE_ANDX a.txt open → STATUS_SUCCESS smb_share=\\files\c smb_access=[read_data] smb_action=opened`,
			`READ_ANDX a.txt 100 at 10 → STATUS_SUCCESS smb_share=\\files\c smb_bytes=4`, `CLOSE a.txt → STATUS_SUCCESS smb_share=\\files\c`}},
		{Name: "a rename of the file that the command before opened", Chunks: chunks{client(frame(createAsk(4, "b"), related)), server(frame(createReply(4), reply(setInfo2, 5, 0xc0000022, failure)))}, Want: []string{
			"CREATE b open → STATUS_SUCCESS smb_compound=true smb_access=[read_data read_attributes] smb_action=opened", "SET_INFO b to zz file/rename → STATUS_ACCESS_DENIED outcome=refused smb_compound=true"}},
		{Name: "a link", Chunks: chunks{client(frame(createAsk(4, "b"))), server(frame(createReply(4))), client(frame(setAsk(5, 11, fid, "c"))), server(frame(reply(setInfo2, 5, 0, le(uint16(2)))))}, Want: []string{
			"CREATE b open → STATUS_SUCCESS smb_access=[read_data read_attributes] smb_action=opened", "SET_INFO b to c file/link → STATUS_SUCCESS"}},
		{Name: "a control of no file", Chunks: chunks{client(frame(strings.Replace(ioctlAsk(5, "x"), le(uint32(pipeTransact), fid), le(uint32(0x60194), strings.Repeat("\xff", 16)), 1))), server(frame(reply(ioctl2, 5, 0xc0000225, failure)))}, Want: []string{
			"IOCTL FSCTL_DFS_GET_REFERRALS → STATUS_NOT_FOUND outcome=client_error"}},
		{Name: "an answer that takes long", Chunks: chunks{client(frame(closeAsk(3, fid))), server(frame(v2(close2, 3, statusPending, flagResponse|flagAsync, 0, failure))), server(frame(v2(close2, 3, 0, flagResponse|flagAsync|flagSigned, 0, le(uint16(60), zeros(58)))))}, Want: []string{
			"CLOSE ? → STATUS_SUCCESS smb_async=true smb_signed=true"}},
		{Name: "a named pipe", Chunks: chunks{client(frame(createAsk(4, "srvsvc"))), server(frame(createReply(4))), client(frame(ioctlAsk(5, bind))), server(frame(ioctlReply(5, pdu(12, zeros(40))))),
			client(frame(ioctlAsk(6, pdu(rpcRequest, le(uint32(0), uint16(2), uint16(15), "arguments"))))), server(frame(ioctlReply(6, pdu(2, zeros(20)))))}, Want: []string{
			"CREATE srvsvc open → STATUS_SUCCESS smb_access=[read_data read_attributes] smb_action=opened", "IOCTL srvsvc FSCTL_PIPE_TRANSCEIVE bind srvsvc → STATUS_SUCCESS",
			"IOCTL srvsvc FSCTL_PIPE_TRANSCEIVE request srvsvc NetShareEnumAll → STATUS_SUCCESS"}},
		{Name: "encrypted messages", Chunks: chunks{client(transform), server(transform), client(transform)}, Want: []string{"ENCRYPTED messages that are not read outcome=unread smb_messages=3"}},
		{Name: "a transaction without its rest", Chunks: chunks{client(v1(transaction1, 8, 6, le(uint16(512), uint16(3000), zeros(14), zeros(10)), "\x00\x00\x00")),
			server(v1(transaction1, 0x88, 6, "", ""))}, End: dissect.EndReset, Want: []string{"TRANSACTION → reset error=reset outcome=no_answer"}},
		{Name: "an answer of SMB 2 to SMB 1", Chunks: chunks{client(v1(negotiate1, 8, 1, "", "\x02SMB 2.???\x00")), server(frame(v2(negotiate2, 0, 0, flagResponse, 0, le(uint16(65), uint16(3), uint16(0x2ff), zeros(58)))))}, Want: []string{
			"NEGOTIATE 2.??? → STATUS_SUCCESS"}},
		{Name: "the data of a read has a gap", Chunks: chunks{client(frame(readAsk(5, 4000, 100))), server(frame(readReply(5, 4000))[:200]), {Dir: dissect.ToClient, Gap: 1000}, server(frame(readReply(5, 4000))[1200:])}, Want: []string{
			"READ 4000 at 100 ? → STATUS_SUCCESS error=gap smb_bytes=4000", "TRANSFER ? → cut error=cut outcome=cut"}},
		{Name: "no answer", Chunks: chunks{client(frame(closeAsk(3, fid)))}, End: dissect.EndReset, Want: []string{"CLOSE ? → reset error=reset outcome=no_answer"}},
	}...)
}

// TestNoSecrets looks for the responses of a login in every column.
func TestNoSecrets(t *testing.T) {
	plain := v1(sessionAndX, 8, 1, le(byte(0xff), zeros(13), uint16(0), uint16(24), zeros(8)), secret+utf("ann")+"\x00\x00"+utf("SHOP")+"\x00\x00")
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), slices.Concat(samples[0].Chunks, chunks{client(plain)})...)
	users := 0
	for _, row := range r.Rows() {
		if s := dissecttest.Line(row, "smb_user", "smb_domain", "smb_workstation", "smb_target", "smb_file", "smb_share"); strings.Contains(s, "secret") || strings.Contains(s, "敳") {
			t.Error(s)
		}
		if row.(*Row).User.V == "ann" {
			users++
		}
	}
	if users == 0 {
		t.Error("no row has the user")
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, frame(closeAsk(3, fid)), dissect.Yes},
		{"a response", dissect.ToClient, frame(closeReply(3)), dissect.Yes},
		{"a response from the client", dissect.ToServer, frame(closeReply(3)), dissect.No},
		{"the beginning of a request", dissect.ToServer, frame(closeAsk(3, fid))[:7], dissect.More},
		{"SMB 1", dissect.ToServer, v1(negotiate1, 8, 1, "", "\x02NT LM 0.12\x00"), dissect.Yes},
		{"an unknown command of SMB 1", dissect.ToServer, v1(0xee, 8, 1, "", ""), dissect.No},
		{"an encrypted message", dissect.ToClient, frame(le(encrypted, zeros(150))), dissect.Yes},
		{"a session of NetBIOS", dissect.ToServer, "\x81\x00\x00\x44\x20" + strings.Repeat("CA", 16) + "\x00\x20" + strings.Repeat("EB", 16) + "\x00", dissect.Yes},
		{"a positive answer", dissect.ToClient, "\x82\x00\x00\x00", dissect.Likely},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
		{"zeros", dissect.ToServer, zeros(100), dissect.No},
	})
}
