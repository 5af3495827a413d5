package record_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"
)

// tlsTalk is an HTTPS server that prints its URL and ends with its input, or a client that
// requests two pages over one connection, with a pause between them.
func tlsTalk() {
	if os.Args[1] == "serve" {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "page %s", r.URL.Path) }))
		fmt.Println(s.URL)
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	between, err := time.ParseDuration(os.Args[3])
	if err != nil {
		panic(err)
	}
	time.Sleep(500 * time.Millisecond) // a program must be found before its handshake
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, page := range []string{"/first", "/second"} {
		res, err := client.Get(os.Args[2] + page)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.Body.Close() != nil {
			panic(err)
		}
		fmt.Printf("%s\n", body)
		if page == "/first" {
			time.Sleep(between)
		}
	}
	client.CloseIdleConnections()
	os.Exit(0)
}
