package leasetable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"penstock/checkpoint"
)

// Create makes the table, billed by request, unless it exists, and waits until it can be used. created is false if it
// was there. An existing table of another key is an error that wraps [checkpoint.ErrTableMissing].
func (t *Table) Create(ctx context.Context) (created bool, err error) {
	return t.client.create(ctx, t.name, leaseKey)
}

// Check returns nil if the table exists, is active and has the key of a lease table. Its errors name the table and
// wrap [checkpoint.ErrTableMissing] or [checkpoint.ErrDenied] where that is the reason.
func (t *Table) Check(ctx context.Context) error { return t.client.check(ctx, t.name, leaseKey) }

// Create makes the table, as [Table.Create].
func (s *State) Create(ctx context.Context) (created bool, err error) {
	return s.client.create(ctx, s.name, stateKey)
}

// Check returns nil if the table exists, is active and has the key of a state table, as [Table.Check].
func (s *State) Check(ctx context.Context) error { return s.client.check(ctx, s.name, stateKey) }

// The key attributes of both tables, all text.
var (
	leaseKey = []types.KeySchemaElement{{AttributeName: aws.String(shardID), KeyType: types.KeyTypeHash}}
	stateKey = []types.KeySchemaElement{
		{AttributeName: aws.String(kindKey), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(nameKey), KeyType: types.KeyTypeRange},
	}
)

// creation is the request that makes a table.
func creation(table string, key []types.KeySchemaElement) *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{TableName: &table, KeySchema: key, BillingMode: types.BillingModePayPerRequest}
	for _, k := range key {
		in.AttributeDefinitions = append(in.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: k.AttributeName, AttributeType: types.ScalarAttributeTypeS})
	}
	return in
}

func (c *Client) create(ctx context.Context, table string, key []types.KeySchemaElement) (bool, error) {
	_, err := c.api.CreateTable(ctx, creation(table, key))
	created := err == nil
	if err != nil && !is[*types.ResourceInUseException](err) { // in use: it exists, or somebody is just making it
		return false, failure("CreateTable", table, err)
	}
	return created, c.awaitActive(ctx, table, key)
}

// poll is how often a table that is being made is looked at.
const poll = 500 * time.Millisecond

func (c *Client) awaitActive(ctx context.Context, table string, key []types.KeySchemaElement) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		err := c.check(ctx, table, key)
		if _, making := errors.AsType[*inactive](err); !making {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// inactive is the error of a table that exists but cannot be used at the moment.
type inactive struct {
	table  string
	status types.TableStatus
}

func (e *inactive) Error() string {
	return fmt.Sprintf("DynamoDB table %q is not active: its status is %s", e.table, e.status)
}

func (c *Client) check(ctx context.Context, table string, key []types.KeySchemaElement) error {
	// Absent credentials fail inside the signing, with an error of no type of its own; so they are asked for first.
	if _, err := c.api.Options().Credentials.Retrieve(ctx); err != nil && ctx.Err() == nil {
		return &Error{Op: "DescribeTable", Table: table, kind: checkpoint.ErrDenied, cause: err}
	}
	out, err := c.api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		return failure("DescribeTable", table, err)
	}
	if !sameKey(out.Table, key) {
		return fmt.Errorf("%w: DynamoDB table %q exists but has another key: it belongs to something else",
			checkpoint.ErrTableMissing, table)
	}
	switch out.Table.TableStatus {
	case types.TableStatusActive, types.TableStatusUpdating:
		return nil
	}
	return &inactive{table: table, status: out.Table.TableStatus}
}

func sameKey(d *types.TableDescription, key []types.KeySchemaElement) bool {
	if len(d.KeySchema) != len(key) {
		return false
	}
	of := map[string]types.ScalarAttributeType{}
	for _, a := range d.AttributeDefinitions {
		of[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	for i, k := range key {
		got := d.KeySchema[i]
		name := aws.ToString(got.AttributeName)
		if name != *k.AttributeName || got.KeyType != k.KeyType || of[name] != types.ScalarAttributeTypeS {
			return false
		}
	}
	return true
}
