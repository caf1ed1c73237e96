package objects

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// GetHead returns the first n bytes of an object at most. A missing object is a [*NotFoundError]. S3 keeps its checksum
// for the whole, so none is verified.
func (s *Store) GetHead(ctx context.Context, key string, n int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.bucket,
		Key:    aws.String(s.prefix + key),
		Range:  aws.String(fmt.Sprintf("bytes=0-%d", n-1)),
	}, func(o *s3.Options) { o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired })
	if err != nil {
		return nil, s.failed("get", key, err)
	}
	defer out.Body.Close()
	// A server may answer with the whole, which RFC 9110 allows.
	head, err := io.ReadAll(io.LimitReader(out.Body, int64(n)))
	if err != nil {
		return nil, s.failed("get", key, &bodyError{err})
	}
	return head, nil
}

// Folders returns what stands between prefix and the next slash in the keys that begin with prefix: each once, in order.
func (s *Store) Folders(ctx context.Context, prefix string) ([]string, error) {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
		Bucket:    &s.bucket,
		Prefix:    aws.String(s.prefix + prefix),
		Delimiter: aws.String("/"),
	})
	var out []string
	for pages.HasMorePages() {
		page, err := s.page(ctx, pages)
		if err != nil {
			return nil, s.failed("list", prefix, err)
		}
		for _, p := range page.CommonPrefixes {
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), s.prefix+prefix), "/"))
		}
	}
	return out, nil
}
