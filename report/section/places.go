package section

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/report/value"
)

// places adds a section with the places of the outside addresses in all answers, if the case has GeoIP files.
func (b *builder) places() {
	set := b.c.GeoIP()
	if b.err != nil || set == nil {
		return
	}
	all := map[string]ask.Place{}
	for _, a := range b.answers {
		if f, ok := a.answer.(interface{ Located() []ask.Place }); ok {
			for _, p := range f.Located() {
				all[p.Address+" "+p.Name] = p
			}
		}
	}
	s := value.Section{ID: "places", Title: "Outside addresses"}
	for _, f := range set.Files {
		s.Text = append(s.Text, value.Clean(fmt.Sprintf("Countries and operators are what %s says (%s of %s, SHA-256 %s), not what the packets show.", f.Name, cmp.Or(f.Type, "a database"), f.Date, f.SHA256), 2*value.MaxText))
	}
	t := &value.Table{ID: "places-table", Title: "Countries and operators", Columns: []value.Column{value.CodeColumn("Address"), value.TextColumn("Name"), value.TextColumn("Country"), value.NumberColumn("AS", ""), value.WideColumn("Operator")}}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		p := all[key]
		t.Add(nil, value.WordCell(p.Address), value.WordCell(p.Name), value.WordCell(p.Country), value.CountCell(p.ASN), value.WordCell(p.Operator))
	}
	if len(all) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
	b.r.Sections = append(b.r.Sections, s)
}
