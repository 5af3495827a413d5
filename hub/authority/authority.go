// Package authority is the certificate authority of recorders and hub: it keeps its key in a
// Secret, publishes its certificate in a ConfigMap, and signs the certificates of recorders.
//
// It signs only for pods of the recorders' service account, and only the name of the node on which, according to the
// API server, the pod runs.
package authority

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/pcapsule/pcapsule/recorder/mutual"
)

const (
	secretName = "pcapsule-ca"
	keyKey     = "ca.key"
	witnessKey = "witness.pub"
	lifetime   = 5 * 365 * 24 * time.Hour
	ownValid   = 24 * time.Hour
	tooOld     = 30 * 24 * time.Hour // an authority with less time left is replaced
)

// Authority signs certificates.
type Authority struct {
	core      coreclient.CoreV1Interface
	namespace string

	mu     sync.Mutex
	issuer *mutual.Issuer
	root   []byte
	own    map[string]ownPair // by name
}

type ownPair struct {
	pair  *mutual.Pair
	renew time.Time
}

// Open reads the authority from its Secret, or creates it, and publishes its certificate.
func Open(ctx context.Context, core coreclient.CoreV1Interface, namespace string) (*Authority, error) {
	a := &Authority{core: core, namespace: namespace}
	return a, a.Refresh(ctx)
}

// Refresh reads the Secret again: a person replaces the authority by deleting it.
func (a *Authority) Refresh(ctx context.Context) error {
	s, err := a.secret(ctx)
	if err != nil {
		return fmt.Errorf("opening the certificate authority: Secret %s: %w", secretName, err)
	}
	root, key, _ := material(s)
	issuer, err := mutual.ReadIssuer(root, key)
	if err != nil {
		return fmt.Errorf("opening the certificate authority: Secret %s: %w", secretName, err)
	}
	witness, err := witness(issuer)
	if err != nil {
		return fmt.Errorf("opening the certificate authority: %w", err)
	}
	if err := a.publish(ctx, root, witness.Public().(ed25519.PublicKey)); err != nil {
		return fmt.Errorf("publishing the certificate authority: ConfigMap %s: %w", mutual.Authority, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !bytes.Equal(a.root, root) {
		a.issuer, a.root, a.own = issuer, root, map[string]ownPair{}
	}
	return nil
}

// material is the certificate and the key of an authority in a Secret. made: somebody else made them, such as
// cert-manager, who also replaces them. Only its first certificate counts: whoever issued that one must not be able to
// name a hub or a recorder.
func material(s *core.Secret) (cert, key []byte, made bool) {
	if cert, ok := s.Data[core.TLSCertKey]; ok {
		if block, _ := pem.Decode(cert); block != nil {
			cert = pem.EncodeToMemory(block)
		}
		return cert, s.Data[core.TLSPrivateKeyKey], true
	}
	return s.Data[mutual.AuthorityKey], s.Data[keyKey], false
}

// secret returns the Secret of an authority that is valid for some time.
func (a *Authority) secret(ctx context.Context) (*core.Secret, error) {
	secrets := a.core.Secrets(a.namespace)
	s, err := secrets.Get(ctx, secretName, meta.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	there := err == nil
	if there {
		cert, key, made := material(s)
		issuer, err := mutual.ReadIssuer(cert, key)
		if err != nil || made || time.Until(issuer.Certificate.NotAfter) > tooOld {
			return s, err
		}
	}
	cert, key, err := mutual.NewIssuer("pcapsule", lifetime, time.Now())
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{mutual.AuthorityKey: cert, keyKey: key}
	if there {
		s.Data = data
		return secrets.Update(ctx, s, meta.UpdateOptions{})
	}
	s, err = secrets.Create(ctx, &core.Secret{ObjectMeta: meta.ObjectMeta{Name: secretName}, Type: core.SecretTypeOpaque, Data: data}, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // another hub was faster
		return secrets.Get(ctx, secretName, meta.GetOptions{})
	}
	return s, err
}

// Witness is the key that countersigns rings. It is derived from the authority's key, so no other key need be kept.
func (a *Authority) Witness() (ed25519.PrivateKey, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return witness(a.issuer)
}

func witness(i *mutual.Issuer) (ed25519.PrivateKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.Key)
	if err != nil {
		return nil, err
	}
	seed, err := hkdf.Key(sha256.New, der, nil, "pcapsule: countersigning rings", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// publish makes the ConfigMap that everybody may read.
func (a *Authority) publish(ctx context.Context, root []byte, witness ed25519.PublicKey) error {
	configs := a.core.ConfigMaps(a.namespace)
	want := map[string]string{mutual.AuthorityKey: string(root), witnessKey: base64.StdEncoding.EncodeToString(witness) + "\n"}
	m, err := configs.Get(ctx, mutual.Authority, meta.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = configs.Create(ctx, &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: mutual.Authority}, Data: want}, meta.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return a.publish(ctx, root, witness)
		}
	case err == nil && !maps.Equal(m.Data, want):
		m.Data = want
		_, err = configs.Update(ctx, m, meta.UpdateOptions{})
	}
	return err
}

// Own returns the source of a certificate of the hub itself, for the names, as a server or as a client.
func (a *Authority) Own(server bool, names ...string) mutual.Source {
	return func() (*mutual.Pair, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		id := fmt.Sprint(server, names)
		if p, ok := a.own[id]; ok && time.Now().Before(p.renew) {
			return p.pair, nil
		}
		key, keyText, err := mutual.NewKey()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		cert, err := a.issuer.Issue(key.Public(), names, server, ownValid, now)
		if err != nil {
			return nil, err
		}
		pair, err := mutual.Parse(cert, keyText, a.root)
		if err != nil {
			return nil, err
		}
		a.own[id] = ownPair{pair, now.Add(ownValid * 2 / 3)}
		return pair, nil
	}
}

// sign signs a request for the certificate of a node's recorder.
func (a *Authority) sign(request []byte, node string, valid time.Duration) ([]byte, error) {
	q, err := readRequest(request)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	issuer := a.issuer
	a.mu.Unlock()
	return issuer.Issue(q.PublicKey, []string{mutual.Node(node)}, true, valid, time.Now())
}

func readRequest(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, fmt.Errorf("reading a certificate request: it is not in PEM")
	}
	q, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = q.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("reading a certificate request: %w", err)
	}
	return q, nil
}
