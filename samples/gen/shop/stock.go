package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	reserveMethod = "/shop.v1.Stock/Reserve"
	stockPort     = 50051
)

// serveStock serves gRPC in inventory's pod.
func (s *shop) serveStock() error {
	p := s.pod("inventory")
	ln, err := p.listen(fmt.Sprintf("%s:%d", p.ip, stockPort))
	if err != nil {
		return err
	}
	reserve := func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(structpb.Struct)
		if err := dec(in); err != nil {
			return nil, err
		}
		s.log.served1("inventory-grpc")
		time.Sleep(s.sc.ms("inventory"))
		if in.Fields["sku"].GetStringValue() == s.sc.text("empty_sku") {
			return nil, grpcstatus.Error(codes.FailedPrecondition, "not in stock")
		}
		return structpb.NewStruct(map[string]any{"reserved": true, "sku": in.Fields["sku"].GetStringValue()})
	}
	srv := grpc.NewServer()
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "shop.v1.Stock", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Reserve", Handler: reserve}}}, nil)
	go srv.Serve(ln)
	return nil
}

// stockClient is checkout's client for inventory: one connection for each hour of use.
type stockClient struct {
	p  *pod
	mu sync.Mutex
}

// reserve makes one call on a new connection, like a client without a pool.
func (c *stockClient) reserve(ctx context.Context, order, sku string, count int) error {
	s := c.p.shop
	var local string
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		svc := s.sc.service("inventory")
		conn, err := c.p.dialName(ctx, "tcp4", fmt.Sprintf("%s.%s:%d", svc.Name, s.sc.ns(svc.Namespace), stockPort))
		if err == nil {
			c.mu.Lock()
			local = conn.LocalAddr().String()
			c.mu.Unlock()
		}
		return conn, err
	}
	conn, err := grpc.NewClient("passthrough:///"+s.sc.name("inventory"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithUserAgent(c.p.web.agent))
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			return ctx.Err()
		}
	}
	e := s.log.begin(c.p, "grpc")
	e.Method, e.Path, e.Endpoint, e.Status = "POST", reserveMethod, reserveMethod, 200
	e.ServerAddr = fmt.Sprintf("%s:%d", s.pod("inventory").ip, stockPort)
	if k, ok := ctx.Value(correlationKey{}).(correlation); ok && !k.lost {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", k.requestID, "traceparent", "00-"+k.traceID+"-"+random(8)+"-01")
		e.RequestID, e.TraceID = k.requestID, k.traceID
	}
	in, err := structpb.NewStruct(map[string]any{"order": order, "sku": sku, "count": count})
	if err != nil {
		return err
	}
	e.request = order + " " + sku
	err = conn.Invoke(ctx, reserveMethod, in, new(structpb.Struct))
	if err != nil {
		e.Error = grpcstatus.Code(err).String()
	}
	c.mu.Lock()
	e.ClientAddr = local
	c.mu.Unlock()
	s.log.end(s, e)
	return err
}
