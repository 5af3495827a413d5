package derive

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const maxLearnt = 4096 // bytes of an encoding that is searched everywhere

// Attempts at a message that still contains a value.
const (
	tryBody    = iota + 1 // its bodies go
	tryMessage            // its packets' payloads go
	tryConn               // those of its connection go
)

// check searches a draft for what had to go, in every table and every packet. What is left is
// marked for the next attempt, and the answer is errDirty.
func (x *redaction) check(ctx context.Context, d *Draft) error {
	c := &checking{redaction: x, bodies: map[table.Hash]bool{}, conns: map[int64]bool{}, again: map[int64]bool{}, came: map[brief]string{}}
	x.left = nil
	var err error
	if c.raw, err = x.leftInPackets(ctx, d); err != nil { // before tables add values to those that are searched
		return err
	}
	fresh := x.s.fresh
	tables := bundle.TableParts(d.Files, d.Path)
	for _, only := range []bool{true, false} { // bodies first: calls say who carried them
		some := map[string][]string{}
		for name, files := range tables {
			if (name == "bodies") != only {
				continue
			}
			clean, err := c.asBefore(d, name, files)
			if err != nil {
				return fmt.Errorf("reading table %s: %w", name, err)
			}
			if !clean {
				some[name] = files
			}
		}
		if err := walkTables(ctx, some, c.begin); err != nil {
			return err
		}
		c.add()
		if err := c.s.search.fits(); err != nil {
			return err
		}
	}
	for _, f := range d.Files {
		if strings.HasPrefix(f.Path, "data/inputs/") {
			data, err := os.ReadFile(d.Path(f.Path))
			if err != nil {
				return err
			}
			if c.holds(string(data)) {
				return &LeftError{[]string{f.Path}}
			}
		}
	}
	if len(x.left) == 0 && x.s.fresh == fresh {
		return nil
	}
	if !c.marked && x.s.fresh == fresh && len(c.conns) == 0 && len(c.raw) == 0 {
		return &LeftError{x.left}
	}
	if err := c.mark(ctx, tables); err != nil {
		return err
	}
	return errDirty
}

// asBefore reports whether a table needs no look at its rows: it has the texts of the original's, in
// which the policy found nothing, and what was found elsewhere is not in them either.
func (c *checking) asBefore(d *Draft, name string, files []string) (bool, error) {
	was, now := tableOf(c.b.Manifest, name), tableOf(d.Manifest, name)
	if c.s.search.names != nil || name == "bodies" && c.r.Policy.RemovesBodies() { // which need the rows
		return false, nil
	}
	if c.s.found[name] || len(c.bodies) > 0 || was == nil || now == nil || !slices.Equal(contents(was), contents(now)) {
		return false, nil
	}
	clean := true
	err := parts.Texts(files, func(texts []byte, escaped bool) bool {
		clean = !c.holds(unsafe.String(unsafe.SliceData(texts), len(texts)))
		if escaped && bytes.Contains(texts, []byte(`\x`)) { // a value may be behind an escape
			clean = false
		}
		return clean
	})
	return clean && err == nil, err
}

// contents are the columns of a table that may hold content, with their digests.
func contents(t *bundle.Table) []bundle.Column {
	return slices.DeleteFunc(slices.Clone(t.Columns), func(c bundle.Column) bool {
		return !strings.Contains(c.Type, "VARCHAR") && (c.Type != "BLOB" || c.Name == "call_id")
	})
}

// tableOf is the description of a table in a manifest, by the folder of its parts.
func tableOf(m *bundle.Manifest, name string) *bundle.Table {
	for i := range m.Tables {
		if t := &m.Tables[i]; t.Name == name && t.Protocol == "" || t.Protocol != "" && name == t.Name+"/protocol="+t.Protocol {
			return t
		}
	}
	return nil
}

// checking is one search of a draft.
type checking struct {
	*redaction
	mu     sync.Mutex
	bodies map[table.Hash]bool // that hold something
	conns  map[int64]bool      // whose payload goes
	again  map[int64]bool      // packets that were marked in this search
	raw    []rawLeft
	marked bool
	came   map[brief]string // values that came to light, with their rules
}

type rawLeft struct {
	file  int32
	index int64
}

// begin is the visitor of one table.
func (c *checking) begin(name string) func(*row) error {
	var list []found
	search := c.r.Policy.Search(func(rule, value, whole string, rest bool) {
		if rest || !isBlank(value) {
			list = append(list, found{rule, value, whole, rest})
		}
	})
	return func(r *row) error {
		list = list[:0]
		if !c.s.clean.has(r) {
			search.Row(r.names, r.values)
		}
		column := ""
		for i, v := range r.values {
			if column == "" && c.inValue(v) {
				column = r.names[i]
			}
		}
		if column != "" && c.fresh(c.learn(r)) {
			return nil // the next attempt removes them
		}
		if r.table == "bodies" && column == "" && c.r.Policy.WholeBody(text(r, "content_type")) && !isBlank(text(r, "text")) {
			column = "text"
		}
		c.row(name, r, list, column)
		return nil
	}
}

// inValue reports whether a value of a row holds what had to go.
func (c *checking) inValue(v any) (holds bool) {
	eachText(v, func(s string) { holds = holds || c.holds(s) })
	return holds
}

// holds reports whether a text holds a value that is searched everywhere.
func (c *checking) holds(s string) bool {
	hit := false
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	c.s.search.find(b, func(int, *needle) { hit = true })
	if !hit && len(s) >= encoded.LeastRun {
		c.encoded(b, func(encoded.Found) { hit = true })
	}
	if c.s.search.names != nil && !hit {
		addressesIn(s, func(_, _ int, a netip.Addr) { hit = hit || c.s.search.names.known[a] })
	}
	return hit
}

// encoded searches a text for values in encodings.
func (x *redaction) encoded(b []byte, hit func(encoded.Found)) {
	f, _ := x.finders.Get().(*encoded.Finder)
	if f == nil {
		f = &encoded.Finder{Values: x.s.search}
	}
	f.Find(b, hit)
	x.finders.Put(f)
}

// learn makes the encodings of values in a row values of their own, so that the next attempt finds them however the row
// was sent.
func (c *checking) learn(r *row) (again []found) {
	for _, v := range r.values {
		eachText(v, func(s string) {
			if len(s) < encoded.LeastRun {
				return
			}
			b := unsafe.Slice(unsafe.StringData(s), len(s))
			c.encoded(b, func(e encoded.Found) {
				if e.To-e.From <= maxLearnt {
					again = append(again, found{rule: c.s.rules[e.Rule], value: strings.Clone(s[e.From:e.To]), whole: strings.Clone(s[:min(len(s), maxLearnt)])})
				}
			})
		})
	}
	return again
}

// fresh remembers values for the next attempt, and reports whether it will find any that this one did not.
func (c *checking) fresh(list []found) (any bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.come(list)
}

func (c *checking) come(list []found) (any bool) {
	for _, f := range list {
		key := brief{f.value, f.whole}
		if !everywhere(f.value) || c.s.search.has(f.value, f.whole) {
			continue
		}
		any = true
		if _, ok := c.came[key]; !ok {
			c.came[key] = f.rule
		}
	}
	return any
}

// add adds the values that came to light, when no search is running.
func (c *checking) add() {
	for key, rule := range c.came {
		if c.s.search.add(key.value, key.whole, c.s.rule(rule)) {
			c.s.fresh++
		}
	}
	clear(c.came)
}

// row marks the values that a row still contains.
func (c *checking) row(name string, r *row, list []found, column string) {
	call := r.table == "calls"
	if len(list) == 0 && column == "" && !call {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	dirty := column != ""
	for _, f := range list {
		if f.rest && c.wasHandled(r.cites()) {
			continue
		}
		dirty = true
		if !f.rest { // it came to light when something else was removed
			c.come([]found{f})
		}
	}
	hasBody, digests := false, false
	for _, side := range []string{"request_body_sha256", "response_body_sha256"} {
		if h, ok := r.hash(side); ok && call {
			hasBody = true
			dirty = dirty || c.bodies[h]
			digests = digests || !c.s.was[h]
		}
	}
	if digests {
		c.digests(r)
	}
	if !dirty {
		return
	}
	if h, ok := r.hash("sha256"); ok && r.table == "bodies" {
		c.bodies[h] = true
		c.leave(name, column)
		return
	}
	c.leave(name, column)
	conn, hasConn := r.int64("conn_id")
	eachNo(r.cites(), func(no int64) {
		c.marked = true
		if !c.again[no] {
			c.again[no] = true
			c.dirty[no]++
			if c.dirty[no] == tryBody && !hasBody {
				c.dirty[no] = tryMessage
			}
		}
		switch c.dirty[no] {
		case tryBody:
			c.redaction.bodies[no] = true
		case tryMessage:
			c.s.blank[no] = c.s.rule("message")
		default:
			if hasConn {
				c.conns[conn] = true
			}
		}
	})
}

// digests removes the digests in the headers of a call whose body was changed.
func (c *checking) digests(r *row) {
	rule := c.s.rule(digestRule)
	digestsIn(r, func(value, whole string) {
		if everywhere(value) {
			c.come([]found{{rule: digestRule, value: value, whole: whole}})
			return
		}
		eachNo(r.cites(), func(no int64) {
			if _, known := c.s.short[no][brief{value, whole}]; !known {
				put(c.s.short, no, brief{value, whole}, rule)
				c.s.fresh++
			}
		})
	})
}

// wasHandled reports whether what no row shows was replaced in all packets of a message.
func (c *checking) wasHandled(cites table.Cites) bool {
	all := len(cites) > 0
	eachNo(cites, func(no int64) { all = all && c.s.handled[no] })
	return all
}

// leave records where something was left.
func (c *checking) leave(table, column string) {
	if len(c.left) < 10 {
		c.left = append(c.left, strings.TrimSuffix("table "+table+", column "+column, ", column "))
	}
}

// mark marks the packets of connections, and packets that held a value, for the next attempt. Their
// numbers are those of the original.
func (c *checking) mark(ctx context.Context, tables map[string][]string) error {
	if len(c.conns) == 0 && len(c.raw) == 0 {
		return nil
	}
	flows, _, err := flowsOf(ctx, tables, c.conns)
	if err != nil {
		return err
	}
	raw := map[rawLeft]bool{}
	for _, r := range c.raw {
		raw[r] = true
	}
	return eachPacket(ctx, tables, func(p *packetRow) {
		switch {
		case flows[p.flow]:
			c.s.blank[p.no] = c.s.rule("connection")
		case raw[rawLeft{p.file, p.index}]:
			c.s.blank[p.no] = c.s.rule("message")
		}
	})
}
