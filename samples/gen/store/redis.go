package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

func StartRedis(l *lab.Lab, on string) error {
	_, err := l.Start(on, "Ready to accept connections", "redis-server", "--port", "6379", "--bind", "0.0.0.0", "--save", "",
		"--appendonly", "no", "--protected-mode", "no", "--dir", l.Tmp, "--user", "shop", "on", ">"+lab.Password, "~*", "&*", "+@all")
	return err
}

func makeRedis(ctx context.Context, out string) error {
	l, err := lab.New("redis", "", lab.At("client", "10.1.6.5"), lab.At("redis", "10.1.6.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := StartRedis(l, "redis"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "redis.pcap"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "redis-client", "10.1.6.20:6379"); err != nil {
		return err
	}
	return r.Stop()
}

func redisClient(ctx context.Context, args []string) error {
	for _, o := range []*redis.Options{
		{Addr: args[0], Protocol: 2},
		{Addr: args[0], Protocol: 3, Username: "shop", Password: lab.Password, DB: 1},
	} {
		c := redis.NewClient(o)
		if err := redisSession(ctx, c); err != nil {
			return fmt.Errorf("RESP%d: %w", o.Protocol, err)
		}
		if err := redisPubSub(ctx, c); err != nil {
			return fmt.Errorf("RESP%d publish and subscribe: %w", o.Protocol, err)
		}
		c.Close()
	}
	return redisByHand(args[0])
}

func redisSession(ctx context.Context, c *redis.Client) error {
	for _, cmd := range [][]any{
		{"SET", "greeting", "hello"}, {"GET", "greeting"}, {"GET", "missing"}, {"INCR", "visits"}, {"INCRBYFLOAT", "load", "0.25"},
		{"HSET", "item:1", "name", "tea pot", "price_cents", "1999"}, {"HGETALL", "item:1"},
		{"RPUSH", "queue", "a", "b", "c"}, {"LRANGE", "queue", "0", "-1"}, {"LPUSH", "greeting", "x"}, // the last one is an error
		{"SADD", "tags", "red", "green"}, {"SMEMBERS", "tags"}, {"ZADD", "rank", "1.5", "ann", "2", "bob"}, {"ZRANGE", "rank", "0", "-1", "WITHSCORES"},
		{"SET", "binary", "\x00\x01\xff\r\n"}, {"GET", "binary"}, {"SET", "large", strings.Repeat("0123456789", 400)}, {"GET", "large"},
		{"EVAL", "return {1, 'two', {3}}", "0"}, {"NOSUCHCOMMAND", "x"}, {"EXPIRE", "greeting", "100"}, {"TTL", "greeting"}, {"DEL", "queue", "tags"},
	} {
		err := c.Do(ctx, cmd...).Err()
		var said redis.Error
		if err != nil && !errors.As(err, &said) {
			return fmt.Errorf("%v: %w", cmd[0], err)
		}
	}
	p := c.Pipeline()
	for i := range 20 {
		p.Set(ctx, fmt.Sprintf("pipelined:%d", i), i, time.Minute)
	}
	if _, err := p.Exec(ctx); err != nil {
		return err
	}
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, "orders")
		p.HIncrBy(ctx, "item:1", "sold", 1)
		return nil
	})
	return err
}

func redisPubSub(ctx context.Context, c *redis.Client) error {
	s := c.Subscribe(ctx, "news", "prices")
	defer s.Close()
	for range 2 {
		if _, err := s.Receive(ctx); err != nil {
			return err
		}
	}
	for i := range 3 {
		if err := c.Publish(ctx, "news", fmt.Sprintf("headline %d", i)).Err(); err != nil {
			return err
		}
		if _, err := s.ReceiveMessage(ctx); err != nil {
			return err
		}
	}
	return s.Unsubscribe(ctx, "prices")
}

// redisByHand sends inline commands, a discarded transaction and a protocol error.
func redisByHand(addr string) error {
	for _, text := range []string{
		"PING\r\nSET inline yes\r\nGET inline\r\nQUIT\r\n",
		"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*1\r\n$7\r\nDISCARD\r\n*1\r\n$4\r\nQUIT\r\n",
		"*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n*1\r\n$4\r\nQUIT\r\n",
		"*1\r\n$x\r\n", // an invalid length: the server reports it and closes
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(3 * time.Second))
		io.WriteString(c, text)
		_, err = io.Copy(io.Discard, c)
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
