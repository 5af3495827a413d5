package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/grpc/health/grpc_health_v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	core "k8s.io/api/core/v1"
	objects "k8s.io/apimachinery/pkg/api/meta"
	meta1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeAPIs records calls in the Connect protocol and of the Kubernetes API. The server of the second
// is our own: it answers client-go as an API server does.
func makeAPIs(ctx context.Context, out string) error {
	const at = "10.1.12.20:8080"
	l, err := lab.New("apis", "", lab.At("client", "10.1.12.5"), lab.At("server", "10.1.12.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("server", "apis-server", at); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "apis.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "apis-client", "http://"+at, filepath.Join(out, "apis.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

const (
	healthCheck = "/grpc.health.v1.Health/Check"
	healthWatch = "/grpc.health.v1.Health/Watch"
)

type (
	healthAsk    = grpc_health_v1.HealthCheckRequest
	healthAnswer = grpc_health_v1.HealthCheckResponse
)

func apisServer(ctx context.Context, args []string) error {
	mux := http.NewServeMux()
	mux.Handle(healthCheck, connect.NewUnaryHandler(healthCheck, func(_ context.Context, r *connect.Request[healthAsk]) (*connect.Response[healthAnswer], error) {
		if r.Msg.Service != "" {
			return nil, connect.NewError(connect.CodeNotFound, errors.New("unknown service"))
		}
		return connect.NewResponse(&healthAnswer{Status: grpc_health_v1.HealthCheckResponse_SERVING}), nil
	}))
	mux.Handle(healthWatch, connect.NewServerStreamHandler(healthWatch, func(_ context.Context, r *connect.Request[healthAsk], s *connect.ServerStream[healthAnswer]) error {
		for range 3 {
			if err := s.Send(&healthAnswer{Status: grpc_health_v1.HealthCheckResponse_SERVING}); err != nil {
				return err
			}
		}
		if r.Msg.Service != "" {
			return connect.NewError(connect.CodeUnavailable, errors.New("going down"))
		}
		return nil
	}))
	mux.HandleFunc("/api/", kubeAnswer)
	mux.HandleFunc("/apis/", kubeAnswer)
	return lab.Listen(ctx, args[0], mux)
}

// kubeAnswer answers as an API server does.
func kubeAnswer(w http.ResponseWriter, r *http.Request) {
	pod := core.Pod{TypeMeta: meta1.TypeMeta{Kind: "Pod", APIVersion: "v1"}, ObjectMeta: meta1.ObjectMeta{Name: "checkout-1", Namespace: "shop"}}
	fail := func(e *apierrors.StatusError) {
		e.ErrStatus.TypeMeta = meta1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		lab.WriteJSON(w, int(e.ErrStatus.Code), e.ErrStatus)
	}
	switch {
	case strings.Contains(r.URL.Path, "/secrets/"):
		fail(apierrors.NewForbidden(core.Resource("secrets"), "db", errors.New("no")))
	case strings.HasSuffix(r.URL.Path, "/pods/missing"):
		fail(apierrors.NewNotFound(core.Resource("pods"), "missing"))
	case strings.HasSuffix(r.URL.Path, "/log"):
		fmt.Fprintln(w, "started")
	case strings.HasSuffix(r.URL.Path, "/scale"):
		lab.WriteJSON(w, http.StatusOK, autoscaling.Scale{TypeMeta: meta1.TypeMeta{Kind: "Scale", APIVersion: "autoscaling/v1"}, ObjectMeta: meta1.ObjectMeta{Name: "checkout", Namespace: "shop"}})
	case r.URL.Query().Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		for _, t := range []string{"ADDED", "MODIFIED"} {
			json.NewEncoder(w).Encode(map[string]any{"type": t, "object": pod})
		}
	case strings.HasSuffix(r.URL.Path, "/pods") && r.Method == http.MethodGet:
		lab.WriteJSON(w, http.StatusOK, core.PodList{TypeMeta: meta1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []core.Pod{pod}})
	case r.Method == http.MethodPost:
		pod.Name = "checkout-2"
		lab.WriteJSON(w, http.StatusCreated, pod)
	case r.Method == http.MethodDelete:
		lab.WriteJSON(w, http.StatusOK, meta1.Status{TypeMeta: meta1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: meta1.StatusSuccess})
	default:
		lab.WriteJSON(w, http.StatusOK, pod)
	}
}

func apisClient(ctx context.Context, args []string) error {
	var s lab.Said
	if err := connectCalls(ctx, args[0], &s); err != nil {
		return fmt.Errorf("calling by Connect: %w", err)
	}
	if err := kubeCalls(ctx, args[0], &s); err != nil {
		return fmt.Errorf("calling the Kubernetes API: %w", err)
	}
	return s.Write(args[1])
}

func connectCalls(ctx context.Context, at string, s *lab.Said) error {
	result := func(err error) string {
		if err == nil {
			return "ok"
		}
		return connect.CodeOf(err).String()
	}
	for _, o := range [][]connect.ClientOption{nil, {connect.WithProtoJSON()}, {connect.WithSendGzip()}} {
		for _, service := range []string{"", "nobody"} {
			c := connect.NewClient[healthAsk, healthAnswer](http.DefaultClient, at+healthCheck, o...)
			_, err := c.CallUnary(ctx, connect.NewRequest(&healthAsk{Service: service}))
			s.Line("connect\tCheck\t%s", result(err))
			w := connect.NewClient[healthAsk, healthAnswer](http.DefaultClient, at+healthWatch, o...)
			stream, err := w.CallServerStream(ctx, connect.NewRequest(&healthAsk{Service: service}))
			if err != nil {
				return err
			}
			n := 0
			for stream.Receive() {
				n++
			}
			s.Line("connect\tWatch\t%d %s", n, result(stream.Err()))
			if err := stream.Close(); err != nil {
				return err
			}
		}
	}
	for _, o := range []connect.ClientOption{connect.WithGRPCWeb()} {
		c := connect.NewClient[healthAsk, healthAnswer](http.DefaultClient, at+healthCheck, o)
		_, err := c.CallUnary(ctx, connect.NewRequest(&healthAsk{Service: "nobody"}))
		s.Line("grpc-web\tCheck\t%s", result(err))
	}
	return nil
}

func kubeCalls(ctx context.Context, at string, s *lab.Said) error {
	k, err := kubernetes.NewForConfig(&rest.Config{Host: at, BearerToken: lab.Password, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		return err
	}
	say := func(what string, err error) {
		result := "ok"
		if err != nil {
			result = string(apierrors.ReasonForError(err))
		}
		s.Line("k8s\t%s\t%s", what, result)
	}
	pods := k.CoreV1().Pods("shop")
	_, err = pods.Get(ctx, "checkout-1", meta1.GetOptions{})
	say("get pods shop/checkout-1", err)
	_, err = pods.Get(ctx, "missing", meta1.GetOptions{})
	say("get pods shop/missing", err)
	_, err = k.CoreV1().Pods("").List(ctx, meta1.ListOptions{})
	say("list pods", err)
	_, err = pods.Create(ctx, &core.Pod{ObjectMeta: meta1.ObjectMeta{GenerateName: "checkout-"}}, meta1.CreateOptions{})
	say("create pods shop/checkout-2", err)
	_, err = k.AppsV1().Deployments("shop").Patch(ctx, "checkout", types.StrategicMergePatchType, []byte(`{"spec":{"replicas":3}}`), meta1.PatchOptions{})
	say("patch deployments shop/checkout", err)
	_, err = k.AppsV1().Deployments("shop").UpdateScale(ctx, "checkout", &autoscaling.Scale{}, meta1.UpdateOptions{})
	say("update deployments/scale shop/checkout", err)
	_, err = k.CoreV1().Secrets("shop").Get(ctx, "db", meta1.GetOptions{})
	say("get secrets shop/db", err)
	_, err = pods.GetLogs("checkout-1", &core.PodLogOptions{}).DoRaw(ctx)
	say("get pods/log shop/checkout-1", err)
	say("delete pods shop/checkout-1", pods.Delete(ctx, "checkout-1", meta1.DeleteOptions{}))
	say("deletecollection pods shop", pods.DeleteCollection(ctx, meta1.DeleteOptions{}, meta1.ListOptions{}))
	_, err = k.CoreV1().Namespaces().Get(ctx, "shop", meta1.GetOptions{})
	say("get namespaces shop/shop", err)
	w, err := pods.Watch(ctx, meta1.ListOptions{})
	if err != nil {
		return err
	}
	for e := range w.ResultChan() {
		if _, err := objects.Accessor(e.Object); err != nil {
			return err
		}
	}
	say("watch pods shop", nil)
	return nil
}
