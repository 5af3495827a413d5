package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// maxRESTBody is how much of a request's body is read.
const maxRESTBody = 64 << 10

// restRoutes are the ways to ask over plain HTTP. What a tool answers they answer with the
// same function; calls and flows have the shape that dashboards know. See openapi.yaml.
func (s *Server) restRoutes() []route {
	text := func(name, doc string) param { return param{name, "string", false, doc} }
	millis := func(name string) param { return param{name, "integer", false, "milliseconds since 1970 UTC"} }
	db := text("db", "a dissection as snapshot/dissection, or live; the bundles that are open, else the newest dissection")
	limit := param{"limit", "integer", false, "1 to 1000; 100 where not given"}
	cursor := text("cursor", "next_cursor of the answer before")
	list := []route{
		{"/mcp/openapi.yaml", "GET", "Description of all this, OpenAPI 3", []param{}, s.openAPI},
		{"/mcp/calls", "GET", "Calls that a KFL condition holds for", []param{db, text("kfl", "condition"), limit, text("format", "compact, full or raw"),
			millis("start"), millis("end"), cursor}, s.rest(false, restCalls)},
		{"/mcp/flows", "GET", "Conversations of transports", []param{db, limit, text("l4proto", "tcp or udp"), text("ip", "of either end"), text("ns", "namespace of either end"),
			text("pod", "of either end"), text("svc", "service of either end"), text("format", "compact or full"), cursor}, s.rest(false, restFlows)},
		{"/mcp/flows/summary", "GET", "Sums over all flows", []param{db}, s.rest(false, restSummary)},
		{"/mcp/resolve/workloads", "GET", "Workloads and their addresses", []param{db, text("name", ""), text("namespace", ""), text("namespaces", "separated by commas"),
			text("name_regex", ""), text("labels", "k=v,k2=v2"), text("type", "pod or service"), millis("timestamp"), limit}, s.rest(false, restTool("list_workloads", resolveArgs))},
		{"/mcp/resolve/ips", "GET", "Who had an address", []param{db, text("ip", ""), text("namespaces", ""), text("name_regex", ""), text("labels", "k=v,k2=v2"), millis("timestamp"), limit},
			s.rest(false, restTool("list_ips", resolveArgs))},
		{"/mcp/databases", "GET", "What can be asked: open bundles and dissections", []param{}, s.rest(true, restDatabases)},
	}
	if s.o.Store == nil {
		return list
	}
	name := param{"name", "string", true, "the snapshot's name"}
	snapshot, dissection := param{"snapshot_name", "string", true, ""}, text("dissection_name", "main where not given")
	return append(list,
		route{"/mcp/data-boundaries", "GET", "Time that is recorded", []param{}, s.rest(true, restTool("get_data_boundaries", nil))},
		route{"/mcp/snapshots", "GET", "Snapshots", []param{}, s.rest(true, restTool("list_snapshots", nil))},
		route{"/mcp/snapshots", "POST", "Freeze a time: {name, duration | start, end}", []param{}, s.rest(true, restTool("create_snapshot", bodyArgs))},
		route{"/mcp/snapshots/{name}", "GET", "One snapshot", []param{name}, s.rest(true, restTool("get_snapshot", nameArgs))},
		route{"/mcp/snapshots/{name}", "DELETE", "Let a snapshot go", []param{name}, s.rest(true, restTool("delete_snapshot", nameArgs))},
		route{"/mcp/snapshots/{name}/pcap", "GET", "A snapshot's packets", []param{name, text("nodes", "separated by commas"), text("bpf_filter", ""), millis("start_time"), millis("end_time")}, s.restPCAP},
		route{"/delayed_dissection.DelayedDissection/Start", "POST", "Begin a dissection: {snapshot_name, dissection_name}", []param{snapshot, dissection}, s.rest(true, restTool("start_snapshot_dissection", dissectionArgs))},
		route{"/delayed_dissection.DelayedDissection/GetStatus", "POST", "How a dissection stands", []param{snapshot, dissection}, s.rest(true, restStatus)},
		route{"/delayed_dissection.DelayedDissection/GetStatus", "GET", "How a dissection stands", []param{snapshot, dissection}, s.rest(true, restStatus)},
		route{"/mcp/dissections", "GET", "Dissections and how they stand", []param{text("snapshot", "")}, s.rest(true, restTool("get_snapshot_dissection_status", queryArgs("snapshot")))},
	)
}

// question is one request as the functions behind it see it.
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

// number reads a whole number, 0 where it is not given.
func (x *question) number(name string, most int64) (int64, error) {
	text := x.get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, &store.RequestError{Text: fmt.Sprintf("%s %q: want a whole number from 0 to %d", name, clip(text, 50), most)}
	}
	return n, nil
}

// rest answers one kind of request: for whoever asks fairly, with what is masked masked,
// and written into the audit log before it leaves.
func (s *Server) rest(free bool, f func(context.Context, *answerer, *question) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin, who, t := time.Now(), restCaller(r), &told{}
		x := &question{r: r, q: r.URL.Query()}
		var raw json.RawMessage
		err := x.readBody(w)
		if err == nil {
			k := long
			if free {
				k = aside
			}
			err = s.turnOn(r.Context(), who, x.get("db"), k, func(ctx context.Context, a *answerer) error {
				a.max = mostBytes
				v, err := f(ctx, a, x)
				if err != nil {
					return err
				}
				if raw, err = marshal(v); err == nil {
					raw, err = a.masked(ctx, raw)
				}
				return err
			})
		}
		t.rows, t.bytes = rowsIn(raw), len(raw)
		if werr := s.audit(who, begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), t, err); werr != nil {
			err = werr
		}
		if err != nil {
			s.restError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set(trustHeader, trustNote)
		_, _ = w.Write(raw) // the client may be gone
	}
}

func (x *question) readBody(w http.ResponseWriter) error {
	if x.r.Method != http.MethodPost {
		return nil
	}
	text, err := readBody(w, x.r, maxRESTBody)
	if err != nil {
		return &store.RequestError{Text: fmt.Sprintf("body: want at most %d bytes of JSON", maxRESTBody)}
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, &x.body); err != nil {
		return &store.RequestError{Text: "body: want a JSON object"}
	}
	return nil
}

func restCaller(r *http.Request) caller {
	c := caller{remote: r.Header.Get(remoteHeader), client: clip(r.UserAgent(), 150)}
	if info := auth.TokenInfoFromContext(r.Context()); info != nil {
		c.user = info.UserID
	}
	return c
}

// restError answers with why there is no other answer.
func (s *Server) restError(w http.ResponseWriter, err error) {
	var bad *store.RequestError
	var syntax *kfl.Error
	var sql *forensics.SyntaxError
	status := http.StatusInternalServerError
	switch {
	case errors.As(err, &bad), errors.As(err, &syntax), errors.As(err, &sql), errors.Is(err, forensics.ErrUsage), errors.Is(err, forensics.ErrCursor), errors.Is(err, errArguments):
		status = http.StatusBadRequest
	case errors.Is(err, store.ErrNoSnapshot), errors.Is(err, fs.ErrNotExist), errors.Is(err, errUnknownTool):
		status = http.StatusNotFound
	case errors.Is(err, store.ErrNameTaken), errors.Is(err, store.ErrNotReady):
		status = http.StatusConflict
	case errors.Is(err, errMasked):
		status = http.StatusForbidden
	case errors.Is(err, errBusy):
		status = http.StatusServiceUnavailable
	case errors.Is(err, forensics.ErrDeadline):
		status = http.StatusGatewayTimeout
	case errors.Is(err, forensics.ErrMemory):
		status = http.StatusInsufficientStorage
	case errors.Is(err, forensics.ErrCrashed):
		status = http.StatusBadGateway
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(trustHeader, trustNote)
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%s,"trust":%s}`, quoted(s.hide(err.Error())), quoted(trustNote)) // the client may be gone
}

// trustHeader says on every answer over plain HTTP what its text is.
const trustHeader = "Pcapsule-Trust"

// errMasked says that packets would show what answers mask.
var errMasked = errors.New("packets are as they were recorded, with all that is masked in answers: pcapsule serve --packets lets them leave, and export_snapshot_pcap writes them on the server's machine")

// errArguments says that a tool does not take what was given.
var errArguments = errors.New("wrong arguments")

// restTool answers as a tool does.
func restTool(name string, args func(*question) (map[string]any, error)) func(context.Context, *answerer, *question) (any, error) {
	return func(ctx context.Context, a *answerer, x *question) (any, error) {
		in := map[string]any{}
		if args != nil {
			var err error
			if in, err = args(x); err != nil {
				return nil, err
			}
		}
		raw, err := marshal(in)
		if err != nil {
			return nil, err
		}
		e := a.every[name]
		if e == nil {
			return nil, fmt.Errorf("%w %q", errUnknownTool, name)
		}
		checked, _, err := e.check(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errArguments, err)
		}
		return e.answer(ctx, a, checked)
	}
}

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
			return nil, &store.RequestError{Text: fmt.Sprintf("body: %q: want the texts snapshot_name and dissection_name", clip(name, 50))}
		}
	}
	out := map[string]any{"snapshot": x.get("snapshot_name")}
	if n := x.get("dissection_name"); n != "" {
		out["name"] = n
	}
	return out, nil
}

// restStatus is the state of one dissection.
func restStatus(ctx context.Context, a *answerer, x *question) (any, error) {
	args, err := dissectionArgs(x)
	if err != nil {
		return nil, err
	}
	name, ok := args["name"].(string)
	if !ok {
		name = "main"
	}
	list, err := a.o.Store.Dissections(ctx, x.get("snapshot_name"))
	for _, d := range list {
		if d.Name == name {
			return d, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("no dissection %s of snapshot %s: %w", clip(name, 100), clip(x.get("snapshot_name"), 100), store.ErrNoSnapshot)
	}
	return nil, err
}

func resolveArgs(x *question) (map[string]any, error) {
	out, err := queryArgs("name", "namespace", "name_regex", "type", "ip")(x)
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
				return nil, &store.RequestError{Text: fmt.Sprintf("labels %q: want k=v,k2=v2", clip(v, 100))}
			}
			labels[name] = value
		}
		out["labels"] = labels
	}
	for name, most := range map[string]int64{"timestamp": 1 << 52, "limit": maxRows} {
		n, err := x.number(name, most)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			out[name] = n
		}
	}
	return out, nil
}

// restPCAP sends a snapshot's packets as they are read. Where that fails half way the
// connection is cut, so that nobody takes the part for the whole.
func (s *Server) restPCAP(w http.ResponseWriter, r *http.Request) {
	begin, who, t := time.Now(), restCaller(r), &told{}
	x := &question{r: r, q: r.URL.Query()}
	out := &counting{w: w, name: r.PathValue("name")}
	err := s.turnOn(r.Context(), who, "", aside, func(ctx context.Context, _ *answerer) error {
		if s.o.Policy != nil && !s.o.Packets {
			return errMasked
		}
		req := store.PCAPRequest{Filter: x.get("bpf_filter")}
		for _, v := range []struct {
			name string
			to   *int64
		}{{"start_time", &req.From}, {"end_time", &req.To}} {
			n, err := x.number(v.name, 1<<42)
			if err != nil {
				return err
			}
			*v.to = n * int64(time.Millisecond)
		}
		if nodes := x.get("nodes"); nodes != "" {
			req.Nodes = strings.Split(nodes, ",")
		}
		// A large snapshot takes longer than an answer may.
		_, err := s.o.Store.SnapshotPCAP(context.WithoutCancel(ctx), out.name, req, &stopping{out, r.Context()})
		return err
	})
	t.bytes = int(out.n)
	_ = s.audit(who, begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), t, err) // the answer is out
	switch {
	case err != nil && out.n == 0:
		s.restError(w, err)
	case err != nil:
		panic(http.ErrAbortHandler)
	}
}

// counting sends headers with the first byte.
type counting struct {
	w    http.ResponseWriter
	name string
	n    int64
}

// Write implements io.Writer.
func (c *counting) Write(p []byte) (int, error) {
	if c.n == 0 {
		c.w.Header().Set("Content-Type", "application/vnd.tcpdump.pcap")
		c.w.Header().Set("Content-Disposition", `attachment; filename="`+c.name+`.pcapng"`)
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// stopping is a writer that ends with a context.
type stopping struct {
	io.Writer
	ctx context.Context
}

// Write implements io.Writer.
func (s *stopping) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Writer.Write(p)
}
