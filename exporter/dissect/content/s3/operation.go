package s3

import (
	"net/url"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
)

// plain are the operations without a sub-resource: of the service, of a bucket, of an object.
var plain = [3]map[string]string{
	{"GET": "ListBuckets"},
	{"GET": "ListObjects", "PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket", "POST": "PostObject"},
	{"GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject", "HEAD": "HeadObject", "POST": "PostObject", "OPTIONS": "OptionsObject"},
}

// subresources are words of the query that name the subject of a call. A bucket's and an object's
// operations have the verb before the noun.
var subresources = []struct{ word, bucket, object string }{
	{"uploads", "", ""}, {"uploadId", "", ""}, {"delete", "", ""}, {"select", "", ""}, {"attributes", "", "ObjectAttributes"},
	{"acl", "BucketAcl", "ObjectAcl"}, {"tagging", "BucketTagging", "ObjectTagging"}, {"retention", "", "ObjectRetention"}, {"legal-hold", "", "ObjectLegalHold"},
	{"torrent", "", "ObjectTorrent"}, {"restore", "", ""}, {"versions", "", ""}, {"versioning", "BucketVersioning", ""}, {"policy", "BucketPolicy", ""},
	{"policyStatus", "BucketPolicyStatus", ""}, {"lifecycle", "BucketLifecycleConfiguration", ""}, {"location", "BucketLocation", ""}, {"cors", "BucketCors", ""},
	{"encryption", "BucketEncryption", ""}, {"logging", "BucketLogging", ""}, {"notification", "BucketNotificationConfiguration", ""},
	{"replication", "BucketReplication", ""}, {"website", "BucketWebsite", ""}, {"object-lock", "ObjectLockConfiguration", ""},
	{"ownershipControls", "BucketOwnershipControls", ""}, {"publicAccessBlock", "PublicAccessBlock", ""}, {"inventory", "BucketInventoryConfiguration", ""},
	{"metrics", "BucketMetricsConfiguration", ""}, {"analytics", "BucketAnalyticsConfiguration", ""}, {"accelerate", "BucketAccelerateConfiguration", ""},
	{"requestPayment", "BucketRequestPayment", ""}, {"intelligent-tiering", "BucketIntelligentTieringConfiguration", ""},
}

var verbs = map[string]string{"GET": "Get", "PUT": "Put", "DELETE": "Delete"}

// operation is the name of the operation in the API, or "" if there is none.
func operation(x *content.Exchange, bucket, key string, query url.Values) string {
	method := x.Method.V
	level := 0
	if bucket != "" {
		level = 1
	}
	if key != "" {
		level = 2
	}
	for _, s := range subresources {
		if !query.Has(s.word) {
			continue
		}
		if op := special(method, s.word, level, query, x); op != "" {
			return op
		}
		noun := s.bucket
		if level == 2 {
			noun = s.object
		}
		if noun != "" && verbs[method] != "" {
			return verbs[method] + noun
		}
	}
	op := plain[level][method]
	switch {
	case op == "ListObjects" && query.Get("list-type") == "2":
		op = "ListObjectsV2"
	case op == "PutObject" && x.Header(httpfield.Request, "X-Amz-Copy-Source") != "":
		op = "CopyObject"
	}
	return op
}

// special are operations whose names follow no rule.
func special(method, word string, level int, query url.Values, x *content.Exchange) string {
	switch word + " " + method {
	case "uploads GET":
		return "ListMultipartUploads"
	case "uploads POST":
		return "CreateMultipartUpload"
	case "uploadId GET":
		return "ListParts"
	case "uploadId POST":
		return "CompleteMultipartUpload"
	case "uploadId DELETE":
		return "AbortMultipartUpload"
	case "uploadId PUT":
		if x.Header(httpfield.Request, "X-Amz-Copy-Source") != "" {
			return "UploadPartCopy"
		}
		return "UploadPart"
	case "delete POST":
		return "DeleteObjects"
	case "select POST":
		return "SelectObjectContent"
	case "restore POST":
		return "RestoreObject"
	case "versions GET":
		if level == 1 {
			return "ListObjectVersions"
		}
	}
	if strings.Contains("inventory metrics analytics intelligent-tiering", word) && method == "GET" && !query.Has("id") {
		for _, s := range subresources {
			if s.word == word {
				return "List" + s.bucket + "s"
			}
		}
	}
	return ""
}
