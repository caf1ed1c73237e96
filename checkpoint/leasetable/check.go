package leasetable

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"penstock/checkpoint"
	"penstock/diagnosis"
)

const (
	system = "dynamodb"
	// nobody is a key of either table that no row has. The conditions of what is asked about it cannot hold anyhow.
	nobody = "penstock-check"
)

// never is a condition that no item meets, there or not.
var never = aws.String("attribute_exists(#k) AND attribute_not_exists(#k)")

// Diagnose finds out whether the lease table is there, has the right key, and may be used as the daemon uses it.
func (t *Table) Diagnose(ctx context.Context) []diagnosis.Finding {
	key, names := item{shardID: text(nobody)}, map[string]string{"#k": shardID}
	return t.client.diagnose(ctx, "lease_table", t.name, leaseKey, []probe{
		{"Scan", func() error {
			_, err := t.client.api.Scan(ctx, &dynamodb.ScanInput{TableName: &t.name, Limit: aws.Int32(1)})
			return err
		}},
		{"UpdateItem", func() error {
			_, err := t.client.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: &t.name, Key: key,
				ConditionExpression: never, ExpressionAttributeNames: names})
			return err
		}},
	})
}

// Diagnose finds out the same for the state table.
func (s *State) Diagnose(ctx context.Context) []diagnosis.Finding {
	key, names := itemOf(nobody, nobody, nil), map[string]string{"#k": kindKey}
	return s.client.diagnose(ctx, "state_table", s.name, stateKey, []probe{
		{"Query", func() error {
			_, err := s.client.api.Query(ctx, &dynamodb.QueryInput{TableName: &s.name, Limit: aws.Int32(1),
				KeyConditionExpression: aws.String("#k = :k"), ExpressionAttributeNames: names,
				ExpressionAttributeValues: item{":k": text(nobody)}})
			return err
		}},
		{"PutItem", func() error {
			_, err := s.client.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.name, Item: key,
				ConditionExpression: never, ExpressionAttributeNames: names})
			return err
		}},
		{"DeleteItem", func() error {
			_, err := s.client.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.name, Key: key,
				ConditionExpression: never, ExpressionAttributeNames: names})
			return err
		}},
	})
}

// probe is a call that changes nothing and shows whether its action is allowed.
type probe struct {
	action string
	call   func() error
}

func (c *Client) diagnose(ctx context.Context, what, table string, key []types.KeySchemaElement, probes []probe) []diagnosis.Finding {
	err := c.check(ctx, table, key)
	findings := []diagnosis.Finding{tableFinding(what, table, err)}
	switch level := findings[0].Level; {
	case level == diagnosis.Unreachable:
		return findings
	case level != diagnosis.Denied:
		findings = append(findings, right(table, "DescribeTable", nil))
	}
	// Also of a table that is not there: DynamoDB looks at rights first.
	for _, p := range probes {
		err := p.call()
		if is[*types.ResourceNotFoundException](err) {
			continue
		}
		findings = append(findings, right(table, p.action, err))
	}
	return findings
}

func tableFinding(what, table string, err error) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: what, Name: table, Level: diagnosis.OK, Found: "is there, with the right key"}
	making, inactive := errors.AsType[*inactive](err)
	switch {
	case err == nil:
	case inactive:
		f.Level, f.Found, f.Do = diagnosis.Missing, fmt.Sprintf("is not ready: its status is %s", making.status), "wait until it is active"
	case is[*types.ResourceNotFoundException](err):
		f.Level, f.Found, f.Do = diagnosis.Missing, "does not exist in this account and region", "run projector setup"
	case errors.Is(err, checkpoint.ErrTableMissing):
		f.Level, f.Found = diagnosis.Different, "has another key: it belongs to something else"
		f.Do = "choose another application name"
	default:
		f = failed(what, table, "DescribeTable", table, err)
	}
	return f
}

func right(table, action string, err error) diagnosis.Finding {
	name := fmt.Sprintf("dynamodb:%s on %s", action, table)
	if err == nil || is[*types.ConditionalCheckFailedException](err) {
		return diagnosis.Finding{System: system, Item: "right", Name: name, Level: diagnosis.OK, Found: "is allowed"}
	}
	return failed("right", name, action, table, failure(action, table, err))
}

// failed is the finding about a call that says nothing but that it failed.
func failed(item, name, action, table string, err error) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: item, Name: name, Level: diagnosis.Unreachable, Found: err.Error(),
		Do: "see whether DynamoDB answers at its endpoint from here (AWS_ENDPOINT_URL_DYNAMODB, AWS_REGION), and check again"}
	if errors.Is(err, checkpoint.ErrDenied) {
		f.Level, f.Found = diagnosis.Denied, fmt.Sprintf("dynamodb:%s is not allowed: %s", action, reason(err))
		f.Do = fmt.Sprintf("allow dynamodb:%s on table %s to this identity", action, table)
	}
	return f
}

// reason is what the service says, without what the client adds.
func reason(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorMessage()
	}
	return err.Error()
}
