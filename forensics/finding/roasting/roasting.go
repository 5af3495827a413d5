// Package roasting finds clients that collect tickets of Kerberos whose keys can be guessed offline: those of services
// (Kerberoasting), and those of accounts without pre-authentication (AS-REP roasting).
package roasting

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// What counts as collecting: different services, or accounts, within the window. A client that mounts shares and reads
// mail needs tickets for few services at a time, and a user has one account.
const (
	services = 10  // whatever the encryption
	weak     = 3   // of tickets with RC4 or DES; an old account of a service has these keys only
	accounts = 10  // a KDC of MIT needs no pre-authentication unless told so, and several people may use one machine
	window   = 600 // seconds
)

const (
	granted = "outcome = 'ok' AND status_text IS NULL AND kerberos_response_type IN ('AS-REP', 'TGS-REP')"
	tgs     = "(protocol = 'kerberos' AND kerberos_type = 'TGS-REQ' AND " + granted + " AND kerberos_ticket_service NOT LIKE 'krbtgt%')"
	asOnly  = "(protocol = 'kerberos' AND kerberos_type = 'AS-REQ' AND auth_kind = 'none' AND " + granted + ")"

	// modern is what a key distribution center that has AES shows. Without it, all tickets of a domain are weak.
	modern = "(protocol = 'kerberos' AND (kerberos_etype LIKE 'aes%' OR kerberos_ticket_etype LIKE 'aes%'))"
)

// Analyzer returns the analyzer roasting.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "roasting", Title: "tickets whose keys can be guessed offline", Kinds: []string{"kerberoasting", "as-rep-roasting"},
		Techniques: []string{"T1558.003", "T1558.004"},
		Unproved:   "That keys were guessed, which happens elsewhere: inventories and scanners also request tickets of many services.",
		Basis:      finding.Basis{What: "Kerberos requests", Is: []finding.Need{finding.Calls("'kerberos'", finding.Any("protocol = 'kerberos'"))}},
		Doc: fmt.Sprintf("kerberoasting: a client that gets tickets of services with RC4 or DES from a server that has AES, or tickets of %d services within ten minutes. as-rep-roasting: a client that gets the ticket of an account without pre-authentication, or of %d such accounts.",
			services, accounts),
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls("'kerberos'", finding.Any("coalesce("+finding.AnyOf(tgs, asOnly)+", false)"))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("CASE WHEN coalesce("+tgs+", false) THEN 'kerberoasting' WHEN coalesce("+asOnly+", false) THEN 'as-rep-roasting' ELSE '' END AS kind, CASE WHEN kerberos_type = 'TGS-REQ' THEN kerberos_ticket_service ELSE kerberos_client END AS name, "+
		"coalesce("+modern+", false) AS modern, coalesce(kerberos_ticket_etype LIKE 'rc4%' OR kerberos_ticket_etype LIKE 'des%' OR kerberos_etype LIKE 'rc4%' AND kerberos_weak_offered AND kerberos_type = 'AS-REQ', false) AS weak, ts_ns AS t_ns", finding.AnyOf(tgs, asOnly, modern))+`,
		m AS (SELECT *, bool_or(modern) OVER (PARTITION BY dst) AS has_aes FROM g),
		k AS (SELECT *, count(DISTINCT name) OVER p AS names, count(DISTINCT CASE WHEN weak AND has_aes THEN name END) OVER p AS weaker FROM m WHERE kind <> ''
			WINDOW p AS (PARTITION BY src, dst, kind ORDER BY t_ns RANGE BETWEEN `+fmt.Sprint(window*1_000_000_000)+` PRECEDING AND CURRENT ROW)),
		s AS (SELECT src, dst, kind, max(names) AS most, max(weaker) AS weakest FROM k GROUP BY ALL)
		SELECT src, dst, kind AS detail, `+l.Sums()+`, any_value(most)::DOUBLE AS number, any_value(weakest)::DOUBLE AS number2, list_slice(list(DISTINCT name ORDER BY name), 1, 5) AS evidence
		FROM k JOIN s USING (src, dst, kind) WHERE kind = 'as-rep-roasting' OR most >= `+fmt.Sprint(services)+` OR weakest > 0 AND weak GROUP BY src, dst, kind ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		names, weaker := int64(r.Number), int64(r.Number2)
		f := finding.Finding{Key: r.Detail, Kind: r.Detail, Severity: finding.Medium, Confidence: finding.Likely}
		switch {
		case r.Detail == "as-rep-roasting":
			f.Techniques = []string{"T1558.004"}
			f.What = plural.Sprintf("%s got tickets of %d {account|accounts} from %s without pre-authentication: their passwords can be guessed offline", r.Src, names, r.Dst)
			switch {
			case names >= accounts:
				f.Severity = finding.High
			case weaker == 0: // it is how the account is configured
				f.Severity = finding.Low
			}
		case names >= services && weaker == 0:
			f.Techniques = []string{"T1558.003"}
			f.What = plural.Sprintf("%s got tickets of %d {service|services} from %s within ten minutes", r.Src, names, r.Dst)
		default:
			f.Techniques = []string{"T1558.003"}
			f.What = plural.Sprintf("%s got tickets of %d {service|services} from %s that are encrypted with RC4 or DES although the server has AES: the passwords of the services can be guessed offline", r.Src, weaker, r.Dst)
			if weaker >= weak {
				f.Severity = finding.High
			}
		}
		l.Add(r, f)
	}
	return nil
}
