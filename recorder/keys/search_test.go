package keys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// talk is a captured connection with its true secrets.
type talk struct {
	client, server []byte
	random         []byte
	secrets        map[secrets.Label][]byte
	handshake      []byte // of madeTalk: secret from which the traffic secrets are derived with hash
	hash           []byte
}

// Records implements Captured.
func (k *talk) Records(random [32]byte) ([]byte, []byte, bool) {
	return k.client, k.server, bytes.Equal(random[:], k.random)
}

// Keyed and Keyless implement Captured.
func (k *talk) Keyed([32]byte)            {}
func (k *talk) Keyless(int64) []Handshake { return nil }

type tap struct {
	net.Conn
	mu   *sync.Mutex
	sent *[]byte
}

func (c tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	*c.sent = append(*c.sent, b...)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// realTalk makes a connection of crypto/tls with itself.
func realTalk(t *testing.T, version, suite uint16) *talk {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, KeyLogWriter: &log}
	if suite != 0 {
		cfg.CipherSuites = []uint16{suite}
	}
	k, mu := &talk{secrets: map[secrets.Label][]byte{}}, &sync.Mutex{}
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		c := tls.Server(tap{b, mu, &k.server}, &tls.Config{Certificates: cfg.Certificates, MinVersion: version, MaxVersion: version, CipherSuites: cfg.CipherSuites})
		_, err := io.Copy(c, c)
		done <- err
	}()
	c := tls.Client(tap{a, mu, &k.client}, cfg)
	if _, err := c.Write([]byte("plain words")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-done
	s := secrets.NewStore()
	if err := errors.Join(s.AddLog("log", bytes.NewReader(log.Bytes()), int64(log.Len())), s.Ready()); err != nil {
		t.Fatal(err)
	}
	r, ok := randomOf(k.client)
	if !ok {
		t.Fatal("no client random")
	}
	k.random = r[:]
	for _, x := range s.Find(k.random) {
		k.secrets[x.Label] = x.Value
	}
	return k
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func expand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, byte(6+len(label))), "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// seal13 makes the first record under a traffic secret with AES-128-GCM.
func seal13(t *testing.T, secret, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	head := []byte{recordData, 3, 3, 0, byte(len(plain) + 17)}
	return gcm.Seal(head, expand(t, secret, "iv", 12), append(slices.Clone(plain), 23), head)
}

// madeTalk is a connection of which, as in OpenSSL, only the values are kept from which the
// handshake's secrets are derived.
func madeTalk(t *testing.T) *talk {
	t.Helper()
	k := &talk{random: randomBytes(32), handshake: randomBytes(32), hash: randomBytes(32), secrets: map[secrets.Label][]byte{}}
	hello := func(typ byte, random []byte) []byte {
		b := append([]byte{3, 3}, random...)
		b = append(b, 0)
		if typ == 1 {
			b = append(b, 0, 2, 0x13, 1, 1, 0)
		} else {
			b = append(b, 0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4)
		}
		m := append([]byte{typ, 0, 0, byte(len(b))}, b...)
		return append([]byte{recordHandshake, 3, 3, 0, byte(len(m))}, m...)
	}
	k.client, k.server = hello(1, k.random), hello(2, randomBytes(32))
	for _, x := range []struct {
		l    secrets.Label
		v    []byte
		side *[]byte
	}{
		{secrets.ClientHandshakeTraffic, derive(k.handshake, "c hs traffic", k.hash), &k.client},
		{secrets.ServerHandshakeTraffic, derive(k.handshake, "s hs traffic", k.hash), &k.server},
		{secrets.ClientTraffic, randomBytes(32), &k.client},
		{secrets.ServerTraffic, randomBytes(32), &k.server},
	} {
		k.secrets[x.l] = x.v
		*x.side = append(*x.side, seal13(t, x.v, []byte("something"))...)
	}
	return k
}

// heap fills an object with typical content: zeros, numbers, pointers, texts, randoms.
func heap(r *mrand.Rand) *object {
	o := &object{data: make([]byte, bpf.MaxDump), hops: map[uint32][]byte{}}
	for at := 0; at < len(o.data); at += 8 {
		switch r.IntN(8) {
		case 0:
			binary.NativeEndian.PutUint64(o.data[at:], 0x7f1234567000+r.Uint64N(1<<24)*16)
		case 1:
			binary.NativeEndian.PutUint64(o.data[at:], r.Uint64N(300))
		case 2:
			copy(o.data[at:], "/etc/ssl")
		}
	}
	for range 12 { // hashes and randoms that are not secrets
		at := 4 * r.IntN(bpf.MaxDump/4-16)
		copy(o.data[at:], randomBytes(32))
		clear(o.data[at+32 : at+64])
	}
	for range 30 {
		hop := uint32(8 * r.IntN(bpf.HopSize))
		b := make([]byte, bpf.HopSize)
		copy(b[8*r.IntN(20):], randomBytes(48))
		o.hops[hop] = b
	}
	return o
}

// put writes a value into a field of 64 bytes.
func (o *object) put(at int, v []byte) {
	clear(o.data[at : at+bpf.MaxSecret])
	copy(o.data[at:], v)
}

func compareSecrets(t *testing.T, l *layout, o *object, k *talk, size int) {
	t.Helper()
	if err := l.check(); err != nil {
		t.Error(err)
	}
	list := l.secrets(o.at, size)
	for _, s := range list {
		if !bytes.Equal(s.ID, k.random) {
			t.Error("wrong client random")
		}
		if want := k.secrets[s.Label]; !bytes.Equal(want, s.Value) {
			t.Errorf("%v: %x, want %x", s.Label, s.Value, want)
		}
	}
	want := 4
	if k.secrets[secrets.ClientRandom] != nil {
		want = 1
	}
	if len(list) != want {
		t.Errorf("%d secrets, want %d", len(list), want)
	}
}

func TestSearch(t *testing.T) {
	r := mrand.New(mrand.NewPCG(1, 2))
	t.Run("handshake secret and hash, TLS 1.3", func(t *testing.T) {
		k, o, l := madeTalk(t), heap(r), layout{}
		o.put(352, k.random)
		o.put(1412, k.handshake)
		o.put(1796, k.hash)
		o.put(1860, k.secrets[secrets.ClientTraffic])
		o.put(1924, k.secrets[secrets.ServerTraffic])
		begin := time.Now()
		if ok, err := o.search(k, &l); err != nil || !ok {
			t.Fatal(ok, err)
		}
		t.Log(time.Since(begin))
		if *l.Random != (place{noHop, 352}) || *l.Handshake != (place{noHop, 1412}) || *l.Hash != (place{noHop, 1796}) || *l.ServerTraffic != (place{noHop, 1924}) {
			t.Errorf("%+v", l)
		}
		compareSecrets(t, &l, o, k, 0)
		// A connection of the same build with an older version adds to the layout.
		k12, o12 := realTalk(t, tls.VersionTLS12, 0), heap(r)
		o12.put(352, k12.random)
		o12.put(1412, nil)
		o12.hops[2328] = append(append(make([]byte, 80), k12.secrets[secrets.ClientRandom]...), make([]byte, bpf.HopSize-128)...)
		if ok, err := o12.search(k12, &l); err != nil || !ok || !l.has13() || !l.has12() {
			t.Fatal(ok, err, l)
		}
		if *l.Master != (place{2328, 80}) {
			t.Errorf("%+v", l.Master)
		}
		compareSecrets(t, &l, o12, k12, 0)
		if p := l.plan(1, 0); p.Mode != bpf.Only || p.Other {
			t.Errorf("%+v", p)
		}
	})
	t.Run("traffic secrets, TLS 1.3 with SHA-384, client random after a pointer", func(t *testing.T) {
		k, o, l := realTalk(t, tls.VersionTLS13, 0), heap(r), layout{}
		o.hops[168] = append(append(make([]byte, 184), k.random...), make([]byte, 8)...)
		for label, at := range map[secrets.Label]int{secrets.ClientHandshakeTraffic: 6036, secrets.ServerHandshakeTraffic: 6100, secrets.ClientTraffic: 6164, secrets.ServerTraffic: 6228} {
			o.put(at, k.secrets[label])
		}
		if ok, err := o.search(k, &l); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if *l.Random != (place{168, 184}) || *l.ClientHandshake != (place{noHop, 6036}) || l.Handshake != nil {
			t.Errorf("%+v", l)
		}
		compareSecrets(t, &l, o, k, len(k.secrets[secrets.ClientTraffic]))
	})
	t.Run("a master secret in the object, TLS 1.2 with CBC", func(t *testing.T) {
		k, o, l := realTalk(t, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), heap(r), layout{}
		o.put(80, k.random)
		o.put(144, k.secrets[secrets.ClientRandom])
		if ok, err := o.search(k, &l); err != nil || !ok || *l.Master != (place{noHop, 144}) {
			t.Fatal(ok, err, l)
		}
		compareSecrets(t, &l, o, k, 0)
	})
	t.Run("nothing without secrets", func(t *testing.T) {
		for _, k := range []*talk{madeTalk(t), realTalk(t, tls.VersionTLS12, 0)} {
			o, l := heap(r), layout{}
			o.put(352, k.random)
			begin := time.Now()
			if ok, err := o.search(k, &l); ok || err != nil || l.Random != nil {
				t.Error(ok, err, l)
			}
			t.Log(time.Since(begin))
		}
	})
	t.Run("waiting if too little was captured", func(t *testing.T) {
		k, o, l := madeTalk(t), heap(r), layout{}
		o.put(352, k.random)
		k.server = k.server[:len(k.server)-1]
		if ok, err := o.search(k, &l); ok || err != errMore {
			t.Error(ok, err)
		}
		k.random = randomBytes(32)
		if ok, err := o.search(k, &l); ok || err != errMore {
			t.Error(ok, err)
		}
	})
}

// TestSearchWaitsForRecords searches with each number of captured records. A search of an object
// that has the secrets fails only because more must be captured.
func TestSearchWaitsForRecords(t *testing.T) {
	r := mrand.New(mrand.NewPCG(1, 2))
	ends := func(b []byte) (list []int) {
		at := 0
		eachRecord(b, func(r secrets.Record) bool {
			at += recordHead + len(r.Body)
			list = append(list, at)
			return true
		})
		return list
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		k := realTalk(t, version, 0)
		again := heap(r) // is searched with more and more records
		found := 0
		for _, server := range ends(k.server) {
			for _, client := range ends(k.client) {
				once := heap(r)
				for _, o := range []*object{once, again} {
					o.put(352, k.random)
					for i, label := range []secrets.Label{secrets.ClientHandshakeTraffic, secrets.ServerHandshakeTraffic, secrets.ClientTraffic, secrets.ServerTraffic, secrets.ClientRandom} {
						o.put(6036+64*i, k.secrets[label])
					}
					part, l := talk{client: k.client[:client], server: k.server[:server], random: k.random}, layout{}
					ok, err := o.search(&part, &l)
					if !ok && err != errMore {
						t.Errorf("%s with %d and %d bytes: %v", tls.VersionName(version), client, server, err)
					}
					if ok {
						found++
						compareSecrets(t, &l, o, k, len(k.secrets[secrets.ClientTraffic]))
					}
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: found nothing", tls.VersionName(version))
		}
	}
}

func TestOnlyTrueSecretsOpenRecords(t *testing.T) {
	for _, k := range []*talk{realTalk(t, tls.VersionTLS13, 0), realTalk(t, tls.VersionTLS12, 0), realTalk(t, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), madeTalk(t)} {
		c, err := converse(k.client, k.server)
		if err != nil {
			t.Fatal(err)
		}
		for l, v := range k.secrets {
			wrong := slices.Clone(v)
			wrong[3] ^= 1
			if !c.opens(secrets.Secret{Label: l, Value: v}) || c.opens(secrets.Secret{Label: l, Value: wrong}) || c.opens(secrets.Secret{Label: l, Value: v[:31]}) {
				t.Errorf("%v of %x", l, c.version)
			}
			if l == secrets.ClientTraffic && (c.opens(secrets.Secret{Label: secrets.ServerTraffic, Value: v}) || c.opens(secrets.Secret{Label: l, N: 1, Value: v})) {
				t.Error("a secret of the other side or of another key update opens a record")
			}
		}
		for n := range k.server {
			if _, err := converse(k.client, k.server[:n]); err == nil && n < 40 {
				t.Error("an incomplete ServerHello is read")
			}
		}
	}
}

func TestLayoutFiles(t *testing.T) {
	dir := t.TempDir()
	l := layout{Random: &place{noHop, 352}, Master: &place{2328, 80}}
	if err := writeLayout(dir, OpenSSL, "abc", &l); err != nil {
		t.Fatal(err)
	}
	got, err := readLayout(dir, OpenSSL, "abc")
	if err != nil || *got.Random != *l.Random || *got.Master != *l.Master || got.has13() || !got.has12() {
		t.Error(got, err)
	}
	if _, err := readLayout(dir, GnuTLS, "abc"); err == nil {
		t.Error("a layout of another library is accepted")
	}
	if err := writeLayout(dir, OpenSSL, "../abc", &l); err == nil {
		t.Error("a build id with a slash is accepted")
	}
	for name, bad := range map[string]layout{
		"no random":   {Master: &place{noHop, 1}},
		"no secrets":  {Random: &place{noHop, 1}},
		"too far":     {Random: &place{noHop, bpf.MaxDump}, Master: &place{noHop, 1}},
		"far pointer": {Random: &place{bpf.MaxDump, 0}, Master: &place{noHop, 1}},
	} {
		if err := writeLayout(dir, OpenSSL, "bad", &bad); err != nil {
			t.Fatal(err)
		}
		if _, err := readLayout(dir, OpenSSL, "bad"); err == nil {
			t.Error(name)
		}
	}
}

func FuzzConverse(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0}, []byte{22, 3, 3, 0, 4, 2, 0, 0, 0})
	hello := append([]byte{22, 3, 1, 0, 42, 1, 0, 0, 38, 3, 3}, make([]byte, 36)...)
	f.Add(hello, append([]byte{22, 3, 3, 0, 44, 2, 0, 0, 40, 3, 3}, make([]byte, 38)...))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		c, err := converse(client, server)
		if (c == nil) == (err == nil) {
			t.Fatal("both or neither", c, err)
		}
		if err == nil {
			c.opens(secrets.Secret{Label: secrets.ClientTraffic, Value: make([]byte, 32)})
			c.opens(secrets.Secret{Label: secrets.ClientRandom, Value: make([]byte, 48)})
		}
	})
}
