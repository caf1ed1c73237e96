package localstack

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// How long the emulators in this process may take to make a stream or a bucket.
const provisionTimeout = 30 * time.Second

// provision makes what belongs to the user and not to Penstock: the stream and the bucket. Keyspaces and tables are the business of
// `projector setup`.
func (s *Stack) provision(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	login := credentials.NewStaticCredentialsProvider(accessKey, secretKey, "")
	if s.kinesis != nil && cfg.Stream != "" {
		client := kinesis.New(kinesis.Options{Region: region, BaseEndpoint: aws.String(s.kinesis.URL()), Credentials: login})
		_, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{
			StreamName: aws.String(cfg.Stream), ShardCount: aws.Int32(int32(cfg.Shards)),
		})
		if err != nil {
			return fmt.Errorf("create stream %s: %w", cfg.Stream, err)
		}
		err = kinesis.NewStreamExistsWaiter(client, func(o *kinesis.StreamExistsWaiterOptions) { o.MinDelay = readyInterval }).
			Wait(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String(cfg.Stream)}, provisionTimeout)
		if err != nil {
			return fmt.Errorf("wait for stream %s: %w", cfg.Stream, err)
		}
		s.progress.printf("kinesis: stream %s with %d shards", cfg.Stream, cfg.Shards)
	}
	if s.s3 != nil && cfg.Bucket != "" {
		client := s3.New(s3.Options{Region: region, BaseEndpoint: aws.String(s.s3.URL()), Credentials: login, UsePathStyle: true})
		if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(cfg.Bucket)}); err != nil {
			return fmt.Errorf("create bucket %s: %w", cfg.Bucket, err)
		}
		s.progress.printf("s3: bucket %s", cfg.Bucket)
	}
	return nil
}
