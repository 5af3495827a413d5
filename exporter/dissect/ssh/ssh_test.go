package ssh

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

func str(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

func packet(payload string) string {
	pad := 8 - (len(payload)+5)%8
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(payload)+pad+1))) + string([]byte{byte(pad)}) + payload + strings.Repeat("p", pad)
}

func kexInit(lists ...string) string {
	s := "\x14" + strings.Repeat("c", 16)
	for _, l := range append(lists, "", "") {
		s += str(l)
	}
	return packet(s + "\x00\x00\x00\x00\x00")
}

var (
	clientInit = kexInit("curve25519-sha256,dh14", "ssh-ed25519", "aes128-ctr,chacha", "aes128-ctr", "hmac-sha2-256", "hmac-sha1", "none,zlib", "none")
	serverInit = kexInit("dh14,curve25519-sha256", "rsa,ssh-ed25519", "chacha,aes128-ctr", "x", "hmac-sha2-256", "y", "none", "none")
	reply      = packet("\x1f" + str(str("ssh-ed25519")+str(strings.Repeat("k", 32))) + str("e") + str("sig"))
	newKeys    = packet("\x15")
)

var samples = []dissecttest.Sample{
	{Name: "a connection", Rows: 1, Chunks: chunks{server("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), client("SSH-2.0-Go\r\n"), client(clientInit), server(serverInit), client(packet("\x1eabc")),
		server(reply + newKeys + strings.Repeat("\xfe", 100)), client(newKeys + strings.Repeat("\xff", 64)), server(strings.Repeat("\x00", 50))}},
	{Name: "lines before the version", Rows: 1, Chunks: chunks{client("SSH-2.0-a\n"), server("Welcome\r\nSSH-2.0-b\r\n"), client(clientInit), server(packet("\x01\x00\x00\x00\x02" + str("too many") + str("")))}},
	{Name: "version 1", Rows: 1, Chunks: chunks{server("SSH-1.5-a\n"), client("SSH-1.5-b\n"), client("\x00\x00\x00\x01\x02\x03")}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"ssh_hassh", "ssh_hassh_server", "ssh_kex", "ssh_host_key_algorithm", "ssh_cipher", "ssh_mac", "ssh_compression", "ssh_host_key", "ssh_encrypted", "ssh_client_encrypted_bytes", "ssh_server_encrypted_bytes"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "algorithms, fingerprints and sizes", Chunks: samples[0].Chunks, Want: []string{"SSH 2.0-Go → 2.0-OpenSSH_9.2p1 Debian, aes128-ctr ssh_hassh=35d7d319e98ee7ffbe5bcda77ad7fbe7 ssh_hassh_server=d2df0b333df83b9eed03bfc9e965ba68 ssh_kex=curve25519-sha256 ssh_host_key_algorithm=ssh-ed25519 ssh_cipher=aes128-ctr ssh_mac=hmac-sha2-256 ssh_compression=none ssh_host_key=SHA256:sArVyTbDlP2ByuRNM59Xf/iwOUmdy69sxylyNl3iUQQ ssh_encrypted=true ssh_client_encrypted_bytes=64 ssh_server_encrypted_bytes=150"}},
		{Name: "a server that ends the connection", Chunks: samples[1].Chunks, Want: []string{"SSH 2.0-a → 2.0-b, too many outcome=refused ssh_hassh=35d7d319e98ee7ffbe5bcda77ad7fbe7"}},
		{Name: "a gap among the algorithms", Chunks: chunks{server("SSH-2.0-a\r\n"), client("SSH-2.0-b\r\n"), {Dir: dissect.ToServer, Gap: 300}, client("\xff\xff"), server(serverInit)}, Want: []string{
			"SSH 2.0-b → 2.0-a, gap error=gap outcome=unread ssh_hassh_server=d2df0b333df83b9eed03bfc9e965ba68 ssh_client_encrypted_bytes=2"}},
		{Name: "version 1, of a server that knows both", Chunks: chunks{server("SSH-1.99-a\n"), client("SSH-1.5-b\n"), server("\x00\x00\x01\x0b\x05\x02\xf9")}, Want: []string{"SSH 1.5-b → 1.99-a ssh_server_encrypted_bytes=7"}},
		{Name: "a scan of versions", Chunks: chunks{server("SSH-2.0-a\r\n")}, End: dissect.EndReset, Want: []string{"SSH  → 2.0-a, reset error=reset outcome=no_answer"}},
	}...)
}

func TestDetect(t *testing.T) {
	for head, want := range map[string]dissect.Verdict{"SSH-2.0-x\r\n": dissect.Yes, "SSH-1.99-x": dissect.Yes, "SSH-2.0-x \x00\x00": dissect.Yes, "SSH-": dissect.More, "SSH-3.0-x\r\n": dissect.No, "SSH-2.0-\x00\r\n": dissect.No, "220 SSH-2.0-x\r\n": dissect.No} {
		if got := detect(dissect.ToClient, []byte(head)); got != want {
			t.Errorf("%q: %v, want %v", head, got, want)
		}
	}
}
