package store

import (
	"errors"
	"testing"
)

// TestMissingAccount opens a store of S3 as somebody who has set nothing.
func TestMissingAccount(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, tt := range []struct {
		region string
		want   error
	}{{"", ErrRegion}, {"eu-central-1", ErrCredentials}} {
		t.Setenv("AWS_REGION", tt.region)
		s, err := Open(t.Context(), "s3://evidence")
		if err == nil {
			_, err = s.List(t.Context())
			s.Close()
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("region %q: %v, want: %v", tt.region, err, tt.want)
		}
	}
}
