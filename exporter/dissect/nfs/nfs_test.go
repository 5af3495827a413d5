package nfs

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// be is numbers of 32 bits (int) and 64 bits (int64), text with its length, and raw bytes as they are.
func be(parts ...any) string {
	var b []byte
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v+zeros(-len(v)&3)...)
		case raw:
			b = append(b, v...)
		}
	}
	return string(b)
}

type raw string

func zeros(n int) string { return strings.Repeat("\x00", n) }

// record is a message on TCP.
func record(s string) string { return be(len(s)|last) + s }

var sys = be(7, "till", 1000, 100, 0)

func ask(xid, program, version, proc int, arguments string) string {
	return be(xid, 0, 2, program, version, proc, 1, sys, 0, 0) + arguments
}
func reply(xid int, results string) string { return be(xid, 1, 0, 0, 0, 0) + results }

func ask3(xid, proc int, arguments string) string { return record(ask(xid, nfs, 3, proc, arguments)) }
func reply3(xid int, results string) string       { return record(reply(xid, results)) }

func compound(xid, ops int, arguments string) string {
	return record(ask(xid, nfs, 4, 1, be("", 1, ops)+arguments))
}
func compounded(xid, status, ops int, results string) string {
	return record(reply(xid, be(status, "", ops)+results))
}

var (
	attributes = raw(be(1) + zeros(84))
	session    = raw(zeros(16))
	sequence   = be(53, session, 1, 0, 0, 1)
	sequenced  = be(53, 0, session, 1, 0, 0, 0, 0)
	state      = raw(strings.Repeat("s", 16))
)

var samples = []dissecttest.Sample{
	{Name: "NFS 3", Rows: 7, Chunks: chunks{client(ask3(1, 3, be("root", "a"))), server(reply3(1, be(0, "dir1", attributes, 0))), client(ask3(2, 3, be("dir1", "list.txt"))), server(reply3(2, be(0, "file", attributes, 0))),
		client(ask3(3, 6, be("file", int64(100), 4000)) + ask3(4, 3, be("dir1", "none"))), server(reply3(4, be(2, 0)) + reply3(3, be(0, attributes, 4000, 1, strings.Repeat("x", 4000)))),
		client(ask3(5, 7, be("file", int64(0), 70_000, 2, strings.Repeat("y", 70_000)))), server(reply3(5, be(0, 0, 0, 70_000, 2, int64(1))))}},
	{Name: "NFS 4.1", Rows: 4, Chunks: chunks{client(compound(1, 4, sequence+be(24, 15, "export", 10))), server(compounded(1, 0, 4, sequenced+be(24, 0, 15, 0, 10, 0, "dir1"))),
		client(compound(2, 4, sequence+be(22, "dir1", 18, 0, 1, 0, int64(5), "owner", 0, 0, "list.txt", 10))), server(compounded(2, 0, 4, sequenced+be(22, 0, 18, 0, state, 1, int64(1), int64(2), 0, 0, 0, 10, 0, "file"))),
		client(compound(3, 3, sequence+be(22, "file", 25, state, int64(0), 100))), server(compounded(3, 0, 3, sequenced+be(22, 0, 25, 0, 1, "data")))}},
	{Name: "two fragments", Rows: 1, Chunks: chunks{client(be(64) + ask(9, nfs, 3, 1, "")), client(be(8|last) + be("root")), server(reply3(9, be(0, raw(zeros(84)))))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	gss := record(be(4, 0, 2, nfs, 3, 1, 6, be(1, 0, 5, 3, "ctx"), 0, 0) + "sealed")
	dissecttest.Converse(t, Protocol(), []string{"auth_kind", "nfs_uid", "nfs_machine", "nfs_handle", "nfs_bytes", "nfs_operations", "nfs_failed_operation", "nfs_gss_service"}, []dissecttest.Conversation{
		{Name: "paths from lookups", Chunks: samples[0].Chunks, Want: []string{
			"NFS LOOKUP a → NFS_OK auth_kind=sys nfs_uid=1000 nfs_machine=till nfs_handle=64697231",
			"NFS LOOKUP a/list.txt → NFS_OK auth_kind=sys nfs_uid=1000 nfs_machine=till nfs_handle=66696c65",
			"NFS LOOKUP a/none → NFSERR_NOENT outcome=client_error auth_kind=sys nfs_uid=1000 nfs_machine=till nfs_handle=64697231",
			"NFS READ a/list.txt 4000 at 100 → NFS_OK auth_kind=sys nfs_uid=1000 nfs_machine=till nfs_handle=66696c65 nfs_bytes=4000",
			"NFS WRITE a/list.txt 70000 at 0 → NFS_OK auth_kind=sys nfs_uid=1000 nfs_machine=till nfs_handle=66696c65 nfs_bytes=70000",
			"NFS TRANSFER a/list.txt → cut error=cut outcome=cut nfs_uid=1000 nfs_machine=till nfs_handle=66696c65",
			"NFS TRANSFER a/list.txt → cut error=cut outcome=cut nfs_uid=1000 nfs_machine=till nfs_handle=66696c65"}},
		{Name: "operations of NFS 4", Chunks: samples[1].Chunks, Want: []string{
			"NFS LOOKUP /export → NFS_OK auth_kind=sys nfs_operations=[sequence putrootfh lookup getfh] nfs_uid=1000 nfs_machine=till nfs_handle=64697231",
			"NFS OPEN /export/list.txt → NFS_OK auth_kind=sys nfs_operations=[sequence putfh open getfh] nfs_uid=1000 nfs_machine=till nfs_handle=66696c65",
			"NFS READ /export/list.txt 100 at 0 → NFS_OK auth_kind=sys nfs_operations=[sequence putfh read] nfs_uid=1000 nfs_machine=till nfs_handle=66696c65 nfs_bytes=4",
			"NFS TRANSFER /export/list.txt → cut error=cut outcome=cut nfs_uid=1000 nfs_machine=till nfs_handle=66696c65"}},
		{Name: "an operation fails", Chunks: chunks{client(compound(1, 3, be(24, 28, "x", 10))), server(compounded(1, 13, 2, be(24, 0, 28, 13)))}, Want: []string{
			"NFS REMOVE /x → NFSERR_ACCES outcome=refused auth_kind=sys nfs_operations=[putrootfh remove getfh] nfs_failed_operation=remove nfs_uid=1000 nfs_machine=till"}},
		{Name: "a rename of NFS 3", Chunks: chunks{client(ask3(1, 14, be("dir1", "a", "dir1", "b"))), server(reply3(1, be(0, 0, 0, 0, 0)))}, Want: []string{
			"NFS RENAME a to b → NFS_OK auth_kind=sys nfs_uid=1000 nfs_machine=till nfs_handle=64697231"}},
		{Name: "a mount, and its port", Chunks: chunks{client(record(ask(1, portmap, 2, 3, be(mount, 3, 17, 0)))), server(record(reply(1, be(635)))), client(record(ask(2, mount, 3, 1, be("/export")))), server(record(reply(2, be(0, "root", 1, 1))))}, Want: []string{
			"PORTMAP GETPORT mount 3 udp → port 635 auth_kind=sys nfs_uid=1000 nfs_machine=till", "MOUNT MNT /export → MNT3_OK auth_kind=sys nfs_uid=1000 nfs_machine=till nfs_handle=726f6f74"}},
		{Name: "a denied call", Chunks: chunks{client(ask3(1, 0, "")), server(record(be(1, 1, 1, 1, 5)))}, Want: []string{"NFS NULL → AUTH_TOOWEAK outcome=refused auth_kind=sys nfs_uid=1000 nfs_machine=till"}},
		{Name: "a protected call", Chunks: chunks{client(gss), server(reply3(4, "sealed"))}, Want: []string{"NFS GETATTR → ok auth_kind=gss nfs_gss_service=privacy"}},
		{Name: "no reply", Chunks: chunks{client(ask3(1, 0, ""))}, End: dissect.EndReset, Want: []string{"NFS NULL → reset error=reset outcome=no_answer auth_kind=sys nfs_uid=1000 nfs_machine=till"}},
	}...)
}

func TestDatagrams(t *testing.T) {
	o := dissecttest.OptionsOf(Protocol())
	o.Transport = dissect.UDP
	r := dissecttest.Play(t, o, client(ask(1, nfs, 3, 1, be("root"))), client(ask(1, nfs, 3, 1, be("root"))), server(reply(1, be(0, attributes))))
	rows := r.Rows()
	if len(rows) != 2 || rows[0].Base().Error.V != "no_response" || rows[1].Base().Attempt.V != 2 || rows[1].Base().StatusText.V != "NFS_OK" {
		t.Errorf("%v, anomalies %v", rows, r.Anomalies)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a call", dissect.ToServer, ask3(1, 1, be("root")), dissect.Yes},
		{"a call in a datagram", dissect.ToServer, ask(1, nfs, 3, 1, be("root")), dissect.Yes},
		{"the beginning of a call", dissect.ToServer, ask3(1, 1, be("root"))[:10], dissect.More},
		{"a reply", dissect.ToClient, reply3(1, be(0)), dissect.Likely},
		{"a call from the server", dissect.ToClient, ask3(1, 1, be("root")), dissect.No},
		{"another program", dissect.ToServer, record(ask(1, 100099, 1, 1, "")), dissect.No},
		{"another version of RPC", dissect.ToServer, record(be(1, 0, 3, nfs, 3, 1, 0, 0, 0, 0)), dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
		{"zeros", dissect.ToServer, zeros(200), dissect.No},
	})
}
