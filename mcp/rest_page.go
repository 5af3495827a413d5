package mcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/shown"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// pageRoutes lists the routes that were added for the page: charts, packets of one call,
// completion. They are as public as the others.
func (s *Server) pageRoutes(db, limit param, millis func(string) param, text func(name, doc string) param, of func(name string, values ...string) param) []route {
	get := func(path, doc string, params ...param) route {
		return route{Path: path, Method: http.MethodGet, Description: doc, Params: append([]param{}, params...)}
	}
	filter := []param{db, text("kfl", "KFL filter"), millis("start"), millis("end")}
	with := func(more ...param) []param { return append(append([]param{}, filter...), more...) }
	steps := param{Name: "steps", Type: "integer", Description: fmt.Sprintf("number of buckets; default %d", tools.DefaultBuckets), Min: 1, Max: tools.MaxBuckets}
	pos := param{Name: "pos", Type: "integer", Description: "bytes of UTF-8 before the cursor; default: all", Min: 0, Max: maxRESTBody}
	id := param{Name: "id", Type: "string", Required: true, Description: "call_id, at least 8 digits of it, or # and call_no, such as #42"}
	by := text("by", "field of KFL to group by, such as dst.service, or to, from, namespace; default to")
	pcap := get("/mcp/calls/{id}/pcap", "The packets of one call as PCAPNG", id, db, of("context", string(forensics.WithContext), string(forensics.WholeConnections)))
	pcap.media, pcap.handle = "application/vnd.tcpdump.pcap", s.restCallPCAP
	http1 := get("/mcp/calls/{id}/http", "One call of HTTP as an HTTP archive, or its request as a command of curl", id, db, of("format", httpForms...))
	http1.media, http1.handle = httpMedia, s.restCallHTTP
	picture := get("/mcp/calls/{id}/picture", "The picture that a call carried, drawn again as PNG of at most 800 by 800 pixels", id, db, of("side", "response", "request"))
	picture.media, picture.handle = "image/png", s.restPicture
	marked := param{Name: "limit", Type: "integer", Description: "default 100", Min: 1, Max: tools.MaxMarks}
	from := param{Name: "from", Type: "integer", Description: "number of packets to skip", Max: 1 << 20}
	no := param{Name: "packet_no", Type: "integer", Required: true, Description: "a packet of the list", Max: 1 << 53}
	sql := route{Path: "/mcp/tools/run_sql", Method: http.MethodPost, Description: "Run one read-only SQL query", Params: []param{}, body: s.env.Every["run_sql"].In}
	return []route{
		typed(s, get("/mcp/calls/buckets", "Calls over time: counts, failures and durations in equal steps, with coverage gaps", with(steps)...), false,
			func(ctx context.Context, a *tools.Invocation, x *question) (tools.Buckets, error) {
				n := x.number("steps")
				if n == 0 {
					n = tools.DefaultBuckets
				}
				return a.Buckets(ctx, chartFilter(x), n)
			}),
		typed(s, get("/mcp/calls/groups", "Calls grouped by one field, with failures and durations", with(by, limit)...), false,
			func(ctx context.Context, a *tools.Invocation, x *question) (tools.Groups, error) {
				field := x.get("by")
				if field == "" {
					field = tools.GroupBy[0]
				}
				return a.GroupCalls(ctx, chartFilter(x), field, x.page().Limit)
			}),
		typed(s, get("/mcp/marks", "Events of Kubernetes and of processes in a time range", db, millis("start"), millis("end"), marked), false,
			func(ctx context.Context, a *tools.Invocation, x *question) (tools.Marks, error) {
				return a.Marks(ctx, chartFilter(x), min(x.page().Limit, tools.MaxMarks))
			}),
		typed(s, get("/mcp/kfl/complete", "Completions at a place of a KFL filter", db, text("text", "the filter so far"), pos), false,
			func(ctx context.Context, a *tools.Invocation, x *question) (tools.Completions, error) {
				at := len(x.get("text"))
				if x.get("pos") != "" {
					at = int(x.number("pos"))
				}
				return a.CompleteKFL(ctx, x.get("text"), at), nil
			}),
		typed(s, get("/mcp/calls/{id}/packets", "The packets of one call, in a line each", id, db, from, limit), false,
			func(ctx context.Context, a *tools.Invocation, x *question) (tools.CallPackets, error) {
				if id := x.r.PathValue("id"); isCallID(id) {
					return a.CallPackets(ctx, id, int(x.number("from")), x.page().Limit)
				}
				return tools.CallPackets{}, errCallID
			}),
		typed(s, get("/mcp/calls/{id}/packet", "One packet of a call: layers and fields with their ranges of bytes", id, db, no, of("bytes", "masked", "recorded")), false,
			func(ctx context.Context, a *tools.Invocation, x *question) (tools.PacketDetail, error) {
				recorded := x.get("bytes") == "recorded"
				switch id := x.r.PathValue("id"); {
				case !isCallID(id):
					return tools.PacketDetail{}, errCallID
				case recorded && s.o.Policy != nil && !s.o.Packets:
					return tools.PacketDetail{}, errMasked
				default:
					return a.PacketOfCall(ctx, id, x.number("packet_no"), recorded)
				}
			}),
		s.ofTool(get("/mcp/cases", "The open bundles: time range, inputs with hashes, coverage gaps, verification", db), "list_cases", nil),
		typed(s, get("/mcp/custody", "The custody logs of the open bundles: who did what with them, and their seals", db), false,
			func(ctx context.Context, a *tools.Invocation, _ *question) (tools.Custody, error) {
				return a.Custody(), nil
			}),
		s.ofTool(sql, "run_sql", bodyArgs),
		pcap, http1, picture,
	}
}

func chartFilter(x *question) tools.ChartFilter {
	return tools.ChartFilter{KFL: x.get("kfl"), From: x.number("start"), To: x.number("end")}
}

// restCallPCAP answers with the packets of one call.
func (s *Server) restCallPCAP(w http.ResponseWriter, r *http.Request) {
	begin, who, t := time.Now(), restCaller(r), &accessNote{}
	x := &question{r: r, q: r.URL.Query()}
	id := r.PathValue("id")
	out := &packetWriter{w: w, name: "call-" + strings.TrimPrefix(id, "#")}
	err := s.withDB(r.Context(), who, x.get("db"), long, func(ctx context.Context, a *tools.Invocation) error {
		if s.o.Policy != nil && !s.o.Packets {
			return errMasked
		}
		if !isCallID(id) {
			return errCallID
		}
		_, err := a.Case.Packets(ctx, forensics.Selection{CallIDs: []string{id}, Context: forensics.Context(x.get("context"))}, out)
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

// restPicture answers with a picture that a call carried. It is not masked, so it needs the permission that packets need.
func (s *Server) restPicture(w http.ResponseWriter, r *http.Request) {
	s.written(w, r, "image/png", func(ctx context.Context, a *tools.Invocation, x *question, out *bytes.Buffer) (int, error) {
		id, side := r.PathValue("id"), x.get("side")
		switch {
		case !isCallID(id):
			return 0, errCallID
		case side != "" && side != "request" && side != "response":
			return 0, store.BadRequest("side: must be response or request")
		case s.o.Policy != nil && !s.o.Packets:
			return 0, errMasked
		}
		call, err := a.Case.Call(ctx, id, forensics.CallOptions{MaxBody: shown.MaxPicture})
		if err != nil {
			return 0, err
		}
		picture, err := shown.Picture(call.Body(side))
		if errors.Is(err, shown.ErrNoPicture) {
			return 0, store.BadRequest("%v", err)
		}
		out.Write(picture)
		return 1, err
	})
}

// errCallID reports another text.
var errCallID = store.BadRequest("id: must be a call_id or # and call_no")

// isCallID reports whether an id may also be part of a file's name.
func isCallID(id string) bool {
	return id != "" && len(id) < 64 && !strings.ContainsFunc(strings.TrimPrefix(id, "#"), func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F') && r != '#'
	})
}
