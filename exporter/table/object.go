package table

// Object is a file that a call carried, or a body too large for table bodies. The file's bytes are
// a body of the call, or a part of one (docs/format/objects.md).
type Object struct {
	SHA256      Hash        `col:"sha256" doc:"SHA-256 of the file's bytes as far as they were captured; if encoding is set, of the bytes before content decoding"`
	Size        int64       `col:"size" unit:"bytes" doc:"bytes that sha256 covers"`
	ContentType Opt[string] `col:"content_type" enc:"dict" doc:"type that the message declares: Content-Type of the message or of the MIME part"`
	Encoding    Opt[string] `col:"encoding" enc:"dict" doc:"content encoding that was not decoded"`
	Complete    bool        `col:"complete" doc:"the whole file was captured: no byte is missing"`
	CallNo      int64       `col:"call_no" doc:"call that carried it"`
	Side        string      `col:"side" enc:"dict" doc:"request (sent to the server: an upload) or response (a download)"`
	Cites       Cites       `col:"cites" unit:"packets" doc:"packets of the call that carried it"`

	ObjectID ID          `col:"object_id" doc:"identity by content: of the call, the side and the part"`
	CallID   ID          `col:"call_id" doc:"call that carried it; see table calls"`
	Protocol string      `col:"protocol" enc:"dict" doc:"protocol of the call"`
	TsNs     int64       `col:"ts_ns" unit:"ns" doc:"time of the call"`
	Ts       Micros      `col:"ts" unit:"us" doc:"ts_ns truncated to microseconds, UTC"`
	Name     Opt[string] `col:"name" doc:"name of the file in the protocol's own words, at most 1 KiB; null if it has none"`
	NamedBy  Opt[string] `col:"named_by" enc:"dict" doc:"where the name comes from: disposition, type (parameter name of Content-Type), url, path, subject"`
	Kind     Opt[string] `col:"detected_type" enc:"dict" doc:"type by content: of the first 3 KiB; null if sha256 covers encoded bytes or nothing"`
	Why      Opt[string] `col:"why" enc:"dict" doc:"why the file is not complete, or its parts are not listed: gap, cut, range (only a part was requested), hole, rewritten, limit, decoding; see docs/format/objects.md"`
	FileFrom Opt[int64]  `col:"file_offset" unit:"bytes" doc:"where the bytes begin in the file, if only a part was requested"`
	Part     Opt[string] `col:"mime_part" doc:"position in a MIME message, such as 2 or 1.2; null for the whole body"`

	BodySHA256 Opt[Hash]   `col:"body_sha256" doc:"body in table bodies that contains the file's bytes; null if that was too large to keep: then the packets have them"`
	BodyFrom   int64       `col:"body_offset" unit:"bytes" doc:"where the file's bytes begin in the body"`
	BodySize   int64       `col:"body_size" unit:"bytes" doc:"number of the file's bytes in the body, before transfer decoding"`
	Transfer   Opt[string] `col:"transfer_encoding" enc:"dict" doc:"transfer encoding of these bytes that must be decoded: base64 or quoted-printable"`
}
