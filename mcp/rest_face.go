package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/mcp/door"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// maxRESTBody limits the size of a request's body.
const maxRESTBody = 64 << 10

// errLongBody reports a larger one.
var errLongBody = fmt.Errorf("body: must have at most %d bytes", maxRESTBody)

// restRoutes lists the REST routes. Most answer with the function of a tool; calls and flows have
// the shape that dashboards expect.
func (s *Server) restRoutes() []route {
	text := func(name, doc string) param { return param{Name: name, Type: "string", Description: doc} }
	of := func(name string, values ...string) param { return param{Name: name, Type: "string", Enum: values} }
	number := func(name, like, doc string) param {
		b := ask.Numbers[like]
		return param{Name: name, Type: "integer", Description: doc, Min: b.Low, Max: b.High}
	}
	millis := func(name string) param { return number(name, "timestamp", "milliseconds since 1970 UTC") }
	get := func(path, doc string, params ...param) route {
		return route{Path: path, Method: http.MethodGet, Description: doc, Params: append([]param{}, params...)}
	}
	db := text("db", "a dissection as snapshot/dissection, or live; default: the open bundles, or else the newest dissection")
	limit := number("limit", "limit", "default 100")
	cursor := text("cursor", "next_cursor of the previous answer")
	labels, regex := text("labels", "k=v,k2=v2"), text("name_regex", "regular expression (RE2) on the name")
	description := get("/mcp/openapi.yaml", "The OpenAPI 3.1 description of these paths")
	description.media, description.handle = "application/yaml", s.openAPI
	list := []route{
		description,
		callsRoute(s, get("/mcp/calls", "Calls that match a KFL filter", db, text("kfl", "KFL filter"), limit, of("format", "compact", "list", "full", "raw"), millis("start"), millis("end"), of("order", tools.CallOrders...), cursor)),
		typed(s, get("/mcp/flows", "Transport flows, the largest first", db, limit, of("l4proto", "tcp", "udp"), text("ip", "of either endpoint"), text("ns", "namespace of either endpoint"),
			text("pod", "of either endpoint"), text("svc", "service of either endpoint"), text("kfl", "KFL filter: flows with calls that match"), millis("start"), millis("end"), of("format", "compact", "full"), cursor), false, restFlows),
		typed(s, get("/mcp/flows/summary", "Totals over all flows", db), false, restSummary),
		s.ofTool(get("/mcp/resolve/workloads", "Workloads and their addresses", db, text("name", ""), text("namespace", ""), text("namespaces", "separated by commas"),
			regex, labels, of("type", "pod", "service"), millis("timestamp"), limit, cursor), "list_workloads", resolveArgs),
		s.ofTool(get("/mcp/resolve/ips", "Owners of addresses", db, text("ip", ""), text("namespaces", "separated by commas"), regex, labels, millis("timestamp"), limit, cursor), "list_ips", resolveArgs),
		typed(s, get("/mcp/databases", "Databases to query: open bundles and dissections"), true, restDatabases),
	}
	for _, q := range s.o.Questions {
		list = append(list, s.ofQuestion(q))
	}
	name := param{Name: "name", Type: "string", Required: true, Description: "the snapshot's name"}
	one := []param{{Name: "snapshot_name", Type: "string", Required: true, Description: "the snapshot's name"}, text("dissection_name", "default main")}
	with := func(method string, rt route) route {
		rt.Method = method
		return rt
	}
	start, status := get("/delayed_dissection.DelayedDissection/Start", "Start a dissection", one...), get("/delayed_dissection.DelayedDissection/GetStatus", "Status of a dissection", one...)
	create := with(http.MethodPost, get("/mcp/snapshots", "Create a snapshot of a time range"))
	create.body = s.env.Every["create_snapshot"].In
	pcap := get("/mcp/snapshots/{name}/pcap", "A snapshot's packets as PCAPNG", name, text("nodes", "separated by commas"), text("bpf_filter", "as pcap-filter(7)"), millis("start_time"), millis("end_time"))
	pcap.media, pcap.handle = "application/vnd.tcpdump.pcap", s.restPCAP
	tail := get("/mcp/tail", "Calls that match a KFL filter, as server-sent events from now on: call, gap and end", text("kfl", "KFL filter"), of("format", "compact", "full"))
	tail.media, tail.handle, tail.stream = "text/event-stream", s.restTail, true
	metrics := get("/metrics", "Calls by pair of workloads and protocol for Prometheus, counted since the first such request")
	metrics.media, metrics.handle = "text/plain", s.restMetrics
	spanned := get("/mcp/spans", "Calls that match a KFL filter as spans of OpenTelemetry, one message of OTLP in JSON per line; at most 10,000 calls", db, text("kfl", "KFL filter"), millis("start"), millis("end"))
	spanned.media, spanned.handle = "application/x-ndjson", s.restSpans
	return append(append(append(list, s.pageRoutes(db, limit, millis, text, of)...), s.reportRoutes(db, millis)...),
		tail, metrics, spanned,
		s.ofTool(get("/mcp/data-boundaries", "Recorded time ranges"), "get_data_boundaries", nil),
		s.ofTool(get("/mcp/snapshots", "Snapshots, the newest first"), "list_snapshots", nil),
		s.ofTool(create, "create_snapshot", bodyArgs),
		s.ofTool(get("/mcp/snapshots/{name}", "One snapshot", name), "get_snapshot", nameArgs),
		s.ofTool(with(http.MethodDelete, get("/mcp/snapshots/{name}", "Delete a snapshot", name)), "delete_snapshot", nameArgs),
		pcap,
		s.ofTool(with(http.MethodPost, start), "start_snapshot_dissection", dissectionArgs),
		typed(s, with(http.MethodPost, status), true, restStatus),
		typed(s, status, true, restStatus),
		typed(s, get("/mcp/raw-capture", "Whether a recorder is writing"), true, restRawCapture),
		typed(s, get("/mcp/dissection", "Whether calls can be queried: always, because db live and dissections are made on request"), true, restDissection),
		s.ofCall(),
		s.ofTool(get("/mcp/dissections", "Dissections and their status", text("snapshot", "only dissections of this snapshot")), "get_snapshot_dissection_status", queryArgs("snapshot")),
	)
}

// typed returns a route whose answer is an Out.
func typed[Out any](s *Server, rt route, free bool, f func(context.Context, *tools.Invocation, *question) (Out, error)) route {
	rt.answer = tools.Schema[Out](rt.Path)
	rt.handle = s.rest(free, func(ctx context.Context, a *tools.Invocation, x *question) (any, error) { return f(ctx, a, x) })
	return rt
}

// ofTool returns a route that answers as a tool does.
func (s *Server) ofTool(rt route, tool string, args func(*question) (map[string]any, error)) route {
	e := s.env.Every[tool]
	rt.answer = e.Typed
	rt.handle = s.rest(e.Free, func(ctx context.Context, a *tools.Invocation, x *question) (any, error) {
		in := map[string]any{}
		if args != nil {
			var err error
			if in, err = args(x); err != nil {
				return nil, err
			}
		}
		raw, err := object.Marshal(in)
		if err != nil {
			return nil, err
		}
		checked, _, err := e.Check(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", tools.ErrArguments, err)
		}
		return e.Answer(ctx, a, checked)
	})
	return rt
}

// ofQuestion returns the route of a question, with the arguments and answers of its tool.
func (s *Server) ofQuestion(q ask.Question) route {
	e := s.env.Every[q.Name]
	return route{Path: "/mcp/ask/" + q.Name, Method: http.MethodPost, Description: q.Title, Params: []param{}, body: e.In, answer: e.Out, handle: func(w http.ResponseWriter, r *http.Request) {
		begin, who, t := time.Now(), restCaller(r), &accessNote{}
		var raw json.RawMessage
		args, err := bodyOf(w, r)
		if err == nil {
			raw, err = s.Call(context.WithValue(r.Context(), accessNoteKey{}, t), who, q.Name, args)
		}
		s.restAnswer(w, r, begin, t, args, raw, err)
	}}
}

// question is one REST request.
type question struct {
	r    *http.Request
	q    url.Values
	body map[string]any
}

func (x *question) get(name string) string {
	if v, ok := x.body[name]; ok {
		if s, ok := v.(string); ok {
			return s
		}
	}
	return x.q.Get(name)
}

// number returns an integer parameter, which route.check has validated, or 0 if it is absent.
func (x *question) number(name string) int64 {
	n, _ := strconv.ParseInt(x.get(name), 10, 64)
	return n
}

// rest returns the handler of one kind of request: queued fairly, masked, and written to the
// access log before the answer is sent.
func (s *Server) rest(free bool, f func(context.Context, *tools.Invocation, *question) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin, who, t := time.Now(), restCaller(r), &accessNote{}
		x := &question{r: r, q: r.URL.Query()}
		var raw json.RawMessage
		args, err := []byte(r.URL.RawQuery), error(nil)
		if r.Method == http.MethodPost {
			var body []byte
			if body, err = bodyOf(w, r); err == nil && len(body) > 0 {
				if args = body; json.Unmarshal(body, &x.body) != nil {
					err = store.BadRequest("body: must be a JSON object")
				}
			}
		}
		if err == nil {
			k := long
			if free {
				k = aside
			}
			err = s.withDB(r.Context(), who, s.cases.Pinned(x.get("db"), x.get("cursor")), k, func(ctx context.Context, a *tools.Invocation) error {
				a.Max = tools.MaxBytes
				v, err := f(ctx, a, x)
				if err != nil {
					return err
				}
				if raw, err = object.Marshal(v); err == nil {
					raw, err = s.masked(ctx, a.Case, raw)
				}
				s.cases.Pin(x.get("db"), object.Text(raw, "next_cursor"), a.Case)
				return err
			})
		}
		t.rows, t.bytes = tools.RowsIn(raw), len(raw)
		s.restAnswer(w, r, begin, t, args, raw, err)
	}
}

// restAnswer sends an answer or error after writing it to the access log.
func (s *Server) restAnswer(w http.ResponseWriter, r *http.Request, begin time.Time, t *accessNote, args []byte, raw json.RawMessage, err error) {
	if werr := s.logged(restCaller(r), begin, "http "+r.Method, r.URL.Path, args, t, err); werr != nil {
		err = werr
	}
	if err != nil {
		s.restError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(trustHeader, tools.TrustNote)
	_, _ = w.Write(raw) // the client may be gone
}

// bodyOf reads the body of a POST and trims it.
func bodyOf(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	text, err := door.ReadBody(w, r, maxRESTBody)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return nil, errLongBody
	case err != nil:
		return nil, store.BadRequest("body: is incomplete")
	}
	if text = bytes.TrimSpace(text); len(text) > 0 {
		if !isJSON(r) {
			return nil, errNotJSON
		}
		if err := object.Check(text); err != nil {
			return nil, store.BadRequest("body: %v", err)
		}
	}
	return text, nil
}

func restCaller(r *http.Request) caller {
	c := caller{remote: r.Header.Get(door.RemoteHeader), client: ask.Clip(r.UserAgent(), 150)}
	if info := auth.TokenInfoFromContext(r.Context()); info != nil {
		c.user = info.UserID
	}
	return c
}

// trustHeader carries the trust note on every REST answer.
const trustHeader = "Pcapsule-Trust"

func nameArgs(x *question) (map[string]any, error) {
	return map[string]any{"name": x.r.PathValue("name")}, nil
}

func bodyArgs(x *question) (map[string]any, error) {
	if x.body == nil {
		return map[string]any{}, nil
	}
	return x.body, nil
}

func queryArgs(names ...string) func(*question) (map[string]any, error) {
	return func(x *question) (map[string]any, error) {
		out := map[string]any{}
		for _, n := range names {
			if v := x.get(n); v != "" {
				out[n] = v
			}
		}
		return out, nil
	}
}

func dissectionArgs(x *question) (map[string]any, error) {
	for name, v := range x.body {
		if _, ok := v.(string); !ok || name != "snapshot_name" && name != "dissection_name" {
			return nil, store.BadRequest("body: %q: must have the strings snapshot_name and dissection_name", ask.Clip(name, 50))
		}
	}
	out := map[string]any{"snapshot": x.get("snapshot_name")}
	if out["snapshot"] == "" {
		return nil, store.BadRequest("snapshot_name: missing: the snapshot's name")
	}
	if n := x.get("dissection_name"); n != "" {
		out["name"] = n
	}
	return out, nil
}

// restStatus returns the status of one dissection.
func restStatus(ctx context.Context, a *tools.Invocation, x *question) (store.Dissection, error) {
	args, err := dissectionArgs(x)
	if err != nil {
		return store.Dissection{}, err
	}
	name, ok := args["name"].(string)
	if !ok {
		name = "main"
	}
	list, err := a.Cases.Store().Dissections(ctx, x.get("snapshot_name"))
	for _, d := range list {
		if d.Name == name {
			return d, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("no dissection %s of snapshot %s: %w", ask.Clip(name, 100), ask.Clip(x.get("snapshot_name"), 100), store.ErrNoSnapshot)
	}
	return store.Dissection{}, err
}

func resolveArgs(x *question) (map[string]any, error) {
	out, err := queryArgs("name", "namespace", "name_regex", "type", "ip", "cursor")(x)
	if err != nil {
		return nil, err
	}
	if v := x.get("namespaces"); v != "" {
		out["namespaces"] = strings.Split(v, ",")
	}
	if v := x.get("labels"); v != "" {
		labels := map[string]string{}
		for part := range strings.SplitSeq(v, ",") {
			name, value, ok := strings.Cut(part, "=")
			if !ok {
				return nil, store.BadRequest("labels %q: must have the form k=v,k2=v2", ask.Clip(v, 100))
			}
			labels[name] = value
		}
		out["labels"] = labels
	}
	for _, name := range []string{"timestamp", "limit"} {
		if n := x.number(name); n > 0 {
			out[name] = n
		}
	}
	return out, nil
}

// restPCAP streams a snapshot's packets. If that fails midway, it aborts the connection, so that
// the client does not mistake the part for the whole.
func (s *Server) restPCAP(w http.ResponseWriter, r *http.Request) {
	begin, who, t := time.Now(), restCaller(r), &accessNote{}
	x := &question{r: r, q: r.URL.Query()}
	out := &packetWriter{w: w, name: r.PathValue("name")}
	err := s.withDB(r.Context(), who, "", aside, func(ctx context.Context, _ *tools.Invocation) error {
		if s.o.Policy != nil && !s.o.Packets {
			return errMasked
		}
		req := store.PCAPRequest{Filter: x.get("bpf_filter"), From: x.number("start_time") * int64(time.Millisecond), To: x.number("end_time") * int64(time.Millisecond)}
		if nodes := x.get("nodes"); nodes != "" {
			req.Nodes = strings.Split(nodes, ",")
		}
		// A large snapshot may take longer than the deadline of an answer.
		_, err := s.cases.Store().SnapshotPCAP(context.WithoutCancel(ctx), out.name, req, &contextWriter{out, r.Context()})
		return err
	})
	t.bytes = int(out.n)
	_ = s.logged(who, begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), t, err) // the answer is already sent
	switch {
	case err != nil && out.n == 0:
		s.restError(w, err)
	case err != nil:
		panic(http.ErrAbortHandler)
	}
}

// packetWriter sends the headers with the first byte and counts bytes.
type packetWriter struct {
	w    http.ResponseWriter
	name string
	n    int64
}

// Write implements io.Writer.
func (c *packetWriter) Write(p []byte) (int, error) {
	if c.n == 0 {
		c.w.Header().Set("Content-Type", "application/vnd.tcpdump.pcap")
		c.w.Header().Set("Content-Disposition", `attachment; filename="`+c.name+`.pcapng"`)
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// contextWriter is a writer that fails when its context is done.
type contextWriter struct {
	io.Writer
	ctx context.Context
}

// Write implements io.Writer.
func (s *contextWriter) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Writer.Write(p)
}
