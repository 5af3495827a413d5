package chain

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// lasts reports whether rows of a protocol have neither a response nor an error while they last.
func lasts(protocol string) bool {
	return table.TraitsOf(protocol).Carrier || slices.Contains(table.Undissected, protocol)
}

// setEnds sets the end of calls. A call that lacks its response ends when its caller stops waiting, a message that needs
// none with itself, a response without its request, too, and what has neither with its connection.
func (k *Builder) setEnds(list []*Step) error {
	type conn struct {
		Bundle int64  `json:"bundle"`
		ID     int64  `json:"conn_id"`
		Last   int64  `json:"last_ns"`
		State  string `json:"key_state"`
	}
	var need []ask.Key
	_, last, _ := k.C.Window()
	for _, s := range list {
		s.End, s.sure = s.Start, s.Took != nil
		if s.No >= bundle.FirstOpenCall { // of a live view: it is open
			s.End = min(max(s.Start, last), s.Start+openEnded)
			continue
		}
		if took := cmp.Or(s.Took, s.waited); took != nil {
			s.End += *took * 1000
		}
		if s.Took == nil && (s.Error != "" && s.Error != noRequest || lasts(s.Protocol)) || s.Protocol == "tls" || s.Protocol == "quic" {
			need = append(need, ask.Key{Bundle: s.Bundle, No: s.ConnID})
		}
	}
	if len(need) == 0 {
		return nil
	}
	bundles, ids := ask.Split(need)
	conns, _, err := ask.Rows[conn](k.Ctx, k.C, 200_000, fmt.Sprintf("SELECT %s, k.conn_id, k.last_ns, coalesce(k.key_state, '') AS key_state FROM connections_raw k WHERE k.conn_id IN (SELECT no FROM %s) %s",
		terms.BundleOf(k.C, "k."), terms.Zip("no"), ask.OfBundles(k.C, bundles)), ids)
	if err != nil {
		return err
	}
	byID := map[ask.Key]conn{}
	for _, cn := range conns {
		byID[ask.Key{Bundle: cn.Bundle, No: cn.ID}] = cn
	}
	for _, s := range list {
		cn, ok := byID[ask.Key{Bundle: s.Bundle, No: s.ConnID}]
		if !ok {
			continue
		}
		if (s.Protocol == "tls" || s.Protocol == "quic") && cn.State != "" && cn.State != "verified" {
			s.Sealed, s.End = true, max(s.End, cn.Last)
		} else if s.Took == nil && s.Error != noRequest && s.waited == nil {
			s.End = min(max(s.Start, cn.Last), s.Start+openEnded)
		}
	}
	return nil
}

// span is a time range at a party.
type span struct {
	at     *party
	lo, hi int64
}

// merge joins overlapping spans of each party, and returns them for every endpoint row of the
// party.
func (k *Builder) merge(spans []span) (bundles, ids, los, his []int64) {
	byKey := map[string][]span{}
	var order []string
	for _, s := range spans {
		if byKey[s.at.Key] == nil {
			order = append(order, s.at.Key)
		}
		byKey[s.at.Key] = append(byKey[s.at.Key], s)
	}
	slices.Sort(order)
	for _, key := range order {
		list := byKey[key]
		slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
		merged := list[:1]
		for _, s := range list[1:] {
			if last := &merged[len(merged)-1]; s.lo <= last.hi {
				last.hi = max(last.hi, s.hi)
			} else {
				merged = append(merged, s)
			}
		}
		for _, s := range merged {
			for _, p := range k.Same[key] {
				bundles, ids, los, his = append(bundles, p.Bundle), append(ids, p.ID), append(los, s.lo), append(his, s.hi)
			}
		}
	}
	return bundles, ids, los, his
}

// callsMade loads the calls that parties made in their spans.
func (k *Builder) callsMade(spans []span) ([]*Step, error) {
	return k.find("made", (*placed).madeIn, spans)
}

// openCalls loads the calls that were open at parties in their spans. They are the possible parents of
// the calls that the party made.
func (k *Builder) openCalls(spans []span) ([]*Step, error) {
	var more []span // a service's address may be any of the pods behind it
	for _, s := range spans {
		for _, name := range s.at.Services {
			for _, p := range k.Same["service "+s.at.Namespace+"/"+name] {
				more = append(more, span{p, s.lo, s.hi})
			}
		}
	}
	return k.find("asked", (*placed).openIn, append(more, spans...))
}

func (k *Builder) find(what string, rowsIn func(*placed, *forensics.RowGroup) ([]int, error), spans []span) ([]*Step, error) {
	var fresh []span
	for _, s := range spans {
		id := fmt.Sprintf("%s %s %d %d", what, s.at.Key, s.lo, s.hi)
		if !k.seen[id] {
			k.seen[id] = true
			fresh = append(fresh, s)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	slices.SortFunc(fresh, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	starts := make([]int64, len(fresh))
	for i, s := range fresh {
		starts[i] = s.lo
	}
	var out []*Step
	for _, r := range ask.Runs(starts, NearTime, ask.MaxRuns) {
		from, _ := slices.BinarySearch(starts, r[0])
		to, _ := slices.BinarySearch(starts, r[1]+1)
		some, err := k.findNear(rowsIn, fresh[from:to])
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// findNear loads the first MaxLoaded calls, by time, that rowsIn selects for the spans.
func (k *Builder) findNear(rowsIn func(*placed, *forensics.RowGroup) ([]int, error), spans []span) ([]*Step, error) {
	rows, err := k.calls()
	if err != nil {
		return nil, err
	}
	bundles, ids, los, his := k.merge(spans)
	at := placedAt(rows, bundles, ids, los, his)
	var list []Step
	err = rows.Each(k.Ctx, func(bundle int, g *forensics.RowGroup) error {
		p := at[int64(bundle)]
		if p == nil {
			return nil
		}
		found, err := rowsIn(p, g)
		if err != nil {
			return err
		}
		some, err := k.stepsAt(bundle, g, found)
		// ICMP has no calls: it neither causes calls nor is caused by them here.
		list = append(list, slices.DeleteFunc(some, func(s Step) bool { return s.ofKernel() })...)
		if len(list) > 3*ask.MaxLoaded {
			slices.SortFunc(list, inStepOrder)
			list = list[:ask.MaxLoaded+1]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, inStepOrder)
	if len(list) > ask.MaxLoaded {
		list, k.Cut = list[:ask.MaxLoaded], true
	}
	return k.addSteps(list)
}

// brokenConns loads the failed connections that parties opened in their spans, as failed calls: a
// program that cannot connect leaves no call.
func (k *Builder) brokenConns(spans []span) ([]*Step, error) {
	type conn struct {
		Bundle  int64  `json:"bundle"`
		FlowID  int64  `json:"flow_id"`
		ConnID  int64  `json:"conn_id"`
		SrcID   int64  `json:"src_id"`
		DstID   int64  `json:"dst_id"`
		Port    int64  `json:"dst_port"`
		State   string `json:"state"`
		Start   int64  `json:"first_ns"`
		End     int64  `json:"last_ns"`
		Packets string `json:"packets"`
	}
	bundles, ids, los, his := k.merge(spans)
	if len(ids) == 0 || k.AllConnected {
		return nil, nil
	}
	on := "k.src_id = w.id"
	conns := ask.Joined(k.C, fmt.Sprintf("(SELECT * FROM connections_raw WHERE first_ns BETWEEN %d AND %d)", slices.Min(los), slices.Max(his)))
	if k.C.Several() {
		on += " AND k.bundle = w.b"
	}
	list, _, err := ask.Rows[conn](k.Ctx, k.C, MaxNodes, fmt.Sprintf(`SELECT %s, f.flow_id, k.conn_id, k.src_id, k.dst_id, k.dst_port, f.state, k.first_ns, k.last_ns, [%s] AS packets
		FROM flows_raw f JOIN %s k ON k.flow_id = f.flow_id%s JOIN %s w ON %s WHERE k.transport = 'tcp' AND k.calls = 0 AND f.`+terms.NotCompleted+` AND k.first_ns BETWEEN w.lo AND w.hi
		QUALIFY row_number() OVER (PARTITION BY k.conn ORDER BY k.first_ns, %sf.flow_id) = 1 ORDER BY k.first_ns, bundle, f.flow_id LIMIT %d`, terms.BundleOf(k.C, "k."), terms.CitesOne(k.C, "f", "f.first_packet"), conns, terms.SameBundle(k.C, "k", "f"), terms.Zip("b", "id", "lo", "hi"), on, terms.Key(k.C, "k"), MaxNodes), terms.Numbers(bundles), terms.Numbers(ids), terms.Numbers(los), terms.Numbers(his))
	if err != nil {
		return nil, err
	}
	words := map[string]string{"refused": "refused", "syn_sent": "no answer to SYN", "reset": "reset"}
	var out, fresh []*Step
	for _, cn := range list {
		s := &Step{Bundle: cn.Bundle, No: -1 - cn.FlowID, Start: cn.Start, End: cn.End, Clock: -1, SrcID: cn.SrcID, DstID: cn.DstID, ConnID: cn.ConnID, Protocol: "tcp", Failed: true,
			Error: cn.State, detailed: true, saying: saying{read: true}, detail: detail{Status: words[cn.State], Method: fmt.Sprintf("connect to port %d", cn.Port), Packets: cn.Packets}}
		s.Summary = s.Method + " → " + s.Status
		if old := k.Steps[s.Key()]; old != nil {
			s = old
		} else {
			k.Steps[s.Key()] = s
			fresh = append(fresh, s)
		}
		out = append(out, s)
	}
	return out, k.setParties(fresh)
}
