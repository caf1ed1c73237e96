package leasetable

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// Definition is the request by which Create makes a table. Its JSON is what
// `aws dynamodb create-table --cli-input-json` takes.
type Definition struct {
	TableName            string
	BillingMode          string
	AttributeDefinitions []AttributeDefinition
	KeySchema            []KeyElement
}

// AttributeDefinition is a key attribute's type.
type AttributeDefinition struct {
	AttributeName string
	AttributeType string
}

// KeyElement is an attribute of the key.
type KeyElement struct {
	AttributeName string
	KeyType       string
}

// Name returns the table's name.
func (t *Table) Name() string { return t.name }

// Definition returns how Create makes the table.
func (t *Table) Definition() Definition { return definitionOf(creation(t.name, leaseKey)) }

// Definition returns how Create makes the table.
func (s *State) Definition() Definition { return definitionOf(creation(s.name, stateKey)) }

func definitionOf(in *dynamodb.CreateTableInput) Definition {
	d := Definition{TableName: aws.ToString(in.TableName), BillingMode: string(in.BillingMode)}
	for _, a := range in.AttributeDefinitions {
		d.AttributeDefinitions = append(d.AttributeDefinitions, AttributeDefinition{aws.ToString(a.AttributeName), string(a.AttributeType)})
	}
	for _, k := range in.KeySchema {
		d.KeySchema = append(d.KeySchema, KeyElement{aws.ToString(k.AttributeName), string(k.KeyType)})
	}
	return d
}
