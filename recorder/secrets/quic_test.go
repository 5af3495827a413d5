package secrets

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInitialKeysOfTheRFCs(t *testing.T) {
	dcid := unhex(t, "8394c8f03e515708")
	for _, c := range []struct {
		name           string
		version        uint32
		client, server string
		clientIV       string
	}{
		{"RFC 9001 appendix A.1", QUICv1, "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea", "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b", "fa044b2f42a3fd3b46fb255c"},
	} {
		client, server, err := QUICInitial(c.version, dcid)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(client.secret, unhex(t, c.client)) || !bytes.Equal(server.secret, unhex(t, c.server)) || !bytes.Equal(client.iv[:], unhex(t, c.clientIV)) {
			t.Errorf("%s: client %x, server %x, iv %x", c.name, client.secret, server.secret, client.iv)
		}
	}
}
