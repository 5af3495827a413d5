package smb

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestResultsInPipes reads what remote calls in a named pipe return: in the answer to one command, or in reads that follow
// a write.
func TestResultsInPipes(t *testing.T) {
	const svcctl = "\x81\xbb\x7a\x36\x44\x98\xf1\x35\xad\x32\x98\xf0\x38\x00\x10\x03"
	const denied, success = "\x05\x00\x00\x00", "\x00\x00\x00\x00"
	bind := pdu(rpcBind, le(uint32(0), uint32(0), byte(1), zeros(3), uint16(0), byte(1), byte(0), svcctl, uint32(2), zeros(20)))
	open := pdu(rpcRequest, le(uint32(0), uint16(0), uint16(15), "arguments"))
	answer := func(value string) string {
		return pdu(rpcResponse, le(uint32(24), uint16(0), uint16(0), zeros(20), value))
	}
	sealed := le(byte(5), byte(0), byte(2), byte(3), uint32(0x10), uint16(24+8+8+16), uint16(16), uint32(1), zeros(8), "sealed!!", byte(10), byte(6), byte(0), byte(0), uint32(7), zeros(16))
	write := func(id int, pdu string) string {
		return ask(write2, id, le(uint16(49), uint16(112), uint32(len(pdu)), uint64(0), fid, uint32(0), uint32(0), uint16(0), uint16(0), uint32(0), pdu))
	}
	written := func(id, n int) string {
		return reply(write2, id, 0, le(uint16(17), uint16(0), uint32(n), uint32(0), uint32(0)))
	}
	read := func(id, status int, data string) string {
		return reply(read2, id, status, le(uint16(17), byte(80), byte(0), uint32(len(data)), uint64(0), data))
	}
	begin := chunks{client(frame(createAsk(1, "svcctl"))), server(frame(createReply(1))), client(frame(ioctlAsk(2, bind))), server(frame(ioctlReply(2, pdu(12, zeros(40)))))}
	want := func(rows ...string) []string {
		return append([]string{"CREATE svcctl open → STATUS_SUCCESS", "IOCTL svcctl FSCTL_PIPE_TRANSCEIVE bind svcctl → STATUS_SUCCESS"}, rows...)
	}
	after := func(more ...dissecttest.Chunk) chunks { return append(begin[:4:4], more...) }
	const asked = "IOCTL svcctl FSCTL_PIPE_TRANSCEIVE request svcctl OpenSCManagerW → "
	dissecttest.Converse(t, Protocol(), []string{"smb_rpc_status"}, []dissecttest.Conversation{
		{Name: "one command", Chunks: after(client(frame(ioctlAsk(3, open))), server(frame(ioctlReply(3, answer(denied)))), client(frame(ioctlAsk(4, open))), server(frame(ioctlReply(4, answer(success))))),
			Want: want(asked+"ERROR_ACCESS_DENIED outcome=refused smb_rpc_status=5", asked+"STATUS_SUCCESS smb_rpc_status=0")},
		{Name: "a fault", Chunks: after(client(frame(ioctlAsk(3, open))), server(frame(ioctlReply(3, pdu(rpcFault, le(uint32(0), uint32(0), uint32(0x1c010002), uint32(0))))))),
			Want: want(asked + "nca_op_rng_error outcome=client_error smb_rpc_status=469827586")},
		{Name: "encrypted", Chunks: after(client(frame(ioctlAsk(3, open))), server(frame(ioctlReply(3, sealed)))),
			Want: want(asked + "encrypted result outcome=unread")},
		{Name: "a write and reads of a part each", Chunks: after(client(frame(write(3, open))), server(frame(written(3, len(open)))),
			client(frame(readAsk(4, 30, 0))), server(frame(read(4, 0x80000005, answer(denied)[:30]))), client(frame(readAsk(5, 1000, 0))), server(frame(read(5, 0, answer(denied)[30:])))),
			Want: want("WRITE svcctl request svcctl OpenSCManagerW 33 at 0 → STATUS_SUCCESS", "READ svcctl 30 at 0 → STATUS_BUFFER_OVERFLOW", "READ svcctl response svcctl OpenSCManagerW 1000 at 0 → ERROR_ACCESS_DENIED outcome=refused smb_rpc_status=5")},
		{Name: "the open and the bind were not captured", Chunks: chunks{client(frame(ioctlAsk(3, open))), server(frame(ioctlReply(3, answer(denied))))},
			Want: []string{"IOCTL FSCTL_PIPE_TRANSCEIVE request op_15 ? → result not known outcome=unread"}},
	}...)
}

// TestCancelled sends a request that the client cancels, as Windows does with its wait for changes.
func TestCancelled(t *testing.T) {
	cancel := v2(cancel2, 3, 0, 0, 0, le(uint16(4), uint16(0)))
	dissecttest.Converse(t, Protocol(), nil, dissecttest.Conversation{
		Name: "a wait for changes", Chunks: chunks{client(frame(ask(15, 3, le(uint16(32), uint16(0), uint32(1000), fid, uint32(1), uint32(0))))), client(frame(cancel)), server(frame(reply(15, 3, 0xc0000120, failure)))},
		Want: []string{"CANCEL", "CHANGE_NOTIFY ? → STATUS_CANCELLED"}})
}
