package reader

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/shown"
)

// find finds a call by # and its number, by call_id, or by a prefix of it with at least 8 digits.
func (r *Reader) find(id string) (place, error) {
	if err := r.load("call_id"); err != nil {
		return place{}, err
	}
	var found []place
	if digits, ok := strings.CutPrefix(id, "#"); ok {
		no, err := strconv.ParseInt(digits, 10, 64)
		for _, p := range r.order {
			if err == nil && p.of.int("call_no", p.row) == no {
				found = append(found, p)
			}
		}
	} else {
		prefix := strings.ToLower(id)
		if len(prefix) < 8 || strings.Trim(prefix, "0123456789abcdef") != "" {
			return place{}, badRequest("id: must be a call_id, at least 8 digits of it, or # and call_no")
		}
		whole, _ := hex.DecodeString(prefix[:len(prefix)&^1])
		for _, p := range r.order {
			if v, _ := p.of.at("call_id", p.row).([]byte); bytes.HasPrefix(v, whole) && strings.HasPrefix(hex.EncodeToString(v), prefix) {
				found = append(found, p)
			}
		}
	}
	switch len(found) {
	case 0:
		return place{}, fmt.Errorf("call %s: %w", ask.Clip(id, 60), forensics.ErrNotFound)
	case 1:
		return found[0], nil
	}
	e := &forensics.AmbiguousError{ID: id}
	for _, p := range found[:min(len(found), 10)] {
		e.Some = append(e.Some, fmt.Sprintf("#%d", p.of.int("call_no", p.row)))
	}
	return place{}, e
}

// exchange is everything known about one call, as forensics.Case.Call returns it.
func (r *Reader) exchange(id string, most int) (*forensics.Exchange, error) {
	p, err := r.find(id)
	if err != nil {
		return nil, err
	}
	names := p.of.names()
	for _, c := range receiptColumns() {
		names = append(names, c.Name)
	}
	if err := r.load(names...); err != nil {
		return nil, err
	}
	x := &forensics.Exchange{Cites: citesOf(p.of.at("cites", p.row))}
	for _, name := range names {
		x.Call = append(x.Call, forensics.Field{Name: name, Value: r.value(p, name)})
	}
	for _, part := range []struct {
		to                *forensics.Struct
		table, key, value string
	}{
		{&x.Client, "endpoints", "endpoint_id", "src_id"}, {&x.Server, "endpoints", "endpoint_id", "dst_id"},
		{&x.Flow, "flows", "flow_id", "flow_id"}, {&x.Connection, "connections", "conn_id", "conn_id"}, {&x.TLS, "tls_handshakes", "call_no", "call_no"},
	} {
		if *part.to, err = r.one(part.table, part.key, p.of.at(part.value, p.row)); err != nil {
			return nil, err
		}
	}
	if err := r.bodiesOf(x, most); err != nil {
		return nil, err
	}
	if err := r.refs(x); err != nil {
		return nil, err
	}
	if err := x.Deliver(func(no int64) (string, error) { return r.cite([]citeRange{{First: no, Last: no}}) }); err != nil {
		return nil, err
	}
	return x, r.anomaliesOf(x)
}

// bodiesOf reads the bodies of a call, at most most bytes of each.
func (r *Reader) bodiesOf(x *forensics.Exchange, most int) error {
	stored := map[string]*forensics.Body{}
	for _, side := range []string{"request", "response"} {
		if hash, ok := x.Call.Get(side + "_body_sha256").([]byte); ok {
			stored[string(hash)] = nil
		}
	}
	next, full := map[string]int64{}, map[string]bool{}
	err := r.eachBody([]string{"sha256", "part", "offset", "size", "complete", "encoding", "text", "bytes"}, func(row map[string]any) error {
		hash := string(bytesOf(row["sha256"]))
		s, wanted := stored[hash]
		if !wanted || row["part"] != next[hash] || full[hash] {
			return nil
		}
		next[hash]++
		if s == nil {
			s = &forensics.Body{IsText: true}
			stored[hash] = s
		}
		s.Size, s.Encoding = number(row["size"]), text(row["encoding"])
		s.Complete, _ = row["complete"].(bool)
		piece, binary := row["bytes"].([]byte)
		if !binary {
			piece = []byte(text(row["text"]))
		}
		s.IsText = s.IsText && !binary
		full[hash] = !s.Join(piece, number(row["offset"]), most)
		return nil
	})
	if err != nil {
		return err
	}
	t, err := r.table("bodies", "part")
	if err != nil {
		return err
	}
	for side, to := range map[string]**forensics.Body{"request": &x.Request, "response": &x.Response} {
		hash, _ := x.Call.Get(side + "_body_sha256").([]byte)
		size, there := x.Call.Get(side + "_body_size").(int64)
		if hash == nil && !there {
			continue
		}
		b := &forensics.Body{Size: size}
		s := stored[string(hash)]
		if s != nil {
			*b = *s
		}
		b.SHA256, b.WireSize, b.ContentType = hex.EncodeToString(hash), number(x.Call.Get(side+"_body_wire_size")), text(x.Call.Get(side+"_content_type"))
		*to = b
		if hash == nil || len(t.Columns) == 0 {
			continue
		}
		b.Truncated, b.Object = int64(len(b.Data)) < b.Size, s == nil && b.Size > 0
		if b.IsText {
			b.Data = []byte(r.masker.Text(redact.AsContent, b.ContentType, string(b.Data)))
		} else {
			b.Data = []byte(r.masker.Bytes("bytes", string(b.Data)))
		}
	}
	return nil
}

func bytesOf(v any) []byte { b, _ := v.([]byte); return b }

// maxAnomalies is how many anomalies of a call are read.
const maxAnomalies = 1000

// anomaliesOf lists the anomalies in the packets of a call.
func (r *Reader) anomaliesOf(x *forensics.Exchange) error {
	flow, ok := x.Call.Get("flow_id").(int64)
	t, err := r.table("anomalies", "packet_no")
	if err != nil || !ok || len(x.Cites) == 0 {
		return err
	}
	if err := t.load(t.names()...); err != nil {
		return err
	}
	var rows []int
	for row := range t.rows {
		if no := t.int("packet_no", row); t.at("flow_id", row) == flow && no >= x.Cites[0].First && no <= x.Cites[len(x.Cites)-1].Last {
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(t.int("packet_no", a), t.int("packet_no", b)) })
	for _, row := range rows[:min(len(rows), maxAnomalies)] {
		x.Anomalies = append(x.Anomalies, r.structOf(t, row))
	}
	return nil
}

// details answers /mcp/tools/get_api_call_details.
func (r *Reader) details(q query) (any, error) {
	most := int(cmp.Or(q.number("max_payload_size"), 4096))
	x, err := r.exchange(q.text("id"), most)
	if err != nil {
		return nil, err
	}
	from := number(x.Call.Get("ts_ns"))
	coverage, err := r.coverage(from, from+1000*number(x.Call.Get("elapsed_us")))
	if err != nil {
		return nil, err
	}
	out := struct {
		shown.OneCall
		Coverage ask.Coverage `json:"coverage"`
	}{shown.Cells{Policy: r.policy, Size: shown.MaxCell}.Exchange(x, most), ask.CoverageOf(coverage)}
	out.Verified = r.State == "verified"
	return out, nil
}
