package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	oldrpc "net/rpc/jsonrpc"
	"strings"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// Ports of the JSON-RPC server, by the form of its messages.
const (
	rpcTexts   = "8545" // JSON texts
	rpcHeaders = "2087" // texts after their length
	rpcOld     = "1234" // version 1.0
)

func makeJSONRPC(ctx context.Context, out string) error {
	const server = "10.1.52.20"
	l, err := lab.New("jsonrpc", "", lab.At("client", "10.1.52.5"), lab.At("shop", server))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("shop", "jsonrpc-server", server); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "jsonrpc", l.Self, "-role", "jsonrpc-client", "--", server, out+"/jsonrpc.said.tsv")
}

// Stock is the service of version 1.0.
type Stock struct{}

// StockItem is an item with its number.
type StockItem struct {
	Name  string
	Count int
}

// Take takes an item from the stock.
func (Stock) Take(item StockItem, left *int) error {
	if *left = 10 - item.Count; *left < 0 {
		return errors.New("out of stock")
	}
	return nil
}

// rpcStream is a connection of version 2.0 in one of both forms.
func rpcStream(c net.Conn, port string) jsonrpc2.ObjectStream {
	if port == rpcHeaders {
		return jsonrpc2.NewBufferedStream(c, jsonrpc2.VSCodeObjectCodec{})
	}
	return jsonrpc2.NewPlainObjectStream(c)
}

// serveRPC answers a request of version 2.0. A greeting makes the server ask the client for its name.
func serveRPC(ctx context.Context, c *jsonrpc2.Conn, r *jsonrpc2.Request) (any, error) {
	switch r.Method {
	case "price":
		return map[string]any{"item": "cup", "price": 7}, nil
	case "catalog":
		return strings.Repeat("cup, \"large\" {7}; ", 4000), nil
	case "greet":
		var name string
		if err := c.Call(ctx, "name", nil, &name); err != nil {
			return nil, err
		}
		return "hello " + name, c.Notify(ctx, "greeted", name)
	case "slow":
		time.Sleep(200 * time.Millisecond)
		return true, nil
	case "pay":
		return nil, &jsonrpc2.Error{Code: -32050, Message: "card refused"}
	case "log":
		return nil, nil
	}
	return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeMethodNotFound, Message: "no method " + r.Method}
}

// jsonrpcServer serves until it is stopped.
func jsonrpcServer(ctx context.Context, args []string) error {
	old := rpc.NewServer()
	if err := old.Register(Stock{}); err != nil {
		return err
	}
	for _, port := range []string{rpcTexts, rpcHeaders, rpcOld} {
		n, err := net.Listen("tcp", net.JoinHostPort(args[0], port))
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := n.Accept()
				switch {
				case err != nil:
					return
				case port == rpcOld:
					go old.ServeCodec(oldrpc.NewServerCodec(c))
				default:
					jsonrpc2.NewConn(ctx, rpcStream(c, port), jsonrpc2.AsyncHandler(jsonrpc2.HandlerWithError(serveRPC)))
				}
			}
		}()
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// rpcResult is a result as the client notes it.
func rpcResult(err error) string {
	var e *jsonrpc2.Error
	switch {
	case errors.As(err, &e):
		return fmt.Sprint(e.Code)
	case err != nil:
		return err.Error()
	}
	return "ok"
}

// jsonrpcClient calls all methods in each form, and notes each call with its result.
func jsonrpcClient(ctx context.Context, args []string) error {
	var s lab.Said
	for _, port := range []string{rpcTexts, rpcHeaders} {
		if err := callRPC(ctx, &s, args[0], port); err != nil {
			return err
		}
	}
	c, err := oldrpc.Dial("tcp", net.JoinHostPort(args[0], rpcOld))
	if err != nil {
		return err
	}
	for _, n := range []int{3, 4, 20} {
		s.Line("Stock.Take\t1.0\t%s", rpcResult(c.Call("Stock.Take", StockItem{"cup", n}, new(int))))
	}
	s.Line("Stock.None\t1.0\t%s", rpcResult(c.Call("Stock.None", 1, new(int))))
	if err := c.Close(); err != nil {
		return err
	}
	return s.Write(args[1])
}

// callRPC makes the calls of version 2.0. Two of them wait at the same time, and end in the other order.
func callRPC(ctx context.Context, s *lab.Said, host, port string) error {
	c, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	greeted := make(chan struct{})
	conn := jsonrpc2.NewConn(ctx, rpcStream(c, port), jsonrpc2.HandlerWithError(func(_ context.Context, _ *jsonrpc2.Conn, r *jsonrpc2.Request) (any, error) {
		if s.Line("%s\t2.0\tok", r.Method); r.Notif {
			close(greeted)
			return nil, nil
		}
		return "Ann", nil
	}))
	defer conn.Close()
	var result any
	slow, err := conn.DispatchCall(ctx, "slow", nil)
	if err != nil {
		return err
	}
	for _, method := range []string{"price", "catalog", "pay", "none", "greet"} {
		s.Line("%s\t2.0\t%s", method, rpcResult(conn.Call(ctx, method, map[string]any{"item": "cup"}, &result)))
	}
	<-greeted
	s.Line("slow\t2.0\t%s", rpcResult(slow.Wait(ctx, &result)))
	s.Line("price\t2.0\t%s", rpcResult(conn.Call(ctx, "price", []int{1}, &result, jsonrpc2.StringID())))
	s.Line("log\t2.0\t%s", rpcResult(conn.Notify(ctx, "log", []string{"done"})))
	return nil
}
