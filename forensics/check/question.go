package check

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
)

// In is the input of check_expectations.
type In struct {
	ask.Scope
	Rules string `json:"rules" jsonschema:"rules as YAML: version: 1, rules: [{name: …, calls: KFL, every: KFL, never: KFL, count: {min, max, exactly}, latency: {p99: 500ms}, error_rate: 1%, request_headers: [names], response_headers: {name: RE2}, request_schema: JSON Schema, response_schema: JSON Schema, openapi: OpenAPI 3, retries: {exactly: 3, backoff: exponential}, downstream: [{calls: KFL, max: 5}], cached: {calls: KFL}, no_findings: [names]}]"`
}

// Question is the question check_expectations. Rules may name the analyzers.
func Question(analyzers []finding.Analyzer) ask.Question {
	return ask.New("check_expectations", "Check traffic against rules",
		"Checks rules about calls: statuses, headers, schemas, OpenAPI, latency, retries and backoff, calls per request, caching, no findings. Each failure cites its calls.", true,
		func(ctx context.Context, c *forensics.Case, in In) (*Report, error) {
			if in.Rules == "" {
				return nil, ask.Wrong("rules", "missing: give YAML that begins with version: 1")
			}
			if _, err := in.Scope.Read(ctx, c); err != nil {
				return nil, err
			}
			rules, err := Parse([]byte(in.Rules), nil)
			if err != nil {
				return nil, ask.Wrong("rules", "%v", err)
			}
			for i := range rules.Rules {
				r := &rules.Rules[i]
				if r.From == "" {
					r.From = in.From
				}
				if r.To == "" {
					r.To = in.To
				}
				switch {
				case in.KFL != "" && r.Calls != "":
					r.Calls = fmt.Sprintf("(%s) && (%s)", in.KFL, r.Calls)
				case in.KFL != "":
					r.Calls = in.KFL
				}
			}
			return Run(ctx, c, rules, analyzers)
		})
}
