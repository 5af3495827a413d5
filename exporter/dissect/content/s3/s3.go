// Package s3 reads calls of object stores that speak Amazon's S3: operation, bucket and key from
// method, host, path and query, and the error code from the answer.
package s3

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "s3",
	Doc:      "Amazon S3 and compatible object stores",
	Versions: "S3 REST API",
	Depth:    "operation, bucket, key, version, error code",
	Inside:   []string{"http"},
}

// Access is the operation and its object.
type Access struct {
	Operation table.Opt[string] `col:"s3_operation" enc:"dict" doc:"operation by its name in the API, such as GetObject. Not null in every S3 call"`
	Bucket    table.Opt[string] `col:"s3_bucket" enc:"dict" doc:"bucket, of the host name or of the path"`
	Key       table.Opt[string] `col:"s3_key" doc:"key of the object, decoded; of a list, the prefix"`
	Version   table.Opt[string] `col:"s3_version_id" doc:"version of the object that the request names, else of the answer"`
	Error     table.Opt[string] `col:"s3_error" enc:"dict" doc:"Code of the error, such as NoSuchKey; of DeleteObjects, the first"`
	RequestID table.Opt[string] `col:"s3_request_id" doc:"x-amz-request-id of the answer"`
}

const maxKey = 1024 // bytes, as S3 allows

// Read implements content.Reader.
func Read(x *content.Exchange, a *Access) bool {
	if x.Socket {
		return false
	}
	form, byForm := posted(x)
	if !byForm && !signed(x) {
		return false
	}
	query, _ := url.ParseQuery(x.Query.V[:min(len(x.Query.V), 8<<10)])
	bucket, key := target(x, query)
	if byForm {
		key = form
	}
	op := operation(x, bucket, key, query)
	if op == "" || bucket == "" && key == "" && aliased(x) {
		return false
	}
	a.Operation, a.Bucket = table.Some(op), content.Some(bucket)
	if key == "" {
		key = query.Get("prefix")
	}
	a.Key = table.NonEmpty(clip.Text(key, maxKey))
	if a.Version = content.Some(query.Get("versionId")); !a.Version.OK {
		a.Version = content.Some(x.Header(httpfield.Response, "X-Amz-Version-Id"))
	}
	a.RequestID = content.Some(x.Header(httpfield.Response, "X-Amz-Request-Id"))
	a.Error = content.Some(failure(x, op))
	what := strings.TrimSpace("S3 " + op + " " + bucket)
	endpoint := what
	switch {
	case key != "" && bucket == "":
		what += " /" + key
	case key != "":
		what += "/" + key
	}
	x.Name(what, endpoint)
	if a.Error.OK {
		x.Add(", " + a.Error.V)
		x.Fail(outcome(a.Error.V), a.Error.V)
	}
	return true
}

// presigned reports whether a query has a signature of version 2, which S3 alone has without a version and an action.
func presigned(query string) bool {
	if !strings.Contains(query, "AWSAccessKeyId=") || len(query) > 8<<10 {
		return false
	}
	q, _ := url.ParseQuery(query)
	return q.Has("AWSAccessKeyId") && q.Has("Signature") && q.Has("Expires") && !q.Has("SignatureVersion") && !q.Has("Action")
}

// signed reports whether an exchange has what only this API has: a signature for service s3, or the
// headers that its servers put into each answer.
func signed(x *content.Exchange) bool {
	auth := x.Header(httpfield.Request, "Authorization")
	scope := auth
	if auth == "" && strings.Contains(x.Query.V, "X-Amz-Credential=") {
		scope = strings.ReplaceAll(x.Query.V, "%2F", "/")
	}
	if strings.Contains(scope, "/s3/aws4_request") || strings.HasPrefix(auth, "AWS ") || auth == "" && presigned(x.Query.V) {
		return true
	}
	return x.Header(httpfield.Response, "X-Amz-Request-Id") != "" && (x.Header(httpfield.Response, "X-Amz-Id-2") != "" || x.Header(httpfield.Response, "Server") == "AmazonS3")
}

// posted is the key of an upload by a signed form (POST Object), if the exchange is one.
func posted(x *content.Exchange) (key string, ok bool) {
	const before, most = 10, 16 << 10 // forms have about 10 fields before the file
	if x.Method.V != "POST" || x.Request.Type != "multipart/form-data" || x.Query.V != "" {
		return "", false
	}
	_, params, err := mime.ParseMediaType(x.RequestContentType.V)
	if err != nil {
		return "", false
	}
	body := x.Request.Bytes()
	form := multipart.NewReader(bytes.NewReader(body[:min(len(body), most)]), params["boundary"])
	policy, signature := false, false
	for range 2 * before {
		part, err := form.NextRawPart()
		if err != nil {
			break
		}
		switch strings.ToLower(part.FormName()) {
		case "file":
			return key, key != "" && policy && signature
		case "key":
			b, _ := io.ReadAll(io.LimitReader(part, maxKey))
			key = string(b)
		case "policy":
			policy = true
		case "signature", "x-amz-signature":
			signature = true
		}
	}
	return "", false
}

// target splits host and path into bucket and key. The path has the bucket, unless the host has it, as the domain, the
// request or the response shows.
func target(x *content.Exchange, query url.Values) (bucket, key string) {
	path, err := url.PathUnescape(x.Path.V)
	if err != nil {
		path = x.Path.V
	}
	path = strings.TrimPrefix(path, "/")
	if b := hosted(x.Host.V); b != "" {
		return b, path
	}
	if aliased(x) {
		return "", path
	}
	if label := firstLabel(x.Host.V); label != "" && (path == "" && ofBucket(x, query) || path != "" && keyOf(x) == path) {
		return label, path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// aliased reports whether a name of another domain leads to a bucket of Amazon, which nothing names then: a CNAME, or a
// content delivery network, which may put its own name into Server. Amazon reads a bucket from the path only under its own
// names.
func aliased(x *content.Exchange) bool {
	host, _, _ := strings.Cut(x.Host.V, ":")
	for _, end := range domains {
		if strings.HasSuffix(host, end) {
			return false
		}
	}
	return host != "" && (x.Header(httpfield.Response, "Server") == "AmazonS3" || ofAmazon(x.Header(httpfield.Response, "X-Amz-Id-2")))
}

// ofAmazon reports whether an X-Amz-Id-2 has Amazon's form: base64 of dozens of bytes. MinIO sends a SHA-256 in hexadecimal.
func ofAmazon(id string) bool {
	_, hexadecimal := hex.DecodeString(id)
	b, err := base64.StdEncoding.DecodeString(id)
	return hexadecimal != nil && err == nil && len(b) >= 40
}

// firstLabel is the first label of a host name that has several, or "".
func firstLabel(host string) string {
	label, _, ok := strings.Cut(host, ".")
	if _, err := netip.ParseAddr(host); !ok || err == nil {
		return ""
	}
	return label
}

// ofBucket reports whether a request for the path / is one of a bucket: of the service there is only GET, for a list of
// buckets.
func ofBucket(x *content.Exchange, query url.Values) bool {
	if x.Method.V != "GET" {
		return true
	}
	for _, s := range subresources {
		if query.Has(s.word) {
			return true
		}
	}
	return query.Has("list-type") || query.Has("delimiter") || bytes.Contains(x.Response.Bytes(), []byte("<ListBucketResult"))
}

// keyOf is the key that a response names: that of an error, or of an upload in parts.
func keyOf(x *content.Exchange) string {
	if !strings.HasSuffix(x.Response.Type, "xml") {
		return ""
	}
	const most = 64 << 10
	body := x.Response.Bytes()
	body = body[:min(len(body), most)]
	for _, root := range []string{"<Error>", "<InitiateMultipartUploadResult", "<CompleteMultipartUploadResult", "<ListPartsResult"} {
		if _, in, ok := bytes.Cut(body, []byte(root)); ok {
			_, in, _ = bytes.Cut(in, []byte("<Key>"))
			key, _, ok := bytes.Cut(in, []byte("</Key>"))
			if !ok {
				return ""
			}
			return html.UnescapeString(string(key)) // XML has 5 of these names, and the same numbers
		}
	}
	return ""
}

// hosted is the bucket in a host name such as photos.s3.eu-west-1.amazonaws.com or photos.s3.shop.example.
func hosted(host string) string {
	if i := strings.Index(host, ".s3."); i > 0 {
		return host[:i]
	}
	for _, end := range domains {
		if !strings.HasSuffix(host, end) {
			continue
		}
		for _, mark := range []string{".s3.", ".s3-", ".storage."} {
			if i := strings.Index("."+host, mark); i > 0 {
				return host[:i-1]
			}
		}
		if bucket, _, ok := strings.Cut(host, "."); ok && end == ".digitaloceanspaces.com" && strings.Count(host, ".") > 2 {
			return bucket
		}
	}
	return ""
}

var domains = []string{".amazonaws.com", ".amazonaws.com.cn", ".backblazeb2.com", ".digitaloceanspaces.com", ".googleapis.com", ".wasabisys.com"}

// failure is the code of an error in the answer.
func failure(x *content.Exchange, op string) string {
	multi := op == "DeleteObjects" || op == "CompleteMultipartUpload" || op == "CopyObject" || op == "UploadPartCopy" // errors in a 200
	if x.StatusCode.V < 300 && !multi || !strings.HasSuffix(x.Response.Type, "xml") {
		return ""
	}
	body := string(x.Response.Bytes())
	_, in, ok := strings.Cut(body, "<Error>")
	if !ok {
		return ""
	}
	_, code, _ := strings.Cut(in, "<Code>")
	code, _, ok = strings.Cut(code, "</Code>")
	if !ok || len(code) > 100 {
		return ""
	}
	return code
}

// outcome is the outcome of an error in a 200.
func outcome(code string) string {
	switch code {
	case "InternalError", "ServiceUnavailable", "SlowDown":
		return table.ServerError
	}
	return table.ClientError
}
