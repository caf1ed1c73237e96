package leasetable

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"penstock/checkpoint"
)

// Table is a lease table. It implements [checkpoint.Store]; its errors are *[Error] or [*checkpoint.Refused].
type Table struct {
	client *Client
	name   string
}

// Leases returns the lease table of this name. It need not exist yet.
func (c *Client) Leases(name string) *Table { return &Table{client: c, name: name} }

// Rows reads the whole table consistently, page by page. Each row is as of some moment after the call began; different
// rows may be as of different moments.
func (t *Table) Rows(ctx context.Context) ([]checkpoint.Row, error) {
	var rows []checkpoint.Row
	pages := dynamodb.NewScanPaginator(t.client.api, &dynamodb.ScanInput{
		TableName:      &t.name,
		ConsistentRead: aws.Bool(true),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("Scan", t.name, err)
		}
		for _, it := range page.Items {
			rows = append(rows, rowOf(it))
		}
	}
	return rows, nil
}

// Apply makes one conditional write.
func (t *Table) Apply(ctx context.Context, c checkpoint.Change) error {
	if c.Op == checkpoint.Delete {
		return t.delete(ctx, c)
	}
	e := expressionOf(c)
	in := &dynamodb.UpdateItemInput{
		TableName:                           &t.name,
		Key:                                 item{shardID: text(c.Shard)},
		ConditionExpression:                 new(e.all()),
		ExpressionAttributeNames:            e.names,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if len(e.values) > 0 {
		in.ExpressionAttributeValues = e.values
	}
	if update := e.update(); update != "" {
		in.UpdateExpression = &update
	}
	_, err := t.client.api.UpdateItem(ctx, in)
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return &checkpoint.Refused{Op: c.Op, Current: rowOf(refused.Item)}
	}
	return failure("UpdateItem", t.name, err)
}

// delete removes a row on a condition.
func (t *Table) delete(ctx context.Context, c checkpoint.Change) error {
	e := expressionOf(c)
	in := &dynamodb.DeleteItemInput{
		TableName:                           &t.name,
		Key:                                 item{shardID: text(c.Shard)},
		ConditionExpression:                 new(e.all()),
		ExpressionAttributeNames:            e.names,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if len(e.values) > 0 {
		in.ExpressionAttributeValues = e.values
	}
	_, err := t.client.api.DeleteItem(ctx, in)
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return &checkpoint.Refused{Op: c.Op, Current: rowOf(refused.Item)}
	}
	return failure("DeleteItem", t.name, err)
}
