// Package poisoning finds hosts that answer for names that are not theirs over LLMNR, multicast DNS or NetBIOS,
// so that others log in to them.
package poisoning

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// many is the number of names for which a host answers with one address. A host has one name, and sometimes an alias.
const many = 3

// SQL conditions for answers with an address that nobody in particular was asked for. A question of NetBIOS that all hosts
// get has no answer in its own row; one to a name server has. Only the names <00> and <20> are those of hosts.
const (
	ofDNS     = "protocol = 'dns' AND dns_response AND dns_variant IN ('llmnr', 'mdns') AND len(dns_answers) > 0 AND dns_answer_types[1] IN ('A', 'AAAA')"
	ofNetBIOS = "protocol = 'netbios' AND method = 'NAME QUERY' AND error = 'no_request' AND len(netbios_addresses) > 0 AND regexp_matches(netbios_name, '<(00|20)>$')"
	answered  = "(" + ofDNS + " OR " + ofNetBIOS + ")"
)

// Columns of an answer. A name is without the domain of multicast DNS and the service of NetBIOS.
const (
	protocols = "'dns', 'netbios'"
	asked     = "(protocol = 'dns' AND dns_variant <> 'dns' OR protocol = 'netbios' AND method = 'NAME QUERY')"
	variant   = "CASE protocol WHEN 'dns' THEN dns_variant ELSE protocol END"
	address   = "CASE protocol WHEN 'dns' THEN dns_answers[1] ELSE netbios_addresses[1] END"
	name      = `regexp_replace(lower(coalesce(netbios_name, dns_questions[1], dns_answer_names[1])), '(\.local|<..>)$', '')`
)

// twice matches answers to questions that had one.
const twice = "source = 'dns' AND kind = 'second_answer'"

// lures are names that no host has, which clients look up by themselves.
const lures = "'wpad', 'isatap', 'proxysrv'"

// Analyzer returns the analyzer name-poisoning.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "name-poisoning", Title: "answers for names of others", Techniques: []string{"T1557.001"}, Kinds: []string{"llmnr", "mdns", "netbios", "dns"},
		Basis:    finding.Basis{What: "questions of LLMNR, multicast DNS and NetBIOS, and second answers of DNS", Is: []finding.Need{finding.Calls(protocols, finding.Any(asked)), finding.Odd(twice)}},
		Unproved: "That the host does not own these names, and that a client connected to it.",
		Doc:      fmt.Sprintf("A host that answers over LLMNR, multicast DNS or NetBIOS for %d or more different names with one address, or for wpad (as Responder does). Answers of a name server of NetBIOS (WINS) do not count. Questions of DNS with a second, different answer: the first wins a race (RFC 5452 section 4).", many),
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Odd(twice)}, Find: second}, {Needs: []finding.Need{finding.Calls(protocols, finding.Any(answered+" AND "+name+" IN ("+lures+")")), finding.Calls(protocols, "count(DISTINCT "+name+") FILTER ("+answered+fmt.Sprintf(") >= %d", many))}, Find: find}}}
}

// second finds questions with two different answers.
func second(ctx context.Context, l *finding.Look) error {
	rows, err := l.Odd(ctx, twice, "'dns'")
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "dns", Key: "dns", Severity: finding.Medium, Confidence: finding.Likely, Techniques: []string{"T1557"}, Evidence: r.Evidence,
			What: plural.Sprintf("%d {question|questions} of %s to %s over DNS got another answer after the first: one of both may be forged", r.Count, r.Src, r.Dst)})
	}
	return err
}

func find(ctx context.Context, l *finding.Look) error {
	// The address in an answer is that of the host that lures others, whoever sent it.
	rows, err := l.Rows(ctx, l.Groups(variant+" AS variant, "+address+" AS address, "+name+" AS name", answered)+`
		SELECT min(src) AS src, address AS dst, variant AS detail, `+l.Sums()+`, count(DISTINCT name) AS "of", coalesce(bool_or(name IN (`+lures+`)), false)::INTEGER::DOUBLE AS number, list_slice(list_sort(list(DISTINCT name)), 1, 5) AS evidence
		FROM g GROUP BY address, variant HAVING "of" >= `+fmt.Sprint(many)+` OR number > 0 ORDER BY "of" DESC, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Kind: r.Detail, Key: r.Detail, Src: r.Dst, Dst: "", Severity: finding.High, Confidence: finding.Likely,
			What: plural.Sprintf("answers over %s give %d {name|names} the address %s: %s", words[r.Detail], r.Of, r.Dst, strings.Join(r.Evidence, ", "))}
		if r.Detail == "mdns" && r.Number == 0 || r.Of < many {
			f.Severity = finding.Medium // one machine may speak for others that sleep
		}
		r.Dst = ""
		l.Add(r, f)
	}
	return nil
}

var words = map[string]string{"llmnr": "LLMNR", "mdns": "multicast DNS", "netbios": "NetBIOS"}
