package leasetable

import (
	"context"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"penstock/checkpoint"
)

// KCLLease is a lease of the Kinesis Client Library for Java, version 3, as its table has it
// (https://github.com/awslabs/amazon-kinesis-client, DynamoDBLeaseSerializer). What is missing or of another type is
// the zero value.
type KCLLease struct {
	Key         string // leaseKey: the shard's id
	Owner       string
	Counter     int64               // leaseCounter: grows with every sign of life
	Checkpoint  checkpoint.Sequence // or a sentinel: TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END
	SubSequence int64               // of the last record that was done within an aggregate
	MultiStream bool                // one of several streams in one table
}

// Attributes of the library's table.
const (
	kclKey         = "leaseKey"
	kclOwner       = "leaseOwner"
	kclCounter     = "leaseCounter"
	kclCheckpoint  = "checkpoint"
	kclSubSequence = "checkpointSubSequenceNumber"
	kclEntity      = "entityType"
	kclStream      = "streamName"
	kclLease       = "LEASE"
)

// KCLLeases reads all leases of a table of the Kinesis Client Library consistently, page by page. Since 3.5 the table
// has items of other kinds too, which are left out. The error is an *[Error].
func (c *Client) KCLLeases(ctx context.Context, table string) ([]KCLLease, error) {
	var leases []KCLLease
	pages := dynamodb.NewScanPaginator(c.api, &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("Scan", table, err)
		}
		for _, it := range page.Items {
			if entity := kclText(it, kclEntity); entity == "" || entity == kclLease {
				leases = append(leases, kclLeaseOf(it))
			}
		}
	}
	return leases, nil
}

func kclLeaseOf(it item) KCLLease {
	l := KCLLease{
		Key: kclText(it, kclKey), Owner: kclText(it, kclOwner), Checkpoint: checkpoint.Sequence(kclText(it, kclCheckpoint)),
		Counter: kclNumber(it, kclCounter), SubSequence: kclNumber(it, kclSubSequence),
	}
	// The key of a lease of several streams is account:stream:creation:shard.
	l.MultiStream = kclText(it, kclStream) != "" || strings.Contains(l.Key, ":")
	return l
}

func kclText(it item, name string) string {
	if v, ok := it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

func kclNumber(it item, name string) int64 {
	v, ok := it[name].(*types.AttributeValueMemberN)
	if !ok {
		return 0
	}
	n, _ := strconv.ParseInt(v.Value, 10, 64) // the library writes integers
	return n
}
