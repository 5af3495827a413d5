package amqp

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestLongTransactions ends transactions of more messages than the budget holds, and acknowledgements of several that cover
// messages of an earlier transaction. Each message has one row, and none that is held is committed or rolled back too early.
func TestLongTransactions(t *testing.T) {
	const n = 20_000
	selected := []dissecttest.Chunk{client(method(1, txSelect, "")), server(method(1, txSelect+1, ""))}
	publishes := strings.Repeat(publishTo("", "q", "\x00")+body(1, 0, "", "one"), n)
	var deliveries strings.Builder
	for i := range uint64(n) {
		deliveries.WriteString(deliverOf(i+1, "new") + body(1, 0, "", ""))
	}
	all := client(method(1, ack, tagOf(0)+"\x01"))
	rollback := []dissecttest.Chunk{client(method(1, txRollback, "")), server(method(1, txRollback+1, ""))}
	commit := []dissecttest.Chunk{client(method(1, txCommit, "")), server(method(1, txCommit+1, ""))}
	join := func(lists ...[]dissecttest.Chunk) (out []dissecttest.Chunk) {
		for _, l := range lists {
			out = append(out, l...)
		}
		return out
	}
	for _, c := range []struct {
		name             string
		budget           int
		chunks           []dissecttest.Chunk
		messages, rolled int // rolled: -1 for any number, if the others are cut
	}{
		{"rolled back", 512 << 20, join(selected, []dissecttest.Chunk{client(publishes)}, rollback), n, n},
		{"beyond the budget", 1 << 20, join(selected, []dissecttest.Chunk{client(publishes)}, rollback), n, -1},
		{"acknowledged together", 512 << 20, join(selected, []dissecttest.Chunk{server(deliveries.String()), all}, rollback), n, n},
		{"acknowledged again after a rollback", 512 << 20, join(selected, []dissecttest.Chunk{server(deliverOf(1, "new") + body(1, 0, "", "")), all}, rollback, []dissecttest.Chunk{server(deliverOf(2, "new") + body(1, 0, "", "")), all}, commit), 2, 1},
		{"commit without select", 512 << 20, join([]dissecttest.Chunk{client(publishTo("", "q", "\x00") + body(1, 0, "", "one"))}, commit, []dissecttest.Chunk{client(publishTo("", "q", "\x00") + body(1, 0, "", "two"))}, rollback), 2, 1},
	} {
		o := dissecttest.OptionsOf(Protocol())
		o.Budget = c.budget
		messages, rolled := 0, 0
		for _, r := range dissecttest.Play(t, o, begun(c.chunks...)...).Rows() {
			row := r.(*Row)
			isRolled := strings.HasSuffix(row.Ack.V, "rolled back")
			switch row.Method.V {
			case "basic.publish", "basic.deliver":
				messages++
			default:
				continue
			}
			if isRolled {
				rolled++
			} else if c.rolled < 0 && row.Error.V != "cut" {
				t.Fatalf("%s: %q has no outcome, but the error %q", c.name, row.Summary, row.Error.V)
			}
		}
		if messages != c.messages || c.rolled >= 0 && rolled != c.rolled {
			t.Errorf("%s: %d messages, %d rolled back, want %d and %d", c.name, messages, rolled, c.messages, c.rolled)
		}
	}
}
