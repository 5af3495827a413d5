package derive

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/alerts"
	"github.com/pcapsule/pcapsule/exporter/internal/namespaces"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Choice selects the packets that a cut keeps.
type Choice struct {
	Conns        map[int64]bool // by conn_id; nil keeps all packets of the time range
	Pods         func(Pod) bool // connections with an end that is one of these; nil keeps all
	FromNs, ToNs int64          // packets of this time, both inclusive; 0 leaves an end open
	Filter       string         // connections with a packet that matches, in tcpdump's syntax; empty keeps all
	// If Said.Namespaces is not nil, only connections within these namespaces are kept, without names
	// of other namespaces and without counts of other packets.
	Said   bundle.DerivedCut // as people said it
	Owners *bundle.Owners    // what other sources know of ends that the bundle does not name; for Said.Namespaces only
}

// Cut makes a bundle at output with a part of the packets, byte for byte: those of the chosen
// connections within the time range. Secrets in the packet files are left out; the keys of kept
// connections go into data/keys/. It returns
//   - ErrNothing if no packet is kept,
//   - ErrChanged if the packets are not those of the manifest,
//   - the errors of the exporter.
//
// After an error nothing is left behind.
func Cut(ctx context.Context, b *bundle.Bundle, output string, c Choice, o Options) (*Report, error) {
	src, err := newSource(b, output)
	if err != nil {
		return nil, err
	}
	defer src.remove()
	tables := bundle.TableParts(b.Payload(), b.Path)
	src.spaces = spacesOf(c.Said.Namespaces)
	if src.spaces != nil {
		if err := src.spaces.limit(ctx, tables, &c); err != nil {
			return nil, err
		}
	}
	if err := c.narrow(ctx, b, tables); err != nil {
		return nil, err
	}
	keep, addrs, err := chosen(ctx, tables, &c)
	if err != nil {
		return nil, err
	}
	from, err := origin(b, src.spaces != nil)
	if err != nil {
		return nil, err
	}
	d := &bundle.Derived{Kind: bundle.Cut, From: from, Rederivable: "fully", Reason: fully, Cut: &c.Said}
	if err := src.cut(keep, d, &o); err != nil {
		return nil, err
	}
	if src.spaces != nil {
		d.From.Packets, d.Packets.Removed = 0, 0
	}
	said, err := alertsOf(ctx, tables, keep)
	if err != nil {
		return nil, err
	}
	events, err := src.cutSides(addrs, said, &o)
	if err != nil {
		return nil, err
	}
	renumber(src.to.Manifest)
	o.EmbedKeys = len(o.Keys) > 0
	m, err := src.export(ctx, output, o, d, func(*Draft) error { return nil })
	if err != nil {
		return nil, err
	}
	r := &Report{Derived: *d, Manifest: m, Warnings: []string{}}
	if d.Packets.Removed == 0 && src.spaces == nil {
		r.Warnings = append(r.Warnings, "the cut keeps every packet")
	}
	if events {
		r.Warnings = append(r.Warnings, "operating system events were left out, because they are not about connections")
	}
	return r, nil
}

// cut writes the packets that are kept, and drops files without any.
func (s *source) cut(keep map[int32]map[int64]bool, d *bundle.Derived, o *Options) error {
	var inputs []bundle.Input
	for i := range s.b.Manifest.Inputs {
		in := &s.to.Manifest.Inputs[i]
		if in.Secrets > 0 {
			o.Keys = append(o.Keys, s.b.Path(in.Path))
		}
		file := keep[in.FileID]
		if s.spaces != nil {
			if err := s.spaces.packets(s.b.Path(in.Path), file); err != nil {
				return err
			}
		}
		said, err := s.packets(i, &fileEdit{keep: func(index int64) bool { return file[index] }, comments: true, spaces: s.spaces})
		if err != nil {
			return err
		}
		d.Packets.Unchanged += said.Packets
		d.Packets.Removed += said.Removed
		if said.Packets > 0 {
			inputs = append(inputs, *in)
		}
	}
	s.to.Manifest.Inputs = inputs
	if d.Packets.Unchanged == 0 {
		return ErrNothing
	}
	return nil
}

// cutSides copies the side inputs that kept packets need. It reports whether there were events.
func (s *source) cutSides(addrs map[string]bool, said map[int64]bool, o *Options) (events bool, err error) {
	kept := map[int32]bool{}
	for i := range s.to.Manifest.Inputs {
		kept[s.to.Manifest.Inputs[i].FileID] = true
	}
	err = s.sides(func(x *bundle.SideInput) bool {
		if isKeys(x) {
			if x.Kind == "keys_used" && !strings.HasSuffix(x.Path, ".age") {
				o.Keys = append(o.Keys, s.b.Path(x.Path))
			}
			return false
		}
		if x.Kind == "alerts" && len(said) == 0 {
			return false
		}
		events = events || x.Kind == "events"
		if s.spaces != nil && x.Kind != "owners" { // dumps name all
			return false
		}
		return !ofRing(x) && x.Kind != "events" && (x.FileID == nil || kept[*x.FileID])
	}, func(x *bundle.SideInput, data []byte) []byte {
		if x.Kind == "kube" || x.Kind == "hosts" {
			return reduced(data, addrs)
		}
		if x.Kind == "alerts" { // a line for each row
			return alerts.Keep(data, func(no int) bool { return said[int64(no)] })
		}
		if s.spaces != nil {
			return s.spaces.owners(data)
		}
		return data
	})
	return events, err
}

// alertsOf lists the alerts that cite a packet that is kept.
func alertsOf(ctx context.Context, tables map[string][]string, keep map[int32]map[int64]bool) (map[int64]bool, error) {
	by := map[int64][]int64{} // alerts by packet
	err := parts.Each(ctx, tables["alerts"], []string{"alert_no", "cites"}, func(v []any) error {
		if no, ok := v[0].(int64); ok {
			cites, _ := v[1].(table.Cites)
			eachNo(cites, func(packet int64) { by[packet] = append(by[packet], no) })
		}
		return nil
	})
	if err != nil || len(by) == 0 {
		return nil, err
	}
	said := map[int64]bool{}
	err = eachPacket(ctx, tables, func(p *packetRow) {
		if keep[p.file][p.index] {
			for _, no := range by[p.no] {
				said[no] = true
			}
		}
	})
	return said, err
}

// renumber numbers the remaining inputs without gaps, as the side files need.
func renumber(m *bundle.Manifest) {
	now := map[int32]int32{}
	for i := range m.Inputs {
		now[m.Inputs[i].FileID] = int32(i)
		m.Inputs[i].FileID = int32(i)
	}
	for i := range m.SideInputs {
		if s := &m.SideInputs[i]; s.FileID != nil {
			id := now[*s.FileID]
			s.FileID = &id
		}
	}
}

// chosen lists the packets to keep, by file, and the addresses of their flows.
func chosen(ctx context.Context, tables map[string][]string, c *Choice) (map[int32]map[int64]bool, map[string]bool, error) {
	flows, addrs, err := flowsOf(ctx, tables, c.Conns)
	if err != nil {
		return nil, nil, err
	}
	reports, err := reportsOf(ctx, tables, c.Conns, flows)
	if err != nil {
		return nil, nil, err
	}
	keep := map[int32]map[int64]bool{}
	err = eachPacket(ctx, tables, func(p *packetRow) {
		inTime := (c.FromNs == 0 || p.ts >= c.FromNs) && (c.ToNs == 0 || p.ts <= c.ToNs)
		if !inTime || c.Conns != nil && !flows[p.flow] && !reports[p.no] {
			return
		}
		if keep[p.file] == nil {
			keep[p.file] = map[int64]bool{}
		}
		keep[p.file][p.index] = true
	})
	return keep, addrs, err
}

// reportsOf lists the ICMP errors about packets of connections: without them, their calls and flows would end in another
// way. It returns nil if conns is nil, for all connections.
func reportsOf(ctx context.Context, tables map[string][]string, conns, flows map[int64]bool) (map[int64]bool, error) {
	if conns == nil {
		return nil, nil
	}
	found := map[int64]bool{}
	for name, files := range tables {
		if !namespaces.IsCalls(name) {
			continue
		}
		err := parts.Each(ctx, files, []string{"conn_id", "error", "cites"}, func(v []any) error {
			conn, ok := v[0].(int64)
			if cites, cited := v[2].(table.Cites); ok && cited && conns[conn] && v[1] == table.Undelivered {
				eachNo(cites, func(no int64) { found[no] = true })
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	err := parts.Each(ctx, tables["tcp_events"], []string{"flow_id", "event", "packet_no"}, func(v []any) error {
		flow, ok := v[0].(int64)
		if no, numbered := v[2].(int64); ok && numbered && flows[flow] && v[1] == "refused" {
			found[no] = true
		}
		return nil
	})
	return found, err
}

// kubeObject is an object of a dump.
type kubeObject struct {
	text   string
	kind   string
	uid    string
	name   string
	node   string            // on which a pod runs
	space  string            // namespace
	labels map[string]string // of a pod, or of the pods that a network policy selects
	owners []string          // uids
	refs   map[string]bool   // every text in it
	keep   bool
}

func kubeObjectOf(text string) *kubeObject {
	var v struct {
		Kind     string
		Metadata struct {
			Name, Namespace, UID string
			Labels               map[string]string
			OwnerReferences      []struct{ UID string }
		}
		Spec struct {
			NodeName    string
			PodSelector struct{ MatchLabels map[string]string }
		}
	}
	var all map[string]any
	if json.Unmarshal([]byte(text), &all) != nil || all["kind"] == nil || json.Unmarshal([]byte(text), &v) != nil {
		return nil
	}
	o := &kubeObject{text: text, kind: v.Kind, uid: v.Metadata.UID, name: v.Metadata.Name, node: v.Spec.NodeName, space: v.Metadata.Namespace, labels: v.Metadata.Labels, refs: map[string]bool{}}
	if o.kind == "NetworkPolicy" {
		o.labels = v.Spec.PodSelector.MatchLabels
	}
	for _, r := range v.Metadata.OwnerReferences {
		o.owners = append(o.owners, r.UID)
	}
	texts(all, func(s string) { o.refs[s] = true })
	return o
}

// reduced is a dump with only the objects that belong to addresses: those that have one, what owns
// them, their nodes, namespaces, events and network policies. The exporter writes dumps with one object a line.
func reduced(data []byte, addrs map[string]bool) []byte {
	var head, list, foot []string
	var objects []*kubeObject
	for line := range strings.Lines(string(data)) {
		o := kubeObjectOf(strings.TrimSuffix(strings.TrimRight(line, "\r\n"), ","))
		switch {
		case o != nil:
			objects = append(objects, o)
		case len(objects) == 0:
			head = append(head, line)
		default:
			foot = append(foot, line)
		}
	}
	need := map[string]bool{} // uids of owners and of what was kept, names of nodes
	for _, o := range objects {
		o.keep = o.kind == "ServiceCIDR"
		for s := range o.refs {
			o.keep = o.keep || o.kind != "Event" && o.kind != "NetworkPolicy" && addrs[s]
		}
	}
	for range 4 { // a pod, its ReplicaSet, its Deployment; then their events
		for _, o := range objects {
			if !o.keep {
				continue
			}
			need[o.uid] = true
			if o.kind == "Pod" {
				need["node "+o.node] = true
			}
			for _, uid := range o.owners {
				need[uid] = true
			}
		}
		delete(need, "")
		for _, o := range objects {
			if o.kind == "Event" {
				for s := range o.refs {
					o.keep = o.keep || need[s]
				}
			} else {
				o.keep = o.keep || need[o.uid] || o.kind == "Node" && need["node "+o.name]
			}
		}
	}
	for _, o := range objects {
		if o.keep || (o.kind == "NetworkPolicy" || o.kind == "Namespace") && slices.ContainsFunc(objects, o.selects) {
			list = append(list, o.text)
		}
	}
	body := strings.Join(list, ",\n")
	if body != "" {
		body += "\n"
	}
	return []byte(strings.Join(head, "") + body + strings.Join(foot, ""))
}

// selects reports whether a network policy may be about a pod that is kept, or a namespace has one.
func (o *kubeObject) selects(pod *kubeObject) bool {
	if o.kind == "Namespace" {
		return pod.kind == "Pod" && pod.keep && pod.space == o.name
	}
	if pod.kind != "Pod" || !pod.keep || pod.space != o.space {
		return false
	}
	for name, value := range o.labels {
		if pod.labels[name] != value {
			return false
		}
	}
	return true
}

// texts calls do for each text in a JSON value.
func texts(v any, do func(string)) {
	switch v := v.(type) {
	case string:
		do(v)
	case []any:
		for _, x := range v {
			texts(x, do)
		}
	case map[string]any:
		for _, x := range v {
			texts(x, do)
		}
	}
}

// Merge makes a bundle at output from the same packets and the additional dumps, hosts files,
// alerts and keys in o. The errors are those of the exporter. After an error nothing is left behind.
func Merge(ctx context.Context, b *bundle.Bundle, output string, o Options) (*Report, error) {
	var added []string
	for _, a := range []struct {
		kind  string
		files []string
	}{{"kube", o.Kube}, {"hosts", o.Hosts}, {"alerts", o.Alerts}, {"keys", o.Keys}} {
		if len(a.files) > 0 {
			added = append(added, a.kind)
		}
	}
	if len(added) == 0 {
		return nil, fmt.Errorf("merging: %w: no dump, hosts file, alert or key is given", ErrNothing)
	}
	from, err := origin(b, false)
	if err != nil {
		return nil, err
	}
	d := &bundle.Derived{Kind: bundle.Merged, From: from, Rederivable: "fully", Reason: fully, Packets: bundle.DerivedCount{Unchanged: from.Packets}, Added: added}
	o.EmbedKeys = o.EmbedKeys || len(o.Keys) > 0
	s := &source{b: b, to: b}
	for range b.Manifest.Inputs {
		s.keep = append(s.keep, keepAll)
		s.rules = append(s.rules, nil)
	}
	m, err := s.export(ctx, output, o, d, func(draft *Draft) error {
		for i := range b.Manifest.Inputs { // they were hashed while they were copied
			if in := draft.Manifest.Input(b.Manifest.Inputs[i].FileID); in == nil || in.SHA256 != b.Manifest.Inputs[i].SHA256 {
				return fmt.Errorf("%s: %w", b.Manifest.Inputs[i].Path, ErrChanged)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Report{Derived: *d, Manifest: m, Warnings: []string{}}, nil
}
