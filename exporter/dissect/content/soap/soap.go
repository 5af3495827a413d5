// Package soap reads SOAP 1.1 and 1.2 over HTTP: the action, and faults.
package soap

import (
	"bytes"
	"encoding/xml"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "soap",
	Doc:      "SOAP calls and faults",
	Versions: "1.1 and 1.2",
	Depth:    "action, operation, faults",
	Inside:   []string{"http"},
}

// Envelope is a request with its answer.
type Envelope struct {
	Action    table.Opt[string] `col:"soap_action" enc:"dict" doc:"SOAPAction header, or action parameter of the content type; without quotes"`
	Operation table.Opt[string] `col:"soap_operation" enc:"dict" doc:"name of the first element in the request's body. Not null in every SOAP call"`
	Version   table.Opt[string] `col:"soap_version" enc:"dict" doc:"1.1 or 1.2"`
	FaultCode table.Opt[string] `col:"soap_fault_code" enc:"dict" doc:"code of the fault, without its prefix, such as Client or Sender"`
	Fault     table.Opt[string] `col:"soap_fault" doc:"text of the fault"`
}

// Name spaces of the envelope.
var versions = map[string]string{"http://schemas.xmlsoap.org/soap/envelope/": "1.1", "http://www.w3.org/2003/05/soap-envelope": "1.2"}

const maxTokens = 2000 // of XML that are read of one message

// Read implements content.Reader.
func Read(x *content.Exchange, e *Envelope) bool {
	if x.Socket || x.Method.V != "POST" || x.Request.Type != "text/xml" && x.Request.Type != "application/soap+xml" && x.Request.Type != related {
		return false
	}
	asked := parse(envelope(&x.Request, x.RequestContentType.V))
	if asked.version == "" || asked.operation == "" {
		return false
	}
	e.Version, e.Operation = table.Some(asked.version), content.Some(asked.operation)
	e.Action = content.Some(strings.Trim(x.Header(httpfield.Request, "SOAPAction"), `"`))
	if _, action, ok := strings.Cut(x.RequestContentType.V, "action="); ok && !e.Action.OK {
		action, _, _ = strings.Cut(action, ";")
		e.Action = content.Some(strings.Trim(strings.TrimSpace(action), `"`))
	}
	x.Name("SOAP "+e.Operation.V, x.EndpointOf()+" "+e.Operation.V)
	if strings.HasSuffix(x.Response.Type, "xml") || x.Response.Type == related {
		if a := parse(envelope(&x.Response, x.ResponseContentType.V)); a.version != "" && a.operation == "Fault" {
			e.FaultCode, e.Fault = content.Some(a.code), content.Some(a.text)
			x.Add(", fault " + a.code)
			outcome := table.ServerError
			switch kind, _, _ := strings.Cut(a.code, "."); kind { // Client.Authentication is a kind of Client (SOAP 1.1 section 4.4.1)
			case "Client", "Sender", "MustUnderstand", "VersionMismatch":
				outcome = table.ClientError
			}
			x.Outcome = "" // HTTP says 500 for every fault
			x.Fail(outcome, a.code)
		}
	}
	return true
}

// related is the type of an envelope with attachments: MTOM, and SOAP Messages with Attachments.
const related = "multipart/related"

const maxParts = 16 // that may be before the envelope

// envelope is a body, or its root part if it is related (RFC 2387 section 3).
func envelope(b *content.Body, contentType string) []byte {
	if b.Type != related {
		return b.Bytes()
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasSuffix(strings.ToLower(params["type"]), "xml") {
		return nil
	}
	parts := multipart.NewReader(bytes.NewReader(b.Bytes()), params["boundary"])
	for range maxParts {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil
		}
		if start := params["start"]; start == "" || part.Header.Get("Content-ID") == start {
			text, _ := io.ReadAll(part) // what was captured of it
			return text
		}
	}
	return nil
}

// message has the fields that are read from an envelope.
type message struct{ version, operation, code, text string }

// parse reads an envelope up to the first element of its body, and in a fault, its code and text.
func parse(b []byte) (m message) {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	var path []string
	for range maxTokens {
		token, err := d.RawToken()
		if err != nil {
			return m
		}
		switch t := token.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			switch {
			case len(path) > 16:
				return m
			case len(path) == 1:
				if t.Name.Local != "Envelope" {
					return m
				}
				for _, a := range t.Attr {
					if v := versions[a.Value]; v != "" {
						m.version = v
					}
				}
			case len(path) == 3 && path[1] == "Body":
				if m.operation = t.Name.Local; m.operation != "Fault" {
					return m
				}
			}
		case xml.CharData:
			m.inFault(path, strings.TrimSpace(string(t[:min(len(t), 1024)])))
		case xml.EndElement:
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
		}
	}
	return m
}

// inFault reads text of a fault in both versions.
func (m *message) inFault(path []string, text string) {
	if m.operation != "Fault" || text == "" {
		return
	}
	switch strings.Join(path[min(len(path), 3):], "/") {
	case "faultcode", "Code/Value":
		m.code = text[strings.LastIndexByte(text, ':')+1:]
	case "faultstring", "Reason/Text":
		m.text = text
	}
}
