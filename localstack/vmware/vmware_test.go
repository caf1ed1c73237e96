package vmware_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/stacktest"
	"penstock/localstack/vmware"
)

// ledger compares what was put with what was applied.
type ledger struct {
	mu      sync.Mutex
	put     map[string]string // shard by data
	applied []string          // data, in order
	changed chan struct{}     // closed and replaced at every application
}

func newLedger() *ledger { return &ledger{put: map[string]string{}, changed: make(chan struct{})} }

func (l *ledger) apply(data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = append(l.applied, data)
	close(l.changed)
	l.changed = make(chan struct{})
}

// missing returns what was put and not applied.
func (l *ledger) missing() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for data := range l.put {
		if !slices.Contains(l.applied, data) {
			out = append(out, data)
		}
	}
	slices.Sort(out)
	return out
}

// times returns how often something was applied.
func (l *ledger) times(data string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range l.applied {
		if a == data {
			n++
		}
	}
	return n
}

func (l *ledger) place(data string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Index(l.applied, data)
}

// await waits until all of data are applied.
func (l *ledger) await(t *testing.T, data ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		l.mu.Lock()
		changed := l.changed
		left := slices.DeleteFunc(slices.Clone(data), func(d string) bool { return slices.Contains(l.applied, d) })
		l.mu.Unlock()
		if len(left) == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not applied within a minute: %.300v", left)
		}
	}
}

// site is a stream and the names of tables.
type site struct {
	stacktest.Stack
	*ledger
	stream, table string
	kinesis       *kinesis.Client
}

func newSite(t *testing.T, shards int) *site {
	stack := stacktest.Require(t)
	return &site{Stack: stack, ledger: newLedger(), stream: stack.Stream(t, shards), table: stack.TablePrefix(t), kinesis: stack.KinesisClient()}
}

// open returns the open shards by their place in the ring.
func (s *site) open(t *testing.T) []types.Shard {
	t.Helper()
	exists := kinesis.NewStreamExistsWaiter(s.kinesis, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	})
	if err := exists.Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: &s.stream}, time.Minute); err != nil {
		t.Fatal(err)
	}
	out, err := s.kinesis.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &s.stream, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out.Shards, func(a, b types.Shard) int {
		return key(a.HashKeyRange.StartingHashKey).Cmp(key(b.HashKeyRange.StartingHashKey))
	})
	return out.Shards
}

// split splits a shard in the middle.
func (s *site) split(t *testing.T, shard types.Shard) {
	t.Helper()
	middle := new(big.Int).Add(key(shard.HashKeyRange.StartingHashKey), key(shard.HashKeyRange.EndingHashKey))
	at := middle.Rsh(middle, 1).String()
	if _, err := s.kinesis.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &s.stream, ShardToSplit: shard.ShardId, NewStartingHashKey: &at}); err != nil {
		t.Fatal(err)
	}
}

func key(s *string) *big.Int {
	n, _ := new(big.Int).SetString(*s, 10) // the service writes decimals
	return n
}

// puts writes one record into a shard.
func (s *site) puts(t *testing.T, shard types.Shard, data string) {
	t.Helper()
	s.mu.Lock()
	s.put[data] = *shard.ShardId
	s.mu.Unlock()
	s.raw(t, shard, []byte(data))
}

func (s *site) raw(t *testing.T, shard types.Shard, data []byte) {
	t.Helper()
	out, err := s.kinesis.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &s.stream, PartitionKey: aws.String("k"),
		ExplicitHashKey: shard.HashKeyRange.StartingHashKey, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	if *out.ShardId != *shard.ShardId {
		t.Fatalf("%.60q went to %s, not to %s", data, *out.ShardId, *shard.ShardId)
	}
}

// application applies records to the ledger, and checkpoints after each batch.
type application struct {
	*ledger
	gate map[string]chan struct{} // of a shard: its records wait here
	nil_ bool                     // checkpoints nothing when it is told to stop, as the library's maintainers advised
}

func (a application) ProcessRecords(shard string, records []vmware.Record, c vmware.Checkpointer) {
	if gate := a.gate[shard]; gate != nil {
		<-gate
	}
	for _, r := range records {
		a.apply(string(r.Data))
	}
	_ = c.Checkpoint(records[len(records)-1].Sequence) // a lost one is made up for by the next
}

func (a application) Shutdown(_ string, ended bool, c vmware.Checkpointer) {
	if ended || a.nil_ {
		_ = c.Checkpoint("") // nothing to tell it to
	}
}

// worker starts a worker whose shards are synchronised by the test.
func (s *site) worker(t *testing.T, name string, start types.ShardIteratorType, p vmware.Processor) *vmware.Worker {
	t.Helper()
	w, err := vmware.New(t.Context(), vmware.Config{Worker: name, Table: s.table, Stream: s.stream, DynamoDB: s.DynamoDBClient(), Kinesis: s.kinesis,
		Start: start, Processor: p, ParentPoll: 20 * time.Millisecond, Idle: 10 * time.Millisecond, Failover: 5 * time.Second, Renew: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// takes synchronises until the worker took as many shards, and returns them.
func takes(t *testing.T, w *vmware.Worker, shards int) (took []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(took) < shards {
		id, err := w.Sync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if id != "" {
			took = append(took, id)
		}
	}
	return took
}

// checkpoint returns what stands in a row.
func (s *site) checkpoint(t *testing.T, shard string) string {
	t.Helper()
	out, err := s.DynamoDBClient().GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &s.table, ConsistentRead: aws.Bool(true),
		Key: map[string]dynamotypes.AttributeValue{"ShardID": &dynamotypes.AttributeValueMemberS{Value: shard}}})
	if err != nil {
		t.Fatal(err)
	}
	at, ok := out.Item["Checkpoint"].(*dynamotypes.AttributeValueMemberS)
	if !ok {
		return ""
	}
	return at.Value
}

// awaitCheckpoint waits until a row's checkpoint is as wanted.
func (s *site) awaitCheckpoint(t *testing.T, shard string, wanted func(string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		at := s.checkpoint(t, shard)
		if wanted(at) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the checkpoint of %s is still %q after a minute", shard, at)
		}
	}
}

// The tests below show that the ledger can see loss, by the defects that this worker has like the library it restates.

// Defect 4: a child shard without a checkpoint begins at the configured initial position, LATEST unless it is changed.
func TestTheTwinLosesWhatCameBeforeAChildIsFound(t *testing.T) {
	s := newSite(t, 1)
	parent := s.open(t)[0]
	w := s.worker(t, "v-1", types.ShardIteratorTypeTrimHorizon, application{ledger: s.ledger})
	takes(t, w, 1)
	s.puts(t, parent, "before the split")
	s.await(t, "before the split")
	w.Stop()

	w = s.worker(t, "v-2", types.ShardIteratorTypeLatest, application{ledger: s.ledger})
	takes(t, w, 1)
	s.split(t, parent)
	children := s.open(t)
	s.puts(t, children[0], "lost 0")
	s.puts(t, children[1], "lost 1")
	s.awaitCheckpoint(t, *parent.ShardId, func(at string) bool { return at == "SHARD_END" })
	takes(t, w, 2)
	for n := 0; len(s.missing()) != 2 || s.place("after 0") < 0 || s.place("after 1") < 0; n++ {
		// A child is at LATEST only once it has its iterator, so records are put until one of each arrives.
		if n > 1000 {
			t.Fatalf("the children are not read; missing: %v", s.missing())
		}
		s.raw(t, children[0], []byte("after 0"))
		s.raw(t, children[1], []byte("after 1"))
	}
	if missing := s.missing(); !slices.Equal(missing, []string{"lost 0", "lost 1"}) {
		t.Errorf("missing: %v", missing)
	}
}

// Defect 5: of two parents only the first is waited for.
func TestTheTwinReadsAChildBeforeItsSecondParent(t *testing.T) {
	s := newSite(t, 2)
	parents := s.open(t)
	second := make(chan struct{})
	// Of which worker takes which shard the map's order decides, so both hold up the second parent.
	app := application{ledger: s.ledger, gate: map[string]chan struct{}{*parents[1].ShardId: second}}
	one, two := s.worker(t, "v-1", types.ShardIteratorTypeTrimHorizon, app), s.worker(t, "v-2", types.ShardIteratorTypeTrimHorizon, app)
	s.puts(t, parents[0], "first parent")
	s.puts(t, parents[1], "second parent")
	if _, err := s.kinesis.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: &s.stream, ShardToMerge: parents[0].ShardId, AdjacentShardToMerge: parents[1].ShardId}); err != nil {
		t.Fatal(err)
	}
	child := s.open(t)[0]
	if aws.ToString(child.ParentShardId) != *parents[0].ShardId {
		t.Fatalf("the child's first parent is %s", aws.ToString(child.ParentShardId))
	}
	s.puts(t, child, "child")
	takes(t, one, 2)
	takes(t, two, 1) // of three shards: two parents and the child
	s.await(t, "first parent", "child")
	close(second)
	s.await(t, "second parent")
	if s.place("child") > s.place("second parent") {
		t.Error("the child was read after its second parent")
	}
}

// Defect 9: a checkpoint of nothing marks a shard as read to its end, also one that is open.
func TestTheTwinNeverReadsAgainWhatItCalledFinished(t *testing.T) {
	s := newSite(t, 1)
	shard := s.open(t)[0]
	w := s.worker(t, "v-1", types.ShardIteratorTypeTrimHorizon, application{ledger: s.ledger, nil_: true})
	takes(t, w, 1)
	s.puts(t, shard, "before the stop")
	s.await(t, "before the stop")
	w.Stop()
	if at := s.checkpoint(t, *shard.ShardId); at != "SHARD_END" {
		t.Fatalf("the open shard stands at %s", at)
	}
	s.puts(t, shard, "after the stop")
	next := s.worker(t, "v-2", types.ShardIteratorTypeTrimHorizon, application{ledger: s.ledger})
	for range 5 {
		if took, err := next.Sync(t.Context()); took != "" || err != nil {
			t.Fatalf("took %q, %v", took, err)
		}
	}
	if missing := s.missing(); !slices.Equal(missing, []string{"after the stop"}) {
		t.Errorf("missing: %v", missing)
	}
}

// Defect 21: an aggregate that cannot be decoded takes the whole batch with it, and the next checkpoint passes it.
func TestTheTwinDropsTheBatchOfABrokenAggregate(t *testing.T) {
	s := newSite(t, 1)
	shard := s.open(t)[0]
	s.puts(t, shard, "in the batch 1")
	garbage := []byte{0x1a, 0xff, 0x01, 0x07} // a member that is longer than the message
	sum := md5.Sum(garbage)
	s.raw(t, shard, bytes.Join([][]byte{{0xf3, 0x89, 0x9a, 0xc2}, garbage, sum[:]}, nil))
	s.puts(t, shard, "in the batch 2")
	w := s.worker(t, "v-1", types.ShardIteratorTypeTrimHorizon, application{ledger: s.ledger})
	takes(t, w, 1)
	for n := 0; s.place("after") < 0; n++ { // until the batch is behind it, or one that is whole would be read with it
		if n > 1000 {
			t.Fatal("the shard is not read")
		}
		s.puts(t, shard, "after")
	}
	s.awaitCheckpoint(t, *shard.ShardId, func(at string) bool { return at != "" })
	if missing := s.missing(); !slices.Equal(missing, []string{"in the batch 1", "in the batch 2"}) {
		t.Errorf("missing: %v", missing)
	}
}

// An attribute of another type than text ends the library's process, so it must end this one.
func TestTheTwinPanicsOnAnAttributeOfAnotherType(t *testing.T) {
	s := newSite(t, 1)
	w := s.worker(t, "v-1", types.ShardIteratorTypeTrimHorizon, application{ledger: s.ledger})
	_, err := s.DynamoDBClient().PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &s.table, Item: map[string]dynamotypes.AttributeValue{
		"ShardID": &dynamotypes.AttributeValueMemberS{Value: *s.open(t)[0].ShardId}, "Checkpoint": &dynamotypes.AttributeValueMemberN{Value: "7"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("it lives")
		}
	}()
	_, _ = w.Sync(t.Context())
}
