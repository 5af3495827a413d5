package all

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/redis"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// redisDid is what a row says in the client's terms. The error of EXEC is one of the commands without a
// result, too.
func redisDid(row table.CallRow) []string {
	r, ok := row.(*redis.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	key, result := "", "ok"
	switch r.Method.V {
	case "HELLO": // the client's own
		return nil
	case "SET", "GET", "INCR", "EVAL", "EVALSHA", "FCALL":
		key = r.Key.V
	}
	switch {
	case r.Slot.OK:
		result = fmt.Sprintf("%s %d %s", r.StatusText.V, r.Slot.V, r.Target.V)
	case r.StatusText.OK:
		result = r.StatusText.V
	case r.Queued && r.Reply.V == "QUEUED":
		result = "EXECABORT"
	}
	return []string{r.Method.V + "\t" + key + "\t" + result}
}
