// Package objects keeps immutable objects in one S3 bucket under one prefix: put once, get, list.
//
// The guarantee is that an object, once written, is never replaced: [Store.PutOnce] sends If-None-Match: *, which S3
// answers with 412 when the key is taken, and the caller learns so from an [*ExistsError]. A request that timed out may
// have been carried out all the same; repeating it is safe, and the 412 that may then follow is settled by comparing
// what is stored with what was to be stored. Bodies travel with a CRC-32C, which S3 checks before it answers, keeps, and
// returns with the object: [Store.Get] holds what it received against it.
//
// The package is the only importer of the S3 client and the only place where its errors are looked into: every error
// leaves as an [*ExistsError], a [*NotFoundError] or an [*Error] with its class.
package objects

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Config says where objects are kept and how long a request may take.
type Config struct {
	Bucket string // required
	// Prefix stands before every key, with a slash between; callers never see it. Without slashes at its ends, and
	// empty for none.
	Prefix string
	// KMSKey is the ARN of the key or alias in AWS KMS that S3 encrypts what is put with (SSE-KMS). Empty: the bucket's own
	// default decides.
	KMSKey string
	// Attempts bounds the requests sent for one operation, 3 if zero. Callers with a retry loop of their own use 1.
	Attempts int
	// Timeout bounds one operation with all its attempts, and one page of a listing; 30 s if zero.
	Timeout time.Duration
}

// Pauses between the attempts of one operation are drawn from zero up to this much.
const maxBackoff = time.Second

// Store reads and writes the objects below one prefix. It is safe for concurrent use.
type Store struct {
	client  *s3.Client
	bucket  string
	prefix  string // empty, or ending in a slash
	kmsKey  string // empty for the bucket's default
	timeout time.Duration
}

// Object is an entry of a listing.
type Object struct {
	Key      string // without the store's prefix
	Size     int64  // bytes
	Modified time.Time
}

// New makes a store. Region, credentials and endpoint come from conf as config.LoadDefaultConfig fills it, so that
// AWS_ENDPOINT_URL_S3 is honoured; retry mode and attempts are the store's own, whatever conf says.
func New(conf aws.Config, c Config) (*Store, error) {
	switch {
	case c.Bucket == "":
		return nil, errors.New("object store: bucket must not be empty")
	case strings.HasPrefix(c.Prefix, "/") || strings.HasSuffix(c.Prefix, "/"):
		return nil, fmt.Errorf("object store: prefix %q must not begin or end with a slash", c.Prefix)
	case c.Attempts < 0 || c.Timeout < 0:
		return nil, fmt.Errorf("object store: attempts %d and timeout %s must not be negative", c.Attempts, c.Timeout)
	}
	attempts := cmp.Or(c.Attempts, 3)
	client := s3.NewFromConfig(conf, func(o *s3.Options) {
		o.RetryMode = aws.RetryModeStandard
		o.RetryMaxAttempts = attempts
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts = attempts
			r.MaxBackoff = maxBackoff
		})
		// The SDK chooses path style by itself only when the endpoint's host is an IP address. Whoever names an endpoint
		// by name (localhost, a compose service, a gateway) rarely has DNS for bucket.host; S3's own interface endpoints
		// take path style too.
		o.UsePathStyle = o.UsePathStyle || o.BaseEndpoint != nil
		// Objects of other writers may have no checksum. That is no news for our log, let alone in the SDK's format.
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	s := &Store{client: client, bucket: c.Bucket, kmsKey: c.KMSKey, timeout: cmp.Or(c.Timeout, 30*time.Second)}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	return s, nil
}

// Location returns the address of a key for people, such as "s3://bucket/prefix/key".
func (s *Store) Location(key string) string { return "s3://" + s.bucket + "/" + s.prefix + key }

// PutOnce writes an object unless there is one under the key already, which is an [*ExistsError]: perhaps of an earlier
// attempt that seemed to fail. When it returns nil the object is durable.
func (s *Store) PutOnce(ctx context.Context, key string, body []byte, contentType string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	in := &s3.PutObjectInput{
		Bucket:            &s.bucket,
		Key:               aws.String(s.prefix + key),
		Body:              bytes.NewReader(body),
		ContentType:       &contentType,
		IfNoneMatch:       aws.String("*"),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c,
	}
	if s.kmsKey != "" {
		// With a bucket key S3 asks KMS once in a while and not for every object.
		in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled = types.ServerSideEncryptionAwsKms, &s.kmsKey, aws.Bool(true)
	}
	_, err := s.client.PutObject(ctx, in)
	if err != nil {
		return s.failed("put", key, err)
	}
	return nil
}

// Get returns a whole object, its checksum verified where S3 keeps one. A missing object is a [*NotFoundError].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket:       &s.bucket,
		Key:          aws.String(s.prefix + key),
		ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return nil, s.failed("get", key, err)
	}
	defer out.Body.Close()
	var body bytes.Buffer
	if n := aws.ToInt64(out.ContentLength); n > 0 {
		body.Grow(int(n))
	}
	if _, err := io.Copy(&body, out.Body); err != nil {
		return nil, s.failed("get", key, &bodyError{err})
	}
	return body.Bytes(), nil
}

// List returns the objects whose keys begin with prefix, in the order of their keys, reading one page of up to 1,000 at
// a time. An error is the last thing it yields.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
			Bucket: &s.bucket,
			Prefix: aws.String(s.prefix + prefix),
		})
		for pages.HasMorePages() {
			page, err := s.page(ctx, pages)
			if err != nil {
				yield(Object{}, s.failed("list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				object := Object{
					Key:      strings.TrimPrefix(aws.ToString(o.Key), s.prefix),
					Size:     aws.ToInt64(o.Size),
					Modified: aws.ToTime(o.LastModified),
				}
				if !yield(object, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) page(ctx context.Context, pages *s3.ListObjectsV2Paginator) (*s3.ListObjectsV2Output, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return pages.NextPage(ctx)
}

// CheckBucket tells whether the bucket is there and may be used by the configured identity. A bucket that is missing,
// belongs to another region or refuses access is an [*Error] of class [Fatal].
func (s *Store) CheckBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket})
	if _, absent := errors.AsType[*types.NotFound](err); absent {
		return s.failed("check", "", fmt.Errorf("the bucket does not exist: create it, Penstock creates no buckets: %w", err))
	}
	if err != nil {
		return s.failed("check", "", err)
	}
	return nil
}
