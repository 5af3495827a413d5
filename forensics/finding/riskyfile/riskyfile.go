// Package riskyfile finds transferred files that people must review: programs, scripts and archives
// that crossed the network in clear text, and files whose content contradicts their name or
// declared type.
//
// The type is that of the content (table objects). LIMIT: the content of archives is not examined.
package riskyfile

import (
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// severities are those of the kinds of findings.
var severities = map[string]string{"disguised": finding.High, "executable": finding.Medium, "script": finding.Low, "archive": finding.Info}

// Analyzer returns the analyzer risky-file.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "risky-file", Techniques: []string{"T1105"}, Basis: finding.OfFiles, Title: "programs, scripts and archives in transfer",
		Doc:   "Programs, scripts and archives that HTTP, FTP, SMB, NFS or mail carried without encryption, by their content, and files whose name or declared type hides a program or script, also encrypted ones.",
		Steps: []finding.Step{{Find: find, Needs: []finding.Need{{Table: "objects", Have: finding.Any("detected_type IN " + programs + " OR detected_type IN " + scripts + " OR detected_type IN " + archives)}}}},
		Kinds: []string{"disguised", "executable", "script", "archive"}}
}

// Types by content.
const (
	programs = `('application/vnd.microsoft.portable-executable', 'application/x-elf', 'application/x-executable', 'application/x-sharedlib', 'application/x-object', 'application/x-mach-binary',
		'application/x-ms-installer', 'application/vnd.debian.binary-package', 'application/x-rpm', 'application/jar', 'application/java-archive', 'application/vnd.android.package-archive',
		'application/wasm', 'application/x-java-applet', 'application/x-ms-shortcut', 'application/x-chrome-extension')`
	scripts  = `('text/x-shellscript', 'text/x-python', 'text/x-perl', 'text/x-lua', 'text/x-tcl', 'text/x-php', 'text/x-ruby', 'application/x-httpd-php')`
	archives = `('application/zip', 'application/x-7z-compressed', 'application/x-rar-compressed', 'application/vnd.rar', 'application/gzip', 'application/x-tar', 'application/x-bzip2', 'application/x-xz',
		'application/zstd', 'application/vnd.ms-cab-compressed', 'application/x-iso9660-image', 'application/lzip', 'application/x-archive', 'application/x-cpio')`
)

// harmless is the SQL for a file that its name or declared type calls a document, text or picture.
const harmless = `(regexp_matches(lower(name), '[.](jpe?g|png|gif|bmp|webp|svg|ico|pdf|docx?|xlsx?|pptx?|odt|ods|rtf|txt|csv|log|html?|css|json|xml|mp[34]|avi|mov|wav|woff2?|ttf)[. ]*$')
	OR regexp_matches(lower(content_type), '^ *(image/|audio/|video/|font/|text/(plain|html|css|csv)|application/(pdf|json|msword|vnd[.](ms-excel|ms-powerpoint|openxmlformats|oasis)))'))`

// kind is the SQL for the kind of a file, or null.
const kind = `CASE WHEN (detected_type IN ` + programs + ` OR detected_type IN ` + scripts + ` AND NOT regexp_matches(lower(coalesce(content_type, '')), '^ *text/plain') ) AND ` + harmless + ` THEN 'disguised'
	WHEN NOT clear THEN NULL WHEN detected_type IN ` + programs + ` THEN 'executable' WHEN detected_type IN ` + scripts + ` THEN 'script' WHEN detected_type IN ` + archives + ` THEN 'archive' END`

func find(ctx context.Context, l *finding.Look) error {
	key := l.Bundle("call_no")
	rows, err := l.Rows(ctx, `WITH f AS (SELECT `+l.Sent()+`, call_id, ts_ns, detected_type, coalesce(name, '') AS file, side, `+kind+` AS kind
				FROM (SELECT `+l.Key()+`, call_no, call_id, ts_ns, decrypted_by IS NULL AS clear FROM `+l.Calls+` WHERE `+l.Where+`) k
				JOIN (SELECT `+key+`, name, content_type, detected_type, side FROM objects WHERE detected_type IS NOT NULL) o USING (`+key+`)),
		r AS (SELECT `+l.Sent()+`, kind, detected_type, side, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, list_sort(list(DISTINCT left(file, 200)))[:5] AS names, `+l.Some()+` FROM f WHERE kind IS NOT NULL GROUP BY ALL),
		`+l.Names()+`
		SELECT client AS src, dst, kind AS detail, detected_type || ' ' || side AS other, list_sort(list_distinct(flatten(list(names))))[:5] AS evidence,
			count(*) FILTER (src_outside)::DOUBLE AS number, `+l.Sums()+`
		FROM (`+l.Named("r")+`) GROUP BY 1, 2, 3, 4 ORDER BY count DESC, src, dst, detail, other`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Kind: r.Detail, Severity: severities[r.Detail], Confidence: finding.Likely, Evidence: slices.DeleteFunc(r.Evidence, func(s string) bool { return s == "" }),
			What: plural.Sprintf("%s and %s: %d {file|files} ", r.Src, r.Dst, r.Count) + what(r.Detail, r.Other)}
		if r.Detail == "executable" && (r.Number > 0 || r.Outside) {
			f.Severity = finding.High
			f.What += ", with an outside address"
		}
		l.Add(r, f)
	}
	return nil
}

// what describes a file. other is its type and side.
func what(kind, other string) string {
	other, side, _ := strings.Cut(other, " ")
	direction := "downloaded"
	if side == "request" {
		direction = "uploaded"
	}
	if kind == "disguised" {
		return direction + " with content of type " + other + ", which its name or declared type contradicts"
	}
	return direction + " without encryption, of type " + other
}
