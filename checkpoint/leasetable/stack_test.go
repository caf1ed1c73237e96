package leasetable_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/checkpoint/storetest"
	"penstock/localstack/stacktest"
)

func configOf(s stacktest.Stack) aws.Config {
	return aws.Config{Region: s.Region, BaseEndpoint: &s.DynamoDB,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessID, s.Secret, "")}
}

// planter puts rows that the store itself never writes.
type planter struct {
	*leasetable.Table
	api  *dynamodb.Client
	name string
}

func (p planter) Plant(ctx context.Context, row checkpoint.Row) error {
	item := map[string]types.AttributeValue{"ShardID": &types.AttributeValueMemberS{Value: row.Shard}}
	put := func(name, text string, a checkpoint.Attributes) {
		switch {
		case row.Wrong.Has(a):
			item[name] = &types.AttributeValueMemberN{Value: "12345678901234567890"}
		case text != "" || row.Empty.Has(a):
			item[name] = &types.AttributeValueMemberS{Value: text}
		}
	}
	put("AssignedTo", row.Owner, checkpoint.OwnerAttribute)
	put("LeaseTimeout", row.Timeout, checkpoint.TimeoutAttribute)
	put("Checkpoint", string(row.Checkpoint), checkpoint.CheckpointAttribute)
	put("ParentShardId", row.Parent, checkpoint.ParentAttribute)
	put("ClaimRequest", row.Claim, checkpoint.ClaimAttribute)
	_, err := p.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: &p.name, Item: item})
	return err
}

func TestTheLeaseTableKeepsTheContract(t *testing.T) {
	stack := stacktest.Require(t)
	client := leasetable.NewClient(configOf(stack))
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		name := stack.TablePrefix(t) + "leases"
		table := client.Leases(name)
		if _, err := table.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		return planter{table, stack.DynamoDBClient(), name}
	})
}

func TestTheStateTableKeepsTheContract(t *testing.T) {
	stack := stacktest.Require(t)
	client := leasetable.NewClient(configOf(stack))
	storetest.RunItems(t, func(t *testing.T) storetest.ItemStore {
		table := client.State(stack.TablePrefix(t) + "state")
		if _, err := table.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		return table
	})
}

func TestATableIsMadeOnceAndChecked(t *testing.T) {
	stack := stacktest.Require(t)
	client := leasetable.NewClient(configOf(stack))
	name := stack.TablePrefix(t) + "orders"
	leases, state := client.Leases(name), client.State(name)

	err := leases.Check(t.Context())
	if !errors.Is(err, checkpoint.ErrTableMissing) || !strings.Contains(err.Error(), name) {
		t.Errorf("check of a table that is not there: %v", err)
	}
	if _, err := leases.Rows(t.Context()); !errors.Is(err, checkpoint.ErrTableMissing) {
		t.Errorf("rows of a table that is not there: %v", err)
	}
	err = leases.Apply(t.Context(), checkpoint.Change{Op: checkpoint.Create, Shard: "shardId-000000000000"})
	if !errors.Is(err, checkpoint.ErrTableMissing) {
		t.Errorf("write to a table that is not there: %v", err)
	}
	for _, want := range []bool{true, false} {
		if created, err := leases.Create(t.Context()); created != want || err != nil {
			t.Errorf("create: got %v, %v, want %v", created, err, want)
		}
	}
	if err := leases.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := state.Check(t.Context()); !errors.Is(err, checkpoint.ErrTableMissing) || !strings.Contains(err.Error(), "another key") {
		t.Errorf("check of a table of another form: %v", err)
	}
	if clock := client.Clock(); !clock.Known || clock.Ahead.Abs() > 2*time.Second {
		t.Errorf("a server on this machine has a clock that is off by %v (known: %v)", clock.Ahead, clock.Known)
	}
}

// answering starts a server that answers every request with one error of DynamoDB's protocol.
func answering(t *testing.T, status int, code string) (*leasetable.Client, *int) {
	t.Helper()
	requests := new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests++
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `","message":"no"}`))
	}))
	t.Cleanup(server.Close)
	return leasetable.NewClient(aws.Config{Region: "eu-central-1", BaseEndpoint: &server.URL,
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")}), requests
}

func TestFailuresAreClassified(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error // nil: transient
		asked  int
	}{
		{400, "ProvisionedThroughputExceededException", checkpoint.ErrThrottled, 2},
		{400, "ThrottlingException", checkpoint.ErrThrottled, 2},
		{400, "ResourceNotFoundException", checkpoint.ErrTableMissing, 1},
		{400, "AccessDeniedException", checkpoint.ErrDenied, 1},
		{400, "UnrecognizedClientException", checkpoint.ErrDenied, 1},
		{500, "InternalServerError", nil, 2},
		{503, "ServiceUnavailable", nil, 2},
	} {
		t.Run(c.code, func(t *testing.T) {
			client, requests := answering(t, c.status, c.code)
			err := client.Leases("orders").Apply(t.Context(), checkpoint.Change{Op: checkpoint.Create, Shard: "shardId-000000000000"})
			own, ok := errors.AsType[*leasetable.Error](err)
			if !ok || own.Op != "UpdateItem" || own.Table != "orders" {
				t.Fatalf("got %v", err)
			}
			for _, kind := range []error{checkpoint.ErrThrottled, checkpoint.ErrTableMissing, checkpoint.ErrDenied} {
				if errors.Is(err, kind) != (kind == c.want) {
					t.Errorf("is %v: %v", kind, errors.Is(err, kind))
				}
			}
			if *requests != c.asked {
				t.Errorf("asked %d times, want %d", *requests, c.asked)
			}
		})
	}
}

func TestAbsentCredentialsAreToldByName(t *testing.T) {
	client := leasetable.NewClient(aws.Config{Region: "eu-central-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("no credentials in the environment")
		})})
	if err := client.Leases("orders").Check(t.Context()); !errors.Is(err, checkpoint.ErrDenied) {
		t.Errorf("got %v", err)
	}
}
