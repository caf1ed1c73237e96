package vmware

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Attributes of a row.
const (
	shardID      = "ShardID"
	assignedTo   = "AssignedTo"
	leaseTimeout = "LeaseTimeout"
	checkpointAt = "Checkpoint"
	parentShard  = "ParentShardId"
)

// shardEnd is the checkpoint of a shard that is done with.
const shardEnd = "SHARD_END"

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// must is the library's way of reading an attribute: what is there is text, or the process ends.
func must(it item, name string) (value string, ok bool) {
	v, ok := it[name]
	if !ok {
		return "", false
	}
	return v.(*types.AttributeValueMemberS).Value, true
}

// errNotAcquired: the lease is somebody else's.
var errNotAcquired = errors.New("lease not acquired")

// createTable creates the lease table as the library does, if it is not there.
func (w *Worker) createTable(ctx context.Context) error {
	_, err := w.config.DynamoDB.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:             &w.config.Table,
		AttributeDefinitions:  []types.AttributeDefinition{{AttributeName: aws.String(shardID), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:             []types.KeySchemaElement{{AttributeName: aws.String(shardID), KeyType: types.KeyTypeHash}},
		ProvisionedThroughput: &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(10), WriteCapacityUnits: aws.Int64(10)},
	})
	if _, there := errors.AsType[*types.ResourceInUseException](err); there {
		return nil
	}
	return err
}

func (w *Worker) read(ctx context.Context, shard string) (item, error) {
	out, err := w.config.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{TableName: &w.config.Table, ConsistentRead: aws.Bool(true), Key: item{shardID: text(shard)}})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// fetchCheckpoint reads a shard's checkpoint into memory; known is false if the row has none.
func (w *Worker) fetchCheckpoint(ctx context.Context, s *shard) (known bool, err error) {
	row, err := w.read(ctx, s.id)
	if err != nil {
		return false, err
	}
	at, known := must(row, checkpointAt)
	if !known {
		return false, nil
	}
	s.set(func() { s.checkpoint = at })
	if owner, ok := must(row, assignedTo); ok {
		s.set(func() { s.owner = owner })
	}
	return true, nil
}

// getLease takes a lease or renews it: one call for both. It replaces the whole row, with the checkpoint from memory.
func (w *Worker) getLease(ctx context.Context, s *shard) error {
	row, err := w.read(ctx, s.id)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	owner, owned := must(row, assignedTo)
	timeout, timed := must(row, leaseTimeout)
	condition, values := "attribute_not_exists(AssignedTo)", item(nil)
	if owned && timed {
		end, err := time.Parse(time.RFC3339Nano, timeout)
		if err != nil {
			return err
		}
		if now.Before(end) && owner != w.config.Worker {
			return errNotAcquired
		}
		condition = "ShardID = :id AND AssignedTo = :owner AND LeaseTimeout = :timeout"
		values = item{":id": text(s.id), ":owner": text(owner), ":timeout": text(timeout)}
	}
	end := now.Add(w.config.Failover)
	next := w.row(s)
	next[assignedTo], next[leaseTimeout] = text(w.config.Worker), text(end.Format(time.RFC3339Nano))
	_, err = w.config.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{TableName: &w.config.Table, Item: next,
		ConditionExpression: &condition, ExpressionAttributeValues: values})
	if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused {
		return errNotAcquired
	}
	if err != nil {
		return err
	}
	s.set(func() { s.owner, s.timeout = w.config.Worker, end })
	return nil
}

// row is a shard's row as it stands in memory, without its owner.
func (w *Worker) row(s *shard) item {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := item{shardID: text(s.id)}
	if s.parent != "" {
		it[parentShard] = text(s.parent)
	}
	if s.checkpoint != "" {
		it[checkpointAt] = text(s.checkpoint)
	}
	return it
}

// saveCheckpoint replaces the row by what stands in memory, whoever has it by now.
func (w *Worker) saveCheckpoint(ctx context.Context, s *shard, at string) error {
	s.set(func() { s.checkpoint = at })
	it := w.row(s)
	s.mu.Lock()
	it[assignedTo], it[leaseTimeout] = text(s.owner), text(s.timeout.UTC().Format(time.RFC3339Nano))
	s.mu.Unlock()
	_, err := w.config.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{TableName: &w.config.Table, Item: it})
	return err
}

// release removes the owner from the row, if that is this worker.
func (w *Worker) release(ctx context.Context, s *shard) error {
	_, err := w.config.DynamoDB.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: &w.config.Table, Key: item{shardID: text(s.id)},
		UpdateExpression: aws.String("REMOVE AssignedTo"), ConditionExpression: aws.String("AssignedTo = :me"),
		ExpressionAttributeValues: item{":me": text(w.config.Worker)}})
	s.set(func() { s.owner = "" })
	if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused {
		return nil
	}
	return err
}

// remove deletes the row of a shard that is listed no more, on no condition.
func (w *Worker) remove(ctx context.Context, s *shard) error {
	_, err := w.config.DynamoDB.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &w.config.Table, Key: item{shardID: text(s.id)}})
	return err
}
