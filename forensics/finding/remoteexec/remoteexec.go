// Package remoteexec finds programs that a client makes another machine run: services, tasks, methods of WMI and drivers
// of printers.
package remoteexec

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// before is how long before a service is created a file that the client wrote to an administrative share counts as its
// program. PsExec and its like write, create and start within seconds; people who do it by hand take minutes.
const before = 600 // seconds

type way struct{ kind, is, technique, what string }

var ways = []way{
	{"service", finding.Remote("svcctl", "CreateServiceW", "CreateServiceA", "CreateServiceWOW64W", "CreateServiceWOW64A", "CreateWowService"), "T1569.002", "created a service"},
	{"service-changed", finding.Remote("svcctl", "ChangeServiceConfigW", "ChangeServiceConfigA"), "T1543.003", "changed the settings of a service, such as its program,"},
	{"dcom", finding.Remote("IDispatch", "Invoke"), "T1021.003", "called methods of programs by DCOM"},
	{"task", finding.AnyOf(finding.Remote("ITaskSchedulerService", "SchRpcRegisterTask"), finding.Remote("atsvc", "JobAdd")), "T1053.005", "registered a scheduled task"},
	{"wmi", finding.Remote("IWbemServices", "ExecMethod", "ExecMethodAsync"), "T1047", "executed a method of WMI"},
	{"printer-driver", finding.AnyOf(finding.Remote("spoolss", "AddPrinterDriver", "AddPrinterDriverEx"), finding.Remote("IRemoteWinspool", "winspool_AsyncAddPrinterDriver")), "T1210", "installed a printer driver"},
}

const wrote = "(protocol = 'smb' AND smb_command IN ('write', 'write_andx') AND outcome = 'ok' AND coalesce(smb_share_type, 'disk') <> 'pipe' AND regexp_matches(smb_share, '(?i)\\\\(admin|[a-z])\\$$'))"

// calls are the ways by the remote calls that show them.
var calls = finding.RemoteKindsOf(ways, func(w way) (name, is string) { return w.kind, w.is })

// Analyzer returns the analyzer remote-execution.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "remote-execution", Title: "programs run on other machines", Kinds: calls.Names,
		Techniques: []string{"T1021.002", "T1569.002", "T1543.003", "T1021.003", "T1053.005", "T1047", "T1210"}, CVEs: []string{"CVE-2021-1675", "CVE-2021-34527"},
		Unproved: "That the program is malicious: administration and deployment use the same calls. The name and the command line are not read.",
		Basis:    finding.Basis{What: "remote calls of DCE/RPC", Is: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(finding.RemoteInterface+" IS NOT NULL"))}},
		Doc:      "A client that creates or changes a service, calls methods of programs by DCOM, registers a scheduled task, executes a method of WMI or installs a printer driver on another machine (PrintNightmare), and whether it wrote a file to an administrative share within ten minutes before (PsExec).",
		Steps:    []finding.Step{{Needs: calls.Needs(), Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("CASE"+calls.Which()+" ELSE 'file' END AS kind, outcome, CASE WHEN "+wrote+" THEN smb_share || '\\' || coalesce(smb_file, '') END AS file, ts_ns AS t_ns",
		finding.AnyOf(append(slices.Clone(calls.Is), wrote)...))+`,
		f AS (SELECT client, server, file, t_ns FROM g WHERE kind = 'file'),
		t AS (SELECT *, (SELECT arg_max(f.file, (f.t_ns, f.file)) FROM f WHERE f.client = g.client AND f.server = g.server AND f.t_ns BETWEEN g.t_ns - `+fmt.Sprint(before*1_000_000_000)+` AND g.t_ns) AS brought FROM g WHERE kind <> 'file')
		SELECT src, dst, kind AS detail, coalesce(min(brought), '') AS other, `+l.Sums()+`, coalesce(sum(n) FILTER (outcome IN ('refused', 'client_error', 'server_error')), 0)::BIGINT AS "of", coalesce(bool_or(src_outside), false)::INTEGER::DOUBLE AS number
		FROM t GROUP BY src, dst, kind ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: r.Detail, Kind: r.Detail, Severity: finding.Medium, Confidence: finding.Exact, CVEs: []string{}}
		for _, w := range ways {
			if w.kind == r.Detail {
				f.Techniques = []string{w.technique}
				f.What = plural.Sprintf("%s %s on %s in %d {call|calls}", r.Src, w.what, r.Dst, r.Count)
			}
		}
		if r.Detail == "printer-driver" {
			f.CVEs = []string{"CVE-2021-1675", "CVE-2021-34527"}
		}
		if r.Number > 0 {
			f.Severity = finding.High
		}
		switch {
		case r.Of == r.Count:
			f.Severity = finding.Medium
			f.What += "; none succeeded"
		case r.Other != "" && r.Detail == "service":
			f.Severity, f.Techniques = finding.High, append(f.Techniques, "T1021.002")
			f.What += "; it had written a file to an administrative share, as PsExec does"
			f.Evidence = []string{r.Other}
		}
		l.Add(r, f)
	}
	return nil
}
