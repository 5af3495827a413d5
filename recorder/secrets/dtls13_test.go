package secrets

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"
)

// sharedCapture reads a capture that is not in the repository.
func sharedCapture(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(captures.Dir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOpensDTLS13OfWolfSSL finds the datagrams by their ports and reads the keys from the
// capture's secrets block, whose lines are readable like those of any file.
func TestOpensDTLS13OfWolfSSL(t *testing.T) {
	capture := sharedCapture(t, "tls/ndpi-dtls.pcap")
	store := storeOf(t, capture)
	const client, server = 40983, 11111
	secretsOf := make(map[Label][]byte)
	for _, x := range store.Find(unhex(t, "ce7a2a37f1286a36c4d13bb36446c89ad6b11cfff09961cb97089e9b32a2d27d")) {
		secretsOf[x.Label] = x.Value
	}
	var opened [2]map[uint8]int
	for side, ports := range [2][2]uint16{{client, server}, {server, client}} {
		opened[side] = make(map[uint8]int)
		openers := make(map[byte]*Opener)
		for epoch, l := range map[byte][2]Label{2: {ClientHandshakeTraffic, ServerHandshakeTraffic}, 3: {ClientTraffic, ServerTraffic}} {
			o, err := Open13DTLS(SuiteOf(0x1301), secretsOf[l[side]])
			if err != nil {
				t.Fatal(err)
			}
			openers[epoch] = o
		}
		udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, ports[0]), ports[1])
		for rest := capture; ; {
			at := bytes.Index(rest, udp)
			if at < 0 {
				break
			}
			rest = rest[at:]
			d := rest[8:binary.BigEndian.Uint16(rest[4:])]
			rest = rest[8:]
			for len(d) > 5 && d[0]&0xe0 == 0x20 {
				header := bytes.Clone(d[:5])
				n := int(binary.BigEndian.Uint16(header[3:]))
				o := openers[header[0]&3]
				r := Record{Type: 23, Version: DTLS12, Header: header, Body: d[5:][:n]}
				number, bits, err := o.UnmaskNumber(header, r.Body)
				r.Seq = uint64(number)
				plain, typ, err2 := o.Open(nil, &r)
				if err != nil || err2 != nil || bits != 16 || len(plain) == 0 {
					t.Fatalf("side %d record %d: %v, %v", side, number, err, err2)
				}
				opened[side][typ]++
				d = d[5+n:]
			}
		}
	}
	// The capture has a handshake with a client certificate, data each way, ACK, alerts.
	if c, s := opened[0], opened[1]; c[22] != 3 || c[23] != 1 || c[21] != 1 || s[22] != 6 || s[23] != 1 || s[26] != 1 || s[21] != 1 {
		t.Errorf("opened %v", opened)
	}
}
