package stacktest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"penstock/localstack"
)

func TestNameIsFitForEveryServerAndNeverTheSame(t *testing.T) {
	t.Run("with Spaces/and_Other-Ünusual signs, longer than any limit allows it to be", func(t *testing.T) {
		allowed := regexp.MustCompile(`^[a-z][a-z0-9]{8,31}$`)
		seen := make(map[string]bool)
		for range 100 {
			name := Name(t)
			if !allowed.MatchString(name) || seen[name] {
				t.Fatalf("name %q after %d others", name, len(seen))
			}
			seen[name] = true
		}
	})
}

func TestAnIncompleteEnvironmentIsNoStack(t *testing.T) {
	full := map[string]string{
		"AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:2",
		"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:3", "PENSTOCK_CASSANDRA_HOSTS": "127.0.0.1:4,127.0.0.2:4",
		"PENSTOCK_CASSANDRA_REPLICATION_FACTOR": "3",
	}
	if s, ok := fromEnv(func(key string) string { return full[key] }); !ok || len(s.CassandraHosts) != 2 {
		t.Fatalf("the full environment: %+v, %t", s, ok)
	}
	for missing := range full {
		_, ok := fromEnv(func(key string) string {
			if key == missing {
				return ""
			}
			return full[key]
		})
		if ok {
			t.Errorf("without %s a test would reach a real account", missing)
		}
	}
}

// Each resource is made by a subtest, so that its clean-up has run when the parent looks.
func TestResourcesGoWithTheTest(t *testing.T) {
	config := localstack.Everything()
	config.CassandraNodes = 0
	s := Of(Start(t, config))

	var bucket, stream, prefix string
	t.Run("make", func(t *testing.T) {
		bucket, stream, prefix = s.Bucket(t), s.Stream(t, 2), s.TablePrefix(t)
		_, err := s.S3Client().PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: aws.String("a/b"), Body: strings.NewReader("content"),
		})
		if err != nil {
			t.Fatal(err)
		}
		createTable(t, s.DynamoDBClient(), prefix+"-leases")
	})

	tables, err := s.DynamoDBClient().ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil || len(tables.TableNames) > 0 {
		t.Errorf("tables left: %v, %v", tables.TableNames, err)
	}
	buckets, err := s.S3Client().ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) != 1 || *buckets.Buckets[0].Name != localstack.DefaultBucket {
		t.Errorf("buckets left: %v, %v", buckets.Buckets, err)
	}
	streams, err := s.KinesisClient().ListStreams(t.Context(), nil)
	if err != nil || len(streams.StreamNames) != 1 || streams.StreamNames[0] != localstack.DefaultStream {
		t.Errorf("streams left: %v, %v; made %s", streams.StreamNames, err, stream)
	}
}

func createTable(t *testing.T, client *dynamodb.Client, name string) {
	t.Helper()
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:            aws.String(name),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("key"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("key"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyspacesGoWithTheTest(t *testing.T) {
	s := Require(t)
	var name string
	t.Run("make", func(t *testing.T) { name = s.Keyspace(t) })
	var left int
	err := s.Session(t).Query("SELECT count(*) FROM system_schema.keyspaces WHERE keyspace_name = ?", name).ScanContext(t.Context(), &left)
	if err != nil || left != 0 {
		t.Errorf("keyspaces named %s: %d, %v", name, left, err)
	}
}
