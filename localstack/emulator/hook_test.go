package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"penstock/localstack/emulator"
)

func TestHookSeesEveryCallAndWhatItIsAbout(t *testing.T) {
	r := start(t, emulator.Config{})
	var seen []emulator.Call
	r.Intercept(func(_ context.Context, call emulator.Call) error {
		seen = append(seen, call)
		return nil
	})
	r.create("orders", 1)
	listAll(r, "orders", nil)
	r.putMany("orders", 1)
	r.get(r.horizon("orders"))
	r.Intercept(nil)
	r.delete("orders")
	want := []emulator.Call{
		{Action: "CreateStream", Stream: "orders"},
		{Action: "ListShards", Stream: "orders"},
		{Action: "PutRecords", Stream: "orders"},
		{Action: "GetShardIterator", Stream: "orders", Shard: "shardId-000000000000"},
		{Action: "GetRecords", Stream: "orders", Shard: "shardId-000000000000"},
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("hook saw\n%v, want\n%v", seen, want)
	}
}

func TestHookAnswersWithTheServicesErrors(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	answer := func(e emulator.APIError) error {
		r.Intercept(func(context.Context, emulator.Call) error { return &e })
		_, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders")})
		return err
	}
	typed[*types.ProvisionedThroughputExceededException](t, answer(emulator.APIError{Type: emulator.ThroughputExceeded, Message: "slow down"}))
	typed[*types.ExpiredIteratorException](t, answer(emulator.APIError{Type: emulator.ExpiredIterator}))
	typed[*types.AccessDeniedException](t, answer(emulator.APIError{Type: "AccessDeniedException"}))
	for errorType, status := range map[emulator.ErrorType]int{emulator.InternalFailure: 500, emulator.ServiceUnavailable: 503} {
		err := answer(emulator.APIError{Type: errorType, Message: "try later"})
		code(t, err, string(errorType))
		var response interface{ HTTPStatusCode() int }
		if !errors.As(err, &response) || response.HTTPStatusCode() != status {
			t.Errorf("%s: %v", errorType, err)
		}
	}
}

func TestHookDelaysAndHangsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		r.Intercept(func(ctx context.Context, call emulator.Call) error {
			if call.Action == "PutRecord" {
				time.Sleep(3 * time.Second)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		begun := time.Now()
		r.put("orders", "k", []byte("x"))
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("delayed call took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := r.client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("orders")})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hung call: %v", err)
		}
	})
}

func TestClosingEndsHungCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := emulator.ListenInMemory(t.Context(), emulator.New(emulator.Config{}))
		srv.Intercept(func(ctx context.Context, _ emulator.Call) error {
			<-ctx.Done()
			return ctx.Err()
		})
		client := kinesis.NewFromConfig(srv.AWS(), func(o *kinesis.Options) { o.RetryMaxAttempts = 1 })
		hung := make(chan error)
		go func() {
			_, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
			hung <- err
		}()
		synctest.Wait()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-hung; err == nil {
			t.Error("hung call succeeded")
		}
	})
}

func TestCutCallIsNotCarriedOutAndLostAnswerIs(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	for i, fault := range []error{emulator.ErrCut, errors.New("anything else"), emulator.ErrLoseAnswer} {
		r.Intercept(func(context.Context, emulator.Call) error { return fault })
		_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: fmt.Append(nil, i)})
		if _, answered := errors.AsType[smithy.APIError](err); err == nil || answered {
			t.Errorf("fault %v: client got %v", fault, err)
		}
	}
	_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{
		StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: make([]byte, 2<<20)})
	if _, answered := errors.AsType[smithy.APIError](err); err == nil || answered {
		t.Errorf("lost refusal: client got %v", err)
	}
	r.Intercept(nil)
	if got := fmt.Sprint(r.data(r.horizon("orders"))); got != "[2]" {
		t.Errorf("stored %s, want only the write whose answer was lost", got)
	}
}
