package hub

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	certificatesclient "k8s.io/client-go/kubernetes/typed/certificates/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// apiServer is a real API server with its etcd, without nodes: objects of nodes and pods are created by tests.
type apiServer struct {
	t       *testing.T
	url     string
	core    *coreclient.CoreV1Client
	objects *dynamic.DynamicClient
	configs sync.Map // pins.Config by node
}

const adminToken = "admin-token-of-the-test"

// startAPI starts etcd and kube-apiserver.
func startAPI(t *testing.T) *apiServer {
	t.Helper()
	bin := os.Getenv("PCAPSULE_E2E_DIR")
	if bin == "" {
		bin = "/var/tmp/pcapsule-e2e"
	}
	bin = filepath.Join(bin, "bin")
	for _, p := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
			t.Skip("needs a cluster's programs: scripts/e2e/lib.sh says which")
		}
	}
	dir := t.TempDir()
	etcd, peer, port := freePort(t), freePort(t), freePort(t)
	run(t, dir, filepath.Join(bin, "etcd"), "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", "http://127.0.0.1:"+etcd, "--advertise-client-urls", "http://127.0.0.1:"+etcd, "--listen-peer-urls", "http://127.0.0.1:"+peer)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"sa.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), "tokens.csv": []byte(adminToken + ",admin,1,system:masters\n")}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ended := run(t, dir, filepath.Join(bin, "kube-apiserver"), "--etcd-servers", "http://127.0.0.1:"+etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", filepath.Join(dir, "certs"), "--token-auth-file", filepath.Join(dir, "tokens.csv"), "--authorization-mode", "Node,RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", filepath.Join(dir, "sa.key"), "--service-account-signing-key-file", filepath.Join(dir, "sa.key"),
		"--allow-privileged", "--endpoint-reconciler-type", "none")
	a := &apiServer{t: t, url: "https://127.0.0.1:" + port}
	admin := a.config(adminToken)
	if a.core, err = coreclient.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	if a.objects, err = dynamic.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	a.await("the API server", 3*time.Minute, func() error {
		select {
		case <-ended:
			t.Fatal("the API server has ended")
		default:
		}
		_, err := a.core.RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context())
		return err
	})
	return a
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// run starts a program that ends with the test. The channel is closed when it has ended.
func run(t *testing.T, dir, program string, args ...string) (ended chan struct{}) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s: %s", filepath.Base(program), text[max(0, len(text)-3000):])
		}
	})
	return ended
}

func (a *apiServer) config(token string) *rest.Config {
	return &rest.Config{Host: a.url, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 100, Burst: 200}
}

func (a *apiServer) await(what string, limit time.Duration, ok func() error) {
	a.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			a.t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// resources of the kinds in the manifests.
var resources = map[string]string{"Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "Service": "services", "DaemonSet": "daemonsets", "Deployment": "deployments",
	"Role": "roles", "RoleBinding": "rolebindings", "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "NetworkPolicy": "networkpolicies",
	"CustomResourceDefinition": "customresourcedefinitions", "ConfigMap": "configmaps"}

// install creates what the manifests have; a field that the API does not know is an error.
func (a *apiServer) install() {
	a.t.Helper()
	var k struct{ Resources []string }
	text, err := os.ReadFile("../deploy/kustomize/base/kustomization.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &k)
	}
	if err != nil || len(k.Resources) == 0 {
		a.t.Fatalf("%v, %v", k, err)
	}
	for _, file := range k.Resources {
		text, err := os.ReadFile(filepath.Join("../deploy/kustomize/base", file))
		if err != nil {
			a.t.Fatal(err)
		}
		for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
			var u unstructured.Unstructured
			if err := yaml.Unmarshal(doc, &u.Object); err != nil {
				a.t.Fatalf("%s: %v", file, err)
			}
			gvk := u.GroupVersionKind()
			gvr := schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: resources[gvk.Kind]}
			if _, err := a.objects.Resource(gvr).Namespace(u.GetNamespace()).Create(a.t.Context(), &u, v1.CreateOptions{FieldValidation: "Strict"}); err != nil {
				a.t.Errorf("%s: %s %s: %v", file, gvk.Kind, u.GetName(), err)
			}
		}
	}
	a.await("the resource", time.Minute, func() error {
		_, err := a.snapshots().List(a.t.Context(), v1.ListOptions{})
		return err
	})
}

func (a *apiServer) snapshots() dynamic.ResourceInterface {
	return a.of("Snapshot")
}

// token creates a token of an account, bound to a pod if there is one.
func (a *apiServer) token(account string, pod *core.Pod) string {
	a.t.Helper()
	r := &authentication.TokenRequest{}
	if pod != nil {
		r.Spec.BoundObjectRef = &authentication.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	r, err := a.core.ServiceAccounts("pcapsule").CreateToken(a.t.Context(), account, r, v1.CreateOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	return r.Status.Token
}

// node creates a node with a recorder whose ring has packets, and returns the recorder's token.
func (a *apiServer) node(name string) (token string, ring string) {
	a.t.Helper()
	if _, err := a.core.Nodes().Create(a.t.Context(), &core.Node{ObjectMeta: v1.ObjectMeta{Name: name}}, v1.CreateOptions{}); err != nil {
		a.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	pod, err := a.core.Pods("pcapsule").Create(a.t.Context(), &core.Pod{
		ObjectMeta: v1.ObjectMeta{GenerateName: "pcapsule-recorder-", Labels: map[string]string{"app.kubernetes.io/name": "pcapsule-recorder"}},
		Spec: core.PodSpec{NodeName: name, ServiceAccountName: "pcapsule-recorder", Containers: []core.Container{{Name: "recorder", Image: "x",
			Ports: []core.ContainerPort{{Name: "transfer", ContainerPort: int32(port)}}}}}}, v1.CreateOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	pod.Status = core.PodStatus{Phase: core.PodRunning, PodIP: "127.0.0.1", PodIPs: []core.PodIP{{IP: "127.0.0.1"}}}
	if pod, err = a.core.Pods("pcapsule").UpdateStatus(a.t.Context(), pod, v1.UpdateOptions{}); err != nil {
		a.t.Fatal(err)
	}
	data, err := os.ReadFile("../samples/http1.pcapng")
	if err != nil {
		a.t.Fatal(err)
	}
	ring = filepath.Join(a.t.TempDir(), "ring")
	if _, err := ringtest.Fill(ring, data, 1, 20); err != nil {
		a.t.Fatal(err)
	}
	token = a.token("pcapsule-recorder", pod)
	go a.serveNode(name, token, ring, l)
	return token, ring
}

// serveNode gets a certificate as a recorder does, and serves the node's ring.
func (a *apiServer) serveNode(name, token, ring string, l net.Listener) {
	key, keyText, err := mutual.NewKey()
	if err != nil {
		a.t.Error(err)
		return
	}
	var cert []byte
	for cert == nil && a.t.Context().Err() == nil {
		time.Sleep(100 * time.Millisecond)
		cert, _ = a.certificate(token, mutual.Node(name), key)
	}
	if a.t.Context().Err() != nil {
		return
	}
	own, err := coreclient.NewForConfig(a.config(token)) // with the rights of a recorder
	if err != nil {
		a.t.Error(err)
		return
	}
	m, err := own.ConfigMaps("pcapsule").Get(a.t.Context(), mutual.Authority, v1.GetOptions{})
	if err != nil {
		a.t.Error(err)
		return
	}
	pair, err := mutual.Parse(cert, keyText, []byte(m.Data[mutual.AuthorityKey]))
	if err != nil {
		a.t.Error(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", pins.Open(ring, name).Handler(logger(a.t)))
	mux.Handle("GET "+pins.ConfigPath, pins.ConfigHandler(func() pins.Config {
		c, _ := a.configs.Load(name)
		said, _ := c.(pins.Config)
		return said
	}))
	server := &http.Server{Handler: mux}
	a.t.Cleanup(func() { server.Close() })
	server.Serve(tls.NewListener(l, mutual.Server(func() (*mutual.Pair, error) { return pair, nil }, mutual.Hub)))
}

// certificate requests a certificate for a name, with a recorder's token.
func (a *apiServer) certificate(token, name string, key any) ([]byte, error) {
	c, err := certificatesclient.NewForConfig(a.config(token))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return nil, err
	}
	ctx := a.t.Context()
	r, err := c.CertificateSigningRequests().Create(ctx, &certificates.CertificateSigningRequest{ObjectMeta: v1.ObjectMeta{GenerateName: "pcapsule-recorder-"},
		Spec: certificates.CertificateSigningRequestSpec{Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: mutual.Signer,
			Usages: []certificates.KeyUsage{certificates.UsageDigitalSignature, certificates.UsageServerAuth}}}, v1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if r, err = c.CertificateSigningRequests().Get(ctx, r.Name, v1.GetOptions{}); err != nil {
			return nil, err
		}
		if len(r.Status.Certificate) > 0 {
			return r.Status.Certificate, nil
		}
		for _, x := range r.Status.Conditions {
			if x.Type == certificates.CertificateDenied {
				return nil, fmt.Errorf("denied: %s", x.Message)
			}
		}
	}
	return nil, context.DeadlineExceeded
}

// get asks a hub for a snapshot.
func get(t *testing.T, address, root, token, path string) (int, string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "pcapsule-hub.pcapsule.svc"}}}
	u := url.URL{Scheme: "https", Host: address, Path: path}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// columns are the printed columns of an object, by name.
func (a *apiServer) columns(path string) map[string]any {
	a.t.Helper()
	text, err := a.core.RESTClient().Get().AbsPath("/apis/pcapsule.dev/v1beta1/namespaces/pcapsule/"+path).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(a.t.Context())
	var table v1.Table
	if err == nil {
		err = json.Unmarshal(text, &table)
	}
	if err != nil || len(table.Rows) != 1 {
		a.t.Fatalf("%s, %v", text, err)
	}
	out := map[string]any{}
	for i, c := range table.ColumnDefinitions {
		out[c.Name] = table.Rows[0].Cells[i]
	}
	return out
}

// create creates a snapshot with a spec in YAML.
func (a *apiServer) create(name, spec string) error {
	a.t.Helper()
	return a.createOf("Snapshot", name, spec)
}

// of are the objects of a kind of ours.
func (a *apiServer) of(kind string) dynamic.ResourceInterface {
	return a.objects.Resource(schema.GroupVersionResource{Group: "pcapsule.dev", Version: "v1beta1", Resource: strings.ToLower(kind) + "s"}).Namespace("pcapsule")
}

// createOf creates an object of a kind with a spec in YAML.
func (a *apiServer) createOf(kind, name, spec string) error {
	a.t.Helper()
	u := &unstructured.Unstructured{}
	text := fmt.Sprintf("{apiVersion: pcapsule.dev/v1beta1, kind: %s, metadata: {name: %q}, spec: %s}", kind, name, spec)
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		a.t.Fatal(err)
	}
	_, err := a.of(kind).Create(a.t.Context(), u, v1.CreateOptions{FieldValidation: "Strict"})
	if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		a.t.Fatal(err)
	}
	return err
}
