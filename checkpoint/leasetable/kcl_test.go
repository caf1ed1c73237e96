package leasetable_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"penstock/checkpoint/leasetable"
	"penstock/localstack/stacktest"
)

func TestATableOfTheKinesisClientLibraryIsRead(t *testing.T) {
	stack := stacktest.Require(t)
	api, name := stack.DynamoDBClient(), stack.TablePrefix(t)+"kcl"
	_, err := api.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}}})
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	number := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	for _, item := range []map[string]types.AttributeValue{
		{"leaseKey": text("shardId-000000000000"), "leaseOwner": text("w-1"), "leaseCounter": number("812"), "ownerSwitchesSinceCheckpoint": number("0"),
			"checkpoint": text("4711"), "checkpointSubSequenceNumber": number("3"), "parentShardId": &types.AttributeValueMemberSS{Value: []string{"a", "b"}},
			"startingHashKey": text("0"), "entityType": text("LEASE")},
		{"leaseKey": text("shardId-000000000001"), "leaseCounter": number("5"), "checkpoint": text("TRIM_HORIZON"), "checkpointSubSequenceNumber": number("0")},
		{"leaseKey": text("000000000000:orders:1700000000:shardId-000000000002"), "checkpoint": text("1"), "streamName": text("orders")},
		{"leaseKey": text("shardId-000000000003"), "leaseCounter": text("many"), "checkpoint": number("1")}, // of other types
		{"leaseKey": text("w-1"), "entityType": text("WORKER_METRIC_STATS"), "lut": number("1700000000")},
		{"leaseKey": text("LEADER"), "entityType": text("LEADER")},
	} {
		if _, err := api.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := leasetable.NewClient(configOf(stack)).KCLLeases(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b leasetable.KCLLease) int { return strings.Compare(a.Key, b.Key) })
	want := []leasetable.KCLLease{
		{Key: "000000000000:orders:1700000000:shardId-000000000002", Checkpoint: "1", MultiStream: true},
		{Key: "shardId-000000000000", Owner: "w-1", Counter: 812, Checkpoint: "4711", SubSequence: 3},
		{Key: "shardId-000000000001", Counter: 5, Checkpoint: "TRIM_HORIZON"},
		{Key: "shardId-000000000003"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
