// Command talk is the workload of scripts/e2e.sh: it serves HTTP and HTTPS with a self-signed
// certificate, or requests pages repeatedly.
//
//	talk serve          port 8080 in clear, port 8443 over TLS
//	talk get URL...     each of them twice a second, on a connection of its own, with a number: ?n=1
//	                    and so on; prints the status and the URL
//	talk fail CODE      ends with this exit code after a second
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("talk: want serve, get or fail")
	}
	switch os.Args[1] {
	case "serve":
		log.Fatal(serve())
	case "get":
		get(os.Args[2:])
	case "fail":
		time.Sleep(time.Second)
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		os.Exit(code)
	}
}

func serve() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"talk"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return err
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "page", r.URL.Path) })
	secure := &http.Server{Addr: ":8443", Handler: page, TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	ended := make(chan error, 2)
	go func() { ended <- secure.ListenAndServeTLS("", "") }()
	go func() { ended <- http.ListenAndServe(":8080", page) }()
	return <-ended
}

func get(urls []string) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for n := 1; ; time.Sleep(500 * time.Millisecond) {
		for _, url := range urls {
			url = fmt.Sprintf("%s?n=%d", url, n)
			n++
			r, err := c.Get(url)
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
	}
}
