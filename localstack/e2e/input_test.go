package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"penstock/localstack"
	"penstock/localstack/stacktest"
)

// A stream that is not the one configured is refused as a mistake of the configuration: by its region before anything
// is connected to, by its account as soon as the stream is found.
func TestAStreamOfAnotherRegionOrAccountIsRefused(t *testing.T) {
	t.Parallel()
	s := site(t, 1, nil)
	found, err := s.Kinesis().DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &s.Name})
	if err != nil {
		t.Fatal(err)
	}
	own := *found.StreamDescriptionSummary.StreamARN
	const region, account = 3, 4
	other := func(part int, value string) string {
		parts := strings.Split(own, ":")
		parts[part] = value
		return strings.Join(parts, ":")
	}
	refused := func(t *testing.T, arn, rule string, commands ...string) {
		t.Helper()
		s.Set("PENSTOCK_KINESIS_STREAM=" + arn)
		for _, command := range commands {
			_, err := s.Projector(within(t, 20*time.Second, "a refusal"), strings.Fields(command)...)
			want := fmt.Sprintf("PENSTOCK_KINESIS_STREAM: kinesis.stream = %q: %s", arn, rule)
			if codeOf(err) != 3 || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want exit code 3 and %s", command, err, want)
			}
		}
	}
	s.Set("PENSTOCK_KINESIS_STREAM=" + own)
	if c := runCheck(t, s); c.ExitCode != 7 { // nothing is set up
		t.Errorf("its own ARN: exit code %d, %v", c.ExitCode, c.troubles())
	}
	refused(t, other(account, "999999999999"), "is not the stream that was found, "+own, "check", "run")
	for _, endpoint := range []string{"KINESIS", "DYNAMODB", "S3"} {
		s.Set("AWS_ENDPOINT_URL_" + endpoint + "=http://" + deadAddress(t))
	}
	s.Set("PENSTOCK_CASSANDRA_HOSTS=" + deadAddress(t))
	refused(t, other(region, "ap-south-2"), "is in ap-south-2, but the AWS SDK is set to "+s.env["AWS_REGION"], "check", "run", "shards list")
}

// A lease table that is another application's is left as it is: one of another kind, one whose positions are of another
// stream, and one whose shards were read to their end while those of the stream go on.
func TestTheLeaseTableOfAnotherApplicationIsRefused(t *testing.T) {
	t.Parallel()
	stack := stacktest.Require(t)
	client := stack.DynamoDBClient()
	t.Run("of another kind", func(t *testing.T) {
		s := site(t, 1, nil)
		if _, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
			TableName: &s.Name, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
		}); err != nil {
			t.Fatal(err)
		}
		c := runCheck(t, s)
		if f := c.find(t, "different", "lease_table", s.Name); c.ExitCode != 7 || !strings.Contains(f.Do, "application") {
			t.Errorf("exit code %d, %v", c.ExitCode, c.troubles())
		}
		for _, command := range []string{"setup", "run"} {
			_, err := s.Projector(within(t, time.Minute, "a refusal"), command)
			if codeOf(err) != 1 || !strings.Contains(err.Error(), s.Name) || !strings.Contains(err.Error(), "another key") {
				t.Errorf("%s: %v", command, err)
			}
		}
	})
	for name, checkpoint := range map[string]string{
		"of another stream":          "49600000000000000000000000000000000000000000000000000002",
		"of a stream that has ended": "SHARD_END",
	} {
		t.Run(name, func(t *testing.T) {
			s := site(t, 1, nil)
			setup(t, s)
			row := map[string]types.AttributeValue{
				"ShardID": &types.AttributeValueMemberS{Value: shardName(0)}, "Checkpoint": &types.AttributeValueMemberS{Value: checkpoint}}
			if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &s.Name, Item: row}); err != nil {
				t.Fatal(err)
			}
			oracle := seed(t, s, orders(t, 5, 23, 0), 0)
			c := runCheck(t, s)
			wantTroubles(t, c, 6, "refused dynamodb leases "+s.Name)
			if f := c.find(t, "refused", "leases", s.Name); !strings.Contains(f.Found, shardName(0)) || !strings.Contains(f.Do, "application") {
				t.Errorf("%+v", f)
			}
			_, err := s.Projector(within(t, time.Minute, "a refusal"), "run")
			for _, want := range []string{s.Name, shardName(0), "application"} {
				if codeOf(err) != 6 || !strings.Contains(err.Error(), want) {
					t.Errorf("run: %q is not said in %v", want, err)
				}
			}
			if l := leases(t, s)[shardName(0)]; l.checkpoint != checkpoint || l.owner != "" {
				t.Errorf("the row is %+v", l)
			}
			if result, err := s.Account(t.Context(), oracle); err != nil || result.Applied != 0 || result.Parked != 0 {
				t.Errorf("%+v, %v", result, err)
			}
		})
	}
}

// A stream that was deleted and created anew under its name is not read with the positions of the old one. With leases
// of its own it is read from its beginning.
func TestAStreamThatWasCreatedAnewIsRefused(t *testing.T) {
	t.Parallel()
	stack := stacktest.Require(t)
	s := site(t, 1, nil)
	setup(t, s)
	ctx := within(t, 2*time.Minute, "a stream that is created anew")
	follow := func(seeded uint64) {
		t.Helper()
		generator := orders(t, 5, seeded, 0)
		events := 0
		for range generator.Events() {
			events++
		}
		seed(t, s, generator, 0)
		fleet := &Fleet{Site: s, Shards: 1}
		defer fleet.Kill()
		if _, err := fleet.Start(ctx, "daemon"); err != nil {
			t.Fatal(err)
		}
		if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
			done, _ := fleet.Done(scrapes)
			return done >= events
		}); err != nil {
			t.Fatal(err)
		}
		if err := fleet.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	follow(51)
	wantTroubles(t, runCheck(t, s), 0)

	if _, err := s.Kinesis().DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &s.Name}); err != nil {
		t.Fatal(err)
	}
	if err := pause(ctx, time.Second); err != nil { // a time of creation has whole seconds
		t.Fatal(err)
	}
	if err := s.CreateStream(ctx, 1); err != nil {
		t.Fatal(err)
	}
	_, err := s.Projector(ctx, "run")
	if codeOf(err) != 6 {
		t.Errorf("run: %v", err)
	}
	if c := runCheck(t, s); c.ExitCode != 6 {
		t.Errorf("check: exit code %d, %v", c.ExitCode, c.troubles())
	} else if f := c.find(t, "refused", "identity", s.Name); !strings.Contains(f.Found, "another stream of the same name") {
		t.Errorf("%+v", f)
	}

	if _, err := stack.DynamoDBClient().DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &s.Name}); err != nil {
		t.Fatal(err)
	}
	setup(t, s)
	follow(52)
	wantTroubles(t, runCheck(t, s), 0)
}

// Streams that distribute records by themselves have none with a partition key. It is nothing to a record that is
// applied, nor to one that is parked.
func TestRecordsWithoutPartitionKeyAreLikeAllOthers(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	s := site(t, 1, nil)
	setup(t, s)
	var without atomic.Int64
	s.Set("AWS_ENDPOINT_URL_KINESIS=" + withoutPartitionKeys(t, s.env["AWS_ENDPOINT_URL_KINESIS"], &without))
	ctx := within(t, time.Minute, "records without partition key")
	generator := orders(t, 20, 24, 0.1)
	oracle := seed(t, s, generator, 0)
	fleet := &Fleet{Site: s, Shards: 1}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "only"); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
		settled := scrapes[0].Applied + scrapes[0].Parked
		return settled > 0 && settled == without.Load() && scrapes[0].Behind() == 0
	}); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if result := check(t, s, oracle); result.Parked == 0 {
		t.Error("none of the events is damaged")
	}
	bucket := localstack.DefaultBucket
	for letter, err := range s.Letters(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		object, err := s.S3().GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &letter.Key})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(object.Body)
		if err != nil || bytes.Contains(text, []byte("partition_key")) || !bytes.Contains(text, []byte(`\"partitionKey\":\"\"`)) {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// withoutPartitionKeys returns the address of a proxy to a Kinesis that leaves the partition keys out of what is read,
// and counts the records it did so with.
func withoutPartitionKeys(t *testing.T, endpoint string, records *atomic.Int64) string {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	member := regexp.MustCompile(`,"PartitionKey":"[^"]*"`)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasSuffix(r.Request.Header.Get("X-Amz-Target"), ".GetRecords") {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err := errors.Join(err, r.Body.Close()); err != nil {
				return err
			}
			records.Add(int64(len(member.FindAll(body, -1))))
			body = member.ReplaceAll(body, nil)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	return proxy.URL
}
