package emulator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func (r *rig) tryRegister(stream, name string) (*types.Consumer, error) {
	out, err := r.client.RegisterStreamConsumer(r.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf(stream)), ConsumerName: &name})
	if err != nil {
		return nil, err
	}
	return out.Consumer, nil
}

func (r *rig) consumer(arn string) (*types.ConsumerDescription, error) {
	out, err := r.client.DescribeStreamConsumer(r.Context(), &kinesis.DescribeStreamConsumerInput{ConsumerARN: &arn})
	if err != nil {
		return nil, err
	}
	return out.ConsumerDescription, nil
}

func (r *rig) deregister(arn string) {
	r.Helper()
	if _, err := r.client.DeregisterStreamConsumer(r.Context(), &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &arn}); err != nil {
		r.Error(err)
	}
}

func TestAConsumerIsCreatingThenActiveThenDeletingThenGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{UpdateTime: time.Minute})
		r.create("orders", 1)
		registered, err := r.tryRegister("orders", "view")
		if err != nil {
			t.Fatal(err)
		}
		arn := *registered.ConsumerARN
		if !strings.HasPrefix(arn, arnOf("orders")+"/consumer/view:") || *registered.ConsumerName != "view" ||
			registered.ConsumerStatus != types.ConsumerStatusCreating || !registered.ConsumerCreationTimestamp.Equal(time.Now()) {
			t.Errorf("registered %+v", registered)
		}
		status := func() types.ConsumerStatus {
			c, err := r.consumer(arn)
			if err != nil {
				t.Fatal(err)
			}
			if *c.StreamARN != arnOf("orders") || *c.ConsumerARN != arn || *c.ConsumerName != "view" {
				t.Errorf("described %+v", c)
			}
			return c.ConsumerStatus
		}
		time.Sleep(time.Minute - time.Millisecond)
		if got := status(); got != types.ConsumerStatusCreating {
			t.Errorf("status %s within a minute", got)
		}
		time.Sleep(time.Millisecond)
		if got := status(); got != types.ConsumerStatusActive {
			t.Errorf("status %s after a minute", got)
		}
		if n := *r.summary("orders").ConsumerCount; n != 1 {
			t.Errorf("%d consumers counted", n)
		}
		for range 2 { // again is no error
			r.deregister(arn)
		}
		if got := status(); got != types.ConsumerStatusDeleting {
			t.Errorf("status %s after the end", got)
		}
		_, err = r.tryRegister("orders", "view")
		typed[*types.ResourceInUseException](t, err)
		time.Sleep(time.Minute)
		_, err = r.consumer(arn)
		typed[*types.ResourceNotFoundException](t, err)
		again, err := r.tryRegister("orders", "view")
		if err != nil || *again.ConsumerARN == arn {
			t.Errorf("registered again as %+v, %v", again, err)
		}
		_, err = r.consumer(arn) // of the former of that name
		typed[*types.ResourceNotFoundException](t, err)
	})
}

func TestConsumersOfOneSecondAndNameDifferByTheirARN(t *testing.T) {
	r := start(t, emulator.Config{UpdateTime: -1})
	r.create("orders", 1)
	seen := map[string]bool{}
	for range 5 {
		c, err := r.tryRegister("orders", "view")
		if err != nil {
			t.Fatal(err)
		}
		if seen[*c.ConsumerARN] {
			t.Errorf("%s was given twice", *c.ConsumerARN)
		}
		seen[*c.ConsumerARN] = true
		r.deregister(*c.ConsumerARN)
	}
}

func TestConsumersAreNamedByARNOrByStreamAndName(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	c, err := r.tryRegister("orders", "view")
	if err != nil {
		t.Fatal(err)
	}
	arn, stream := c.ConsumerARN, aws.String(arnOf("orders"))
	describe := func(in kinesis.DescribeStreamConsumerInput) error {
		_, err := r.client.DescribeStreamConsumer(t.Context(), &in)
		return err
	}
	for _, in := range []kinesis.DescribeStreamConsumerInput{
		{ConsumerARN: arn},
		{StreamARN: stream, ConsumerName: aws.String("view")},
		{ConsumerARN: arn, StreamARN: stream, ConsumerName: aws.String("view")},
	} {
		if err := describe(in); err != nil {
			t.Error(err)
		}
	}
	for _, in := range []kinesis.DescribeStreamConsumerInput{
		{},
		{ConsumerName: aws.String("view")},
		{StreamARN: stream},
		{ConsumerARN: stream},
		{ConsumerARN: aws.String(*stream + "/consumer/view")},
		{ConsumerARN: arn, ConsumerName: aws.String("other")},
		{ConsumerARN: arn, StreamARN: aws.String(arnOf("other"))},
	} {
		typed[*types.InvalidArgumentException](t, describe(in))
	}
	typed[*types.ResourceNotFoundException](t, describe(kinesis.DescribeStreamConsumerInput{StreamARN: stream, ConsumerName: aws.String("other")}))
	_, err = r.client.DeregisterStreamConsumer(t.Context(), &kinesis.DeregisterStreamConsumerInput{ConsumerARN: aws.String(*arn + "0")})
	typed[*types.ResourceNotFoundException](t, err)
}

func TestRegisterRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{UpdateTime: time.Minute, ConsumerLimit: 7})
		r.create("orders", 1)
		r.create("others", 1)
		refused := func(stream, name string) error {
			_, err := r.tryRegister(stream, name)
			return err
		}
		typed[*types.ResourceNotFoundException](t, refused("absent", "view"))
		typed[*types.ValidationException](t, refused("orders", "no such name"))
		typed[*types.ValidationException](t, refused("orders", strings.Repeat("n", 129)))
		for i := range 5 {
			if err := refused([]string{"orders", "others"}[i%2], fmt.Sprint("view", i)); err != nil {
				t.Fatal(err)
			}
		}
		typed[*types.ResourceInUseException](t, refused("orders", "view0"))
		typed[*types.LimitExceededException](t, refused("orders", "sixth"))
		time.Sleep(time.Minute)
		for i := range 4 {
			if err := refused("orders", fmt.Sprint("more", i)); err != nil {
				t.Fatal(err)
			}
		}
		typed[*types.LimitExceededException](t, refused("orders", "eighth"))
		if err := refused("others", "view0"); err != nil { // a name is its stream's
			t.Error(err)
		}
	})
}

func TestConsumersAreListedByPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{UpdateTime: -1, ConsumerLimit: 200})
		created := time.Now()
		r.create("orders", 1)
		r.create("others", 1)
		var want []string
		for i := range 105 {
			want = append(want, fmt.Sprintf("view-%03d", i))
		}
		for _, name := range slices.Backward(want) {
			if _, err := r.tryRegister("orders", name); err != nil {
				t.Fatal(err)
			}
		}
		for _, size := range []*int32{nil, aws.Int32(7), aws.Int32(105), aws.Int32(5000)} {
			var got []string
			pages := kinesis.NewListStreamConsumersPaginator(r.client, &kinesis.ListStreamConsumersInput{StreamARN: aws.String(arnOf("orders")), MaxResults: size})
			for pages.HasMorePages() {
				out, err := pages.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Consumers) > 100 {
					t.Errorf("%d consumers on a page", len(out.Consumers))
				}
				for _, c := range out.Consumers {
					got = append(got, *c.ConsumerName)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("listed %v", got)
			}
		}
		list := func(in kinesis.ListStreamConsumersInput) (*kinesis.ListStreamConsumersOutput, error) {
			in.StreamARN = stringOr(in.StreamARN, arnOf("orders"))
			return r.client.ListStreamConsumers(t.Context(), &in)
		}
		first, err := list(kinesis.ListStreamConsumersInput{StreamCreationTimestamp: &created})
		if err != nil {
			t.Fatal(err)
		}
		_, err = list(kinesis.ListStreamConsumersInput{StreamCreationTimestamp: new(created.Add(time.Second))})
		typed[*types.ResourceNotFoundException](t, err)
		_, err = list(kinesis.ListStreamConsumersInput{NextToken: first.NextToken, StreamCreationTimestamp: &created})
		typed[*types.InvalidArgumentException](t, err)
		_, err = list(kinesis.ListStreamConsumersInput{NextToken: first.NextToken, StreamARN: aws.String(arnOf("others"))})
		typed[*types.InvalidArgumentException](t, err)
		_, err = list(kinesis.ListStreamConsumersInput{NextToken: aws.String("garbage")})
		typed[*types.InvalidArgumentException](t, err)
		_, err = list(kinesis.ListStreamConsumersInput{MaxResults: aws.Int32(0)})
		typed[*types.InvalidArgumentException](t, err)
		time.Sleep(300*time.Second + time.Millisecond)
		_, err = list(kinesis.ListStreamConsumersInput{NextToken: first.NextToken})
		typed[*types.ExpiredNextTokenException](t, err)
	})
}

func stringOr(given *string, otherwise string) *string {
	if given != nil {
		return given
	}
	return &otherwise
}

func TestAStreamWithConsumersIsDeletedOnlyIfTheyMayGo(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	if _, err := r.tryRegister("orders", "view"); err != nil {
		t.Fatal(err)
	}
	remove := func(enforce *bool) error {
		_, err := r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("orders"), EnforceConsumerDeletion: enforce})
		return err
	}
	typed[*types.ResourceInUseException](t, remove(nil))
	typed[*types.ResourceInUseException](t, remove(aws.Bool(false)))
	if err := remove(aws.Bool(true)); err != nil {
		t.Fatal(err)
	}
	r.create("orders", 1)
	if n := *r.summary("orders").ConsumerCount; n != 0 {
		t.Errorf("the new stream has %d consumers", n)
	}
}
