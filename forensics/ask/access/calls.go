package access

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// AccessCall is one call in full, without bodies.
type AccessCall struct {
	ask.Call
	Pod     string   `json:"pod,omitempty" jsonschema:"of the client"`
	Process string   `json:"process,omitempty"`
	NoData  bool     `json:"no_data,omitempty" jsonschema:"it accesses no data: a login, a prepared statement, a handshake"`
	User    string   `json:"user,omitempty" jsonschema:"user named by the credentials"`
	Auth    string   `json:"auth,omitempty" jsonschema:"kind of credentials"`
	What    string   `json:"what" jsonschema:"method and path with query, SQL statement, Redis command; text from the traffic, secrets masked"`
	Params  string   `json:"params,omitempty" jsonschema:"of the SQL statement"`
	Rows    *int64   `json:"rows,omitempty"`
	Sent    int64    `json:"request_bytes"`
	Got     int64    `json:"response_bytes"`
	PII     []string `json:"pii,omitempty" jsonschema:"kinds of personal data in it and where"`
}

// calls lists one page of calls.
func (a *accessAnswer) calls(after ask.Cursor) error {
	type row struct {
		AccessCall
		Bundle    int64    `json:"bundle"`
		No        int64    `json:"call_no"`
		Ns        int64    `json:"ts_ns"`
		Header    string   `json:"header"`
		Statement string   `json:"statement"`
		Query     string   `json:"query"`
		Command   string   `json:"command"`
		Path      string   `json:"path"`
		Texts     []string `json:"texts"`
	}
	page, more, err := ask.Pick(a.ctx, a.rows.Case, a.rows.From, a.rows.Where+strings.ReplaceAll(after.After(" AND "), "bundle", bundleName(a.c)), "ts_ns, bundle, call_no", a.w.Page, a.rows.Args...)
	if err != nil {
		return err
	}
	var rows []row
	err = ask.ByRuns(a.c, page, func(where string) error {
		some, _, err := ask.Rows[row](a.ctx, a.c, ask.MaxLoaded, fmt.Sprintf(`SELECT %s, %s, call_no, ts_ns, NOT (`+accesses+`) AS no_data, coalesce(src_pod, '') AS pod, coalesce(src_process, '') AS process, coalesce(%s, '') AS user, coalesce(auth_kind, '') AS auth, coalesce(left(`+statements.Part("", "query")+`, 2000), '') AS statement,
			array_to_string(`+statements.Part("", "params")+`[1:20], ', ') AS params, `+statements.Part("", "rows")+` AS rows, request_bytes, response_bytes, `+authorization+` AS header,
			coalesce(left(query_string, 2000), '') AS query, coalesce(redis_command, '') AS command, coalesce(method || ' ', '') || coalesce(left(path, 1000), host, '') AS path FROM calls k WHERE %s`, terms.CallColumns(a.c), terms.BundleOf(a.c, ""), terms.NamedUser(), where))
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return err
	}
	rows = ask.Arrange(page, rows, func(r row) ask.Key { return ask.Key{Bundle: r.Bundle, No: r.No} })
	policy := a.c.Policy()
	for i := range rows {
		r := &rows[i]
		r.Summary = ask.Clip(r.Summary, 120)
		switch {
		case r.Statement != "":
			r.What, r.Summary = ask.Clip(ask.OneLine(policy.SQL(r.Statement)), 400), r.Protocol
			r.Params = ask.Clip(strings.Join(policy.Params(r.Statement, strings.Split(r.Params, ", ")), ", "), 200)
		case r.Command != "":
			r.What = ask.Masked(policy, "command", r.Command, 300)
		case r.Query != "":
			r.What = ask.Clip(r.Path+"?"+policy.Query(r.Query), 400)
		default:
			r.What = ask.Clip(r.Path, 400)
		}
		if r.User == "" {
			r.User = userOf(r.Header)
		}
		if a.pii != nil {
			r.PII = a.pii.of(ask.Key{Bundle: r.Bundle, No: r.No})
		}
		a.out.Calls = append(a.out.Calls, r.AccessCall)
	}
	if more && len(page) > 0 {
		last := rows[len(rows)-1]
		a.out.Next, a.out.Truncated = ask.Cursor{TS: last.Ns, Bundle: last.Bundle, No: last.No}.String(), true
	}
	return nil
}

// bundleName is the SQL for the bundle's index: the column bundle, or 0 in a case of one bundle.
func bundleName(c *forensics.Case) string {
	if c.Several() {
		return "bundle"
	}
	return "0"
}

// userOf returns the user that an Authorization header names: the user of Basic, or the subject
// of a JWT.
func userOf(header string) string {
	scheme, value, ok := strings.Cut(header, " ")
	if !ok || len(value) > 8<<10 {
		return ""
	}
	switch strings.ToLower(scheme) {
	case "basic":
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil {
			return ""
		}
		name, _, _ := strings.Cut(string(text), ":")
		return ask.Clip(strings.ToValidUTF8(name, "?"), 100)
	case "bearer":
		parts := strings.Split(value, ".")
		if len(parts) != 3 {
			return ""
		}
		text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
		if err != nil {
			return ""
		}
		var claims struct {
			Sub   string `json:"sub"`
			Email string `json:"email"`
			Name  string `json:"preferred_username"`
			App   string `json:"client_id"`
		}
		if json.Unmarshal(text, &claims) != nil {
			return ""
		}
		for _, s := range []string{claims.Sub, claims.Name, claims.Email, claims.App} {
			if s != "" {
				return ask.Clip(s, 100) + " (claimed by the token)"
			}
		}
	}
	return ""
}
