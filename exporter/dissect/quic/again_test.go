package quic

import (
	"bytes"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// TestClientHelloAfterRetryCounts has a client that sends a ClientHello with another random after Retry, as aioquic does: the
// keys are those of the second one.
func TestClientHelloAfterRetryCounts(t *testing.T) {
	f := newFake(t, all...)
	hello := bytes.Clone(vector(t, "v1 client-frames"))
	random := hello[4+4+2:][:32]
	for i := range random {
		random[i] ^= 0x55
	}
	f.send(initial, client, vector(t, "v1 client-frames"), make([]byte, 900))
	id := []byte("retried1")
	retry := append([]byte{0xf0, 0, 0, 0, 1, 0, byte(len(id))}, id...)
	retry = append(retry, "token"...)
	tag, err := secrets.RetryTag(1, f.odcid, retry)
	if err != nil {
		t.Fatal(err)
	}
	f.list = append(f.list, datagram{dir: dissect.ToClient, data: append(retry, tag[:]...)})
	f.odcid = id
	c, s := initialSecrets(id)
	f.levels[initial] = [2]*sealer{newSealer(c, "quic "), newSealer(s, "quic ")}
	f.log = ""
	for _, k := range []kind{handshakePacket, oneRTT} {
		for r := range 2 {
			i := map[kind]int{handshakePacket: 1, oneRTT: 2}[k]
			f.log += secrets.Secret{Label: labelOf(k, role(r)), ID: random, Value: bytes.Repeat([]byte{byte(16*i + r + 1)}, 32)}.Line() + "\n"
		}
	}
	f.send(initial, client, hello, make([]byte, 900))
	f.send(initial, server, vector(t, "v1 server-frames"))
	f.extensions("blob")
	f.send(oneRTT, client, streamFrame(0, 0, "question", true))
	f.send(oneRTT, server, streamFrame(0, 0, "answer", true), frame(frameHandshakeDone))
	f.send(oneRTT, client, frame(frameCloseApp, 0, 0))
	b := &blob{}
	f.play(b)
	if got := b.text(dissect.ToServer, 0) + " " + b.text(dissect.ToClient, 0); got != "question answer" {
		t.Errorf("read %q, want question and answer", got)
	}
}
