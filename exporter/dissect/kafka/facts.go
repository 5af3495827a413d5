package kafka

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// facts collects the fields of a message for its call's row, within limits.
type facts struct {
	k        *conn
	c        *call
	row      *Row
	response bool
	partial  bool   // only the beginning of the message is there
	topic    string // of the elements being read
	asks     []string
	records  int64
	batches  int64
	inflated int           // bytes that decompression produced
	body     *dissect.Body // values of the records
}

// collect begins to read a message of a call.
func (k *conn) collect(c *call) *facts {
	return &facts{k: k, c: c, row: c.row}
}

// keep appends a text to a list of the row.
func (f *facts) keep(list *[]string, s string) {
	if len(*list) < maxList && s != "" && !slices.Contains(*list, s) {
		*list = append(*list, s)
		f.c.texts += len(s) + 16
	}
}

// named begins the elements of a topic.
func (f *facts) named(name []byte) {
	f.topic = message.Text(name)
	f.keep(&f.row.Topics, f.topic)
}

// byID begins the elements of a topic that only its id names.
func (f *facts) byID(id [16]byte) {
	if id == [16]byte{} {
		return
	}
	s := clip.UUID(id[:])
	f.keep(&f.row.TopicIDs, s)
	f.topic = s
	f.keep(&f.row.Topics, s)
	f.row.ids = true
}

// part names a partition of the current topic.
func (f *facts) part(n int32) string {
	s := f.name(n)
	f.keep(&f.row.Partitions, s)
	return s
}

func (f *facts) name(n int32) string { return f.topic + "/" + strconv.Itoa(int(n)) }

// failed counts an error code.
func (f *facts) failed(code int16, said []byte) {
	row := f.row
	if code == 0 {
		if !row.ErrorCode.OK {
			row.ErrorCode = table.Some[int32](0)
		}
		return
	}
	if row.Errors++; row.Errors == 1 {
		row.ErrorCode = table.Some(int32(code))
		row.ErrorMessage = table.NonEmpty(message.Text(said))
		f.c.texts += len(row.ErrorMessage.V)
	}
}

// throttled records how long a quota delays the client.
func (f *facts) throttled(ms int32) {
	if ms > 0 {
		f.row.Throttle = table.Some(ms)
	}
}

// short records that the rest of a message was not read.
func (f *facts) short(r *reader) {
	f.partial, f.c.uncounted = f.partial || r.Short(), f.c.uncounted || r.Short()
}

// finish completes the row after a message.
func (f *facts) finish() {
	f.row.Partial = f.row.Partial || f.partial
	if f.body != nil {
		f.body.Complete = !f.partial
		f.c.x.SetBody(f.response, f.body)
	}
	if f.batches > 0 {
		f.row.Records, f.row.Batches = table.Some(f.row.Records.V+f.records), table.Some(f.row.Batches.V+f.batches)
	}
}

// decode reads a message with kmsg and takes what its fields say. An array costs at most some
// hundred bytes for each byte of the message, and a message here has at most maxRead bytes.
func (f *facts) decode(read func([]byte) error, msg any, body []byte) error {
	if err := read(body); err != nil {
		return err
	}
	f.walk(reflect.ValueOf(msg).Elem())
	return nil
}

// walk takes the fields of a structure by their names, which kmsg uses in the same way in all
// messages.
func (f *facts) walk(v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		x := v.Field(i)
		if x.Kind() == reflect.Pointer && !x.IsNil() {
			x = x.Elem()
		}
		if f.field(t.Field(i).Name, x, v) {
			continue
		}
		switch {
		case x.Kind() == reflect.Struct && t.Field(i).Name != "UnknownTags":
			f.walk(x)
		case x.Kind() == reflect.Slice && x.Type().Elem().Kind() == reflect.Struct:
			for i := range x.Len() {
				f.walk(x.Index(i))
			}
		}
	}
}

// field takes a field of structure v. It reports whether there is nothing more to read in it.
func (f *facts) field(name string, x, v reflect.Value) bool {
	row := f.row
	switch name {
	case "ErrorCode":
		var message []byte
		if m := v.FieldByName("ErrorMessage"); m.IsValid() && m.Kind() == reflect.Pointer && !m.IsNil() {
			message = []byte(m.Elem().String())
		}
		if f.response && x.Kind() == reflect.Int16 {
			f.failed(int16(x.Int()), message)
		}
		return true
	case "ThrottleMillis":
		f.throttled(int32(x.Int()))
		return true
	case "MemberID":
		f.set(&row.Member, x)
		return true
	case "Generation", "MemberEpoch":
		if n := int32(x.Int()); n >= 0 && !row.Generation.OK {
			row.Generation = table.Some(n)
		}
		return true
	}
	if f.response {
		return false
	}
	switch name {
	case "Topic":
		if x.Kind() == reflect.String {
			f.named([]byte(x.String()))
		}
	case "TopicID":
		if id, ok := x.Interface().([16]byte); ok {
			f.byID(id)
		}
	case "Topics", "TopicNames", "SubscribedTopicNames":
		if list, ok := x.Interface().([]string); ok {
			for _, s := range list {
				f.named([]byte(s))
			}
		}
		return x.Type().Elem().Kind() != reflect.Struct
	case "Partition":
		if x.Kind() == reflect.Int32 && f.topic != "" {
			f.part(int32(x.Int()))
		}
	case "Partitions":
		if list, ok := x.Interface().([]int32); ok && f.topic != "" {
			for _, n := range list {
				f.part(n)
			}
		}
	case "Group", "GroupID":
		f.set(&row.Group, x)
	case "Groups", "GroupIDs":
		f.setFirst(&row.Group, x)
	case "TransactionalID":
		f.set(&row.Transaction, x)
	case "TransactionalIDs":
		f.setFirst(&row.Transaction, x)
	case "Commit":
		f.asks = append(f.asks, map[bool]string{true: "commit", false: "abort"}[x.Bool()])
	case "CoordinatorKey":
		if t := v.FieldByName("CoordinatorType"); t.IsValid() && t.Int() == 0 {
			f.set(&row.Group, x)
		}
	case "CoordinatorKeys":
		if v.FieldByName("CoordinatorType").Int() == 0 {
			f.setFirst(&row.Group, x)
		}
	default:
		return false
	}
	return x.Kind() != reflect.Slice && x.Kind() != reflect.Struct
}

// set keeps the first value of a column.
func (f *facts) set(to *table.Opt[string], x reflect.Value) {
	if x.Kind() == reflect.String && x.String() != "" && !to.OK {
		*to = table.Some(message.Text([]byte(x.String())))
		f.c.texts += len(to.V)
	}
}

// setFirst keeps the first element of a list of texts.
func (f *facts) setFirst(to *table.Opt[string], x reflect.Value) {
	if list, ok := x.Interface().([]string); ok && len(list) > 0 {
		f.set(to, reflect.ValueOf(list[0]))
	}
}

// asked describes the request.
func (f *facts) asked() string {
	row := f.row
	var words []string
	switch {
	case len(f.asks) > 0:
		words = append(words, few(f.asks))
	case len(row.Partitions) > 0:
		words = append(words, few(row.Partitions))
	case len(row.Topics) > 0:
		words = append(words, few(row.Topics))
	}
	if row.Records.OK {
		words = append(words, f.c.counted())
	}
	for _, w := range []struct{ name, value string }{{"group", row.Group.V}, {"transaction", row.Transaction.V}} {
		if w.value != "" {
			words = append(words, w.name+" "+w.value)
		}
	}
	switch f.c.key {
	case apiVersions:
		words = append(words, row.Software.V)
	case apiSaslHandshake, apiSaslAuthenticate:
		words = append(words, strings.TrimSpace(row.Mechanism.V+" "+row.User.V))
	}
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), ", ")
}

// few joins the first elements of a list.
func few(list []string) string {
	const most = 3
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
}
