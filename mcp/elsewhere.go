package mcp

import (
	"context"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// also are other names of tools, as assistants know them from elsewhere. They are answered
// and not listed: each tool costs room to think.
var also = map[string]string{
	"get_api_call_details": "get_api_call", "resolve_workload": "list_workloads", "resolve_ip": "list_ips",
	"list_snapshot_dissections": "get_snapshot_dissection_status",
}

// elsewhere says of names that mean something of a cluster, or of a way to work that is not
// needed here, what works instead.
var elsewhere = map[string]string{
	"check_kubeshark_status":       "there is no cluster behind this server; list_cases says what is open and how much of its time was recorded",
	"start_kubeshark":              "this needs a cluster: pcapsule-recorder records there. On this machine pcapsule record -w RING/ does, and pcapsule serve --ring RING/ answers about it",
	"stop_kubeshark":               "this needs a cluster; a recorder on this machine ends by its own command",
	"get_file_url":                 "files are written where the server may write: export_pcap and export_snapshot_pcap answer with the path; over HTTP GET /mcp/snapshots/{name}/pcap sends the packets",
	"download_file":                "files are written where the server may write: export_pcap and export_snapshot_pcap answer with the path; over HTTP GET /mcp/snapshots/{name}/pcap sends the packets",
	"apply_filter":                 "no filter is kept between questions: give kfl to the tool that is asked",
	"get_l7_data_boundaries":       "list_cases has the time span of what can be asked; list_snapshots has the dissections",
	"get_dissection_status":        "nothing has to be switched on: a snapshot is dissected by start_snapshot_dissection, and db live has the last seconds",
	"enable_dissection":            "nothing has to be switched on: a snapshot is dissected by start_snapshot_dissection, and db live has the last seconds",
	"disable_dissection":           "nothing is dissected but what start_snapshot_dissection is asked for",
	"get_cloud_storage_status":     "bundles are folders and ZIP files: they are stored by copying them; this server reaches no storage outside",
	"upload_snapshot_to_cloud":     "bundles are folders and ZIP files: they are stored by copying them; this server reaches no storage outside",
	"download_snapshot_from_cloud": "bundles are folders and ZIP files: copy one into a folder of --allow and open_case opens it",
	"get_cloud_job_status":         "this server reaches no storage outside",
	"stop_snapshot_dissection":     "delete_snapshot ends its dissections; one that nobody needs does no harm",
}

// known answers tools/call for names that are not listed.
func (s *Server) known(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		p, ok := req.GetParams().(*mcp.CallToolParamsRaw)
		if !ok || s.tools[p.Name] != nil {
			return next(ctx, method, req)
		}
		said := func(text string) (mcp.Result, error) {
			var r mcp.CallToolResult
			r.SetError(fmt.Errorf("%s: %s", p.Name, text))
			tell(ctx, 0, 0, r.GetError())
			return &r, nil
		}
		if text, ok := elsewhere[p.Name]; ok {
			return said(text)
		}
		name := p.Name
		if other, ok := also[name]; ok {
			name = other
		}
		e := s.every[name] // also those that --tools core does not list
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
