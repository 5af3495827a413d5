package questions

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Translations from the terms of answers to those of the truth.

// from and to return the two endpoints of a row of an answer.
func (a *run) from(n node) string { return a.end(n.str("src")) }
func (a *run) to(n node) string   { return a.end(n.str("dst")) }

// end returns one endpoint. An external client without a name is a customer of the shop.
func (a *run) end(name string) string {
	switch name {
	case "outside", "(outside)":
		return "customer"
	}
	return a.s.who(name)
}

// pair returns "A → B" of a row.
func (a *run) pair(n node) string { return a.from(n) + " → " + a.to(n) }

// flow returns "A → B METHOD /endpoint STATUS" of a row.
func (a *run) flow(n node) string {
	return a.pair(n) + " " + endpoint(n.str("endpoint")) + " " + outcome(n)
}

// served returns "B METHOD /endpoint" of a row.
func (a *run) served(n node) string { return a.to(n) + " " + endpoint(n.str("endpoint")) }

var (
	variable = regexp.MustCompile(`\d|\{id\}`)
	version  = regexp.MustCompile(`^v\d+$`)
	code     = regexp.MustCompile(`^[0-9A-Z]{5}\b|^\d{1,3}\b`)
)

// endpoint returns METHOD /path without the parts that vary.
func endpoint(s string) string {
	s, _, _ = strings.Cut(s, "?")
	method, path, ok := strings.Cut(s, " ")
	if !ok {
		return s
	}
	path, _, _ = strings.Cut(path, " ")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if variable.MatchString(p) && !version.MatchString(p) {
			parts[i] = "{id}"
		}
	}
	return method + " " + strings.Join(parts, "/")
}

// outcome returns a status code, timeout or reset.
func outcome(n node) string {
	s := n.str("status")
	if s == "" {
		s = n.str("status_code")
	}
	switch {
	case code.MatchString(s):
		return code.FindString(s)
	case strings.Contains(s, "timeout"), strings.Contains(s, "by the client") && n.str("at_limit") != "": // repeatedly after the same time
		return "timeout"
	case strings.Contains(s, "reset"):
		return "reset"
	case s == "" && n.str("protocol") == "redis": // no error
		return "0"
	}
	return s
}

// anyOf returns a KFL filter for calls to or from some services.
func anyOf(services []string) string {
	var list []string
	for _, s := range services {
		list = append(list, fmt.Sprintf("%q", s))
	}
	in := "in [" + strings.Join(list, ", ") + "]"
	return fmt.Sprintf("(src.service %s || dst.service %s || host %s)", in, in, in)
}

// ids returns the call_ids in lists of an answer.
func ids(list []node) []string {
	seen, out := map[string]bool{}, []string{}
	for _, n := range list {
		m := map[string]bool{}
		n.ids(m)
		for _, id := range sorted(m) {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	return out
}

// later returns a time some seconds after another.
func later(at string, seconds int) string {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return at
	}
	return t.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339Nano)
}
