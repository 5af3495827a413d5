package ask

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Limits of the places of an answer.
const (
	maxOutside = 50_000 // outside addresses of a case that are looked for
	maxPlaces  = 200
)

// Place is what GeoIP files say about an outside address that an answer names.
type Place struct {
	Address  string `json:"address"`
	Name     string `json:"name,omitempty" jsonschema:"as the answer calls it"`
	Country  string `json:"country,omitempty" jsonschema:"code of ISO 3166-1"`
	ASN      int64  `json:"asn,omitempty" jsonschema:"autonomous system"`
	Operator string `json:"operator,omitempty" jsonschema:"of the autonomous system"`
}

// Located returns the places of an answer.
func (f *Frame) Located() []Place { return f.Places }

// locate adds the places of the outside addresses in an answer, if the case has GeoIP files. Names stay as they are, because
// ids, filters and lists of allowed destinations refer to them.
func locate(ctx context.Context, c *forensics.Case, out any) error {
	a, ok := out.(framed)
	if !ok || c.GeoIP() == nil {
		return nil
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("looking for addresses in an answer: %w", err)
	}
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(string(text), func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == ':' || r == '-' || r == '_')
	}) {
		words[strings.Trim(w, ".:")] = true
	}
	type end struct {
		IP  string `json:"ip"`
		Who string `json:"who"`
	}
	list, _, err := Rows[end](ctx, c, maxOutside, `SELECT DISTINCT ip, `+terms.Who("")+` AS who FROM endpoints_raw WHERE external ORDER BY ALL`)
	if err != nil {
		return err
	}
	f := a.frame()
	for _, e := range list {
		ip, err := netip.ParseAddr(e.IP)
		if err != nil || !words[e.IP] && !words[e.Who] {
			continue
		}
		p, found := c.GeoIP().Find(ip)
		if !found {
			continue
		}
		if len(f.Places) >= maxPlaces {
			f.Note("places has only the first %d addresses", maxPlaces)
			break
		}
		place := Place{Address: e.IP, Country: p.Country, ASN: int64(p.ASN), Operator: p.Operator}
		if e.Who != e.IP {
			place.Name = e.Who
		}
		f.Places = append(f.Places, place)
	}
	if len(f.Places) == 0 {
		return nil
	}
	slices.SortStableFunc(f.Places, func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.Country, b.Country), cmp.Compare(a.ASN, b.ASN))
	})
	for _, g := range c.GeoIP().Files {
		f.Notes = append(f.Notes, fmt.Sprintf("places are what %s says (%s of %s, SHA-256 %s)", g.Name, cmp.Or(g.Type, "a database"), g.Date, g.SHA256))
	}
	return nil
}
