package ssdp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// The messages of UPnP Device Architecture 2.0, sections 1.2.2, 1.2.3, 1.3.2 and 1.3.3.
const (
	alive = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age = 1800\r\nLOCATION: http://192.0.2.7:49152/root.xml\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\n" +
		"SERVER: Linux/6.1 UPnP/2.0 shop/1\r\nUSN: uuid:f0e1::upnp:rootdevice\r\nBOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 3\r\nSEARCHPORT.UPNP.ORG: 49153\r\n\r\n"
	byebye = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: upnp:rootdevice\r\nNTS: ssdp:byebye\r\nUSN: uuid:f0e1::upnp:rootdevice\r\n\r\n"
	update = "NOTIFY * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nNT:upnp:rootdevice\r\nNTS:ssdp:update\r\nUSN:uuid:f0e1::upnp:rootdevice\r\nBOOTID.UPNP.ORG:7\r\nNEXTBOOTID.UPNP.ORG:8\r\n\r\n"
	search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\nST: %s\r\nUSER-AGENT: test/1\r\nCPFN.UPNP.ORG: till 3\r\n\r\n"
	found  = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=100\r\nEXT:\r\nLOCATION: http://192.0.2.7:49152/root.xml\r\nSERVER: Linux/6.1 UPnP/2.0 shop/1\r\nST: upnp:rootdevice\r\nUSN: uuid:f0e1::upnp:rootdevice\r\n\r\n"
)

var samples = []dissecttest.Sample{
	{Name: "announcements", Rows: 3, Chunks: chunks{client(alive), client(update), client(byebye)}},
	{Name: "a search", Rows: 3, Chunks: chunks{client(fmt.Sprintf(search, "upnp:rootdevice")), server(found), client(fmt.Sprintf(search, "ssdp:all")), server(found), server(found)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"user_agent", "ssdp_nts", "ssdp_target", "ssdp_usn", "ssdp_location", "ssdp_server", "ssdp_max_age_s", "ssdp_mx_s", "ssdp_boot_id", "ssdp_next_boot_id", "ssdp_config_id", "ssdp_search_port", "ssdp_friendly_name"}
	const response = " ssdp_target=upnp:rootdevice ssdp_usn=uuid:f0e1::upnp:rootdevice ssdp_location=http://192.0.2.7:49152/root.xml ssdp_server=Linux/6.1 UPnP/2.0 shop/1 ssdp_max_age_s=100"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "announcements", Chunks: samples[0].Chunks, Want: []string{
			"NOTIFY ssdp:alive upnp:rootdevice http://192.0.2.7:49152/root.xml ssdp_nts=ssdp:alive ssdp_target=upnp:rootdevice ssdp_usn=uuid:f0e1::upnp:rootdevice ssdp_location=http://192.0.2.7:49152/root.xml " +
				"ssdp_server=Linux/6.1 UPnP/2.0 shop/1 ssdp_max_age_s=1800 ssdp_boot_id=7 ssdp_config_id=3 ssdp_search_port=49153",
			"NOTIFY ssdp:update upnp:rootdevice ssdp_nts=ssdp:update ssdp_target=upnp:rootdevice ssdp_usn=uuid:f0e1::upnp:rootdevice ssdp_boot_id=7 ssdp_next_boot_id=8",
			"NOTIFY ssdp:byebye upnp:rootdevice ssdp_nts=ssdp:byebye ssdp_target=upnp:rootdevice ssdp_usn=uuid:f0e1::upnp:rootdevice"}},
		{Name: "a search for one target", Chunks: samples[1].Chunks[:2], Want: []string{
			"M-SEARCH upnp:rootdevice → http://192.0.2.7:49152/root.xml user_agent=test/1" + response + " ssdp_mx_s=2 ssdp_friendly_name=till 3"}},
		{Name: "the second response to a search for everything is a row of its own", Chunks: chunks{server(found), server(found)}, Want: []string{
			"M-SEARCH upnp:rootdevice → http://192.0.2.7:49152/root.xml" + response, "M-SEARCH upnp:rootdevice → http://192.0.2.7:49152/root.xml" + response}},
		{Name: "a response that is about something else is not paired", Chunks: chunks{client(fmt.Sprintf(search, "urn:x")), server(found)}, End: dissect.EndTimeout, Want: []string{
			"M-SEARCH upnp:rootdevice → http://192.0.2.7:49152/root.xml" + response,
			"M-SEARCH urn:x → no_response error=no_response outcome=no_answer user_agent=test/1 ssdp_target=urn:x ssdp_mx_s=2 ssdp_friendly_name=till 3"}},
		{Name: "an error", Chunks: chunks{client(fmt.Sprintf(search, "a")), server("HTTP/1.1 412 Precondition Failed\r\nST: a\r\nUSN: b\r\n\r\n")}, Want: []string{
			"M-SEARCH a → 412 Precondition Failed outcome=client_error user_agent=test/1 ssdp_target=a ssdp_usn=b ssdp_mx_s=2 ssdp_friendly_name=till 3"}},
		{Name: "without the end of the head", Chunks: chunks{client("NOTIFY * HTTP/1.1\nNT: a\nNTS: ssdp:alive")}, Want: []string{"NOTIFY ssdp:alive a ssdp_nts=ssdp:alive ssdp_target=a"}},
	}...)
}

// TestGroup plays a search of a group: nobody answers in its conversation.
func TestGroup(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{Protocol()}, Transport: dissect.UDP, ServerPort: 1900, Multicast: true, End: dissect.EndTimeout}, client(fmt.Sprintf(search, "ssdp:all")))
	if got := dissecttest.Lines(r); got != "0 M-SEARCH ssdp:all complete\n" {
		t.Errorf("%q", got)
	}
}

// TestLimits reads a message with too many header fields, and one with a line that is not one.
func TestLimits(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client("NOTIFY * HTTP/1.1\r\nNT: a\r\nbad\r\n"+strings.Repeat("X: y\r\n", 70)+"\r\n"))
	if n := len(r.Rows()[0].Base().Headers); n != maxHeaders || dissecttest.Kinds(r) != "headers_dropped malformed" {
		t.Errorf("%d header fields, anomalies %s", n, dissecttest.Kinds(r))
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"an announcement", dissect.ToServer, alive, dissect.Yes},
		{"a search", dissect.ToServer, fmt.Sprintf(search, "ssdp:all"), dissect.Yes},
		{"a search by the other side", dissect.ToClient, fmt.Sprintf(search, "ssdp:all"), dissect.Likely},
		{"a response", dissect.ToClient, found, dissect.Yes},
		{"a response to the server", dissect.ToServer, found, dissect.No},
		{"a response of HTTP", dissect.ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", dissect.No},
		{"a notification of SIP", dissect.ToServer, "NOTIFY sip:a@b SIP/2.0\r\n\r\n", dissect.No},
		{"nothing", dissect.ToServer, "", dissect.No},
	})
}
