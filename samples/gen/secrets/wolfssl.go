package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// peerDTLS13 names the variable with the program that wolfssl/build.sh makes.
const peerDTLS13 = "PCAPSULE_WOLFSSL"

// wolf configures two ends of wolfSSL for DTLS 1.3.
type wolf struct {
	suite, cipher string
	features      string
	flags         string
	plan          []string
}

func (w wolf) make(l *lab, h *shot) error {
	program := os.Getenv(peerDTLS13)
	if program == "" {
		return errors.New("needs a program that speaks DTLS 1.3; hint: build it with wolfssl/build.sh and name it in " + peerDTLS13)
	}
	flags := strings.Fields(w.flags)
	s, err := l.start(nil, append([]string{program, "server", strconv.Itoa(h.port), w.cipher}, flags...)...)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := upUDP(h.port); err != nil {
		return err
	}
	c, err := l.start([]string{"SSLKEYLOGFILE=" + h.keyfile()}, append([]string{program, "client", strconv.Itoa(h.port), w.cipher}, flags...)...)
	if err != nil {
		return err
	}
	if w.plan == nil {
		w.plan = []string{"sensor 17: what is the limit?", "sensor 17: 22.0 degrees"}
	}
	sent, err := echoed(c, w.plan)
	if err != nil {
		c.kill()
		return err
	}
	time.Sleep(settle)
	c.in.Close()
	if err := c.end(patient); err != nil {
		return err
	}
	if out, _ := c.said(); !bytes.Equal(out, sent) {
		return fmt.Errorf("the server echoed %q of %q", out, sent)
	}
	features := w.features
	if features == "" {
		features = "-"
	}
	h.note(row{layer: "dtls", version: "DTLS 1.3", suite: w.suite, features: features, protocol: "-"}, sent, sent)
	return nil
}

func wolfAll() (all []scenario) {
	const aes, aes256, chacha, ccm = "TLS13-AES128-GCM-SHA256", "TLS13-AES256-GCM-SHA384", "TLS13-CHACHA20-POLY1305-SHA256", "TLS13-AES128-CCM-SHA256"
	rekeys := []string{"one before the new keys", "^rekey^", "two after the client's", "three after the server's", "^rekey^", "four"}
	for _, w := range []wolf{
		{suite: "TLS_AES_128_GCM_SHA256", cipher: aes},
		{suite: "TLS_AES_256_GCM_SHA384", cipher: aes256},
		{suite: "TLS_CHACHA20_POLY1305_SHA256", cipher: chacha},
		{suite: "TLS_AES_128_CCM_SHA256", cipher: ccm},
		{suite: "TLS_AES_128_CCM_8_SHA256", cipher: "TLS13-AES128-CCM-8-SHA256"},
		{suite: "TLS_AES_128_GCM_SHA256", cipher: aes, features: "connection_id", flags: "cid"},
		{suite: "TLS_AES_128_GCM_SHA256", cipher: aes, features: "key_update", flags: "update", plan: rekeys},
		{suite: "TLS_CHACHA20_POLY1305_SHA256", cipher: chacha, features: "key_update,connection_id", flags: "update cid", plan: rekeys},
		{suite: "TLS_AES_256_GCM_SHA384", cipher: aes256, features: "retry", flags: "group"},
	} {
		all = append(all, scenario{name("wolfssl", "DTLS 1.3", suiteShort(w.suite), w.features), w.make})
	}
	return all
}
