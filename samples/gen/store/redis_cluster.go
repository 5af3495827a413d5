package store

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// redisNodes are the nodes of the cluster. Each gets a third of the slots.
var redisNodes = []lab.Host{lab.At("redis-a", "10.1.6.31"), lab.At("redis-b", "10.1.6.32"), lab.At("redis-c", "10.1.6.33")}

func makeRedisCluster(ctx context.Context, out string) error {
	l, err := lab.New("rediscl", "", append([]lab.Host{lab.At("client", "10.1.6.5")}, redisNodes...)...)
	if err != nil {
		return err
	}
	defer l.Close()
	create := []string{"netns", "exec", l.NsOf("client"), "redis-cli", "--cluster-yes", "--cluster", "create"}
	for _, h := range redisNodes {
		create = append(create, h.IP+":6379")
		if _, err := l.Start(h.Name, "Ready to accept connections", "redis-server", "--port", "6379", "--bind", h.IP, "--save", "", "--appendonly", "no",
			"--protected-mode", "no", "--dir", l.Tmp, "--cluster-enabled", "yes", "--cluster-config-file", h.Name+".conf"); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(ctx, "ip", create...).CombinedOutput(); err != nil {
		return fmt.Errorf("making the cluster: %w: %s", err, out)
	}
	r, err := l.Record(filepath.Join(out, "redis-cluster.pcapng"), "veth1")
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "redis-cluster-client", filepath.Join(out, "redis-cluster.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

// clusterTalk records what one client of one node sent and got.
type clusterTalk struct {
	*redis.Client
	s *lab.Said
}

func (c clusterTalk) do(ctx context.Context, words ...any) (any, error) {
	v, err := c.Do(ctx, words...).Result()
	key := ""
	switch w := fmt.Sprint(words[0]); w {
	case "SET", "GET", "INCR":
		key = fmt.Sprint(words[1])
	case "EVAL", "EVALSHA", "FCALL":
		if words[2] != 0 {
			key = fmt.Sprint(words[3])
		}
	}
	return v, c.note(fmt.Sprint(words[0]), key, err)
}

// note records a command with its error, which must be one of the server.
func (c clusterTalk) note(verb, key string, err error) error {
	result := "ok"
	var said redis.Error
	switch {
	case errors.Is(err, redis.Nil):
	case errors.As(err, &said):
		f := strings.Fields(said.Error())
		if result = f[0]; result == "MOVED" || result == "ASK" {
			result = strings.Join(f[:3], " ")
		}
	case err != nil:
		return fmt.Errorf("%s %s: %w", verb, key, err)
	}
	c.s.Line("%s\t%s\t%s", verb, key, result)
	return nil
}

// redisClusterClient asks nodes for keys of other nodes, moves a slot, runs scripts and transactions.
func redisClusterClient(ctx context.Context, args []string) error {
	var s lab.Said
	var nodes []clusterTalk
	for _, h := range redisNodes {
		c := redis.NewClient(&redis.Options{Addr: h.IP + ":6379", Protocol: 2, PoolSize: 1, DisableIdentity: true, MaxRetries: -1})
		defer c.Close()
		nodes = append(nodes, clusterTalk{c, &s})
	}
	a, b := nodes[0], nodes[1]
	id, err := b.do(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	own, err := a.do(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	const script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
	const library = "#!lua name=shop\nredis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)"
	sum, err := a.do(ctx, "SCRIPT", "LOAD", script)
	if err != nil {
		return err
	}
	// "hits" is in slot 4994 of the first node, "user:1" in 10778 of the second, "visits" in 12263 of the third.
	steps := []struct {
		on    clusterTalk
		words []any
	}{
		{a, []any{"CLUSTER", "SLOTS"}}, {a, []any{"CLUSTER", "SHARDS"}}, {a, []any{"CLUSTER", "NODES"}}, {a, []any{"CLUSTER", "INFO"}}, {a, []any{"CLUSTER", "KEYSLOT", "hits"}},
		{a, []any{"SET", "hits", "1"}}, {a, []any{"GET", "user:1"}}, {b, []any{"SET", "user:1", "ann"}}, {b, []any{"GET", "user:1"}}, {a, []any{"MGET", "hits", "user:1"}},
		{a, []any{"EVAL", script, 1, "hits", 5}}, {a, []any{"EVALSHA", sum, 1, "hits", 6}}, {b, []any{"EVALSHA", sum, 1, "user:1", 6}}, {b, []any{"EVALSHA", sum, 1, "hits", 6}},
		{a, []any{"FUNCTION", "LOAD", library}}, {a, []any{"FCALL", "add", 1, "hits", 7}}, {a, []any{"FCALL", "nothing", 1, "hits", 7}},
		// Slot 4994 moves to the second node: until it is there, missing keys are asked of that one.
		{b, []any{"CLUSTER", "SETSLOT", 4994, "IMPORTING", own}}, {a, []any{"CLUSTER", "SETSLOT", 4994, "MIGRATING", id}},
		{a, []any{"MIGRATE", redisNodes[1].IP, 6379, "hits", 0, 1000}}, {a, []any{"GET", "hits"}}, {b, []any{"GET", "hits"}},
		{b, []any{"ASKING"}}, {b, []any{"GET", "hits"}},
		{b, []any{"CLUSTER", "SETSLOT", 4994, "NODE", id}}, {a, []any{"CLUSTER", "SETSLOT", 4994, "NODE", id}}, {a, []any{"GET", "hits"}}, {b, []any{"INCR", "hits"}},
	}
	for _, step := range steps {
		if _, err := step.on.do(ctx, step.words...); err != nil {
			return err
		}
	}
	if err := b.transaction(ctx, "user:1", "user:1"); err != nil { // ann cannot be incremented
		return err
	}
	if err := b.transaction(ctx, "hits", "visits"); err != nil {
		return err
	}
	time.Sleep(lab.Settle)
	return s.Write(args[0])
}

// transaction sets and increments keys at once. The results are those of EXEC.
func (c clusterTalk) transaction(ctx context.Context, set, incr string) error {
	var cmds []redis.Cmder
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		cmds = []redis.Cmder{p.Do(ctx, "GET", set), p.Do(ctx, "INCR", incr), p.Do(ctx, "GET", incr)}
		return nil
	})
	all := err
	if err := c.note("MULTI", "", nil); err != nil {
		return err
	}
	for _, cmd := range cmds {
		if err := c.note(fmt.Sprint(cmd.Args()[0]), fmt.Sprint(cmd.Args()[1]), cmd.Err()); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(fmt.Sprint(all), "EXECABORT") {
		all = nil
	}
	return c.note("EXEC", "", all)
}
