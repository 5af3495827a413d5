package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Words for names. Other roles keep their usual name with a different suffix.
var (
	serviceWords = map[string][]string{
		"gateway": {"edge", "ingress", "front-door", "portal"}, "promo": {"campaigns", "landing", "blog"}, "frontend": {"storefront", "web-ui", "shop-web", "webapp"},
		"auth": {"gatekeeper", "token-check", "login-filter"}, "product-service": {"catalogue", "articles", "assortment"}, "inventory": {"stock", "warehouse", "depot"},
		"cart": {"basket", "trolley", "bag"}, "checkout": {"purchase", "buying", "till"}, "order-service": {"orders", "sales", "bookings"}, "order-processing": {"fulfilment", "dispatch", "order-runner"},
		"user-service": {"customers", "accounts", "members"}, "notification": {"messenger", "mailer", "alerts"}, "media": {"pictures", "assets", "gallery"}, "worker": {"image-jobs", "resizer", "batch-images"},
		"payment-service": {"billing", "charging", "payments-api"}, "token-service": {"credentials", "secrets-agent", "token-broker"}, "data-access": {"repository", "store-api", "records"},
		"report": {"analytics-export", "statistics", "insights"}, "legacy": {"mainframe-link", "erp-link", "old-books"}, "redis-cache": {"cache", "keyvalue", "hot-store"}, "broker": {"bus", "queue", "stream"},
		"orders-database": {"sales-db", "orderbook", "ledger"}, "user-database": {"members-db", "people", "identities"}, "product-database": {"articles-db", "goods", "items-db"}, "session-database": {"visits-db", "logins", "state-db"},
		"debug": {"toolbox", "shell", "net-tools"}, "tester": {"e2e", "acceptance", "smoke-tests"}, "kube-dns": {"kube-dns", "coredns"},
	}
	namespaceWords = map[string][]string{
		"public": {"edge", "dmz", "outer"}, "shop": {"store", "retail", "market"}, "payments": {"finance", "money", "till"}, "data": {"storage", "backends", "persist"},
		"ops": {"maintenance", "tooling", "admin"}, "ci": {"build", "pipelines", "testing"}, "system": {"kube-system"},
	}
	teamWords   = []string{"amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "heron", "iris"}
	domainWords = []string{"north", "silver", "quick", "blue", "harbour", "summit", "meadow", "orbit", "cedar", "lumen", "delta", "falcon"}
	domainKinds = map[string]string{"payment-gateway": "charge", "email-provider": "post", "shipping": "freight", "crm": "contacts", "storage": "blobs", "bank": "banking", "analytics": "metrics", "beacon": "updates", "tunnel": "resolve"}
	skuWords    = []string{"lamp", "chair", "kettle", "mirror", "carpet", "shelf", "bench", "vase"}
)

// fromSeed makes a scenario with the same kinds of events but different names, numbers and times.
func fromSeed(seed uint64) *Scenario {
	r := rand.New(rand.NewPCG(seed, 5))
	sc := usual()
	sc.Name, sc.Seed = fmt.Sprintf("seed-%d", seed), seed
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	day := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(300))
	sc.Today = day.Format(time.DateOnly)
	for _, key := range []string{"public", "shop", "payments", "data", "ops", "ci", "system"} {
		sc.Namespaces[key] = pick(namespaceWords[key])
	}
	sc.Nodes = []string{fmt.Sprintf("worker-%d", 1+r.IntN(4)), fmt.Sprintf("worker-%d", 5+r.IntN(4))}
	teams := map[string]string{}
	list := append([]string(nil), teamWords...)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for i := range sc.Services {
		s := &sc.Services[i]
		s.Name = pick(serviceWords[s.Role])
		if teams[s.Team] == "" {
			teams[s.Team] = list[len(teams)%len(list)]
		}
		s.Team = teams[s.Team]
		s.Image = imageOf(s, r)
		for k := range s.Pods {
			s.Pods[k] = podName(s, k, r)
		}
	}
	sc.Texts["team"] = teams[sc.Texts["team"]]
	domains := append([]string(nil), domainWords...)
	r.Shuffle(len(domains), func(i, j int) { domains[i], domains[j] = domains[j], domains[i] })
	for i := range sc.Externals {
		e := &sc.Externals[i]
		if e.Domain != "" {
			e.Domain = fmt.Sprintf("%s.%s-%s.example", pick([]string{"api", "eu", "v2", "app"}), domains[i%len(domains)], domainKinds[e.Role])
		}
		e.IP = fmt.Sprintf("203.0.113.%d", 10+i*22+r.IntN(20))
	}
	sc.shiftTimes(r)
	// Sorted, because the order of a map must not affect the numbers from a seed.
	for _, k := range slices.Sorted(maps.Keys(sc.Counts)) {
		sc.Counts[k] = around(r, sc.Counts[k], 25)
	}
	sc.Counts["first_replica_percent"] = 60 + r.IntN(30)
	sc.Counts["bad_tokens"] = 4 + r.IntN(3)
	sc.Counts["503_resets"] = max(sc.Counts["503s"]/(3+r.IntN(4)), 5)
	sc.Counts["n_plus_one"] = 9 + r.IntN(12)
	for _, k := range slices.Sorted(maps.Keys(sc.Millis)) {
		sc.Millis[k] = around(r, sc.Millis[k], 12)
	}
	sc.Millis["slow_query_504"] = sc.Millis["gateway_gives_up"] + 500 + r.IntN(300)
	sc.Millis["reset_after"] = sc.Millis["slow_gateway"] - 40 - r.IntN(50)
	sc.Millis["sync_call"] = 85 + r.IntN(25) // four of them stay below the limit of 500 ms
	sc.Millis["slow_query"] = 150 + r.IntN(60)
	sc.Millis["beacon_every"] = 1000 * (45 + r.IntN(30))
	sc.Millis["backoff"] = 10 * (8 + r.IntN(6))
	sc.newTexts(r)
	return sc
}

// around returns a number near another, at least 2.
func around(r *rand.Rand, n, percent int) int {
	d := n * percent / 100
	if d == 0 {
		d = 1
	}
	return max(2, n-d+r.IntN(2*d+1))
}

const podLetters = "bcdfghjklmnpqrstvwxz2456789"

func letters(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = podLetters[r.IntN(len(podLetters))]
	}
	return string(b)
}

func podName(s *Service, i int, r *rand.Rand) string {
	switch s.Kind {
	case "StatefulSet":
		return fmt.Sprintf("%s-%d", s.Name, i)
	case "Pod":
		return s.Name
	case "Job":
		return s.Name + "-" + letters(r, 5)
	}
	hash := letters(r, 9)
	if i > 0 { // pods of one ReplicaSet share its part of the name
		hash = strings.Split(strings.TrimPrefix(s.Pods[0], s.Name+"-"), "-")[0]
	}
	return s.Name + "-" + hash + "-" + letters(r, 5)
}

func imageOf(s *Service, r *rand.Rand) string {
	return fmt.Sprintf("registry/%s:%d.%d.%d", s.Name, r.IntN(5), r.IntN(12), r.IntN(20))
}

// shiftTimes moves the times of the scenario: those of the last hour and before it together, the
// others separately within half an hour.
func (sc *Scenario) shiftTimes(r *rand.Rand) {
	together := time.Duration(r.IntN(5*60)-60) * time.Minute
	morning := time.Duration(r.IntN(40)-20) * time.Minute
	night := time.Duration(r.IntN(150)-60) * time.Minute
	for _, k := range slices.Sorted(maps.Keys(sc.Times)) {
		t := sc.time(k)
		shift := together
		switch {
		case strings.HasPrefix(k, "breach"):
			shift = night
		case t.Before(sc.day(0).Add(12 * time.Hour)):
			shift = morning
		}
		t = t.Add(shift)
		text := t.Format("15:04:05")
		if t.Before(sc.day(0)) {
			text = "-" + text
		}
		sc.Times[k] = text
	}
}

// newTexts makes ids and secrets, with valid check digits except in decoys.
func (sc *Scenario) newTexts(r *rand.Rand) {
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('0' + r.IntN(10))
		}
		if b[0] == '0' {
			b[0] = '7'
		}
		return string(b)
	}
	sku := skuWords[r.IntN(len(skuWords))]
	t := sc.Texts
	t["user"], t["order"] = digits(5), digits(6)
	t["sku"], t["empty_sku"] = "red-"+sku, "old-"+sku
	t["request_id"] = "req-" + letters(r, 8)
	t["gateway_token"] = "tok_" + letters(r, 8)
	t["card"], t["card_2"] = luhn("4"+digits(14)), luhn("53"+digits(13))
	t["card_decoy"] = t["card"][:15] + string('0'+(t["card"][15]-'0'+3)%10)
	t["ssn"], t["ssn_decoy"] = fmt.Sprintf("%03d-%02d-%04d", 100+r.IntN(500), 10+r.IntN(80), 1000+r.IntN(9000)), fmt.Sprintf("666-%02d-%04d", 10+r.IntN(80), 1000+r.IntN(9000))
	bban := digits(18)
	t["iban"] = iban("DE", bban)
	wrong := string('0' + (t["iban"][3]-'0'+1)%10)
	t["iban_decoy"] = t["iban"][:3] + wrong + t["iban"][4:]
	t["email"] = []string{"max.frei", "ana.silva", "li.wei", "omar.said"}[r.IntN(4)] + "@customers.example"
	t["phone"] = "+1-202-555-01" + digits(2)
	t["cloud_key"] = "AKIA" + base32Text(r, 16)
	t["basic_user"], t["basic_password"], t["db_password"] = "svc-"+letters(r, 4), "pw-"+letters(r, 9), "pw-"+letters(r, 9)
	t["db_user"] = []string{"maint", "dba_old", "sync_admin"}[r.IntN(3)]
	t["error_500"], t["currency"] = []string{"rate_unknown", "rounding_failed", "no_merchant"}[r.IntN(3)], []string{"XTS", "XXX", "XAU"}[r.IntN(3)]
	t["typo"] = strings.Replace(sc.name("inventory"), "o", "oo", 1) + "x"
	t["broken_domain"] = "zone" + digits(2) + ".gone-partner.example"
}

func base32Text(r *rand.Rand, n int) string {
	const set = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, n)
	for i := range b {
		b[i] = set[r.IntN(len(set))]
	}
	return string(b)
}

// luhn appends the check digit of ISO/IEC 7812.
func luhn(s string) string {
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return s + string(rune('0'+(10-sum%10)%10))
}

// iban adds the check digits of ISO 13616.
func iban(country, bban string) string {
	text := bban + country + "00"
	rest := 0
	for _, c := range text {
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return fmt.Sprintf("%s%02d%s", country, 98-rest, bban)
}
