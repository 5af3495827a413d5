// Package dns reads DNS over UDP and TCP, multicast DNS and LLMNR (RFC 1035, 2136, 2181,
// 3596, 4034, 4795, 5936, 6762, 6891, 7766, 9460).
//
// A row is one question message with its answer, paired by message id, direction and question. A
// question repeated before its answer has its own row, and attempt counts the repetitions; the
// answer belongs to the latest one. Messages sent to a group are not answered in the same
// conversation, so each is a row by itself. If a message is damaged, its header, questions and
// the records before the damage are kept. NetBIOS name service messages are left to other
// dissectors.
package dns

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits.
const (
	maxNameWire     = 255       // bytes of a name, RFC 1035 section 2.3.4
	maxPointers     = 126       // compression pointers followed in one name
	maxText         = 256 << 10 // bytes of text decoded from one message
	maxTransfer     = 1 << 20   // bytes of text decoded from one zone transfer
	maxHex          = 4096      // bytes of unknown data shown in hexadecimal
	maxSame         = 512       // pending questions with one id among which that of an answer is looked for
	responseTimeout = 60e9      // ns after which a question counts as unanswered
	maxSummaryName  = 120       // bytes of a name or value in a summary
)

// Row is one question message with its answer.
type Row struct {
	table.Call
	ID          int32             `col:"dns_id" doc:"message id; 0 in multicast DNS"`
	Variant     string            `col:"dns_variant" enc:"dict" doc:"dns, mdns or llmnr, by port"`
	Carrier     table.Opt[string] `col:"dns_carrier" enc:"dict" doc:"encrypted transport of the messages, if keys decrypted it: dot (TLS, RFC 7858), doq (QUIC, RFC 9250) or doh (HTTPS, RFC 8484); null if they were sent in clear text"`
	Opcode      int32             `col:"dns_opcode" doc:"number of the operation; its name is in method"`
	HasRequest  bool              `col:"dns_request" doc:"the question was captured"`
	HasResponse bool              `col:"dns_response" doc:"the answer was captured"`
	Questions   []string          `col:"dns_questions" doc:"names in the questions, as spelled, without the last dot; the zone of an UPDATE"`
	Types       []string          `col:"dns_question_types" doc:"types in the questions, in the order of dns_questions: A, AAAA, HTTPS, TYPE1234"`

	Class       table.Opt[string] `col:"dns_question_class" enc:"dict" doc:"class of the first question: IN, CH, HS, NONE, ANY"`
	Answers     []string          `col:"dns_answers" doc:"values of the answer section: addresses, names, else text as in zone files; empty if the answer has no records"`
	AnswerTypes []string          `col:"dns_answer_types" doc:"types of the answers, in their order"`
	AnswerNames []string          `col:"dns_answer_names" doc:"owner names of the answers, in their order"`
	TTLs        []string          `col:"dns_ttls" doc:"times to live of the answers in seconds, in their order"`
	MinTTL      table.Opt[int64]  `col:"dns_min_ttl" doc:"smallest time to live of the answers in seconds"`

	Authority      []string `col:"dns_authority" doc:"authority section of the answer: name, time to live, type and value of each record"`
	Additional     []string `col:"dns_additional" doc:"additional section of the answer without OPT, in the form of dns_authority"`
	RequestRecords []string `col:"dns_request_records" doc:"records in the question: prerequisites and changes of an UPDATE, known answers and probes of multicast DNS, in the form of dns_authority"`

	AnswerCount     table.Opt[int32] `col:"dns_answer_count" doc:"number of records in the answer section according to the header, over all messages"`
	AuthorityCount  table.Opt[int32] `col:"dns_authority_count" doc:"number of records in the authority section according to the header"`
	AdditionalCount table.Opt[int32] `col:"dns_additional_count" doc:"number of records in the additional section according to the header, with OPT"`
	ResponseParts   table.Opt[int32] `col:"dns_response_messages" doc:"number of messages of the answer; a zone transfer may have many"`
	Flags           []string         `col:"dns_flags" doc:"flags of the answer, or of the question if there was no answer: aa, tc, rd, ra, z, ad, cd, do, and qu for a multicast question that requests a direct answer"`
	EDNSSize        table.Opt[int32] `col:"dns_edns_size" unit:"bytes" doc:"largest UDP answer that the client accepts (EDNS); the server's value if there was no question"`
	EDNSVersion     table.Opt[int32] `col:"dns_edns_version" doc:"EDNS version from the same message as dns_edns_size"`
	EDNSOptions     []string         `col:"dns_edns_options" doc:"EDNS options of both sides as name=value: ecs, cookie, nsid, ede, …; option65001=hex if the number has no name"`
	RequestLength   table.Opt[int64] `col:"dns_request_length" unit:"bytes" doc:"length of the question message"`
	ResponseLength  table.Opt[int64] `col:"dns_response_length" unit:"bytes" doc:"length of the answer messages"`
	TotalSize       int64            `col:"dns_total_size" unit:"bytes" doc:"length of question and answer messages"`

	names   []dissect.NameAnswer
	oneName [1]dissect.NameAnswer // space for the usual number of them
}

// Names returns the addresses that the answer has for the name in the question.
func (r *Row) Names() []dissect.NameAnswer { return r.names }

// Protocol is DNS.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "dns",
		Doc:          "DNS over UDP, TCP, TLS, QUIC and HTTPS, multicast DNS and LLMNR",
		Versions:     "RFC 1035, 4795, 6762, 6891, 7858, 8484, 9250",
		Depth:        "questions with their answers, all record types, EDNS",
		Transports:   []dissect.Transport{dissect.UDP, dissect.TCP},
		Ports:        []uint16{portDNS, portMDNS, portLLMNR},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		New:          newConn,
		Row:          &Row{},
		Traits: table.Traits{Lookup: true, Elsewhere: true, Words: "NULL", Wireshark: "dns",
			Harmless: "status_text = 'NXDOMAIN'"},
	}
}

const (
	portDNS   = 53
	portMDNS  = 5353
	portLLMNR = 5355
)
