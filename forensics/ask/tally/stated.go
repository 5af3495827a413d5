package tally

import (
	"context"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Stated has the facts of a call that another tool can confirm. Packets is "12-15,20-20".
type Stated struct {
	CallID    string `json:"call_id"`
	Bundle    int64  `json:"bundle"`
	Protocol  string `json:"protocol"`
	Transport string `json:"transport"`
	Port      int64  `json:"dst_port"`
	Decrypted string `json:"decrypted_by"`
	Packets   string `json:"packets"`
	Method    string `json:"method"`
	Host      string `json:"host"`
	Target    string `json:"target"` // path with query, or the target as sent
	Status    string `json:"status"`
	Name      string `json:"name"` // of the first DNS question
	Query     string `json:"query"`
	Command   string `json:"command"` // of Redis, unless it was sent as a line of text
	SNI       string `json:"sni"`
	Version   string `json:"version"` // of TLS, as a number
	Suite     string `json:"suite"`   // of TLS, as a number
	Type      string `json:"type"`    // of ICMP, as a number
}

// Fact returns the value of a fact by its name: method, target, host, status, name, response code,
// statement, command, server name, version, cipher suite or type; "" if the call does not state it.
func (s *Stated) Fact(name string) string {
	switch name {
	case "method":
		return s.Method
	case "target":
		return s.Target
	case "host":
		return s.Host
	case "status":
		return s.Status
	case "name":
		return s.Name
	case "response code": // the code in the header; higher bits are in EDNS (RFC 6891 section 6.1.3)
		if n, err := strconv.Atoi(s.Status); err == nil {
			return strconv.Itoa(n & 15)
		}
	case "statement":
		return s.Query
	case "command":
		return s.Command
	case "server name":
		return s.SNI
	case "version":
		return s.Version
	case "cipher suite":
		return s.Suite
	case "type":
		return s.Type
	}
	return ""
}

// StatedBy returns the facts of calls, by their ids in hex. If several calls have one id, it
// returns the first one in the first bundle.
func StatedBy(ctx context.Context, c *forensics.Case, ids []string) (map[string]Stated, error) {
	out := map[string]Stated{}
	if len(ids) == 0 {
		return out, nil
	}
	rows, _, err := ask.Rows[Stated](ctx, c, mostRows, `SELECT lower(hex(call_id)) AS call_id, `+terms.BundleOf(c, "")+`, protocol, transport, dst_port, decrypted_by,
  array_to_string(list_transform(cites, c -> c.first || '-' || c.last), ',') AS packets,
  method, host, coalesce(http1_target, path || coalesce('?' || query_string, '')) AS target, status_code::VARCHAR AS status,
  dns_questions[1] AS name, postgresql_query AS query, CASE WHEN NOT redis_inline THEN string_split(method, ' ')[1] END AS command, tls_sni AS sni, tls_version::VARCHAR AS version, tls_cipher_suite::VARCHAR AS suite, icmp_type_number::VARCHAR AS type
FROM calls_raw WHERE call_id IN (SELECT unhex(unnest(string_split(?, ',')))) ORDER BY bundle, call_no`, strings.Join(ids, ","))
	for _, r := range rows {
		if _, ok := out[r.CallID]; !ok {
			out[r.CallID] = r
		}
	}
	return out, err
}

// Place is the position of a packet in its capture file.
type Place struct {
	Bundle int64 `json:"bundle"`
	Packet int64 `json:"packet_no"`
	File   int64 `json:"file_id"`
	Index  int64 `json:"file_index"` // from 0
}

// Places returns the positions of packets of one bundle by their numbers.
func Places(ctx context.Context, c *forensics.Case, bundle int64, packets []int64) ([]Place, error) {
	in := ""
	args := []any{terms.Numbers(packets)}
	if c.Several() {
		in, args = " AND bundle = ?", append(args, bundle)
	}
	rows, _, err := ask.Rows[Place](ctx, c, mostRows, `SELECT `+terms.BundleOf(c, "")+`, packet_no, file_id, file_index FROM packets_raw
WHERE packet_no IN (SELECT unnest(string_split(?, ','))::BIGINT)`+in, args...)
	return rows, err
}
