package mcp

import (
	"context"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// aliases maps the tool names of similar products to our tools. They work but are not listed,
// because every listed tool takes up part of an assistant's context.
var aliases = map[string]string{
	"get_api_call_details": "get_api_call", "resolve_workload": "list_workloads", "resolve_ip": "list_ips",
	"list_snapshot_dissections": "get_snapshot_dissection_status",
}

// unavailable maps tool names that do not apply here, because they need a cluster or a step that
// pcapsule does not have, to the text that names the alternative.
var unavailable = map[string]string{
	"check_kubeshark_status":       "this server has no cluster; list_cases shows the open bundles and how much of their time was recorded",
	"start_kubeshark":              "this needs a cluster, where pcapsule-recorder records. On this machine, record with pcapsule record -w RING/ and query the ring with pcapsule serve --ring RING/",
	"stop_kubeshark":               "this needs a cluster; stop a recorder on this machine where it was started",
	"get_file_url":                 "export_pcap and export_snapshot_pcap write files on the server's machine and return the path; over HTTP, GET /mcp/snapshots/{name}/pcap sends the packets",
	"download_file":                "export_pcap and export_snapshot_pcap write files on the server's machine and return the path; over HTTP, GET /mcp/snapshots/{name}/pcap sends the packets",
	"apply_filter":                 "filters are not kept between calls: pass kfl to each tool",
	"get_l7_data_boundaries":       "list_cases shows the time span of the open bundles; list_snapshots shows the dissections",
	"get_dissection_status":        "dissection needs no switch: start_snapshot_dissection dissects a snapshot, and db live has the last seconds",
	"enable_dissection":            "dissection needs no switch: start_snapshot_dissection dissects a snapshot, and db live has the last seconds",
	"disable_dissection":           "only start_snapshot_dissection starts a dissection, so there is nothing to switch off",
	"get_cloud_storage_status":     "bundles are folders or ZIP files: store them by copying; this server has no access to cloud storage",
	"upload_snapshot_to_cloud":     "bundles are folders or ZIP files: store them by copying; this server has no access to cloud storage",
	"download_snapshot_from_cloud": "bundles are folders or ZIP files: copy one into a folder of --allow, then call open_case",
	"get_cloud_job_status":         "this server has no access to cloud storage",
	"stop_snapshot_dissection":     "delete_snapshot stops a snapshot's dissections; one that is not needed does no harm",
}

// known answers tools/call for tools that are not listed.
func (s *Server) known(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		p, ok := req.GetParams().(*mcp.CallToolParamsRaw)
		if !ok || s.tools[p.Name] != nil {
			return next(ctx, method, req)
		}
		said := func(text string) (mcp.Result, error) {
			var r mcp.CallToolResult
			r.SetError(fmt.Errorf("%s: %s", p.Name, text))
			noteAnswer(ctx, 0, 0, r.GetError())
			return &r, nil
		}
		if text, ok := unavailable[p.Name]; ok {
			return said(text)
		}
		name := p.Name
		if other, ok := aliases[name]; ok {
			name = other
		}
		e := s.env.Every[name] // including those that --tools does not list
		if e == nil {
			return next(ctx, method, req)
		}
		call, ok := req.(*mcp.CallToolRequest)
		if !ok {
			return next(ctx, method, req)
		}
		return s.handler(e)(ctx, call)
	}
}
