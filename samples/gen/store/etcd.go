package store

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	etcd "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeEtcd records etcd's own client with a server of one member.
func makeEtcd(ctx context.Context, out string) error {
	const at = "http://10.1.48.20:2379"
	l, err := lab.New("etcd", "", lab.At("client", "10.1.48.5"), lab.At("etcd", "10.1.48.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("etcd", "etcd-server", at); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "etcd.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "etcd-client", at, filepath.Join(out, "etcd.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

func etcdServer(ctx context.Context, args []string) error {
	at, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := embed.NewConfig()
	c.Dir, c.LogLevel, c.LogOutputs = dir, "error", []string{"stderr"}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*at}, []url.URL{*at}
	peers := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	c.InitialCluster = c.Name + "=" + peers.String()
	c.BcryptCost = 4
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// etcdClient records each call as "operation, keys, result".
func etcdClient(ctx context.Context, args []string) error {
	var s lab.Said
	open := func(user, password string) (*etcd.Client, error) {
		return etcd.New(etcd.Config{Endpoints: args[:1], Context: ctx, Username: user, Password: password, DialTimeout: 10 * time.Second})
	}
	c, err := open("", "")
	if err != nil {
		return err
	}
	defer c.Close()
	for _, part := range []func(context.Context, *etcd.Client, *lab.Said) error{etcdKeys, etcdTransactions, etcdWatches, etcdLeases, etcdLocks} {
		if err := part(ctx, c, &s); err != nil {
			return err
		}
	}
	if err := etcdUsers(ctx, c, open, &s); err != nil {
		return err
	}
	return s.Write(args[1])
}

// failed is the word of an error.
func failed(err error) string {
	if err == nil {
		return "ok"
	}
	return rpctypes.ErrorDesc(err)
}

func etcdKeys(ctx context.Context, c *etcd.Client, s *lab.Said) error {
	for i := range 3 {
		key := fmt.Sprintf("/shop/orders/%d", i)
		a, err := c.Put(ctx, key, strings.Repeat("order ", i+1))
		if err != nil {
			return err
		}
		s.Line("put\t%s\trevision %d", key, a.Header.Revision)
	}
	for _, q := range []struct {
		kind, key string
		o         []etcd.OpOption
	}{
		{"key", "/shop/orders/1", nil},
		{"key", "/shop/none", nil},
		{"prefix", "/shop/orders/", []etcd.OpOption{etcd.WithPrefix()}},
		{"prefix", "/shop/", []etcd.OpOption{etcd.WithPrefix(), etcd.WithLimit(2)}},
		{"from", "/shop/orders/1", []etcd.OpOption{etcd.WithFromKey(), etcd.WithKeysOnly()}},
		{"range", "/shop/orders/0", []etcd.OpOption{etcd.WithRange("/shop/orders/2")}},
		{"all", "", []etcd.OpOption{etcd.WithPrefix(), etcd.WithCountOnly()}},
	} {
		a, err := c.Get(ctx, q.key, q.o...)
		if err != nil {
			return err
		}
		s.Line("range\t%s %s\t%d", q.kind, q.key, a.Count)
	}
	if _, err := c.Get(ctx, "/shop/orders/1", etcd.WithRev(1000)); err == nil {
		return fmt.Errorf("a revision that is still to come was read")
	} else {
		s.Line("range\tkey /shop/orders/1\t%s", failed(err))
	}
	a, err := c.Delete(ctx, "/shop/orders/0", etcd.WithPrevKV())
	if err != nil {
		return err
	}
	s.Line("delete_range\tkey /shop/orders/0\t%d", a.Deleted)
	d, err := c.Delete(ctx, "/nothing/", etcd.WithPrefix())
	if err != nil {
		return err
	}
	s.Line("delete_range\tprefix /nothing/\t%d", d.Deleted)
	return nil
}

func etcdTransactions(ctx context.Context, c *etcd.Client, s *lab.Said) error {
	for _, revision := range []int64{0, 1} {
		a, err := c.Txn(ctx).If(etcd.Compare(etcd.ModRevision("/jobs/7"), "=", revision)).
			Then(etcd.OpPut("/jobs/7", "running"), etcd.OpGet("/jobs/", etcd.WithPrefix())).
			Else(etcd.OpGet("/jobs/7")).Commit()
		if err != nil {
			return err
		}
		s.Line("txn\tmod_revision(/jobs/7) = %d\t%t %d", revision, a.Succeeded, len(a.Responses))
	}
	a, err := c.Txn(ctx).If(etcd.Compare(etcd.Value("/jobs/7"), "!=", "done"), etcd.Compare(etcd.Version("/jobs/7"), ">", 0)).
		Then(etcd.OpTxn(nil, []etcd.Op{etcd.OpDelete("/jobs/7")}, nil)).Commit()
	if err != nil {
		return err
	}
	s.Line("txn\tvalue(/jobs/7) != … and version(/jobs/7) > 0\t%t %d", a.Succeeded, len(a.Responses))
	return nil
}

func etcdWatches(ctx context.Context, c *etcd.Client, s *lab.Said) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	w := c.Watch(inner, "/config/", etcd.WithPrefix())
	for _, change := range []func() error{
		func() error { _, err := c.Put(ctx, "/config/a", "1"); return err },
		func() error { _, err := c.Put(ctx, "/config/b", "2"); return err },
		func() error { _, err := c.Delete(ctx, "/config/a"); return err },
	} {
		time.Sleep(50 * time.Millisecond)
		if err := change(); err != nil {
			return err
		}
	}
	s.Line("put\t/config/a\t")
	s.Line("put\t/config/b\t")
	s.Line("delete_range\tkey /config/a\t1")
	puts, deletes := 0, 0
	for puts+deletes < 3 {
		a, ok := <-w
		if !ok {
			return fmt.Errorf("the watch ended")
		}
		for _, e := range a.Events {
			if e.Type == etcd.EventTypePut {
				puts++
			} else {
				deletes++
			}
		}
	}
	s.Line("watch\tprefix /config/\t%d puts, %d deletes", puts, deletes)
	if _, err := c.Compact(ctx, 4); err != nil {
		return err
	}
	s.Line("compact\t\tok")
	// The contexts of two watches differ in their metadata, so each has a stream.
	for a := range c.Watch(etcd.WithRequireLeader(ctx), "/shop/orders/1", etcd.WithRev(2)) {
		s.Line("watch\tkey /shop/orders/1\t%s", failed(a.Err()))
	}
	return nil
}

func etcdLeases(ctx context.Context, c *etcd.Client, s *lab.Said) error {
	l, err := c.Grant(ctx, 60)
	if err != nil {
		return err
	}
	s.Line("lease_grant\t%x\t%d s", int64(l.ID), l.TTL)
	if _, err := c.Put(ctx, "/alive/web", "10.0.0.7", etcd.WithLease(l.ID)); err != nil {
		return err
	}
	s.Line("put\t/alive/web\t")
	k, err := c.KeepAliveOnce(ctx, l.ID)
	if err != nil {
		return err
	}
	s.Line("lease_keep_alive\t%x\t%d s", int64(l.ID), k.TTL)
	t, err := c.TimeToLive(ctx, l.ID, etcd.WithAttachedKeys())
	if err != nil {
		return err
	}
	s.Line("lease_time_to_live\t%x %s\t%d s", int64(l.ID), t.Keys[0], t.TTL)
	list, err := c.Leases(ctx)
	if err != nil {
		return err
	}
	s.Line("lease_leases\t\t%d", len(list.Leases))
	if _, err := c.Revoke(ctx, l.ID); err != nil {
		return err
	}
	s.Line("lease_revoke\t%x\tok", int64(l.ID))
	_, err = c.Revoke(ctx, l.ID)
	s.Line("lease_revoke\t%x\t%s", int64(l.ID), failed(err))
	m, err := c.MemberList(ctx)
	if err != nil {
		return err
	}
	s.Line("member_list\t\t%d", len(m.Members))
	return nil
}

// etcdLocks takes a lock as the library does it, by transactions.
func etcdLocks(ctx context.Context, c *etcd.Client, s *lab.Said) error {
	l, err := c.Grant(ctx, 60)
	if err != nil {
		return err
	}
	s.Line("lease_grant\t%x\t%d s", int64(l.ID), l.TTL)
	session, err := concurrency.NewSession(c, concurrency.WithLease(l.ID))
	if err != nil {
		return err
	}
	s.Line("lease_keep_alive\t%x\t60 s", int64(l.ID)) // by the session
	m := concurrency.NewMutex(session, "/locks/reports")
	if err := m.Lock(ctx); err != nil {
		return err
	}
	key := m.Key()
	if err := m.Unlock(ctx); err != nil {
		return err
	}
	s.Line("txn\tcreate_revision(%s) = 0\ttrue 2", key)
	s.Line("delete_range\tkey %s\t1", key)
	session.Orphan()
	return nil
}

// etcdUsers turns on authentication and uses it.
func etcdUsers(ctx context.Context, c *etcd.Client, open func(string, string) (*etcd.Client, error), s *lab.Said) error {
	for _, u := range [][2]string{{"root", "root-password-1"}, {"orders", "orders-password-2"}} {
		if _, err := c.UserAdd(ctx, u[0], u[1]); err != nil {
			return err
		}
		s.Line("user_add\t%s\tok", u[0])
	}
	for _, role := range []string{"root", "reader"} {
		if _, err := c.RoleAdd(ctx, role); err != nil {
			return err
		}
		s.Line("role_add\t%s\tok", role)
	}
	if _, err := c.RoleGrantPermission(ctx, "reader", "/shop/", etcd.GetPrefixRangeEnd("/shop/"), etcd.PermissionType(etcd.PermRead)); err != nil {
		return err
	}
	s.Line("role_grant_permission\treader prefix /shop/\tok")
	for _, g := range [][2]string{{"root", "root"}, {"orders", "reader"}} {
		if _, err := c.UserGrantRole(ctx, g[0], g[1]); err != nil {
			return err
		}
		s.Line("user_grant_role\t%s %s\tok", g[0], g[1])
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		return err
	}
	s.Line("auth_enable\t\tok")
	if _, err := open("orders", "wrong-password-3"); err == nil {
		return fmt.Errorf("a wrong password was accepted")
	}
	s.Line("authenticate\torders\t%s", rpctypes.ErrAuthFailed.Error())
	reader, err := open("orders", "orders-password-2")
	if err != nil {
		return err
	}
	defer reader.Close()
	s.Line("authenticate\torders\tok")
	a, err := reader.Get(ctx, "/shop/orders/1")
	if err != nil {
		return err
	}
	s.Line("range\tkey /shop/orders/1\t%d", a.Count)
	_, err = reader.Put(ctx, "/shop/orders/1", "no")
	s.Line("put\t/shop/orders/1\t%s", failed(err))
	return nil
}
