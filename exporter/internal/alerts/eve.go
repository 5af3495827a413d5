package alerts

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object.
type object map[string]any

// text returns a text or a number as text, else "".
func (o object) text(key string) string {
	switch v := o[key].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func (o object) number(key string) uint64 {
	n, err := strconv.ParseUint(o.text(key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (o object) object(key string) object {
	v, _ := o[key].(map[string]any)
	return v
}

var (
	errOther  = errors.New("an event of another kind")
	errNoTime = errors.New("it has no time that can be read")
)

// eveDetail are the parts of an event that detail has. Others are payload, or repeat columns.
var eveDetail = []string{"app_proto", "direction", "tx_id", "vlan", "tunnel", "http", "dns", "tls", "ssh", "smtp", "email", "smb", "quic", "fileinfo", "files", "anomaly", "metadata", "xff"}

// parseEVE reads an event of Suricata's EVE.
func parseEVE(o object) (c Claim, err error) {
	kind := o.text("event_type")
	switch kind {
	case "alert", "anomaly", "fileinfo":
	default:
		return c, errOther
	}
	c = Claim{Program: "suricata", Version: o.text("suricata_version"), Kind: kind, CommunityID: o.text("community_id"), SaidID: o.text("flow_id")}
	if c.TsNs, err = stamp(o.text("timestamp")); err != nil {
		return c, err
	}
	if n := o.number("pcap_cnt"); n < 1<<62 {
		c.Frame = int64(n)
	}
	c.endsOf(o.text("proto"), o.text("src_ip"), o.number("src_port"), o.text("dest_ip"), o.number("dest_port"))
	part := o.object(kind)
	switch kind {
	case "alert":
		if part == nil {
			return c, errors.New("it has no object alert")
		}
		c.RuleID = strings.Trim(part.text("gid")+":"+part.text("signature_id")+":"+part.text("rev"), ":")
		c.Rule, c.Category, c.Severity, c.Action = part.text("signature"), part.text("category"), part.text("severity"), part.text("action")
		if m := part.object("metadata"); m != nil {
			o["metadata"] = map[string]any{"rule": map[string]any(m)}
		} else {
			delete(o, "metadata") // flow bits
		}
		http := o.object("http")
		if url := http.text("url"); url != "" {
			c.Text = strings.TrimSpace(http.text("http_method") + " " + http.text("hostname") + url)
		}
	case "anomaly":
		c.RuleID, c.Category = part.text("event"), strings.TrimSpace(part.text("type")+" "+part.text("layer"))
		delete(o, "metadata")
	case "fileinfo":
		c.Text = part.text("filename")
		delete(o, "metadata")
	}
	c.Detail = detail(o, eveDetail)
	return c, nil
}

// stamp reads a time of EVE, or of Zeek if it writes ISO 8601.
func stamp(s string) (int64, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999-0700", time.RFC3339Nano} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1969 && t.Year() < 2262 {
			if t.UnixNano() != 0 {
				return t.UnixNano(), nil
			}
		}
	}
	return 0, errNoTime
}

// detail is a JSON object with those keys of o that there are; nil: none, or they are too long.
func detail(o object, keys []string) json.RawMessage {
	some := map[string]any{}
	for _, k := range keys {
		if v := part(o[k], 0); v != nil {
			some[k] = v
		}
	}
	if len(some) == 0 {
		return nil
	}
	b, err := json.Marshal(some)
	for _, k := range keys { // the longest parts are at the end of the list, such as files
		if err != nil || len(b) <= maxDetail {
			break
		}
		if _, object := some[k].(map[string]any); object {
			some[k] = fmt.Sprintf("left out: %d bytes", size(some[k]))
			b, err = json.Marshal(some)
		}
	}
	if err != nil || len(b) > maxDetail {
		return nil
	}
	return b
}

func size(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0
	}
	return len(b)
}

// Limits of a part of detail.
const (
	maxDepth = 5
	maxItems = 16
	maxValue = 400 // bytes of a text
)

// part is a JSON value without captured payload and secrets that have a name; nil if nothing is left.
func part(v any, depth int) any {
	switch v := v.(type) {
	case string:
		if len(v) > maxValue {
			return clipped(v)
		}
		return v
	case json.Number, bool:
		return v
	case []any:
		var list []any
		for _, x := range v[:min(len(v), maxItems)] {
			if x = part(x, depth+1); x != nil {
				list = append(list, x)
			}
		}
		if depth >= maxDepth || list == nil {
			return nil
		}
		return list
	case map[string]any:
		some := map[string]any{}
		for k, x := range v {
			if captured(k) || depth >= maxDepth || len(k) > maxValue {
				continue
			}
			if x = part(x, depth+1); x != nil {
				some[k] = x
			}
		}
		if len(some) == 0 || len(some) > 64 {
			return nil
		}
		return some
	}
	return nil
}

// captured reports whether a key of a log has payload, or a secret.
func captured(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"payload", "packet", "body", "headers", "password", "cookie", "authorization", "stream_data", "data_printable"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}
