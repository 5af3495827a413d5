package all_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestMining has clients of mining pools, and one of another JSON-RPC.
func TestMining(t *testing.T) {
	for _, tt := range []struct{ name, server, request, response, want string }{
		{"Stratum", "198.51.100.7:3333", `{"id":1,"method":"mining.subscribe","params":["x/1"]}` + "\n", `{"id":1,"result":[[],"00",4],"error":null}` + "\n", "high: 10.0.0.1 mines a cryptocurrency with 198.51.100.7: 1 message of a mining pool mining.subscribe"},
		{"Ethereum, inside", "10.0.0.2:3333", `{"jsonrpc":"2.0","id":1,"method":"eth_submitLogin","params":["0x0"]}` + "\n", `{"jsonrpc":"2.0","id":1,"result":true}` + "\n", "medium: 10.0.0.1 mines a cryptocurrency with 10.0.0.2"},
		{"a pool that is seen alone", "203.0.113.9:3333", "", `{"id":null,"method":"mining.notify","params":["x","y"]}` + "\n" + `{"id":null,"method":"mining.set_difficulty","params":[1]}` + "\n", "(outside) gives 10.0.0.1 work of a mining pool: 2 messages"},
		{"a node that is asked", "198.51.100.7:3333", `{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}` + "\n", `{"jsonrpc":"2.0","id":1,"result":"0x1"}` + "\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Exchange(0, ms, "pool", "10.0.0.1", tt.server, tt.request, tt.response)
			holdOne(t, &w, "mining", tt.want)
		})
	}
}
