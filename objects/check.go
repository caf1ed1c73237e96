package objects

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"penstock/diagnosis"
)

const (
	system = "s3"
	// checked is the key that rights are asked for with. No object is ever written under it.
	checked = "penstock-check"
)

// Diagnose finds out whether the bucket is there and whether the configured identity may put and get objects below the
// prefix. It writes nothing.
func (s *Store) Diagnose(ctx context.Context) []diagnosis.Finding {
	err := s.CheckBucket(ctx)
	bucket := s.bucketFinding(err)
	findings := []diagnosis.Finding{bucket}
	if bucket.Level == diagnosis.Missing || bucket.Level == diagnosis.Unreachable || bucket.Level == diagnosis.Different {
		return findings
	}
	if bucket.Level == diagnosis.Denied { // S3 then answers that an absent key is forbidden, whatever else is allowed
		get := s.right("s3:GetObject", nil)
		get.Level, get.Found, get.Do = diagnosis.Warn, "could not be asked for without s3:ListBucket", "allow s3:ListBucket and check again"
		return append(findings, get, s.right("s3:PutObject", s.putNothing(ctx)))
	}
	_, err = s.Get(ctx, checked)
	if _, absent := errors.AsType[*NotFoundError](err); absent {
		err = nil
	}
	put := s.right("s3:PutObject", s.putNothing(ctx))
	findings = append(findings, s.right("s3:GetObject", err), put)
	if s.kmsKey != "" && put.Level == diagnosis.OK {
		findings = append(findings, s.diagnoseKey(ctx)...)
	}
	return findings
}

// diagnoseKey finds out whether the key may be used, without an object: S3 asks KMS for a data key when an upload in parts
// begins, and for its decryption when a part comes
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html). The upload is aborted.
func (s *Store) diagnoseKey(ctx context.Context) []diagnosis.Finding {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	upload, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + checked),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &s.kmsKey, BucketKeyEnabled: aws.Bool(true),
	})
	generates := s.keyRight(generateKey, err)
	if err != nil {
		return []diagnosis.Finding{generates}
	}
	_, err = s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + checked), UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte{0}),
	})
	findings := []diagnosis.Finding{generates, s.keyRight(decrypt, err)}
	_, err = s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: aws.String(s.prefix + checked), UploadId: upload.UploadId})
	if err != nil {
		f := s.right("s3:AbortMultipartUpload", err)
		f.Level, f.Found = diagnosis.Warn, "is not allowed: an unfinished upload of one byte was left"
		f.Do = "allow it to whoever checks, or let a lifecycle rule of the bucket abort unfinished uploads"
		findings = append(findings, f)
	}
	return findings
}

// keyRight is the finding on a right to the key. S3 may be asked to put objects here already, so a refusal is the key's.
func (s *Store) keyRight(action string, err error) diagnosis.Finding {
	name := action + " on " + s.kmsKey
	if err == nil {
		return diagnosis.Finding{System: system, Item: "right", Name: name, Level: diagnosis.OK, Found: "is allowed"}
	}
	f := s.finding("right", name, action, err)
	if f.Level == diagnosis.Denied {
		f.Do = fmt.Sprintf("allow %s on %s to this identity, in the key's policy, too, or correct dead_letters.kms_key", action, s.kmsKey)
	}
	return f
}

// putNothing sends a put that S3 must refuse if it allows it: the body is not the one that the request's Content-MD5
// names. Rights are looked at first, the body afterwards, and an object with the wrong one is never kept
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, BadDigest). A server that does not compare keeps
// an object without content, once: the put carries the same condition as all others.
func (s *Store) putNothing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	other := md5.Sum([]byte("another body"))
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:      &s.bucket,
		Key:         aws.String(s.prefix + checked),
		Body:        bytes.NewReader(nil),
		ContentMD5:  aws.String(base64.StdEncoding.EncodeToString(other[:])),
		IfNoneMatch: aws.String("*"),
	})
	if code, status := answer(err); err == nil || code == "BadDigest" || status == http.StatusPreconditionFailed {
		return nil
	}
	return s.failed("put", checked, err)
}

func (s *Store) bucketFinding(err error) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: "bucket", Name: s.bucket, Level: diagnosis.OK, Found: "is there"}
	if err == nil {
		return f
	}
	switch _, status := answer(err); status {
	case http.StatusNotFound:
		f.Level, f.Found = diagnosis.Missing, "does not exist"
		f.Do = "create it, or correct dead_letters.bucket: Penstock creates no buckets"
	case http.StatusMovedPermanently, http.StatusBadRequest: // which a HEAD request cannot explain
		f.Level, f.Found = diagnosis.Different, "is in another region, or the request was not understood: "+err.Error()
		f.Do = "set AWS_REGION to the bucket's region, or choose another bucket"
	default:
		f = s.finding("bucket", s.bucket, "s3:ListBucket", err)
	}
	return f
}

func (s *Store) right(action string, err error) diagnosis.Finding {
	name := fmt.Sprintf("%s on %s*", action, s.Location(""))
	if err != nil {
		return s.finding("right", name, action, err)
	}
	return diagnosis.Finding{System: system, Item: "right", Name: name, Level: diagnosis.OK, Found: "is allowed"}
}

func (s *Store) finding(item, name, action string, err error) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: item, Name: name, Level: diagnosis.Unreachable, Found: err.Error(),
		Do: "see whether S3 answers at its endpoint from here (AWS_ENDPOINT_URL_S3, AWS_REGION), and check again"}
	if code, status := answer(err); status == http.StatusForbidden || status == http.StatusUnauthorized || classes[code] == Fatal || strings.HasPrefix(code, kmsCodes) {
		said := code // a HEAD request's answer says no more
		if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorMessage() != "" {
			said = api.ErrorMessage()
		}
		f.Level, f.Found = diagnosis.Denied, fmt.Sprintf("%s is not allowed: %s", action, said)
		f.Do = fmt.Sprintf("allow %s on %s to this identity", action, s.Location("*"))
		if item == "bucket" {
			f.Do = fmt.Sprintf("allow %s on bucket %s to this identity, or name a bucket of this account", action, s.bucket)
		}
	}
	return f
}
