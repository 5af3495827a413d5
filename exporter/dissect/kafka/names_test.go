package kafka

import (
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestEveryRequestHasItsNames fills the texts of every request and looks for them in its row.
func TestEveryRequestHasItsNames(t *testing.T) {
	columns := map[string]string{"Group": "group", "GroupID": "group", "Groups": "group", "GroupIDs": "group", "TransactionalID": "transaction", "TransactionalIDs": "transaction",
		"Topic": "topic", "TopicNames": "topic", "SubscribedTopicNames": "topic"}
	for key := int16(0); key < 200; key++ {
		m := kmsg.RequestForKey(key)
		if m == nil {
			continue
		}
		name := tables()["api"].Name(int64(key), "")
		if name == "" {
			t.Errorf("API %d (%s) has no name", key, kmsg.NameForKey(key))
		}
		want, got := map[string]bool{}, map[string]bool{}
		fillNames(reflect.ValueOf(m).Elem(), columns, want)
		for v := int16(0); v <= m.MaxVersion(); v++ { // newer versions have other fields
			m.SetVersion(v)
			r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(1, m)))
			for _, row := range r.Rows() {
				row, ok := row.(*Row)
				if !ok {
					continue // a version that Kafka no longer has
				}
				got["group"] = got["group"] || row.Group.V == "group"
				got["transaction"] = got["transaction"] || row.Transaction.V == "transaction"
				got["topic"] = got["topic"] || slices.Contains(row.Topics, "topic")
			}
		}
		for what := range want {
			if !got[what] {
				t.Errorf("%s: the %s is in no column", name, what)
			}
		}
	}
}

// fillNames sets the texts of a message whose fields have these names to what they mean, with one
// element in every list.
func fillNames(v reflect.Value, columns map[string]string, want map[string]bool) {
	for i := range v.NumField() {
		f, x := v.Type().Field(i), v.Field(i)
		what, named := columns[f.Name]
		switch {
		case f.Name == "UnknownTags" || f.Name == "Version":
			continue
		case x.Kind() == reflect.Pointer && x.Type().Elem().Kind() == reflect.String:
			x.Set(reflect.New(x.Type().Elem()))
			x = x.Elem()
		case x.Kind() == reflect.Slice && x.Type().Elem().Kind() != reflect.Uint8:
			x.Set(reflect.MakeSlice(x.Type(), 1, 1))
			x = x.Index(0)
		}
		switch {
		case named && x.Kind() == reflect.String:
			x.SetString(what)
			want[what] = true
		case x.Kind() == reflect.Struct:
			fillNames(x, columns, want)
		}
	}
}
