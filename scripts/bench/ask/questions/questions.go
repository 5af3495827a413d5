// Package questions has the inputs with which scripts ask every tool of a server about any bundle:
// a fixed list, filled in with values that the server finds in the bundle.
package questions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Ask calls a tool of a server and returns the text of its answer.
type Ask func(ctx context.Context, tool, in string) (string, error)

// Facts are values from the bundle for the inputs of questions. A value that the bundle does not
// have is empty.
type Facts struct {
	service, client, store, namespace, path, pod string
	callID, traceID, requestID, text             string
	from, to                                     string // a window of an hour, or of a twelfth of the recording
	at                                           string
}

// busiest selects the pair of ends with the most calls among those that match a condition.
func busiest(names, condition string) string {
	return `select ` + names + ` from (select src_id, dst_id, count(*) n from calls_raw where ` + condition + ` group by all) c
		join endpoints s on s.endpoint_id = c.src_id join endpoints d on d.endpoint_id = c.dst_id`
}

// Find finds facts by running SQL.
func Find(ctx context.Context, ask Ask) (*Facts, error) {
	var f Facts
	for _, s := range []struct {
		into []*string // those that are still empty get the values of the first row
		sql  string
	}{
		{[]*string{&f.service, &f.client, &f.namespace}, busiest(`d.service, s.service, d.namespace`, `path is not null`) +
			` where d.service is not null and s.service is not null order by c.n desc, 1, 2 limit 1`},
		{[]*string{&f.service, &f.client, &f.namespace}, busiest(`d.name, s.name, d.namespace`, `true`) + ` order by c.n desc, 1, 2 limit 1`},
		{[]*string{&f.store}, busiest(`d.service`, `path is null and protocol <> 'dns'`) + ` where d.service is not null group by 1 order by sum(n) desc, 1 limit 1`},
		{[]*string{&f.store}, busiest(`d.name`, `path is null`) + ` group by 1 order by sum(n) desc, 1 limit 1`},
		{[]*string{&f.store}, busiest(`s.name`, `true`) + ` order by c.n desc, 1 limit 1`},
		{[]*string{&f.path}, `select path from calls_raw where path is not null group by 1 order by count(*) desc, 1 limit 1`},
		{[]*string{&f.callID, &f.at}, `select lower(hex(call_id)), strftime(ts, '%Y-%m-%dT%H:%M:%SZ') from calls_raw where status_code >= 500 order by ts_ns, call_no limit 1`},
		{[]*string{&f.callID, &f.at}, `select lower(hex(call_id)), strftime(ts, '%Y-%m-%dT%H:%M:%SZ') from calls_raw order by ts_ns, call_no limit 1`},
		{[]*string{&f.traceID, &f.requestID}, `select trace_id, request_id from calls_raw where trace_id is not null and request_id is not null order by ts_ns, call_no limit 1`},
		{[]*string{&f.text}, `select regexp_extract(path, '[0-9]{3,}') from calls_raw where regexp_matches(path, '[0-9]{3,}') order by ts_ns, call_no limit 1`},
		{[]*string{&f.text}, `select regexp_extract(summary, '[A-Za-z0-9]{4,}') from calls where regexp_matches(summary, '[A-Za-z0-9]{4,}') order by ts_ns, call_no limit 1`},
		{[]*string{&f.pod}, `select e.pod from (select dst_id, count(*) n from calls_raw group by all) c join endpoints e on e.endpoint_id = c.dst_id
			where e.pod is not null order by n desc, 1 limit 1`},
		{[]*string{&f.pod}, busiest(`s.name`, `true`) + ` order by c.n desc, 1 limit 1`},
	} {
		if !lacks(s.into) {
			continue
		}
		q, err := json.Marshal(map[string]string{"sql": s.sql})
		if err != nil {
			return nil, err
		}
		text, err := ask(ctx, "run_sql", string(q))
		if err != nil {
			return nil, fmt.Errorf("looking for what to ask about: %w", err)
		}
		var answer struct {
			Rows [][]any `json:"rows"`
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			return nil, err
		}
		for i, p := range s.into {
			if len(answer.Rows) > 0 && *p == "" {
				*p, _ = answer.Rows[0][i].(string)
			}
		}
	}
	return &f, f.window(ctx, ask)
}

func lacks(list []*string) bool {
	for _, p := range list {
		if *p == "" {
			return true
		}
	}
	return false
}

// window chooses a time range in the middle of the recording.
func (f *Facts) window(ctx context.Context, ask Ask) error {
	text, err := ask(ctx, "run_sql", `{"sql":"select strftime(min(ts), '%Y-%m-%dT%H:%M:%S.%fZ'), strftime(max(ts), '%Y-%m-%dT%H:%M:%S.%fZ') from calls_raw"}`)
	if err != nil {
		return fmt.Errorf("finding the time of the recording: %w", err)
	}
	var answer struct {
		Rows [][]*string `json:"rows"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("finding the time of the recording: %w", err)
	}
	if len(answer.Rows) == 0 || answer.Rows[0][0] == nil {
		return nil // without calls there is no window
	}
	first, err := time.Parse(time.RFC3339, *answer.Rows[0][0])
	if err != nil {
		return err
	}
	last, err := time.Parse(time.RFC3339, *answer.Rows[0][1])
	if err != nil {
		return err
	}
	middle, step := first.Add(last.Sub(first)/2), min(time.Hour, last.Sub(first)/12)
	f.from, f.to = middle.Format(time.RFC3339Nano), middle.Add(step).Format(time.RFC3339Nano)
	return nil
}

// with replaces $service and other variables in an input by facts.
func (f *Facts) with(in string) string {
	q := func(s string) string {
		b, _ := json.Marshal(s) // a string always marshals
		return string(b)
	}
	return strings.NewReplacer("$window", `"from":`+q(f.from)+`,"to":`+q(f.to), "$service", q(f.service), "$client", q(f.client), "$store", q(f.store),
		"$namespace", q(f.namespace), "$path", q(f.path), "$pod", q(f.pod), "$call", q(f.callID), "$trace", q(f.traceID), "$request", q(f.requestID),
		"$text", q(f.text), "$at", q(f.at)).Replace(in)
}

// Inputs returns the arguments for the calls of a tool.
func (f *Facts) Inputs(tool string) []string {
	var out []string
	for _, in := range questions[tool] {
		out = append(out, f.with(in))
	}
	return out
}

// All returns the inputs for each tool before facts are filled in.
func All() map[string][]string { return questions }

const anything = `{}`

// questions are arguments for each tool: none, one service, a window, and expensive ones.
var questions = map[string][]string{
	"list_cases":              {anything},
	"describe_schema":         {anything, `{"table":"calls","filter":"redis"}`},
	"list_api_calls":          {anything, `{"kfl":"http && status_code >= 500"}`, `{"kfl":"elapsed_time > 500ms","order":"elapsed_us desc"}`, `{$window,"limit":200}`},
	"get_api_call":            {`{"call_id":$call}`, `{"call_id":"#4000000"}`, `{"call_id":"#42"}`},
	"run_sql":                 {`{"sql":"select dst_service, count(*) n, count(*) filter (failed) bad from calls group by 1 order by n desc"}`, `{"sql":"select path, count(*) n from calls where protocol = 'http1' group by 1 order by n desc, 1 limit 20"}`},
	"list_l4_flows":           {anything, `{"aggregate":"service"}`, `{"svc":$service}`, `{$window}`},
	"get_l4_flow_summary":     {anything, `{$window}`},
	"export_pcap":             {`{"kfl":"http && status_code >= 500"}`, `{"call_ids":[$call],"context":"connections"}`},
	"list_workloads":          {anything, `{"type":"service"}`, `{"name_regex":"^order"}`},
	"list_ips":                {anything},
	"list_objects":            {anything},
	"get_overview":            {anything, `{$window}`},
	"get_api_stats":           {anything, `{"service":$service}`, `{$window}`, `{"order":"p99","limit":200}`},
	"generate_network_policy": {anything, `{"namespaces":[$namespace]}`, `{$window}`},
	"generate_openapi":        {`{"service":$service}`, `{"service":$service,$window}`},
	"get_service_map":         {anything, `{"service":$service}`, `{$window}`, `{"group_by":"pod","limit":200}`, `{"from_namespace":$namespace}`, `{"format":"mermaid"}`},
	"get_dependencies":        {`{"service":$store}`, `{"service":$service}`, `{"service":$store,"blast_radius":true}`, `{"service":$store,$window}`},
	"list_external":           {anything, `{"client":$client}`, `{"allow":["*.partner1-example.com","203.0.113.10"]}`, `{$window}`},
	"get_latency":             {anything, `{"service":$service}`, `{$window}`, `{"by":"service"}`, `{"min_ms":500}`, `{"parts":["queries"]}`, `{"parts":["size"]}`, `{"parts":["replicas"]}`, `{"parts":["series"]}`},
	"compare_periods":         {anything, `{"from":"1h","shift":"2h"}`, `{"from":"1h","shift":"2h","service":$service}`},
	"find_patterns": {anything, `{"service":$service}`, `{$window}`, `{"kinds":["retries"]}`, `{"kinds":["churn"]}`, `{"kinds":["pool"]}`, `{"kinds":["keep_alive"]}`, `{"kinds":["n_plus_one"]}`, `{"kinds":["blocking"]}`,
		`{"kinds":["repeated"]}`, `{"kinds":["caching"]}`, `{"kinds":["duplicates"]}`, `{"kinds":["correlation"]}`, `{"kinds":["content_type"]}`, `{"kinds":["drift"]}`},
	"get_capacity":     {anything, `{"service":$service}`, `{"by":"service"}`, `{$window}`},
	"find_failures":    {anything, `{"service":$service}`, `{$window}`, `{"class":"5xx","list_calls":true}`, `{"no_causes":true}`},
	"trace_request":    {`{"call_id":$call}`, `{"trace_id":$trace}`, `{"request_id":$request}`, `{"text":$text,$window}`},
	"search_content":   {`{"text":$text}`, `{"text":$request,"whole":true}`, `{"pattern":"user[0-9]+@example"}`, `{"text":$text,"service":$service,$window}`},
	"get_timeline":     {`{"workload":$service,"at":$at}`, `{"workload":$pod,"at":$at}`},
	"describe_service": {`{"service":$service}`, `{"service":$store}`, `{"service":$service,$window}`},
	"controls":         {anything, `{"frameworks":["pci"]}`, `{"controls":["pci/4.2.1"]}`, `{$window}`},
	"audit_access":     {`{"service":$store}`, `{"service":$service}`, `{"service":$service,$window}`, `{"external":true}`, `{"service":$service,"pii":true}`},
	"get_pair":         {`{"src":$client,"dst":$service}`, `{"src":$client,"dst":$service,$window}`},
	"list_findings":    {anything, `{"service":$service}`, `{$window}`, `{"names":["no-auth"]}`, `{"names":["missing-auth"]}`, `{"names":["forwarded-token"]}`, `{"names":["sensitive-data"]}`, `{"names":["beacon"]}`},
	"check_expectations": {`{"rules":"version: 1\nrules:\n- name: fast\n  calls: http\n  latency: {p99: 2s}\n- name: few errors\n  calls: http\n  error_rate: 5%\n"}`,
		`{"rules":"version: 1\nrules:\n- name: never\n  calls: http\n  never: status_code == 599\n- name: every\n  calls: http\n  every: status_code > 0\n"}`},
}
