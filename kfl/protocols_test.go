package kfl

import (
	"reflect"
	"testing"
)

// TestProtocolsOfAQuery has filters with the protocols that a matching call can have; nil means any.
func TestProtocolsOfAQuery(t *testing.T) {
	for src, want := range map[string][]string{
		``:                                      nil,
		`status_code >= 500`:                    nil,
		`redis`:                                 {"redis"},
		`protocol == "redis"`:                   {"redis"},
		`redis && dns`:                          {},
		`redis || dns`:                          {"dns", "redis"},
		`redis || status_code == 5`:             nil,
		`!redis`:                                nil,
		`redis && !(method == "GET")`:           {"redis"},
		`http`:                                  {"http1", "http2", "http3"},
		`redis_command == "GET"`:                {"redis"},
		`redis_command != "GET"`:                {"redis"},
		`!(redis_command == "GET")`:             nil,
		`redis_command.contains("GET") && http`: {},
		`redis_command in ["a", "b"] || dns`:    {"dns", "redis"},
		`redis_command == kafka_client_id`:      {},
		`method in ["GET", redis_command]`:      nil,
		`(redis ? 1 : 2) == 1`:                  nil,
		`tls.sni == "x" && redis`:               nil, // another row of calls has it
		`src.name == "a" && kafka`:              {"kafka"},
	} {
		q, err := Compile(src, Env{})
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got := q.Protocols(protocolsWith); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
}
