package stacktest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	cqlCreateKeyspace = "CREATE KEYSPACE %s WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d}"
	cqlDropKeyspace   = "DROP KEYSPACE IF EXISTS %s"
)

// KeyspaceName returns the name of a keyspace that does not exist, for tests of what creates keyspaces. If it exists when the test ends,
// it is dropped.
func (s Stack) KeyspaceName(t testing.TB) string {
	t.Helper()
	name := Name(t)
	session := s.Session(t)
	t.Cleanup(func() {
		ctx, cancel := afterTest(t)
		defer cancel()
		if err := session.Query(fmt.Sprintf(cqlDropKeyspace, name)).ExecContext(ctx); err != nil {
			t.Errorf("drop keyspace %s: %v", name, err)
		}
	})
	return name
}

// Keyspace creates a keyspace, replicated to every node, which is dropped when the test ends.
func (s Stack) Keyspace(t testing.TB) string {
	t.Helper()
	name := s.KeyspaceName(t)
	statement := fmt.Sprintf(cqlCreateKeyspace, name, s.Datacenter, s.ReplicationFactor)
	if err := s.Session(t).Query(statement).ExecContext(t.Context()); err != nil {
		t.Fatalf("create keyspace %s: %v", name, err)
	}
	return name
}

// Stream creates a stream, which is deleted when the test ends.
func (s Stack) Stream(t testing.TB, shards int) string {
	t.Helper()
	client, name := s.KinesisClient(), Name(t)
	_, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
		StreamName: aws.String(name), ShardCount: aws.Int32(int32(shards)),
	})
	if err != nil {
		t.Fatalf("create stream %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := afterTest(t)
		defer cancel()
		if _, err := client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String(name)}); err != nil {
			t.Errorf("delete stream %s: %v", name, err)
		}
	})
	exists := kinesis.NewStreamExistsWaiter(client, func(o *kinesis.StreamExistsWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
	if err := exists.Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String(name)}, time.Minute); err != nil {
		t.Fatalf("wait for stream %s: %v", name, err)
	}
	return name
}

// TablePrefix returns a prefix for DynamoDB tables. The tables whose names begin with it are deleted when the test ends.
func (s Stack) TablePrefix(t testing.TB) string {
	t.Helper()
	prefix := Name(t)
	t.Cleanup(func() {
		if err := s.deleteTables(t, prefix); err != nil {
			t.Errorf("delete the tables of %s: %v", prefix, err)
		}
	})
	return prefix
}

func (s Stack) deleteTables(t testing.TB, prefix string) error {
	ctx, cancel := afterTest(t)
	defer cancel()
	client := s.DynamoDBClient()
	var names []string
	for pages := dynamodb.NewListTablesPaginator(client, &dynamodb.ListTablesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, name := range page.TableNames {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	}
	var failed []error
	for _, name := range names {
		_, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String(name)})
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// Bucket creates a bucket, which is emptied and deleted when the test ends.
func (s Stack) Bucket(t testing.TB) string {
	t.Helper()
	client, name := s.S3Client(), Name(t)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		t.Fatalf("create bucket %s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := s.deleteBucket(t, name); err != nil {
			t.Errorf("delete bucket %s: %v", name, err)
		}
	})
	return name
}

func (s Stack) deleteBucket(t testing.TB, name string) error {
	ctx, cancel := afterTest(t)
	defer cancel()
	client := s.S3Client()
	for pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String(name)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		if len(page.Contents) == 0 {
			continue
		}
		var objects []types.ObjectIdentifier
		for _, object := range page.Contents {
			objects = append(objects, types.ObjectIdentifier{Key: object.Key})
		}
		_, err = client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String(name), Delete: &types.Delete{Objects: objects}})
		if err != nil {
			return err
		}
	}
	_, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String(name)})
	return err
}
