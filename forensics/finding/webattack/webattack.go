// Package webattack finds requests of HTTP that try to make a server run code, commands or SQL of the client, or read files
// that it does not publish, and what the responses show about success.
//
// The text of a request is decoded before it is compared: twice where a client encoded it twice.
package webattack

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

// Analyzer returns the analyzer web-attack.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "web-attack", Title: "requests that attack web applications", Basis: finding.OfWeb, Kinds: kinds(),
		Techniques: []string{"T1190", "T1059.007"},
		Unproved:   "That the application is vulnerable, unless the response shows it: a server may answer 200 to anything. What the server did without answering cannot be seen.",
		Doc:        "HTTP requests with SQL, commands, code of PHP, OGNL or Spring, templates, Java, Node.js and frameworks, serialized objects, operators of MongoDB, external entities of XML, paths out of the published folder, addresses that the server is to fetch, names of files with secrets, lines of headers, scripts for browsers (cross-site scripting), or a function definition of bash (Shellshock) in the URL, a header or the body, and whether the response shows the result.",
		Steps: []finding.Step{
			{Needs: []finding.Need{finding.Calls(terms.Serving, finding.Any(inURL))}, Find: urls},
			{Needs: []finding.Need{finding.Calls(terms.Serving, finding.Any(inHeader))}, Find: headers},
			{Needs: []finding.Need{{Table: "bodies", Have: finding.Any(inBody)}}, Find: bodies},
		}}
}

// form is a kind of attack: what its requests contain, in lower case, and no others do.
type form struct {
	kind, label string
	is, not     *regexp.Regexp // not matches texts that match is and are no attack
	cve         string
	url         bool   // only URLs and headers have it
	technique   string // empty: T1190
}

// has is a regular expression in which ^ and $ are those of parameters.
func has(s string) *regexp.Regexp { return regexp.MustCompile("(?m)" + s) }

// forms are the kinds of attacks by URL and body; the first one that matches counts. A line end stands for the & between
// parameters.
var forms = append([]form{
	{kind: "code-injection", label: "a class loader of Spring (Spring4Shell)", is: has(`class\.module\.classloader`), cve: "CVE-2022-22965"},
	{kind: "code-injection", label: "an expression of OGNL", is: has(`[%$]\{\s*\(?#|\(#_memberaccess|@java\.lang\.(runtime|processbuilder)@`), cve: "CVE-2017-5638"},
	{kind: "code-injection", label: "settings of PHP", is: has(`\ballow_url_include\s*[=\s]|\bauto_prepend_file\s*=`), cve: "CVE-2012-1823"},
	{kind: "code-injection", label: "functions of PHP", is: has(`(^|=)\s*<\?php\s|[=;'"({.]\s*(passthru|shell_exec|system|phpinfo|eval|assert|call_user_func_array)\s*\(|=call_user_func_array\b`)},
	{kind: "xml-entity", label: "an external entity of XML", is: has(`<!entity\s+%?\s*\w+\s+system\s+["'](file|php|expect|https?|ftp|gopher):`)},
	{kind: "path-traversal", label: "a path out of the published folder", is: has(`(^|[/\\=?])\.{2,}[/\\]+(\.{2,}[/\\]+)+|\.\.[/\\]+(etc|proc|windows|winnt|web-inf|boot\.ini|win\.ini)|[=/](file:/+)?/?etc/(passwd|shadow)\b|=[a-z]:[/\\]+(windows|winnt)[/\\]|=php://(filter|input)|/\.\.[;/].*/\.\.[;/]`)},
	{kind: "sql-injection", label: "SQL", not: has(`(^|[=:"])\s*\(*(select|with|explain|show|describe)\s`),
		is: has(`\bunion[\s/*+(]+(all[\s/*+]+)?select\b|['"]\s*\)*\s*(or|and|\|\|)\s+\(*(\d+|['"]\w*['"]?)\s*(=|like\b|<|>)\s*(\d+|['"]\w*)|\b\d+\)*\s+(or|and)\s+(\d+)\s*=\s*\d+|;\s*(drop|truncate)\s+(table|database)\s|\bxp_cmdshell\b|\b(pg_sleep|benchmark)\s*\(\s*\d|['"\d)]\s*(;|or|and|\|\|)\s*.{0,30}\bsleep\s*\(\s*\d|\bwaitfor\s+delay\s+['"]|\bfrom\s+information_schema\.|\b(extractvalue|updatexml)\s*\(\s*(\d|null)|['"]\s*\)*\s*(--\s|--$|#$|/\*)`)},
	{kind: "command-injection", label: "a command for OMI without credentials (OMIGOD)", is: has(`<p:execute(shellcommand|script)_input\b`), cve: "CVE-2021-38647"},
	{kind: "cross-site-scripting", label: "a script for browsers (cross-site scripting)", technique: "T1059.007",
		is: has(`<script[\s>/]|<(img|svg|body|iframe|input|video|audio|details|object|embed|marquee|a)\b[^<>]{0,300}[\s"'/]on[a-z]{3,20}\s*=|(^|[="'(])\s*javascript:\s*(alert|confirm|prompt|eval|document|window|fetch|location)\b`)},
	{kind: "command-injection", label: "a command", is: has("([;|`]|\\$\\(|&&)\\s*(/[a-z/]*bin/)?(cat|id|whoami|uname|wget|curl|nc|ncat|bash|sh|ls|dir|ping|sleep|powershell|cmd|ifconfig|ipconfig|netstat|nslookup|rm|chmod|tftp|busybox)(\\.exe)?(\\s+[-/.\\w$'\"{]|\\s*$|\\s*[;|`)]|\\$\\{?ifs)|/bin/(ba)?sh\\s+-c\\s|\\bcmd(\\.exe)?\\s+/c\\s|system32[/\\\\]cmd\\.exe")},
}, applications...)

// shellshock is what the value of a header begins with that makes an old bash run the rest.
var shellshock = form{kind: "shellshock", label: "a function definition of bash (Shellshock)", cve: "CVE-2014-6271"}

// maybe is a regular expression for texts, as sent, that may match a form: DuckDB searches with it, so that few texts are
// decoded here.
var maybe = strings.NewReplacer("W", `(\s|\+|%20|%09|%0a|/\*)`, "Q", `(['")\d]|%27|%22|%29)`).Replace(`(?i)unionW|QW*(or|and|\|\||%7c%7c)W|QW*(--|#|%23|%2d%2d|/\*|;|%3b)|information_schema|sleepW*(\(|%28)|benchmark(\(|%28)|waitforW|xp_cmdshell|extractvalue|updatexml|` +
	`(;|%3b)W*(drop|truncate)W|(\.|%(25)?2e){2}([/\\;]|%(25)?(2f|5c|c0|c1))|etc(/|%2f)(passwd|shadow)|php(:|%3a)(/|%2f)|=[a-z](:|%3a)(%5c|\\|/|%2f)|` +
	"(;|%3b|\\||%7c|`|%60|\\$\\(|%24%28|%26%26)W*(/|%2f|cat|id|whoami|uname|wget|curl|nc|bash|sh|ls|dir|ping|sleep|powershell|cmd|i[fp]config|netstat|nslookup|rm|chmod|tftp|busybox)|" +
	`cmd(\.exe)?(W|\?)|/bin/|class(\.|%2e)module|memberaccess|@java|(\$|%)(25)?(\{|%7b)|allow_url|auto_prepend|passthru|shell_exec|system(\(|%28)|phpinfo|eval(\(|%28)|assert(\(|%28)|call_user_func|(<\?|%3c%3f)php|<!entity|execute(shellcommand|script)_input|%(25)?3cW*(script|img|svg|body|iframe|input|video|audio|details|object|embed|marquee|a)(W|%(25)?(3e|2f))|javascript%3a|(%[67][0-9a-f]){3}` + perhaps)

// tags are what a URL may have besides that, and pages of HTML have always.
const tags = `|<[a-z]|javascript:`

// shown is the SQL condition for the text of a response that shows the result of an attack: users of Unix, the output of id,
// files of Windows, errors of databases, files with secrets.
const shown = `regexp_matches(text, '\broot:[^:\n]*:0:0:|\buid=\d+\([\w-]+\)\s+gid=|\[(boot loader|mci extensions)\]|You have an error in your SQL syntax|Unclosed quotation mark after|ORA-0\d{4}:|SQLSTATE\[|syntax error at or near|sqlite3?\.OperationalError|<title>phpinfo\(\)|(^|\n)\[core\]\s|(^|\n)[A-Z0-9_]*(PASSWORD|SECRET|API_KEY|ACCESS_KEY)=|-----BEGIN [A-Z ]*PRIVATE KEY-----|"SecretAccessKey"')`

func kinds() (list []string) {
	for _, f := range append(slices.Clone(forms), shellshock) {
		if !slices.Contains(list, f.kind) {
			list = append(list, f.kind)
		}
	}
	return list
}

// which returns the form of a URL or header, or nil.
func which(text string) *form { return first(text, false) }

// inside returns the form of a body, or nil.
func inside(text string) *form { return first(text, true) }

func first(text string, body bool) *form {
	text = percent.Parameters(text)
	for i := range forms {
		if f := &forms[i]; !(body && f.url) && f.is.MatchString(text) && (f.not == nil || !f.not.MatchString(text)) {
			return f
		}
	}
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Limits of the bodies that are searched.
const (
	maxBodies = 2000
	maxText   = 64 << 10 // bytes
)

// Conditions for requests and bodies.
var (
	asked    = "concat_ws('?', path, query_string)"
	inURL    = finding.Web + " AND regexp_matches(" + asked + ", " + quote(maybe+tags) + ")"
	odd      = "(starts_with(%[1]s, '() {') OR contains(%[1]s, '{(#') OR contains(%[1]s, 'java.lang.') OR contains(%[1]s, '/../../') OR contains(%[1]s, 'X-BEResource='))"
	oddOnes  = "list_filter(headers, x -> x.kind = 'request' AND " + fmt.Sprintf(odd, "x.value") + ")"
	inHeader = finding.Web + " AND (" + fmt.Sprintf(odd, "user_agent") + " OR headers IS NOT NULL AND len(" + oddOnes + ") > 0)"
	asWSMan  = "lower(rtrim(path, '/')) = '/wsman'" // of administrators, who send scripts
	inBody   = "part = 0 AND text IS NOT NULL AND regexp_matches(text, " + quote(maybe) + ")"
)

// urls finds attacks in paths and queries.
func urls(ctx context.Context, l *finding.Look) error {
	return find(ctx, l, "URL", l.Groups(asked+` AS shown, `+asked+` AS searched, `+answer, inURL), l.Args, which)
}

// headers finds attacks in headers.
func headers(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()() // a header of credentials may have the attack
	return find(ctx, l, "header", l.Groups(`path AS shown, coalesce(`+oddOnes+`[1].value, user_agent) AS searched, `+answer, inHeader), l.Args, func(text string) *form {
		if strings.HasPrefix(text, "() {") {
			return &shellshock
		}
		return which(text)
	})
}

// bodies finds attacks in the bodies of requests.
func bodies(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()() // a masked value may be the attack
	odd := "SELECT sha256 FROM bodies WHERE " + inBody
	sql := l.Groups(`path AS shown, request_body_sha256 AS sent, `+answer, finding.Web+" AND NOT ("+asWSMan+" AND auth_kind IS NOT NULL) AND request_body_sha256 IN ("+odd+")")
	sql = strings.Replace(sql, "g AS (", "sent AS (", 1) + fmt.Sprintf(`, b AS MATERIALIZED (SELECT sha256, any_value(left(text, %d)) AS searched FROM bodies WHERE sha256 IN (SELECT sent FROM sent) AND part = 0 AND text IS NOT NULL GROUP BY sha256 ORDER BY min(first_call_no), sha256 LIMIT %d),
		g AS (SELECT sent.*, searched FROM sent JOIN b ON sha256 = sent)`, maxText, maxBodies)
	return find(ctx, l, "body", sql, l.Args, inside)
}

// answer are the columns of a group about its responses.
const answer = "coalesce(status_code BETWEEN 200 AND 299, false) AS taken, response_body_sha256 AS answer"

// sum are the requests of a client to a server with attacks of a form.
type sum struct {
	row           finding.Row
	of            *form
	taken, proved int64
}

// find reports groups with the columns searched, shown, taken and answer.
func find(ctx context.Context, l *finding.Look, place, groups string, args []any, which func(string) *form) error {
	rows, err := l.Rows(ctx, groups+`, told AS MATERIALIZED (SELECT sha256 FROM bodies WHERE sha256 IN (SELECT answer FROM g) AND text IS NOT NULL AND `+shown+`)
		SELECT src, dst, searched AS detail, `+l.Sums()+`, coalesce(sum(n) FILTER (taken), 0)::BIGINT AS "of",
			coalesce(sum(n) FILTER (answer IN (SELECT sha256 FROM told)), 0)::DOUBLE AS number, list_slice(list_sort(list(DISTINCT shown)), 1, 3) AS evidence
		FROM g GROUP BY src, dst, searched ORDER BY first_ns, src, dst, detail`, args...)
	if err != nil {
		return err
	}
	var sums []*sum
	for _, r := range rows {
		of := which(r.Detail)
		if of == nil {
			continue
		}
		i := slices.IndexFunc(sums, func(s *sum) bool { return s.of == of && s.row.Src == r.Src && s.row.Dst == r.Dst })
		if i < 0 {
			sums = append(sums, &sum{row: r, of: of, taken: r.Of, proved: int64(r.Number)})
			continue
		}
		s := sums[i]
		s.taken, s.proved = s.taken+r.Of, s.proved+int64(r.Number)
		s.row.Count, s.row.LastNs, s.row.CallIDs = s.row.Count+r.Count, max(s.row.LastNs, r.LastNs), append(s.row.CallIDs, r.CallIDs...)
		s.row.Evidence = append(s.row.Evidence, r.Evidence[:min(len(r.Evidence), max(0, 3-len(s.row.Evidence)))]...)
	}
	for _, s := range sums {
		s.report(l, place)
	}
	return nil
}

func (s *sum) report(l *finding.Look, place string) {
	r := s.row
	f := finding.Finding{Techniques: []string{"T1190"}, Kind: s.of.kind, Key: s.of.kind + "\x00" + s.of.label + "\x00" + place, Severity: finding.Low, Confidence: finding.Likely, CVEs: []string{},
		What: plural.Sprintf("%s sent %s in the %s of %d {request|requests} to %s", r.Src, s.of.label, place, r.Count, r.Dst)}
	if s.of.technique != "" {
		f.Techniques = []string{s.of.technique}
	}
	if s.of.cve != "" {
		f.CVEs = []string{s.of.cve}
	}
	switch {
	case s.proved > 0:
		f.Severity = finding.High
		f.What += plural.Sprintf("; %d of the responses {shows|show} a result, such as a list of users or an error of a database", s.proved)
	case s.taken > 0:
		f.Severity = finding.Medium
		f.What += plural.Sprintf("; the server answered %d of them with success, which shows no result", s.taken)
	default:
		f.What += "; none was answered with success"
	}
	l.Add(r, f)
}
