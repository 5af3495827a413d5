//go:build linux

// Command talk is the workload of scripts/e2e.sh: it serves HTTP and HTTPS with a self-signed
// certificate, or requests pages repeatedly.
//
//	talk serve [URL]    port 8080 in clear, port 8443 over TLS; below /broken/ the status is 500, below /slow/ it
//	                    takes 600 ms, below /empty/ the page is [], /big/N has N random bytes, and below /orders/ it first asks URL, with the same X-Request-Id
//	talk get URL...     each of them twice a second, on a connection of its own, with a number: ?n=1
//	                    and so on; prints the status and the URL
//	talk once N URL     N times at once, then ends
//	talk fail CODE      ends with this exit code after a second
//	talk eat            takes memory until it is killed
//	talk shop URL       like people in a shop: reads, orders with personal data, retries, errors, bad tokens
//	talk proxy          connects what a redirect sends to port 15001 with where it was going
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("talk: want serve, get, once, shop, fail, eat or proxy")
	}
	switch os.Args[1] {
	case "serve":
		log.Fatal(serve(strings.Join(os.Args[2:], "")))
	case "shop":
		for n := 1; ; n++ {
			shop(n, os.Args[2])
		}
	case "get":
		for n := 1; ; time.Sleep(500 * time.Millisecond) {
			n += get(n, os.Args[2:])
		}
	case "once":
		times, err := strconv.Atoi(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		for n := 1; n <= times; {
			n += get(n, os.Args[3:])
		}
	case "proxy":
		log.Fatal(proxy())
	case "eat":
		var eaten [][]byte
		for {
			eaten = append(eaten, bytes.Repeat([]byte{1}, 1<<20))
			fmt.Println(len(eaten), "MiB")
			time.Sleep(10 * time.Millisecond)
		}
	case "fail":
		time.Sleep(time.Second)
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		os.Exit(code)
	}
}

// serve answers requests; those of orders ask a server behind it, if there is one.
func serve(behind string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"talk"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return err
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if id != "" {
			w.Header().Set("X-Request-Id", id)
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/broken/"):
			w.WriteHeader(http.StatusInternalServerError)
		case strings.HasPrefix(r.URL.Path, "/empty/"):
			fmt.Fprintln(w, "[]")
			return
		case strings.HasPrefix(r.URL.Path, "/big/"):
			n, err := strconv.ParseInt(r.URL.Path[len("/big/"):], 10, 64)
			if err == nil {
				_, err = io.CopyN(w, rand.Reader, n)
			}
			if err != nil {
				log.Print(err)
			}
			return
		case strings.HasPrefix(r.URL.Path, "/slow/"):
			time.Sleep(600 * time.Millisecond)
		case strings.HasPrefix(r.URL.Path, "/account/") && r.Header.Get("Authorization") != token:
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/orders/") && behind != "":
			body, err := io.ReadAll(r.Body)
			if err != nil {
				log.Print(err)
			}
			w.Header().Set("Content-Type", "application/json")
			status := ask(http.MethodPost, behind+r.URL.Path, string(body), http.Header{"X-Request-Id": {id}, "Content-Type": {"application/json"}})
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"order":%q,"status":%d}`+"\n", r.URL.Path, status)
			return
		}
		fmt.Fprintln(w, "page", r.URL.Path)
	})
	secure := &http.Server{Addr: ":8443", Handler: page, TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	ended := make(chan error, 2)
	go func() { ended <- secure.ListenAndServeTLS("", "") }()
	go func() { ended <- http.ListenAndServe(":8080", page) }()
	return <-ended
}

const token = "Bearer e2e-7d1f0a93c2"

// shop makes the requests of one visit, in half a second or a little more. Each visit has other numbers.
func shop(n int, url string) {
	id := func(i int) http.Header {
		return http.Header{"X-Request-Id": {fmt.Sprintf("visit-%d-%d", n, i)}, "Content-Type": {"application/json"}}
	}
	with := func(h http.Header, value string) http.Header { h.Set("Authorization", value); return h }
	order := fmt.Sprintf(`{"user":%d,"email":"user%d@example.org","card":"4111 1111 1111 1111","items":[%d]}`, 10000+n, n, n%7)
	ask(http.MethodGet, fmt.Sprintf("%s/products/%d", url, n%7), "", id(1))
	ask(http.MethodPost, fmt.Sprintf("%s/orders/%d", url, 50000+n), order, id(2))
	ask(http.MethodGet, url+"/account/me", "", with(id(3), token))
	if n%3 == 0 {
		ask(http.MethodGet, url+"/account/me", "", with(id(4), "Bearer wrong"))
		ask(http.MethodGet, url+"/account/me", "", id(5))
		ask(http.MethodGet, url+"/empty/stock", "", id(5))
		ask(http.MethodPost, url+"/slow/upload", strings.Repeat("x", 1000*(n%20)), id(6))
	}
	for i := range 3 * (1 - min(1, n%4)) { // every fourth visit: a request that fails, and twice again
		ask(http.MethodGet, url+"/broken/price", "", id(7))
		time.Sleep(time.Duration(50<<i) * time.Millisecond)
	}
	time.Sleep(400 * time.Millisecond)
}

// ask makes a request and returns the status, or 502.
func ask(method, url, body string, h http.Header) int {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	r.Header = h
	answer, err := client.Do(r)
	if err != nil {
		log.Print(err)
		return http.StatusBadGateway
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		log.Print(err)
	}
	return answer.StatusCode
}

// proxy copies each connection that a redirect of netfilter sends here, to its original destination.
func proxy() error {
	l, err := net.Listen("tcp4", ":15001")
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			to, err := originalOf(c.(*net.TCPConn))
			if err != nil {
				log.Print(err)
				return
			}
			server, err := net.Dial("tcp4", to)
			if err != nil {
				log.Print(err)
				return
			}
			defer server.Close()
			go io.Copy(server, c)
			io.Copy(c, server)
		}()
	}
}

// originalOf is the address to which a connection was made before it was redirected: SO_ORIGINAL_DST, a sockaddr_in,
// which has the size and the place of an IPv6 membership.
func originalOf(c *net.TCPConn) (string, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return "", err
	}
	var to string
	refused := raw.Control(func(fd uintptr) {
		var a *unix.IPv6Mreq
		if a, err = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST); err == nil {
			b := a.Multiaddr
			to = net.JoinHostPort(net.IP(b[4:8]).String(), strconv.Itoa(int(b[2])<<8|int(b[3])))
		}
	})
	return to, errors.Join(refused, err)
}

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// get requests each page with a number, the first with n, and returns how many these are.
func get(n int, urls []string) int {
	for i, url := range urls {
		url = fmt.Sprintf("%s?n=%d", url, n+i)
		r, err := client.Get(url)
		if err != nil {
			fmt.Println(err)
			continue
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			fmt.Println(err)
		}
		r.Body.Close()
		fmt.Println(r.Status, url)
	}
	return len(urls)
}
