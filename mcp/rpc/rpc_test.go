package rpc

import (
	"encoding/json"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `[{"jsonrpc":"2.0","method":"x"},5]`, `{"jsonrpc":"2.0","id":"\ud800","method":"tools/call","params":{}}`,
		`{"jsonrpc":"2.0","id":1,"result":null}`, ` `, `{"JSONRPC":"2.0","ID":1,"Method":"ping"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _, bad := Read(data)
		if (len(list) == 0) == (bad == nil) {
			t.Errorf("%d messages, %v: want messages or an error", len(list), bad)
		}
		if bad != nil && !json.Valid(bad.Wire()) {
			t.Errorf("the answer is not JSON: %s", bad.Wire())
		}
	})
}

func TestLevels(t *testing.T) {
	for params, want := range map[string]int{`{"level":"warning"}`: 0, `{"level":"emergency"}`: 0, `{"level":"loud"}`: jsonrpc.CodeInvalidParams, `{"level":3}`: jsonrpc.CodeInvalidParams, `{}`: jsonrpc.CodeInvalidParams} {
		_, _, err := Read([]byte(`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":` + params + `}`))
		if (err == nil) != (want == 0) || err != nil && err.Code != want {
			t.Errorf("%s: %v, want code %d", params, err, want)
		}
	}
	removed := `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}` // by this revision: the server says so
	if _, _, err := Read([]byte(`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":` + removed + `}`)); err != nil {
		t.Errorf("%s: %v, want no error", removed, err)
	}
}
