package vmware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Config configures a [Worker]. Durations that are zero are the library's defaults.
type Config struct {
	Worker     string
	Table      string
	Stream     string
	DynamoDB   *dynamodb.Client
	Kinesis    *kinesis.Client
	Start      types.ShardIteratorType // where a shard without a checkpoint begins: TRIM_HORIZON or LATEST, the default
	Failover   time.Duration           // 10 s
	Renew      time.Duration           // 2.5 s
	SyncEvery  time.Duration           // 60 s, within a half more or less
	ParentPoll time.Duration           // 10 s
	Idle       time.Duration           // 1 s
	Processor  Processor
}

// Processor is what an application does. As in the library it cannot return an error.
type Processor interface {
	// ProcessRecords gets the records of one reply, those of aggregates taken apart.
	ProcessRecords(shard string, records []Record, c Checkpointer)
	// Shutdown is called when the shard has ended, or when the worker is told to stop.
	Shutdown(shard string, ended bool, c Checkpointer)
}

// Record is one record of an application.
type Record struct {
	Sequence string
	Data     []byte
}

// Checkpointer writes a shard's checkpoint.
type Checkpointer struct {
	worker *Worker
	shard  *shard
	ctx    context.Context
}

// Checkpoint writes how far the shard is done. Empty stands for the library's nil: the shard is at its end, whenever
// that is said.
func (c Checkpointer) Checkpoint(sequence string) error {
	return c.worker.saveCheckpoint(c.ctx, c.shard, cmp.Or(sequence, shardEnd))
}

// Worker is one process of the library.
type Worker struct {
	config  Config
	work    sync.WaitGroup
	stopped chan struct{}
	stop    func()

	// Owned by the caller of Sync.
	shards map[string]*shard
}

// shard is what the worker knows of a shard. Its consumer and its renewer share it.
type shard struct {
	id     string
	parent string // the first; the library does not know of a second

	mu         sync.Mutex
	owner      string
	timeout    time.Time
	checkpoint string
}

func (s *shard) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *shard) at() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoint
}

func (s *shard) ownedBy(worker string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner == worker
}

// New returns a worker and creates its table if there is none.
func New(ctx context.Context, c Config) (*Worker, error) {
	c.Start = cmp.Or(c.Start, types.ShardIteratorTypeLatest)
	c.Failover = cmp.Or(c.Failover, 10*time.Second)
	c.Renew = cmp.Or(c.Renew, 2500*time.Millisecond)
	c.SyncEvery = cmp.Or(c.SyncEvery, time.Minute)
	c.ParentPoll = cmp.Or(c.ParentPoll, 10*time.Second)
	c.Idle = cmp.Or(c.Idle, time.Second)
	w := &Worker{config: c, stopped: make(chan struct{}), shards: map[string]*shard{}}
	w.stop = sync.OnceFunc(func() { close(w.stopped) })
	if err := w.createTable(ctx); err != nil {
		return nil, fmt.Errorf("create table %s: %w", c.Table, err)
	}
	return w, nil
}

// Run synchronises the shards again and again until ctx ends, waiting before the first time too, and then stops. The
// library's period is a minute, within a half more or less.
func (w *Worker) Run(ctx context.Context) error {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.config.SyncEvery/2 + rand.N(w.config.SyncEvery)):
		}
		if _, err := w.Sync(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Stop tells all consumers to stop and waits until they have.
func (w *Worker) Stop() {
	w.stop()
	w.work.Wait()
}

// Sync lists the shards and takes at most one lease. It returns the shard that it took, or "".
func (w *Worker) Sync(ctx context.Context) (took string, err error) {
	if err := w.syncShards(ctx); err != nil {
		return "", err
	}
	for _, s := range w.shards { // in the map's order, which is any
		if s.ownedBy(w.config.Worker) {
			continue
		}
		if _, err := w.fetchCheckpoint(ctx, s); err != nil {
			return "", err
		}
		if s.at() == shardEnd {
			continue
		}
		if err := w.getLease(ctx, s); errors.Is(err, errNotAcquired) {
			continue
		} else if err != nil {
			return "", err
		}
		w.work.Go(func() { w.consume(context.WithoutCancel(ctx), s) }) // the library's contexts never end
		return s.id, nil
	}
	return "", nil
}

func (w *Worker) syncShards(ctx context.Context) error {
	listed := map[string]bool{}
	in := &kinesis.ListShardsInput{StreamName: &w.config.Stream}
	for {
		out, err := w.config.Kinesis.ListShards(ctx, in)
		if err != nil {
			return err
		}
		for _, d := range out.Shards {
			listed[*d.ShardId] = true
			if w.shards[*d.ShardId] == nil {
				s := &shard{id: *d.ShardId}
				if d.ParentShardId != nil {
					s.parent = *d.ParentShardId
				}
				w.shards[s.id] = s
			}
		}
		if out.NextToken == nil {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
	for id, s := range w.shards {
		if !listed[id] {
			delete(w.shards, id)
			if err := w.remove(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}
