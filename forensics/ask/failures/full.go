package failures

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// closed is a time in which a receiver announced that it takes no more bytes: a window of 0.
type closed struct {
	Bundle int64  `json:"bundle"`
	Conn   int64  `json:"conn_id"`
	Side   string `json:"side"` // of the receiver: client or server
	At     int64  `json:"at_ns"`
	Ns     int64  `json:"ns"`    // until it took more, or until the last packet of the connection
	Ended  bool   `json:"ended"` // it took more
}

// leastFull is how long a window is zero in a time that answers tell. Shorter ones are normal in fast transfers.
const leastFull = 100_000_000 // ns

// longFull is how long it is zero in a time that belongs to what happened, even if no request became slower than others.
const longFull = 1_000_000_000 // ns

// stoppedReading is between the names of a receiver and a sender.
const stoppedReading = " stopped reading what "

// fullSQL is SQL for the times of connections whose flows, l, match a condition. A packet of the receiver after those that
// announce a window of 0 ends such a time, unless it resets the connection.
func fullSQL(c *forensics.Case, cond string) string {
	return fmt.Sprintf(`WITH f AS (SELECT %[1]s, l.flow_id, l.conn_id FROM flows_raw l WHERE l.transport = 'tcp' AND l.zero_windows > 0 AND %[2]s),
		p AS (SELECT f.bundle, f.flow_id, f.conn_id, k.packet_no, k.ts_ns, CASE WHEN k.flags & 256 <> 0 THEN 'server' ELSE 'client' END AS side, k.flags & 4 <> 0 AS aborts, z.packet_no IS NOT NULL AS zero
			FROM f JOIN packets k ON k.flow_id = f.flow_id%[3]s LEFT JOIN tcp_events_raw z ON z.packet_no = k.packet_no AND z.event = 'zero_window'%[4]s WHERE k.flags & 1024 = 0),
		q AS (SELECT *, max(ts_ns) OVER (PARTITION BY bundle, flow_id) AS last, min(ts_ns) FILTER (NOT zero AND NOT aborts) OVER (PARTITION BY bundle, flow_id, side ORDER BY packet_no ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS opened,
			lag(zero) OVER (PARTITION BY bundle, flow_id, side ORDER BY packet_no) AS before FROM p)
		SELECT bundle, conn_id, side, ts_ns AS at_ns, coalesce(opened, last) - ts_ns AS ns, opened IS NOT NULL AS ended FROM q WHERE zero AND NOT coalesce(before, false) AND coalesce(opened, last) - ts_ns >= %[5]d`,
		terms.BundleOf(c, "l."), cond, terms.SameBundle(c, "f", "k"), terms.SameBundle(c, "z", "k"), leastFull)
}

// stopped are the times in which a receiver took nothing that a sender had for it.
type stopped struct {
	Receiver string `json:"receiver"`
	Sender   string `json:"sender"`
	Conns    int64  `json:"conns"`
	Ns       int64  `json:"ns"` // the longest
	At       int64  `json:"at_ns"`
	To       int64  `json:"to_ns"`
	Still    int64  `json:"still"` // connections on which it had not ended
}

func (r *stopped) words() string {
	text := plural.Sprintf("%s"+stoppedReading+"%s sent: its receive window was zero for up to %s on %d {connection|connections}, first at %s", r.Receiver, r.Sender, chain.LengthOf(r.Ns), r.Conns, when.Stamp(r.At))
	if r.Still > 0 {
		text += plural.Sprintf("; on %d, it did not open again in the capture", r.Still)
	}
	return text
}

// fullWindows finds the receivers that stopped reading in a window of time, longest first.
func fullWindows(ctx context.Context, c *forensics.Case, w *ask.Window) (list []stopped, err error) {
	const most = 3
	if some, err := ask.Exists(ctx, c, "flows_raw", "transport = 'tcp' AND zero_windows > 0"); err != nil || !some {
		return nil, err
	}
	list, _, err = ask.Rows[stopped](ctx, c, most, "WITH z AS ("+fullSQL(c, "l.first_ns <= ? AND l.last_ns >= ?")+"), e AS (SELECT CASE side WHEN 'server' THEN "+terms.Who("k.dst_")+" ELSE "+terms.Who("k.src_")+" END AS receiver, CASE side WHEN 'server' THEN "+terms.Who("k.src_")+" ELSE "+terms.Who("k.dst_")+
		" END AS sender, k.conn, z.ns, z.at_ns, z.ended FROM z JOIN "+ask.Joined(c, "connections")+" k ON k.conn_id = z.conn_id"+terms.SameBundle(c, "k", "z")+
		" WHERE z.at_ns <= ? AND z.at_ns + z.ns >= ?) SELECT receiver, sender, count(DISTINCT conn) AS conns, max(ns) AS ns, min(at_ns) AS at_ns, max(at_ns + ns) AS to_ns, count(DISTINCT conn) FILTER (NOT ended) AS still FROM e GROUP BY receiver, sender ORDER BY ns DESC, receiver, sender LIMIT "+fmt.Sprint(most), w.To, w.From, w.To, w.From)
	return list, err
}

// receivers adds the receivers that stopped reading: to the notes, and to what happened if it was for long.
func (f *Answer) receivers(ctx context.Context, c *forensics.Case, w *ask.Window) error {
	list, err := fullWindows(ctx, c, w)
	for i, r := range list {
		f.Notes = append(f.Notes, r.words())
		switch {
		case i > 0 || r.Ns < longFull:
		case f.Happened == nil:
			f.Happened = &Happened{CallIDs: []string{}, from: r.At, to: r.To, From: when.Stamp(r.At), To: when.Stamp(r.To), What: r.words() + "."}
		case !strings.Contains(f.Happened.What, r.Receiver+stoppedReading):
			f.Happened.What += " " + r.words() + "."
		}
	}
	return err
}
