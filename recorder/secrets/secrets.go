// Package secrets keeps the secrets of TLS and decrypts records with them.
//
// A Store reads key logs (RFC 9850 and older variants) and RSA private keys and finds the secrets
// of a connection; an Opener decrypts records of SSL 3.0 to TLS 1.3 and of DTLS, PacketKeys packets
// of QUIC. They return data only if its tag or MAC is correct. The package encrypts nothing, keeps
// no state of a connection except one direction's cipher, and imports no package of the project:
// both the recorder and the exporter use it.
package secrets

import (
	"encoding/hex"
	"strconv"
)

// Label is the kind of a secret.
type Label uint8

// The labels of RFC 9850 section 2, then those of older logs.
const (
	ClientRandom           Label = iota + 1 // master secret before TLS 1.3
	ClientEarlyTraffic                      // 0-RTT
	ClientHandshakeTraffic                  //
	ServerHandshakeTraffic                  //
	ClientTraffic                           // with N: 0 first, then incremented by each KeyUpdate
	ServerTraffic                           //
	EarlyExporter                           //
	Exporter                                //
	ECHSecret                               // identified by the random of the outer ClientHello
	ECHConfig                               //
	PreMasterRSA                            // premaster secret, identified by the first 8 bytes of its ciphertext
	SessionID                               // master secret, identified by a session id
	PreMaster                               // premaster secret, identified by a client random
	labels
)

// labelNames are the labels at the beginning of lines; SessionID has its own line format.
var labelNames = [labels]string{
	ClientRandom:           "CLIENT_RANDOM",
	ClientEarlyTraffic:     "CLIENT_EARLY_TRAFFIC_SECRET",
	ClientHandshakeTraffic: "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
	ServerHandshakeTraffic: "SERVER_HANDSHAKE_TRAFFIC_SECRET",
	ClientTraffic:          "CLIENT_TRAFFIC_SECRET_",
	ServerTraffic:          "SERVER_TRAFFIC_SECRET_",
	EarlyExporter:          "EARLY_EXPORTER_SECRET",
	Exporter:               "EXPORTER_SECRET",
	ECHSecret:              "ECH_SECRET",
	ECHConfig:              "ECH_CONFIG",
	PreMasterRSA:           "RSA",
	SessionID:              "RSA Session-ID",
	PreMaster:              "PMS_CLIENT_RANDOM",
}

// String is the label as in a line, without the number of a traffic secret.
func (l Label) String() string {
	if l >= labels || l == 0 {
		return "label " + strconv.Itoa(int(l))
	}
	return labelNames[l]
}

// Secret is one line of a key log.
type Secret struct {
	Label  Label
	N      int    // of ClientTraffic and ServerTraffic: number of previous updates
	ID     []byte // a client random, except for PreMasterRSA and SessionID
	Value  []byte
	Source int // index into Store.Stats
}

// Line is the secret as a line of RFC 9850, without a line end.
func (s Secret) Line() string {
	id, value := hex.EncodeToString(s.ID), hex.EncodeToString(s.Value)
	switch s.Label {
	case SessionID:
		return "RSA Session-ID:" + id + " Master-Key:" + value
	case ClientTraffic, ServerTraffic:
		return s.Label.String() + strconv.Itoa(s.N) + " " + id + " " + value
	}
	return s.Label.String() + " " + id + " " + value
}
