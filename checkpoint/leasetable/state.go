package leasetable

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Key attributes of the state table.
const (
	kindKey = "Kind"
	nameKey = "Name"
)

// State is the state table of an application: small items of text attributes, found by kind and name. A kind begins
// with the role it belongs to, such as "projector-g1#worker", so that all roles share one table. Nothing that
// correctness depends on is kept here. Its errors are *[Error].
type State struct {
	client *Client
	name   string
}

// State returns the state table of this name. It need not exist yet.
func (c *Client) State(name string) *State { return &State{client: c, name: name} }

// Put writes an item whole, whether it was there or not. Values must not use the names Kind and Name.
func (s *State) Put(ctx context.Context, kind, name string, values map[string]string) error {
	_, err := s.client.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.name, Item: itemOf(kind, name, values)})
	if err != nil {
		return failure("PutItem", s.name, err)
	}
	return nil
}

// PutIfAbsent writes an item unless it is there; put is false if it is. After a lost answer it may find its own item
// and say false.
func (s *State) PutIfAbsent(ctx context.Context, kind, name string, values map[string]string) (put bool, err error) {
	_, err = s.client.api.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                &s.name,
		Item:                     itemOf(kind, name, values),
		ConditionExpression:      aws.String("attribute_not_exists(#k)"),
		ExpressionAttributeNames: map[string]string{"#k": kindKey},
	})
	if is[*types.ConditionalCheckFailedException](err) {
		return false, nil
	}
	if err != nil {
		return false, failure("PutItem", s.name, err)
	}
	return true, nil
}

// Delete removes an item, if it is there.
func (s *State) Delete(ctx context.Context, kind, name string) error {
	_, err := s.client.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.name, Key: itemOf(kind, name, nil)})
	if err != nil {
		return failure("DeleteItem", s.name, err)
	}
	return nil
}

// Query returns the text attributes of all items of a kind, by name, read consistently.
func (s *State) Query(ctx context.Context, kind string) (map[string]map[string]string, error) {
	found := map[string]map[string]string{}
	pages := dynamodb.NewQueryPaginator(s.client.api, &dynamodb.QueryInput{
		TableName:                 &s.name,
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("#k = :k"),
		ExpressionAttributeNames:  map[string]string{"#k": kindKey},
		ExpressionAttributeValues: item{":k": text(kind)},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("Query", s.name, err)
		}
		for _, it := range page.Items {
			values := map[string]string{}
			name := ""
			for attribute, v := range it {
				t, ok := v.(*types.AttributeValueMemberS)
				switch {
				case !ok || attribute == kindKey:
				case attribute == nameKey:
					name = t.Value
				default:
					values[attribute] = t.Value
				}
			}
			found[name] = values
		}
	}
	return found, nil
}

func itemOf(kind, name string, values map[string]string) item {
	it := item{kindKey: text(kind), nameKey: text(name)}
	for attribute, v := range values {
		it[attribute] = text(v)
	}
	return it
}
