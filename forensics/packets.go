package forensics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/forensics/internal/carve"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Context says which packets a slice has beside the cited ones.
type Context string

// Contexts.
const (
	OnlyCited        Context = ""            // none
	WithContext      Context = "context"     // their connection's up to the last cited one, the handshake included
	WholeConnections Context = "connections" // all of their connections
)

// Vantage says what becomes of a connection that was seen at several places.
type Vantage string

// Vantages.
const (
	OneVantage  Vantage = ""     // only the place whose bytes were dissected
	BothVantage Vantage = "both" // every place; see Packets
)

// Comments says what the packets of a slice say of themselves.
type Comments string

// Kinds of comments.
const (
	PlaceComments Comments = ""       // where the packet came from
	OwnerComments Comments = "packet" // also who sent it to whom
	NoComments    Comments = "none"   // nothing is added
)

// Selection chooses packets by the calls that cite them. Without KFL, SQL and CallIDs
// it is all packets of the window.
type Selection struct {
	KFL     string   // condition on calls
	SQL     string   // a query with a column cites, packet_no, call_no or flow_id
	Args    []any    // values for its ? or $1
	CallIDs []string // as Call takes them

	From, To int64 // of the calls, or of the packets where no calls are chosen; as in Query

	Context      Context
	Vantage      Vantage
	Comments     Comments
	Keys         Keys
	KeyFiles     []string       // key logs, RSA keys and captures with secrets, beside those in the bundles
	Identities   []age.Identity // open keys that age encrypted
	ExactPackets bool           // with keys: no packets come along for their sake
	About        []string       // comments of the section header
	Deadline     time.Duration
}

// CarveReport says what a slice holds.
type CarveReport struct {
	carve.Report
	Calls    int64 // calls that were chosen
	Cited    int64 // packets that they cite
	Keys     KeyReport
	Notes    []string
	Coverage Coverage
	Elapsed  time.Duration
}

// PacketsFile writes a slice to a file that appears only when it is whole. It answers
// fs.ErrExist where path is taken.
func (c *Case) PacketsFile(ctx context.Context, sel Selection, path string) (CarveReport, error) {
	f, err := pcapng.CreateFile(path)
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

// Packets writes the chosen packets as PCAPNG: original bytes, times, options and
// interfaces, in the order of time, each with a comment that says where it came from.
//
// With BothVantage the other sightings of a connection come along: where only cited
// packets are wanted, those numbered between the first and last cited packet of the
// connection.
//
// With WithKeys, lines of key logs that open the slice's connections stand before the
// packets, each once: from decryption secrets in the bundles' packet files, from their
// key logs and from KeyFiles, for the client randoms of every handshake of a connection.
// Packets of these connections up to the last chosen one come along, since a record is
// opened by its number on the connection. No other secrets are ever in a slice.
//
// LIMIT: times of two nodes differ by their clocks' error, so at the ends of that range a
// sighting may be missed; WholeConnections has them all.
func (c *Case) Packets(ctx context.Context, sel Selection, w io.Writer) (CarveReport, error) {
	begin := time.Now()
	ctx, cancel := deadline(ctx, sel.Deadline)
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
	picks := func(yield func(carve.Pick) error) error { return c.picks(ctx, m, files, yield) }
	r.Report, err = carve.Write(ctx, w, files.list, opt, picks)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("writing packets: %w", ErrDeadline)
	}
	if len(r.LinkTypes) > 1 {
		r.Notes = append(r.Notes, fmt.Sprintf("the packets have %d link types; Wireshark reads them all, tcpdump only files of one", len(r.LinkTypes)))
	}
	r.Elapsed = time.Since(begin)
	return r, err
}
