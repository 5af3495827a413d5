package clickhouse

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Revisions of the protocol that added a field.
const (
	revLeast         = 54032 // information about the client
	revTimezone      = 54058
	revQuota         = 54060
	revDisplayName   = 54372
	revPatch         = 54401
	revWritten       = 54420
	revSettings      = 54429 // settings as text
	revSecret        = 54441
	revOpenTelemetry = 54442
	revForwarded     = 54443
	revReferer       = 54447
	revDepth         = 54448
	revTime          = 54449
	revReplicas      = 54453
	revCustom        = 54454 // columns say how they are written
	revAddendum      = 54458
	revParameters    = 54459
	revElapsed       = 54460
	revRules         = 54461
	revNonce         = 54462
	revTotalBytes    = 54463
	revAggregation   = 54469
	revChunked       = 54470
	revParallel      = 54471
	revRoles         = 54472
	revServerSet     = 54474
	revLine          = 54475
	revJWT           = 54476
	revPlan          = 54477
	revCluster       = 54479
	revMost          = 60000
)

// guesses are the revisions that change a statement's fields, newest first.
var guesses = []uint64{revJWT, revLine, revRoles, revParameters, revReplicas, revTime, revDepth, revReferer, revForwarded, revOpenTelemetry, revSecret, revSettings, revPatch, revQuota, revLeast}

const maxMajor = 1000 // of a program's version

// hello is the first packet of a client.
type hello struct {
	client, user, database string
	password               [2]int // where it is, after its length
	revision               uint64
}

// readHello reads the packet after its number.
func readHello(r *cursor) (h hello) {
	if h.client = r.name(); r.err == nil && h.client == "" {
		r.fail(errBytes)
	}
	major, _ := r.uvarint(), r.uvarint()
	h.revision = r.uvarint()
	if r.err == nil && (major > maxMajor || h.revision < revLeast || h.revision > revMost) {
		r.fail(errBytes)
	}
	h.database, h.user = r.name(), r.name()
	n := len(r.bytes(maxType))
	h.password = [2]int{r.at - n, r.at}
	return h
}

// query is a statement.
type query struct {
	id, sql, initial, osUser, host, client string
	forwarded, compressed                  bool
	revision                               uint64 // of the client
	trace                                  string
	settings, params                       []string
}

// Ways in which the first client came.
const (
	overTCP  = 1
	overHTTP = 2
)

// readQuery reads the packet after its number, as the given revision of the protocol has it.
func readQuery(r *cursor, rev uint64) (q query) {
	q.id = r.name()
	switch r.byte() {
	case 0: // no information about the client
	case 1:
		readClient(r, rev, &q)
	case 2:
		q.forwarded = true
		readClient(r, rev, &q)
	default:
		r.fail(errBytes)
	}
	q.settings = readSettings(r, rev)
	if rev >= revRoles {
		r.bytes(maxType)
	}
	if rev >= revSecret {
		r.bytes(maxName)
	}
	stage, packed := r.uvarint(), r.uvarint()
	if stage > 8 || packed > 1 {
		r.fail(errBytes)
	}
	q.compressed = packed == 1
	sql := r.bytes(maxText)
	if r.err == nil && (len(sql) == 0 || !utf8.Valid(sql) || slices.Contains(sql, 0)) {
		r.fail(errBytes)
	}
	q.sql = string(sql[:min(len(sql), maxQuery)])
	if rev >= revParameters {
		q.params = readSettings(r, rev)
	}
	return q
}

// readClient reads who sent the statement first.
func readClient(r *cursor, rev uint64, q *query) {
	q.initial = r.name()
	r.name() // its id there
	r.name() // address
	if rev >= revTime {
		r.take(8)
	}
	way := r.byte()
	switch way {
	case overTCP:
		q.osUser, q.host, q.client = r.name(), r.name(), r.name()
		major, _ := r.uvarint(), r.uvarint()
		q.revision = r.uvarint()
		if r.err == nil && (major > maxMajor || q.revision < revLeast || q.revision > revMost) {
			r.fail(errBytes)
		}
	case overHTTP:
		r.byte() // method
		q.client = r.name()
		if rev >= revForwarded {
			r.name()
		}
		if rev >= revReferer {
			r.name()
		}
	default:
		r.fail(errBytes)
	}
	if rev >= revQuota {
		r.name()
	}
	if rev >= revDepth {
		r.uvarint()
	}
	if rev >= revPatch && way == overTCP {
		r.uvarint()
	}
	if rev >= revOpenTelemetry && r.flag() {
		q.trace = traceID(r.take(16))
		r.take(8)
		r.name()
		r.byte()
	}
	if rev >= revReplicas {
		r.uvarint()
		r.uvarint()
		r.uvarint()
	}
	if rev >= revLine {
		r.uvarint()
		r.uvarint()
	}
	if rev >= revJWT && r.flag() {
		r.bytes(maxType)
	}
}

// traceID is the id of a trace of OpenTelemetry, which is sent as two numbers of 8 bytes.
func traceID(b []byte) string {
	if b == nil {
		return ""
	}
	const digits = "0123456789abcdef"
	var text []byte
	for _, half := range [][]byte{b[:8], b[8:]} {
		for i := 7; i >= 0; i-- {
			text = append(text, digits[half[i]>>4], digits[half[i]&15])
		}
	}
	return string(text)
}

// textual are the ends of the names of settings that old revisions sent as text. The others are numbers.
var textual = []string{"_mode", "_balancing", "_implementation", "_method", "_probability", "_ratio", "_factor", "_strictness", "_level", "_format", "_prefix", "_timezone"}

// readSettings reads pairs until an empty name.
func readSettings(r *cursor, rev uint64) (list []string) {
	for r.err == nil {
		name := r.name()
		if name == "" {
			return list
		}
		value := ""
		switch {
		case rev >= revSettings:
			r.uvarint() // flags
			value = clip.Text(r.bytes(maxText), maxValue)
		case slices.ContainsFunc(textual, func(end string) bool { return strings.HasSuffix(name, end) }):
			value = r.name()
		default:
			value = strconv.FormatUint(r.uvarint(), 10)
		}
		if len(list) < maxSettings {
			list = append(list, name+"="+value)
		}
	}
	return nil
}

// readAnyQuery reads a statement of a connection with one of these revisions, the newest with which it can be read.
// It returns the revisions that read the same.
func readAnyQuery(b []byte, of revisions) (q query, so revisions, r *cursor) {
	if of.least == of.most {
		r = &cursor{b: b, at: 1}
		return readQuery(r, of.most), of, r
	}
	r = &cursor{b: b, at: 1, err: errBytes}
	var short *cursor
	most := of.most
	for _, rev := range guesses {
		as := revisions{max(rev, of.least), most}
		most = min(most, rev-1)
		if as.least > as.most {
			continue
		}
		t := &cursor{b: b, at: 1}
		p := readQuery(t, as.least)
		switch fits := t.err == nil && (p.revision == 0 || p.revision >= as.least) && (t.at == len(b) || b[t.at] == clientData); {
		case fits && r.err != nil:
			if q, so, r = p, as, t; q.revision > 0 {
				so.most = min(so.most, q.revision)
			}
		case fits && t.at == r.at && p.sql == q.sql:
			so.least = as.least
		case r.err == nil:
			return q, so, r
		case errors.Is(t.err, errShort) && (short == nil || short.need == 0 || t.need > 0 && t.need < short.need):
			short = t
		}
	}
	if r.err != nil && short != nil {
		r = short
	}
	return q, so, r
}

// query begins the call of a statement.
func (k *conn) query(in *input, at, n int, q query) {
	c := k.newCall("QUERY")
	row := c.row
	row.SQL, row.QueryID = table.Some(clip.Text(q.sql, maxQuery)), table.NonEmpty(q.id)
	row.Params, row.Settings = q.params, q.settings
	if q.forwarded {
		row.Initial = table.NonEmpty(q.initial)
	}
	if q.client != "" {
		row.Application = table.Some(q.client)
	}
	row.ClientHost, row.OSUser, row.TraceID = table.NonEmpty(q.host), table.NonEmpty(q.osUser), table.NonEmpty(q.trace)
	c.texts = len(q.sql)
	for _, list := range [][]string{q.params, q.settings} {
		for _, s := range list {
			c.texts += len(s)
		}
	}
	k.push(in, at, n, c)
}
