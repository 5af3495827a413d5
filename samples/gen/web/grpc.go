package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const StockService = "shop.v1.Stock"

func makeGRPC(ctx context.Context, out string) error {
	l, err := lab.New("grpc", "", lab.At("client", "10.1.3.5"), lab.At("stock", "10.1.3.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("stock", "grpc-server", "10.1.3.20:50051"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "grpc.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "grpc-client", "10.1.3.20:50051"); err != nil {
		return err
	}
	return r.Stop()
}

// Item makes a message: google.protobuf.Struct replaces every type of the service.
func Item(sku string, n int) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"sku": structpb.NewStringValue(sku), "count": structpb.NewNumberValue(float64(n)),
	}}
}

// stock describes the service by hand, as protoc would.
func stock() *grpc.ServiceDesc {
	unary := func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(structpb.Struct)
		if err := dec(in); err != nil {
			return nil, err
		}
		return reserve(ctx, in)
	}
	return &grpc.ServiceDesc{
		ServiceName: StockService, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Reserve", Handler: unary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Watch", ServerStreams: true, Handler: watch},
			{StreamName: "Count", ClientStreams: true, Handler: count},
			{StreamName: "Chat", ClientStreams: true, ServerStreams: true, Handler: chat},
		},
	}
}

func reserve(ctx context.Context, in *structpb.Struct) (*structpb.Struct, error) {
	sku := in.Fields["sku"].GetStringValue()
	switch sku {
	case "none":
		return nil, status.Error(codes.NotFound, "no item \"none\" – not in stock")
	case "slow":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case "broken":
		return nil, status.Error(codes.Internal, "stock database is read-only")
	}
	grpc.SetTrailer(ctx, metadata.Pairs("stock-shard", "3"))
	return Item(sku, int(in.Fields["count"].GetNumberValue())), nil
}

func watch(_ any, s grpc.ServerStream) error {
	in := new(structpb.Struct)
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	for i := range 5 {
		if err := s.SendMsg(Item(in.Fields["sku"].GetStringValue(), i)); err != nil {
			return err
		}
	}
	return nil
}

func count(_ any, s grpc.ServerStream) error {
	n := 0
	for {
		err := s.RecvMsg(new(structpb.Struct))
		if err == io.EOF {
			return s.SendMsg(Item("all", n))
		}
		if err != nil {
			return err
		}
		n++
	}
}

func chat(_ any, s grpc.ServerStream) error {
	for {
		in := new(structpb.Struct)
		if err := s.RecvMsg(in); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}

func GrpcServer(ctx context.Context, args []string) error {
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(stock(), nil)
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	fmt.Println("ready")
	context.AfterFunc(ctx, s.Stop)
	return s.Serve(ln)
}

func grpcClient(ctx context.Context, args []string) error {
	conn, err := grpc.NewClient("passthrough:///"+args[0], grpc.WithNoProxy(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-correlation-id", "grpc-sample-1", "trace-bin", "\x01\x02\xff")
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		return err
	}
	for i, sku := range []string{"tea-pot", "cup", "none", "broken", "bowl"} {
		err := conn.Invoke(ctx, "/"+StockService+"/Reserve", Item(sku, i+1), new(structpb.Struct))
		if err != nil && status.Code(err) != codes.NotFound && status.Code(err) != codes.Internal {
			return err
		}
	}
	large := Item(strings.Repeat("compressible ", 200), 1)
	if err := conn.Invoke(ctx, "/"+StockService+"/Reserve", large, new(structpb.Struct), grpc.UseCompressor(gzip.Name)); err != nil {
		return err
	}
	if err := conn.Invoke(ctx, "/"+StockService+"/Missing", Item("x", 1), new(structpb.Struct)); status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("calling a missing method: %w", err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := conn.Invoke(short, "/"+StockService+"/Reserve", Item("slow", 1), new(structpb.Struct)); status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("calling the slow method: %w", err)
	}
	for _, name := range []string{"Watch", "Count", "Chat"} {
		if err := grpcStream(ctx, conn, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func grpcStream(ctx context.Context, conn *grpc.ClientConn, name string) error {
	sends := 3
	if name == "Watch" {
		sends = 1
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+StockService+"/"+name)
	if err != nil {
		return err
	}
	for i := range sends {
		if err := s.SendMsg(Item("cup", i)); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		if err := s.RecvMsg(new(structpb.Struct)); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
