// Package webshell finds programs on a web server through which a client runs commands: by the script that was uploaded and
// then requested, and by commands in parameters whose output comes back.
package webshell

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/internal/percent"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer web-shell.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "web-shell", Title: "commands through scripts of web servers", Techniques: []string{"T1505.003"}, Kinds: []string{"uploaded", "commands"},
		Basis:    finding.OfWeb,
		Unproved: "That the script is no part of the application: people who maintain one upload scripts too. Commands that the client encrypts (Behinder, Godzilla) are not recognized, nor is a script that was renamed after its upload.",
		Doc:      "A file with the name of a script (PHP, JSP, ASP, CGI) that was uploaded by HTTP, FTP, SMB or NFS and then requested from the same server with success and another content; requests with a parameter, a header or a value of JSON that is a command of a shell and nothing else, and whether the response is output of such a command.",
		Steps: []finding.Step{
			{Needs: []finding.Need{{Table: "objects", Have: finding.Any(uploaded)}, finding.Calls(terms.Serving, finding.Any(stored))}, Find: uploads},
			{Needs: []finding.Need{finding.Calls(terms.Serving, finding.Any(inURL)), {Table: "bodies", Have: finding.Any(inBody + " OR " + output)}}, Find: commands},
		}}
}

const (
	script   = `(?i)\.(php\d?|phtml|pht|phar|jspx?|aspx?|ashx|asmx|cfm|cgi)$`
	file     = `lower(regexp_extract(rtrim(%s, '/'), '([^/\\]+)$', 1))`
	uploaded = "side = 'request' AND regexp_matches(name, '" + script + "')"
)

// SQL conditions for requests that store a script, and for those that run one.
var stored = finding.Web + " AND method = 'PUT' AND status_code BETWEEN 200 AND 299 AND regexp_matches(rtrim(path, '/'), '" + script + "')"
var requested = finding.Web + " AND status_code BETWEEN 200 AND 299 AND method IN ('GET', 'POST', 'HEAD') AND regexp_matches(rtrim(path, '/'), '" + script + "')"

// uploads finds scripts that were uploaded to a server and requested from it later.
func uploads(ctx context.Context, l *finding.Look) error {
	key := l.Bundle("call_no")
	rows, err := l.Rows(ctx, `WITH up AS (SELECT `+l.Sent()+`, call_id, ts_ns, 'up' AS part, `+fmt.Sprintf(file, "name")+` AS file, sha256
				FROM (SELECT `+l.Key()+`, call_no, call_id, ts_ns FROM `+l.Calls+` WHERE `+l.Where+`) k JOIN (SELECT `+key+`, name, sha256 FROM objects WHERE `+uploaded+`) o USING (`+key+`)
			UNION ALL SELECT `+l.Key()+`, call_id, ts_ns, 'up', `+fmt.Sprintf(file, "path")+`, request_body_sha256 FROM `+l.Calls+` WHERE `+l.Where+` AND `+stored+`),
		run AS (SELECT `+l.Key()+`, call_id, ts_ns, 'run' AS part, `+fmt.Sprintf(file, "path")+` AS file, response_body_sha256 AS sha256 FROM `+l.Calls+` WHERE `+l.Where+` AND `+requested+` AND file IN (SELECT file FROM up)),
		r AS (SELECT `+l.Sent()+`, part, file, sha256, CASE part WHEN 'run' THEN ts_ns END AS at_ns, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.Some()+` FROM (SELECT * FROM up UNION ALL SELECT * FROM run) GROUP BY ALL),
		`+l.Names()+`, g AS (`+l.Named("r")+`),
		u AS (SELECT dst, file, min(first_ns) AS since, min(client) AS uploader, list(sha256) AS own FROM g WHERE part = 'up' GROUP BY ALL)
		SELECT src, dst, file AS detail, min(uploader) AS other, `+l.Sums()+` FROM g JOIN u USING (dst, file)
		WHERE part = 'run' AND at_ns > since AND NOT coalesce(list_contains(own, sha256), false) GROUP BY src, dst, file ORDER BY count DESC, src, dst, detail`, slices.Concat(l.Args, l.Args, l.Args)...)
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "uploaded", Key: "uploaded\x00" + r.Detail, Severity: finding.High, Confidence: finding.Likely, Evidence: []string{r.Detail},
			What: plural.Sprintf("%s ran the script %s on %s in %d {request|requests}, after %s had uploaded a file of that name", r.Src, r.Detail, r.Dst, r.Count, r.Other)})
	}
	return err
}

// Commands as the whole value of a parameter: those that are nothing else, and words that may be something else, so that
// only their output shows what they are.
var (
	sure = regexp.MustCompile(`(?m)(?:^|\n)([^=\n]{1,40})=\s*(whoami|uname|systeminfo|tasklist|ipconfig|ifconfig|powershell(?:\.exe)?|cmd(?:\.exe)?|(?:cat|type|ls|dir|net|netstat|ps|wget|curl|nc|certutil|id|python3?|bash|sh)\s+(?:[-/]\w|/\S|[a-z]:\\|https?://|user\b|localgroup\b|group\b|view\b|\S*\.(?:php|txt|conf|ini)\b))[^\n]*$`)
	some = regexp.MustCompile(`(?m)(?:^|\n)([^=\n]{1,40})=\s*(id|pwd|ls|dir|hostname|ps|netstat|env|set|who|w|uptime|date|ver)\s*$`)
)

// Values of JSON, and of the parts of a form, as parameters.
var (
	member = regexp.MustCompile(`"([^"\\]{1,40})"\s*:\s*"([^"\\]{0,200})"`)
	part   = regexp.MustCompile(`name="?([^"\r\n]{1,40})"?[^\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]{0,200})`)
)

// parameters writes a text of a client as lines of a name, = and a value.
func parameters(text string) string {
	return percent.Parameters(text) + part.ReplaceAllString(member.ReplaceAllString(strings.ToLower(text), "\n$1=$2\n"), "\n$1=$2\n")
}

// maybe is a regular expression for texts, as sent, that may have such a parameter.
const maybe = `(?i)=(\s|\+|%20)*(whoami|uname|systeminfo|tasklist|i[pf]config|powershell|cmd|cat|type|ls|dir|net|netstat|ps|wget|curl|nc|certutil|id|python3?|bash|sh|pwd|hostname|env|set|who|w|uptime|date|ver)([\s+&%.]|$)|=[^&]*%[67][0-9a-f]`

// shown is the SQL condition for the text of a response that is the output of a command.
const shown = `regexp_matches(text, '\buid=\d+\([\w-]+\)\s+gid=|\broot:[^:\n]*:0:0:|\bnt authority\\\\|\biis apppool\\\\|Volume Serial Number is|Windows IP Configuration|Microsoft Windows \[Version|\bLinux \S+ \d+\.\d+\S* .*GNU/Linux|(^|\n)[bcdlps-]([r-][w-][xsStT-]){3}[.+]? +\d+ \S+ +\S+ +\d+ |\bUSER +PID +%CPU|\binet (addr:)?\d+\.\d+\.|User accounts for \\\\|Host Name: +\S+\s+OS Name:')`

var (
	inURL  = finding.Web + " AND regexp_matches(query_string, '" + maybe + "')"
	inBody = "part = 0 AND text IS NOT NULL AND regexp_matches(text, '" + maybe + "')"
	output = "text IS NOT NULL AND " + shown
)

// Limits of the bodies that are searched.
const (
	maxBodies = 2000
	maxText   = 16 << 10 // bytes
)

// page is a script of a server that a client sends commands to.
type page struct {
	row            finding.Row
	taken, outputs int64
}

// commands finds commands in parameters.
func commands(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()() // a masked value may be the command
	where := finding.Web + " AND (regexp_matches(query_string, '" + maybe + "') OR request_body_sha256 IN (SELECT sha256 FROM bodies WHERE " + inBody + ") OR response_body_sha256 IN (SELECT sha256 FROM bodies WHERE " + output + "))"
	rows, err := l.Rows(ctx, l.Groups("path, concat_ws('&', query_string, array_to_string(list_transform(list_filter(coalesce(headers, []), x -> x.kind = 'request'), x -> x.name || '=' || x.value), '&')) AS query, coalesce(status_code BETWEEN 200 AND 299, false) AS taken, request_body_sha256 AS sent, response_body_sha256 AS answer", where)+fmt.Sprintf(`,
		b AS MATERIALIZED (SELECT sha256 AS sent, any_value(left(text, %d)) AS text FROM bodies WHERE sha256 IN (SELECT sent FROM g) AND part = 0 AND text IS NOT NULL GROUP BY sha256 ORDER BY min(first_call_no), sha256 LIMIT %d),
		told AS MATERIALIZED (SELECT sha256 FROM bodies WHERE sha256 IN (SELECT answer FROM g) AND `, maxText, maxBodies)+output+`)
		SELECT src, dst, path AS detail, query || '&' || coalesce(b.text, '') AS other, `+l.Sums()+`, coalesce(sum(n) FILTER (taken), 0)::BIGINT AS "of", coalesce(sum(n) FILTER (answer IN (SELECT sha256 FROM told)), 0)::DOUBLE AS number
		FROM g LEFT JOIN b USING (sent) GROUP BY src, dst, path, other ORDER BY first_ns, src, dst, detail, other`, l.Args...)
	if err != nil {
		return err
	}
	var pages []*page
	for _, r := range rows {
		text := parameters(r.Other)
		m := sure.FindStringSubmatch(text)
		clear := m != nil
		if m == nil {
			m = some.FindStringSubmatch(text)
		}
		if m == nil || !clear && r.Number == 0 {
			continue
		}
		word, _, _ := strings.Cut(m[2], " ")
		r.Evidence, r.Other = []string{"parameter " + m[1] + ": " + word}, ""
		i := slices.IndexFunc(pages, func(p *page) bool { return p.row.Src == r.Src && p.row.Dst == r.Dst && p.row.Detail == r.Detail })
		if i < 0 {
			i = len(pages)
			pages = append(pages, &page{row: r})
		} else {
			p := &pages[i].row
			p.Count, p.LastNs, p.CallIDs = p.Count+r.Count, max(p.LastNs, r.LastNs), append(p.CallIDs, r.CallIDs...)
			if len(p.Evidence) < 3 && !slices.Contains(p.Evidence, r.Evidence[0]) {
				p.Evidence = append(p.Evidence, r.Evidence[0])
			}
		}
		p := pages[i]
		p.taken, p.outputs = p.taken+r.Of, p.outputs+int64(r.Number)
	}
	for _, p := range pages {
		p.report(l)
	}
	return nil
}

func (p *page) report(l *finding.Look) {
	r := p.row
	f := finding.Finding{Kind: "commands", Key: "commands\x00" + r.Detail, Severity: finding.Low, Confidence: finding.Likely,
		What: plural.Sprintf("%s sent commands of a shell as parameters to %s on %s in %d {request|requests}", r.Src, r.Detail, r.Dst, r.Count)}
	switch {
	case p.outputs > 0:
		f.Severity = finding.High
		f.What += plural.Sprintf("; %d of the responses {has|have} the output of a command", p.outputs)
	case p.taken > 0:
		f.Severity = finding.Medium
		f.What += plural.Sprintf("; the server answered %d of them with success, which shows no output", p.taken)
	default:
		f.What += "; none was answered with success"
	}
	l.Add(r, f)
}
