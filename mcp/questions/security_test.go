package questions

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

func security() []script {
	return []script{{12, strangers}, {13, missingAuthorization}, {14, reachable}, {15, unusual}, {16, secretsInBodies}, {17, withoutAuthentication}}
}

func strangers(a *run) {
	allow := append(a.list("allowed_cidrs"), a.list("allowed_domains")...)
	e := a.ask("list_external", map[string]any{"allow": allow})
	for _, d := range where(e.each("destinations"), func(n node) bool { return n.at("allowed").v == false }) {
		n := d.num("calls")
		if n == 0 { // none of it can be decoded
			n = d.num("connections")
		}
		for _, pod := range d.strs("pods") {
			a.set("strangers", pod+" → "+d.str("name"), n)
		}
	}
}

var callInText = regexp.MustCompile(`\b([A-Z]{3,7} /\S*) of `)

func missingAuthorization(a *run) {
	f := a.ask("list_findings", map[string]any{"names": []string{"missing-auth"}})
	exact := where(f.each("findings"), func(n node) bool { return n.str("confidence") == "exact" })
	for _, x := range exact {
		if m := callInText.FindStringSubmatch(x.str("what")); m != nil {
			a.set("endpoints", a.to(x)+" "+endpoint(m[1]), x.num("count"))
		}
	}
	never := where(exact, func(n node) bool { return n.str("severity") != "info" }) // they should have been refused
	a.number("count", sum(never, "count"))
	for _, x := range never {
		a.behind("calls", f, x.str("kfl"))
	}
}

func reachable(a *run) {
	m := a.ask("get_service_map", map[string]any{"kfl": fmt.Sprintf("src.namespace == %q && !dns", a.arg("namespace"))})
	inside := map[string]bool{}
	for _, n := range m.each("nodes") {
		inside[n.str("name")] = n.str("place") == "inside"
	}
	a.groups("reached", where(m.each("edges"), func(n node) bool { return inside[n.str("dst")] }), a.pair, "calls")
	a.ask("get_service_map", map[string]any{"from_namespace": a.arg("namespace"), "limit": 5})
}

var every = regexp.MustCompile(`every ([0-9hms.]+)`)

func unusual(a *run) {
	f := a.ask("list_findings", map[string]any{"names": []string{"unusual", "beacon"}, "service": a.arg("service"), "from": a.arg("baseline_to")})
	beacons := where(f.each("findings"), func(n node) bool { return n.str("finding") == "beacon" && len(n.each("call_ids")) > 0 })
	if len(beacons) != 1 {
		return
	}
	b := beacons[0]
	a.number("calls", b.num("count"))
	a.times("when", b.str("first"), b.str("last"))
	if m := every.FindStringSubmatch(b.str("what")); m != nil {
		if d, err := time.ParseDuration(m[1]); err == nil {
			a.number("interval", d.Seconds())
		}
	}
}

var inBody = regexp.MustCompile(`in the (request body|response body|URL|path) of`)

// secretsInBodies adds up the findings of each masked value. Of the many mail addresses and
// telephone numbers, it claims those of the person whose social security number was sent.
func secretsInBodies(a *run) {
	f := a.ask("list_findings", map[string]any{"names": []string{"sensitive-data"}, "kfl": "http", "limit": 1000, "max_bytes": 70000})
	type value struct {
		kind, first string
		rows        []node
	}
	values := map[string]*value{}
	person := ""
	for _, x := range f.each("findings") {
		if strings.HasPrefix(x.str("what"), "ssn ") {
			person = x.str("src") + x.str("dst")
		}
		if !inBody.MatchString(x.str("what")) {
			continue
		}
		for _, e := range x.strs("evidence") {
			times, masked, _ := strings.Cut(e, " × ")
			kind, _, _ := strings.Cut(masked, " ")
			v := values[masked]
			if v == nil {
				v = &value{kind: kind, first: x.str("first")}
				values[masked] = v
			}
			v.first = min(v.first, x.str("first"))
			v.rows = append(v.rows, node{v: map[string]any{"src": x.str("src"), "dst": x.str("dst"), "n": times, "kfl": x.str("kfl")}})
		}
	}
	ids := map[string]string{"ssn": "ssn", "iban": "iban", "email": "email", "phone": "phone", "aws_access_key": "cloud_key", "jwt": "jwt_in_url", "private_key": "private_key"}
	var cards []*value
	for _, v := range values {
		id := ids[v.kind]
		if v.kind == "card" {
			cards = append(cards, v)
		}
		if id == "" || (v.kind == "email" || v.kind == "phone") && !slices.ContainsFunc(v.rows, func(n node) bool { return n.str("src")+n.str("dst") == person }) {
			continue
		}
		a.carried(f, id, v.rows)
	}
	slices.SortFunc(cards, func(x, y *value) int { return strings.Compare(x.first, y.first) })
	for i, v := range cards {
		a.carried(f, []string{"card", "card_2", "card_3"}[min(i, 2)], v.rows)
	}
}

func (a *run) carried(f node, id string, rows []node) {
	a.number(id, sum(rows, "n"))
	a.groups(id, rows, a.pair, "n")
	for _, r := range rows {
		a.behind(id, f, r.str("kfl"))
	}
	a.claim(id).exact = false // the calls of a row may contain other values of the same kind
}

func withoutAuthentication(a *run) {
	f := a.ask("list_findings", map[string]any{"names": []string{"no-auth"}, "kfl": "(http1 || http2) && !dst.external"})
	a.groups("pairs", f.each("findings"), a.pair, "count")
}
