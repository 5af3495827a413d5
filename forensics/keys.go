package forensics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Keys defines how the secrets that decrypt a slice's packets are treated.
type Keys string

// Values of Keys.
const (
	NoKeys    Keys = ""      // no secrets are written or searched
	CountKeys Keys = "count" // no secrets are written; the report counts them
	WithKeys  Keys = "with"  // secrets are written before the packets; see Packets
)

// secretsBlock is the largest block of keys in bytes: readers of a live pipe reject larger ones.
const secretsBlock = 64 << 10

// maxLines is the highest number of key log lines in a slice, about 180 bytes each.
const maxLines = 4 << 20

// KeyReport counts the secrets that decrypt a slice's packets.
type KeyReport struct {
	Connections int64 // encrypted connections of the slice with a known client random
	Opened      int64 // of these, connections with keys
	Lines       int64 // key log lines that decrypt them
	Added       int64 // packets added so that a reader can use the keys
	Other       int64 // blocks of secrets other than TLS in the bundles' files; never written
	Sealed      int   // bundles whose own keys are encrypted and could not be used
	Left        int64 // bytes of secrets in the bundles' files above the read limit
}

// shaken is the data that identifies the keys of a flow's connection.
type shaken struct {
	first    int64 // packet of the flow in the slice
	last     int64
	randoms  map[string]bool
	sessions map[string]string // session id of a handshake by its client random
}

// unlock finds the keys for the connections of the marked packets. With WithKeys it also marks the
// packets of these connections up to the last marked one, unless exact is set: the sequence number of
// a record is part of its nonce, so a reader that lacks a record cannot decrypt later ones.
func (c *Case) unlock(ctx context.Context, m *marks, sel *Selection) (KeyReport, []pcapng.Secrets, error) {
	k, err := c.keyring(sel)
	if err != nil {
		return KeyReport{}, nil, err
	}
	defer k.close()
	if sel.Keys == CountKeys && k.store.Empty() {
		return k.report, nil, nil
	}
	var lines []string
	seen := map[string]bool{}
	for b := range m.bundles {
		flows, err := c.flowsOf(ctx, m, b)
		if err != nil {
			return KeyReport{}, nil, err
		}
		if err := c.randoms(ctx, b, flows); err != nil {
			return KeyReport{}, nil, err
		}
		wanted, err := k.pick(flows, m.all, func(random string, list []string) error {
			if seen[random] {
				return nil
			}
			seen[random] = true
			if lines = append(lines, list...); len(lines) > maxLines {
				return fmt.Errorf("more than %d lines of keys in one slice: %w", maxLines, ErrMemory)
			}
			return nil
		})
		if err != nil {
			return KeyReport{}, nil, err
		}
		if sel.Keys != WithKeys || sel.ExactPackets || len(wanted) == 0 || m.all && m.from == 0 {
			continue
		}
		added, err := c.precede(ctx, m, b, wanted)
		if err != nil {
			return KeyReport{}, nil, err
		}
		k.report.Added += added
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	k.report.Lines = int64(len(lines))
	if sel.Keys != WithKeys {
		return k.report, nil, nil
	}
	return k.report, secretsBlocks(lines), nil
}

// flowsOf returns the flows of a bundle's marked packets.
func (c *Case) flowsOf(ctx context.Context, m *marks, b int) (map[int64]*shaken, error) {
	flows := map[int64]*shaken{}
	ask := func(where string, args ...any) error {
		rows, err := c.db.Query(ctx, "SELECT packet_no, flow_id FROM packets_raw WHERE flow_id IS NOT NULL AND "+where+c.ofBundle(b), args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			n, flow := rows.Int(0), rows.Int(1)
			if !m.all && !m.bundles[b].set.has(n) {
				continue
			}
			if s := flows[flow]; s == nil {
				flows[flow] = &shaken{first: n, last: n}
			} else {
				s.first, s.last = min(s.first, n), max(s.last, n)
			}
		}
		return errors.Join(rows.Err(), rows.Close())
	}
	if m.all {
		from, to := m.window()
		return flows, ask("ts_ns BETWEEN ? AND ?", from, to)
	}
	for _, s := range m.bundles[b].set.spans() {
		if err := ask("packet_no BETWEEN ? AND ?", s.first, s.last); err != nil {
			return nil, err
		}
	}
	return flows, nil
}

// randoms finds the client randoms of flows, from every handshake on their connections; a
// renegotiated connection has several.
func (c *Case) randoms(ctx context.Context, b int, flows map[int64]*shaken) error {
	list := slices.Sorted(maps.Keys(flows))
	if len(list) == 0 || c.views["flows"] == nil {
		return nil
	}
	on := func(alias string) string {
		if !c.several() {
			return ""
		}
		return " AND " + alias + ".bundle = f.bundle"
	}
	of := ""
	if c.several() {
		of = fmt.Sprintf(" AND f.bundle = %d", b)
	}
	where := " WHERE f.flow_id IN (SELECT unnest(?))" + of
	var asks []string
	if tls := c.views["tls_handshakes"]; tls != nil && c.views["calls"] != nil && tls.has("client_random") && tls.has("session_id") {
		asks = append(asks, "SELECT f.flow_id, t.client_random, t.session_id FROM flows_raw f JOIN calls_raw c ON c.conn_id = f.conn_id"+on("c")+
			" JOIN tls_handshakes_raw t ON t.call_no = c.call_no"+on("t")+where+" AND c.protocol = 'tls' AND t.client_random IS NOT NULL")
	}
	if conns := c.views["connections"]; conns != nil && conns.has("client_random") {
		asks = append(asks, "SELECT f.flow_id, n.client_random, NULL FROM flows_raw f JOIN connections_raw n ON n.conn_id = f.conn_id"+on("n")+
			where+" AND n.client_random IS NOT NULL")
	}
	for _, sql := range asks {
		rows, err := c.db.Query(ctx, sql, list)
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := noteRandom(flows[rows.Int(0)], rows.Value); err != nil {
				rows.Close()
				return err
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

func noteRandom(s *shaken, value func(int) (any, error)) error {
	random, err := value(1)
	if err != nil {
		return err
	}
	session, err := value(2)
	if err != nil {
		return err
	}
	r, _ := random.([]byte)
	id, _ := session.([]byte)
	if s == nil || len(r) == 0 {
		return nil
	}
	if s.randoms == nil {
		s.randoms, s.sessions = map[string]bool{}, map[string]string{}
	}
	s.randoms[string(r)] = true
	if len(id) > 0 {
		s.sessions[string(r)] = string(id)
	}
	return nil
}

// pick counts the flows with keys, passes their key log lines to give, and returns these flows with
// the range of their packets that must also be marked. With window these are all packets before the
// first one, because those in the window are already marked.
func (k *keyring) pick(flows map[int64]*shaken, window bool, give func(random string, lines []string) error) (map[int64]*span, error) {
	wanted := map[int64]*span{}
	for _, flow := range slices.Sorted(maps.Keys(flows)) {
		s := flows[flow]
		if len(s.randoms) == 0 {
			continue
		}
		k.report.Connections++
		opened := false
		for _, random := range slices.Sorted(maps.Keys(s.randoms)) {
			list := k.store.Lines([]byte(random))
			if id := s.sessions[random]; len(list) == 0 && id != "" {
				for _, x := range k.store.FindSession([]byte(id)) {
					list = append(list, x.Line())
				}
			}
			if len(list) == 0 {
				continue
			}
			opened = true
			if err := give(random, list); err != nil {
				return nil, err
			}
		}
		if !opened {
			continue
		}
		k.report.Opened++
		if !window {
			wanted[flow] = &span{last: s.last}
		} else if s.first > 0 {
			wanted[flow] = &span{last: s.first - 1}
		}
	}
	return wanted, nil
}

// precede marks the packets of flows before those of the slice, and returns the number of new ones.
func (c *Case) precede(ctx context.Context, m *marks, b int, wanted map[int64]*span) (int64, error) {
	one := &m.bundles[b]
	before := one.set.n
	if err := c.markFlows(ctx, b, one, wanted); err != nil {
		return 0, err
	}
	return one.set.n - before, nil
}

// secretsBlocks splits key log lines into blocks that every reader accepts.
func secretsBlocks(lines []string) (out []pcapng.Secrets) {
	var data []byte
	flush := func() {
		if len(data) > 0 {
			out = append(out, pcapng.Secrets{Type: pcapng.SecretsTLS, Data: data})
			data = nil
		}
	}
	const head = 64 // of the block, with its lengths
	for _, l := range lines {
		if len(data)+len(l)+1 > secretsBlock-head {
			flush()
		}
		data = append(append(data, l...), '\n')
	}
	flush()
	return out
}
