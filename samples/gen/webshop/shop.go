package webshop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
	"github.com/pcapsule/pcapsule/samples/gen/network"
	"github.com/pcapsule/pcapsule/samples/gen/store"
)

// shopPods are the pods of the shop, by default in namespace shop.
func shopPods() []shopPod {
	return []shopPod{
		{name: "dns", ip: "10.244.0.2", namespace: "kube-system", port: 53, image: "dnsmasq:2.90", team: "platform", hash: "6f6b679f8f", tail: "x9x7k"},
		{name: "gateway", ip: "10.244.0.11", port: 8080, image: "shop/gateway:3.2.0", team: "edge", hash: "7c9d5b6f4d", tail: "kq2lp"},
		{name: "frontend", ip: "10.244.0.12", port: 8080, image: "shop/frontend:1.14.2", team: "web", hash: "5d8f7c9b66", tail: "9xk4m"},
		{name: "frontend", ip: "10.244.0.13", port: 8080, image: "shop/frontend:1.14.2", team: "web", hash: "5d8f7c9b66", tail: "t7wzj"},
		{name: "catalogue", ip: "10.244.0.14", port: 8080, image: "shop/catalogue:2.0.1", team: "web", hash: "64b8c4d5f9", tail: "2hvqn"},
		{name: "payment", ip: "10.244.0.15", port: 8080, image: "shop/payment:4.1.0", team: "money", hash: "6b7d8c5f9d", tail: "m4s8r"},
		{name: "inventory", ip: "10.244.0.16", port: 50051, image: "shop/inventory:0.9.3", team: "stock", hash: "779c4bb6d8", tail: "zl6tc"},
		{name: "auth", ip: "10.244.0.17", port: 8080, image: "shop/auth:1.0.7", team: "money", hash: "5f7b9d6c44", tail: "bn5xd"},
		{name: "notification", ip: "10.244.0.18", port: 8080, image: "shop/notification:1.3.3", team: "web", hash: "8489f6d7b5", tail: "r8c2f"},
		{name: "postgres", ip: "10.244.0.19", port: 5432, image: "postgres:15", team: "platform"},
		{name: "redis", ip: "10.244.0.20", port: 6379, image: "redis:7.0", team: "platform", hash: "66c5d7f8bb", tail: "vw3gh"},
	}
}

const (
	nodeIP  = "192.168.49.2"
	cardsIP = "203.0.113.80"
	mailIP  = "203.0.113.25"
)

// shopResolver is the resolv.conf that the kubelet writes to every pod.
const shopResolver = "nameserver 10.244.0.2\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:2\n"

func makeShop(ctx context.Context, out string) error {
	hosts := []lab.Host{lab.At("kubelet", nodeIP), lab.At("cards", cardsIP), lab.At("mail", mailIP), lab.At("customer1", "198.51.100.7"), lab.At("customer2", "198.51.100.23")}
	for _, p := range shopPods() {
		hosts = append(hosts, lab.At(p.short(), p.ip))
	}
	l, err := lab.New("shop", shopResolver, hosts...)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := startShop(ctx, l); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "shop.pcapng"))
	if err != nil {
		return err
	}
	began := time.Now()
	probes := filepath.Join(l.Tmp, "probes.json")
	kubelet, err := l.Start("kubelet", "", l.Self, "-role", "kubelet", "--", probes)
	if err != nil {
		return err
	}
	for _, c := range []string{"customer1", "customer2"} {
		if err := l.Do(ctx, c, "shop-customer", c); err != nil {
			return err
		}
	}
	kubelet.End()
	if err := r.Stop(); err != nil {
		return err
	}
	var failed []probeFailure
	b, err := os.ReadFile(probes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &failed); err != nil {
		return fmt.Errorf("reading what the probes saw: %w", err)
	}
	dump, err := json.MarshalIndent(shopDump(began, failed), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "shop.kube.json"), append(dump, '\n'), 0o644)
}

// startShop starts every server of the shop, in order of dependencies.
func startShop(ctx context.Context, l *lab.Lab) error {
	names := ""
	for _, p := range shopPods() {
		names += fmt.Sprintf("%s %s.%s.svc.cluster.local\n", p.ip, p.name, p.ns())
	}
	names += cardsIP + " api.cards.example.net\n" + mailIP + " mail.example.net\n"
	file := filepath.Join(l.Tmp, "names")
	if err := os.WriteFile(file, []byte(names), 0o644); err != nil {
		return err
	}
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	if err := network.StartDnsmasq(l, "dns", "--addn-hosts="+file, "--local=/cluster.local/", "--local=/example.net/", "--local-ttl=5"); err != nil {
		return err
	}
	if err := store.StartRedis(l, "redis"); err != nil {
		return err
	}
	if err := store.StartPostgres(l, ctx, "postgres"); err != nil {
		return err
	}
	for _, s := range []struct{ on, role string }{
		{"cards", "cards"}, {"mail", "mail"}, {"auth", "auth"}, {"inventory", "inventory"}, {"notification", "notification"},
		{"catalogue", "catalogue"}, {"payment", "payment"}, {"frontend-9xk4m", "frontend"}, {"frontend-t7wzj", "frontend"}, {"gateway", "gateway"},
	} {
		if err := l.Serve(s.on, s.role, l.Tmp); err != nil {
			return err
		}
	}
	return nil
}
