package forensics

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// Whether a response was delivered is known after the row of its call was made, so table receipts has it. A statement that
// reads calls may name its columns. SELECT * does not have them, and then table receipts is not read.

const receipts = "receipts"

// receiptColumns are the columns of table receipts that queries of calls may name.
var receiptColumns = sync.OnceValue(func() (list []duck.Column) {
	for _, col := range table.SchemaOf(receipts, "", table.Receipt{}).Columns {
		if col.Name != "call_no" {
			list = append(list, duck.Column{Name: col.Name, Type: col.Kind.String()})
		}
	}
	return list
})

// isReceipt reports whether a column of calls is one of table receipts.
func isReceipt(column string) bool { return hasColumn(receiptColumns(), column) }

// offerReceipts lets queries of a view of calls name the columns of table receipts.
func (c *Case) offerReceipts(v *view) {
	if c.stated[receipts] == nil {
		v.absent = append(v.absent, receiptColumns()...)
	} else {
		v.own = append(v.own, receiptColumns()...)
	}
}

// withReceipts adds the columns of table receipts that a list names to the calls of a bundle. The calls must have
// receiptNeeds.
func (c *Case) withReceipts(calls string, i int, columns []string, read reader) string {
	files := c.bundles[i].TableParts(receipts)
	list, from := "c.*", "("+calls+") c"
	for _, col := range receiptColumns() {
		switch {
		case !slices.Contains(columns, col.Name):
		case len(files) == 0: // of an older release
			list += ", " + nullSQL(col)
		case col.Name == "response_delivered":
			list += ", CASE WHEN r.response_delivered IS NOT NULL THEN r.response_delivered WHEN c.response_bytes > 0 THEN '" + table.DeliveryUnknown + "' END AS response_delivered"
		default:
			list += ", r." + quote.Ident(col.Name)
		}
	}
	if len(files) > 0 {
		from += " LEFT JOIN " + read(files, false) + " r ON r.call_no = c.call_no"
	}
	return "SELECT " + list + " FROM " + from
}

// receiptNeeds are the columns of calls that withReceipts uses.
var receiptNeeds = strings.Fields("call_no response_bytes")

// Deliver sets Delivery: whether request and response of the call were delivered. cite writes the citation of a packet.
func (x *Exchange) Deliver(cite func(packetNo int64) (string, error)) error {
	var parts []string
	for _, side := range []string{"request", "response"} {
		verdict, _ := x.Call.Get(side + "_delivered").(string)
		no, ok := x.Call.Get(side + "_ack").(int64)
		if verdict == "" {
			continue
		}
		if text := side + " " + verdict; !ok {
			parts = append(parts, text)
			continue
		}
		frames, err := cite(no)
		if err != nil {
			return err
		}
		parts = append(parts, fmt.Sprintf("%s %s (%s)", side, verdict, frames))
	}
	again, _ := x.Call.Get("resent_segments").(int64)
	since, _ := x.Call.Get("response_resent_segments").(int64)
	if n := again + since; n > 0 {
		us, _ := x.Call.Get("resent_us").(int64)
		after, _ := x.Call.Get("response_resent_us").(int64)
		parts = append(parts, plural.Sprintf("%d {segment|segments} sent again", n)+fmt.Sprintf(", until %.1f ms after the first byte", float64(max(us, after))/1000))
	}
	x.Delivery = strings.Join(parts, "; ")
	return nil
}
