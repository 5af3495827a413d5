package service

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Limits of a journey.
const (
	journeyCalls = 4_000             // calls whose order is examined
	journeyGap   = 1_800_000_000_000 // nanoseconds without a request that end a visit
)

// Transition is two endpoints that the same user called one after another.
type Transition struct {
	From  string `json:"from" jsonschema:"empty: the start of a visit"`
	To    string `json:"to"`
	Users int64  `json:"users"`
	Times int64  `json:"times"`
}

// journey counts transitions between endpoints. A user is identified by the address that proxies
// forward, otherwise by the client's address.
func (s *serviceAnswer) journey() error {
	header := func(name string) string {
		return "nullif(trim(split_part(list_filter(headers, h -> h.kind = 'request' AND lower(h.name) = '" + name + "')[1].value, ',', 1)), '')"
	}
	keys, more, err := ask.Pick(s.ctx, s.rows.Case, s.rows.From, s.rows.Where+" AND "+s.in+" AND "+isWeb+" AND path IS NOT NULL AND src_kind IS DISTINCT FROM 'node'", "ts_ns DESC, bundle DESC, call_no DESC", journeyCalls, s.rows.Args...)
	if err != nil {
		return err
	}
	type visit struct {
		Endpoint string `json:"endpoint"`
		User     string `json:"usr"`
		Ns       int64  `json:"ts_ns"`
		Bundle   int64  `json:"bundle"`
		No       int64  `json:"call_no"`
	}
	var rows []visit
	users := map[ask.Key]string{}
	err = ask.ByRuns(s.c, keys, func(where string) error {
		some, _, err := ask.Rows[visit](s.ctx, s.c, journeyCalls, fmt.Sprintf("SELECT %s AS endpoint, ts_ns, %s, call_no FROM calls_raw k WHERE %s", terms.Endpoint, terms.BundleOf(s.c, ""), where))
		if err != nil {
			return err
		}
		rows = append(rows, some...)
		// Users are counted but not shown, so unmasked values may tell them apart.
		some, _, err = ask.Rows[visit](s.ctx, s.c.Unmasked(), journeyCalls, fmt.Sprintf("SELECT coalesce(%s, %s, %s, %s, src_ip) AS usr, %s, call_no FROM calls_raw k WHERE %s",
			header("authorization"), header("cookie"), header("x-forwarded-for"), header("x-real-ip"), terms.BundleOf(s.c, ""), where))
		for _, v := range some {
			users[ask.Key{Bundle: v.Bundle, No: v.No}] = v.User
		}
		return err
	})
	if err != nil {
		return err
	}
	if more {
		s.out.Note("the journey covers the last %d requests", journeyCalls)
	}
	rows = ask.Arrange(keys, rows, func(v visit) ask.Key { return ask.Key{Bundle: v.Bundle, No: v.No} })
	slices.Reverse(rows)
	type pair struct{ from, to string }
	last := map[string]visit{}
	times, by := map[pair]int64{}, map[pair]map[string]bool{}
	for _, v := range rows {
		v.User = users[ask.Key{Bundle: v.Bundle, No: v.No}]
		before, ok := last[v.User]
		last[v.User] = v
		p := pair{"", v.Endpoint}
		if ok && v.Ns-before.Ns <= journeyGap {
			if p.from = before.Endpoint; p.from == p.to {
				continue
			}
		}
		times[p]++
		if by[p] == nil {
			by[p] = map[string]bool{}
		}
		by[p][v.User] = true
	}
	for p, n := range times {
		s.out.Journey = append(s.out.Journey, Transition{p.from, p.to, int64(len(by[p])), n})
	}
	slices.SortFunc(s.out.Journey, func(a, b Transition) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	s.out.Journey = ask.Fit(s.w, &s.out.Frame, s.out.Journey)
	return nil
}
