package ask

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
)

// MayHaveMessages reports whether relation.Messages may find any. Redis is used for messages by few, and finding that it was not is
// far faster than linking none.
func MayHaveMessages(ctx context.Context, c *forensics.Case) (bool, error) {
	if c.MayHave("kafka", "nats", "amqp", "amqp1", "mqtt", "stomp") {
		return true, nil
	}
	if !c.MayHave("redis") {
		return false, nil
	}
	return Exists(ctx, c, "calls_raw", "protocol = 'redis' AND (method IN ('XADD', 'PUBLISH', 'SPUBLISH', 'XREAD', 'XREADGROUP', 'XCLAIM', 'XAUTOCLAIM') OR redis_push IS NOT NULL)")
}
