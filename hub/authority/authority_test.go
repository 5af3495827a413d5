package authority

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	certificatesfake "k8s.io/client-go/kubernetes/typed/certificates/v1/fake"
	corefake "k8s.io/client-go/kubernetes/typed/core/v1/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pcapsule/pcapsule/recorder/mutual"
)

// api is a fake API with the given objects.
func api(t *testing.T, objects ...runtime.Object) *clienttesting.Fake {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, certificates.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	tracker := clienttesting.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())
	for _, o := range objects {
		if err := tracker.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	f := &clienttesting.Fake{}
	f.AddReactor("*", "*", clienttesting.ObjectReaction(tracker))
	return f
}

func open(t *testing.T, f *clienttesting.Fake) *Authority {
	t.Helper()
	a, err := Open(t.Context(), &corefake.FakeCoreV1{Fake: f}, "pcapsule")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pod(change func(*core.Pod)) *core.Pod {
	p := &core.Pod{ObjectMeta: meta.ObjectMeta{Name: "rec-1", Namespace: "pcapsule", UID: "u1"}, Spec: core.PodSpec{ServiceAccountName: recorderAccount, NodeName: "node-a"}}
	if change != nil {
		change(p)
	}
	return p
}

// ask creates a request of the pod rec-1 for the names.
func ask(t *testing.T, change func(*certificates.CertificateSigningRequest), names ...string) *certificates.CertificateSigningRequest {
	t.Helper()
	key, _, err := mutual.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	r := &certificates.CertificateSigningRequest{ObjectMeta: meta.ObjectMeta{Name: "r"}, Spec: certificates.CertificateSigningRequestSpec{
		Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: mutual.Signer, Username: "system:serviceaccount:pcapsule:" + recorderAccount,
		Usages: []certificates.KeyUsage{certificates.UsageDigitalSignature, certificates.UsageServerAuth},
		Extra:  map[string]certificates.ExtraValue{extraPodName: {"rec-1"}, extraPodUID: {"u1"}}}}
	if change != nil {
		change(r)
	}
	return r
}

func TestWhoGetsACertificate(t *testing.T) {
	type request = certificates.CertificateSigningRequest
	name := mutual.Node("node-a")
	for _, tt := range []struct {
		name  string
		pod   func(*core.Pod)
		r     func(*request)
		names []string
		want  string // why not; "" if it is signed
	}{
		{"the node's recorder", nil, nil, []string{name}, ""},
		{"another node's name", nil, nil, []string{mutual.Node("node-b")}, "runs on that node"},
		{"the hub's name", nil, nil, []string{mutual.Hub}, "runs on that node"},
		{"one name more", nil, nil, []string{name, mutual.Hub}, "runs on that node"},
		{"no name", nil, nil, nil, "runs on that node"},
		{"another user", nil, func(r *request) { r.Spec.Username = "system:serviceaccount:shop:default" }, []string{name}, "user system"},
		{"the account of another namespace", nil, func(r *request) { r.Spec.Username = "system:serviceaccount:shop:" + recorderAccount }, []string{name}, "user system"},
		{"a token without a pod", nil, func(r *request) { r.Spec.Extra = nil }, []string{name}, "bound to a pod"},
		{"a pod that is gone", nil, func(r *request) { r.Spec.Extra[extraPodName] = certificates.ExtraValue{"rec-0"} }, []string{name}, "does not exist"},
		{"a pod of the same name", nil, func(r *request) { r.Spec.Extra[extraPodUID] = certificates.ExtraValue{"u0"} }, []string{name}, "has the UID"},
		{"a pod of another account", func(p *core.Pod) { p.Spec.ServiceAccountName = "default" }, nil, []string{name}, "service account default"},
		{"a pod without a node", func(p *core.Pod) { p.Spec.NodeName = "" }, nil, []string{name}, "no node"},
		{"a certificate for clients", nil, func(r *request) { r.Spec.Usages = append(r.Spec.Usages, certificates.UsageClientAuth) }, []string{name}, "for servers"},
		{"no request", nil, func(r *request) { r.Spec.Request = []byte("x") }, []string{name}, "not in PEM"},
		{"an address", nil, func(r *request) {
			key, _, _ := mutual.NewKey()
			der, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}, IPAddresses: []net.IP{{10, 0, 0, 1}}}, key)
			r.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
		}, []string{name}, "runs on that node"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := ask(t, tt.r, tt.names...)
			f := api(t, pod(tt.pod), r)
			a := open(t, f)
			requests := (&certificatesfake.FakeCertificatesV1{Fake: f}).CertificateSigningRequests()
			node, err := a.answer(t.Context(), requests, r)
			got, getErr := requests.Get(t.Context(), "r", meta.GetOptions{})
			if getErr != nil {
				t.Fatal(getErr)
			}
			if tt.want != "" {
				if !errors.Is(err, errDenied) || !strings.Contains(err.Error(), tt.want) || len(got.Status.Certificate) > 0 || approved(got) || len(got.Status.Conditions) != 1 {
					t.Errorf("%v, %+v; want %q", err, got.Status, tt.want)
				}
				return
			}
			if err != nil || node != "node-a" || !approved(got) {
				t.Fatalf("%s, %v, %+v", node, err, got.Status)
			}
			block, _ := pem.Decode(got.Status.Certificate)
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AddCert(a.issuer.Certificate)
			if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
				t.Error(err)
			}
			if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
				t.Error("it is valid for clients")
			}
			if left := time.Until(c.NotAfter); left > nodeValid || left < nodeValid-time.Minute {
				t.Errorf("it is valid for %s", left)
			}
		})
	}
}

// TestTwoHubs checks that a hub that starts second, or again, has the authority of the first.
func TestTwoHubs(t *testing.T) {
	f := api(t)
	a, b := open(t, f), open(t, f)
	if string(a.root) != string(b.root) {
		t.Error("two hubs have two authorities")
	}
	maps := (&corefake.FakeCoreV1{Fake: f}).ConfigMaps("pcapsule")
	m, err := maps.Get(t.Context(), mutual.Authority, meta.GetOptions{})
	if err != nil || m.Data[mutual.AuthorityKey] != string(a.root) {
		t.Errorf("%v, %v", m, err)
	}
	for k := range m.Data {
		if strings.Contains(m.Data[k], "PRIVATE") {
			t.Error("the key is published")
		}
	}
	own := a.Own(false, mutual.Hub)
	p, err := own()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := own(); again != p {
		t.Error("each handshake gets another certificate")
	}
	// A person replaces the authority.
	if err := (&corefake.FakeCoreV1{Fake: f}).Secrets("pcapsule").Delete(t.Context(), secretName, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Refresh(t.Context()); err != nil || string(a.root) == string(b.root) {
		t.Errorf("it is not replaced: %v", err)
	}
	if next, _ := own(); next == p {
		t.Error("the hub's own certificate is not replaced")
	}
	if m, _ = maps.Get(t.Context(), mutual.Authority, meta.GetOptions{}); m.Data[mutual.AuthorityKey] != string(a.root) {
		t.Error("the new authority is not published")
	}
}

func TestBrokenAuthority(t *testing.T) {
	f := api(t, &core.Secret{ObjectMeta: meta.ObjectMeta{Name: secretName, Namespace: "pcapsule"}, Data: map[string][]byte{mutual.AuthorityKey: []byte("x")}})
	if _, err := Open(t.Context(), &corefake.FakeCoreV1{Fake: f}, "pcapsule"); err == nil || !strings.Contains(err.Error(), "Secret "+secretName) {
		t.Errorf("%v", err)
	}
}

// TestAuthorityThatEndsSoon checks that it is replaced in time.
func TestAuthorityThatEndsSoon(t *testing.T) {
	cert, key, err := mutual.NewIssuer("pcapsule", tooOld-time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := api(t, &core.Secret{ObjectMeta: meta.ObjectMeta{Name: secretName, Namespace: "pcapsule"}, Data: map[string][]byte{mutual.AuthorityKey: cert, keyKey: key}})
	if a := open(t, f); string(a.root) == string(cert) || time.Until(a.issuer.Certificate.NotAfter) < lifetime-time.Hour {
		t.Error("it is kept")
	}
}

// TestAuthorityOfCertManager: a certificate and a key that somebody else made are used and never replaced, and the one
// who issued them is not trusted.
func TestAuthorityOfCertManager(t *testing.T) {
	cert, key, err := mutual.NewIssuer("ours", tooOld-time.Hour, time.Now()) // cert-manager renews it when it wants
	if err != nil {
		t.Fatal(err)
	}
	above, _, err := mutual.NewIssuer("the company's", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &core.Secret{ObjectMeta: meta.ObjectMeta{Name: secretName, Namespace: "pcapsule"}, Type: core.SecretTypeTLS,
		Data: map[string][]byte{core.TLSCertKey: append(append([]byte{}, cert...), above...), core.TLSPrivateKeyKey: key, mutual.AuthorityKey: above}}
	f := api(t, s)
	a := open(t, f)
	if string(a.root) != string(cert) || a.issuer.Certificate.Subject.CommonName != "ours" {
		t.Errorf("the authority is %s", a.issuer.Certificate.Subject)
	}
	now, err := (&corefake.FakeCoreV1{Fake: f}).Secrets("pcapsule").Get(t.Context(), secretName, meta.GetOptions{})
	if err != nil || string(now.Data[core.TLSPrivateKeyKey]) != string(key) || len(now.Data) != 3 {
		t.Errorf("the Secret was changed: %v", err)
	}
}
