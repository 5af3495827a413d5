package acceptance

import (
	"encoding/json"
	"slices"
)

// seenAs are tshark's names for the protocols that are told by content. A name missing
// here means a protocol that cannot be taken for another.
var seenAs = map[string][]string{
	"http1":      {"http", "ssdp"},
	"http2":      {"http2"},
	"grpc":       {"grpc", "http2"},
	"dns":        {"dns", "mdns", "llmnr"},
	"redis":      {"resp"},
	"postgresql": {"pgsql"},
	"tls":        {"tls", "dtls"},
	"quic":       {"quic", "gquic"},
	"http3":      {"http3", "quic"},
}

// claims holds the protocols of the rows against those that tshark saw anywhere in the
// capture: no dissector claims a connection of a foreign protocol.
func (c *comparison) claims(o outcome, got counts) (outcome, bool) {
	var frames map[string]int64
	if json.Unmarshal(c.tr.raw["frames_with"], &frames) != nil || len(frames) == 0 {
		return o, false
	}
	foreign := counts{}
	for protocol, n := range got {
		names, told := seenAs[protocol]
		if told && !slices.ContainsFunc(names, func(name string) bool { return frames[name] > 0 }) {
			foreign[protocol] = n
		}
	}
	o.agreed, o.want, o.got = len(foreign) == 0, "none that tshark did not see", foreign.String()
	return o, true
}
