package forensics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/forensics/internal/carve"
	"github.com/pcapsule/pcapsule/forensics/internal/follow"
	"github.com/pcapsule/pcapsule/internal/whole"
)

// Context defines which packets a slice has in addition to the cited ones.
type Context string

// Contexts.
const (
	OnlyCited        Context = ""            // none
	WithContext      Context = "context"     // packets of the connection up to the last cited one, including the handshake
	WholeConnections Context = "connections" // all packets of the connections
)

// Vantage defines which packets represent a connection that was seen at several places.
type Vantage string

// Vantages.
const (
	OneVantage  Vantage = ""     // only the place whose packets were dissected
	BothVantage Vantage = "both" // every place; see Packets
)

// Comments defines the comments of packets in a slice.
type Comments string

// Kinds of comments.
const (
	PlaceComments Comments = ""       // the origin of the packet
	OwnerComments Comments = "packet" // also its sender and receiver
	CallComments  Comments = "call"   // also its workloads, processes, calls and their outcome; docs/format/slice.md
	NoComments    Comments = "none"   // no comments
)

// Selection selects packets by the calls that cite them. Without KFL, SQL, CallIDs and Frames it
// selects all packets of the window.
type Selection struct {
	KFL     string   // filter for calls
	SQL     string   // a query with a column cites, packet_no, call_no or flow_id
	Args    []any    // values for its ? or $1
	CallIDs []string // ids as in Call
	Frames  []string // frames as Cite writes them, or file:12-15,20

	From, To int64 // time of the calls, or of the packets if no calls are selected; as in Query

	Context      Context
	Vantage      Vantage
	Comments     Comments
	Keys         Keys
	KeyFiles     []string       // key logs, RSA keys and captures with secrets, in addition to those in the bundles
	Identities   []age.Identity // decrypt keys that are encrypted with age
	ExactPackets bool           // with keys: add no packets that decryption needs
	About        []string       // comments of the section header
	Deadline     time.Duration
}

// CarveReport describes the contents of a slice.
type CarveReport struct {
	carve.Report
	Calls    int64 // selected calls
	Cited    int64 // packets that they cite
	Keys     KeyReport
	Notes    []string
	Coverage Coverage
	Elapsed  time.Duration
}

// PacketsFile writes a slice to a file that appears only when it is complete. It returns fs.ErrExist
// if path exists.
func (c *Case) PacketsFile(ctx context.Context, sel Selection, path string) (CarveReport, error) {
	f, err := whole.CreateFile(path)
	if err != nil {
		return CarveReport{}, err
	}
	defer f.Abort()
	r, err := c.Packets(ctx, sel, f)
	if err != nil {
		return r, err
	}
	return r, f.Commit()
}

// Packets writes the selected packets as PCAPNG, sorted by time: original bytes, times, options and
// interfaces, each with a comment about its origin.
//
// With BothVantage it adds the other sightings of a connection. With OnlyCited these are the packets
// numbered between the first and last cited packet of the connection.
//
// With WithKeys it writes the key log lines that decrypt the slice's connections before the packets,
// each once. They come from decryption secrets in the bundles' packet files, from their key logs and
// from KeyFiles, for the client randoms of every handshake of a connection. It adds the packets of
// these connections up to the last selected one, because decrypting a record needs its sequence
// number. A slice never has other secrets.
//
// LIMIT: the clocks of two nodes differ, so a sighting may be missed at the ends of that range;
// WholeConnections has them all.
func (c *Case) Packets(ctx context.Context, sel Selection, w io.Writer) (CarveReport, error) {
	begin := time.Now()
	ctx, cancel := WithDeadline(ctx, sel.Deadline)
	defer cancel()
	m, err := c.mark(ctx, &sel)
	if err != nil {
		return CarveReport{}, err
	}
	r := CarveReport{Calls: m.calls, Cited: m.cited, Notes: m.notes}
	opt := carve.Options{Application: "pcapsule", Comments: sel.About, NoPlace: sel.Comments == NoComments}
	if sel.Keys != NoKeys {
		if r.Keys, opt.Secrets, err = c.unlock(ctx, m, &sel); err != nil {
			return r, err
		}
	}
	if r.Coverage, err = c.Coverage(sel.From, sel.To); err != nil {
		return r, err
	}
	files := c.openFiles()
	defer files.close()
	if opt.Clock, err = c.clocks(ctx); err != nil {
		return r, err
	}
	pass := 0
	picks := func(yield func(carve.Pick) error) error {
		pass++
		return c.picks(ctx, m, files, m.labels != "" && pass == 2, yield)
	}
	r.Report, err = carve.Write(ctx, w, files.list, opt, picks)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("writing packets: %w", ErrDeadline)
	}
	if len(r.LinkTypes) > 1 {
		r.Notes = append(r.Notes, fmt.Sprintf("the packets have %d link types; Wireshark reads them all, tcpdump reads only files with one", len(r.LinkTypes)))
	}
	if err == nil && r.Packets == 0 && sel.KFL != "" && r.Coverage.State != None {
		r.Notes = append(r.Notes, c.Why(ctx, sel.KFL, sel.From, sel.To)...)
	}
	r.Elapsed = time.Since(begin)
	return r, err
}

// DefaultFollow is how many bytes of both directions Follow reads without a limit.
const DefaultFollow = 4 << 20

// Stream is a connection with its bytes.
type Stream struct {
	Flow Struct
	follow.Stream
}

// FollowOptions define how much of a connection to read.
type FollowOptions struct {
	MaxBytes int // of both directions; 0 means DefaultFollow
}

// Follow reads the connection of a call from its packets: for TCP the byte stream without
// retransmissions, for other transports one datagram after the other. The id is as in Call. It does
// not decrypt.
//
// LIMIT: if overlapping segments differ, the first copy is shown, as in the tables.
func (c *Case) Follow(ctx context.Context, id string, o FollowOptions) (*Stream, error) {
	call, err := c.identify(ctx, id)
	if err != nil {
		return nil, err
	}
	b := bundleOf(call)
	flow, ok := call.Get("flow_id").(int64)
	if !ok {
		return nil, fmt.Errorf("call %s has no flow: %w", id, ErrNotFound)
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultFollow
	}
	f := &follow.Follower{Most: o.MaxBytes, TCP: call.Get("transport") == "tcp"}
	row, err := c.one(ctx, "flows", "flow_id", flow, b)
	if err != nil {
		return nil, err
	}
	files := c.openFiles()
	defer files.close()
	rows, err := c.db.Query(ctx, `SELECT packet_no, file_id, "offset", ts_ns, flags FROM packets_raw WHERE flow_id = ?`+c.ofBundle(b)+" ORDER BY packet_no", flow)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	d := decode.New(decode.Options{})
	var frame decode.Frame
	for rows.Next() && !f.Out.Truncated {
		at, err := files.find(b, rows.Int(1))
		if err != nil {
			return nil, err
		}
		p, i, err := files.list[at].Packet(rows.Int(2))
		if err != nil {
			return nil, err
		}
		d.Decode(decode.Input{LinkType: i.LinkType, Interface: i.Index, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time, No: rows.Int(0)}, &frame)
		if frame.Kind == decode.KindIP {
			f.Packet(&frame, rows.Int(4)&0x100 != 0, rows.Int(0), rows.Int(3))
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	f.Finish()
	lists := make([][]Citation, len(f.Out.Pieces))
	for i := range lists {
		lists[i] = []Citation{CitePacket(b, f.Out.Pieces[i].PacketNo)}
	}
	texts, err := c.Cite(ctx, lists...)
	for i, text := range texts {
		f.Out.Pieces[i].Cited = text
	}
	return &Stream{row, f.Out}, err
}
