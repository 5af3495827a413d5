"""Reads SARIF with the judgement of its validator, JUnit XML and OTLP, and compares what they count."""

import json
import sys

from google.protobuf import json_format
from junitparser import JUnitXml
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

sarif, judged, junit, otlp = sys.argv[1:]

errors = [r for run in json.load(open(judged))["runs"] for r in run.get("results", []) if r.get("level", "warning") == "error"]
if errors:
    sys.exit(f"SARIF: {errors}")

# Each rule is a test case; one that was violated failed, and has results in SARIF.
cases = [case for suite in JUnitXml.fromfile(junit) for case in suite]
failed = {case.name for case in cases if any(r.__class__.__name__ in ("Failure", "Error") for r in case.result)}
rules = {r["ruleId"] for run in json.load(open(sarif))["runs"] for r in run["results"] if r.get("kind", "fail") == "fail"}
if len(cases) != 3 or not failed or len(failed) != len(rules):
    sys.exit(f"JUnit has {len(cases)} cases, {sorted(failed)} failed; SARIF has results of {sorted(rules)}")

# Unknown members are errors. Ids are hexadecimal in OTLP's JSON, which the mapping of protobuf reads as base64.
traces = json_format.Parse(open(otlp).read(), TracesData())
spans = [s for r in traces.resource_spans for c in r.scope_spans for s in c.spans]
if not spans or any(s.end_time_unix_nano < s.start_time_unix_nano or not s.name for s in spans):
    sys.exit("OTLP: no spans, or spans without a name or that end before they begin")
print(f"SARIF: {len(rules)} rules with results; JUnit: {len(cases)} cases, {len(failed)} failed; OTLP: {len(spans)} spans")
