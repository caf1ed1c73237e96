package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/localstack/recording"
)

type bareSpec struct {
	host        string
	rowByRow    bool // not in the pipeline's batches
	concurrency int
	atMost      time.Duration // 0: the whole recording
}

// figures are what one run of either side came to, over the middle nine tenths of its rows.
type figures struct {
	Rows    float64
	Seconds float64
	CPU     float64 // seconds of this process
}

func (f figures) rate() float64      { return f.Rows / f.Seconds }
func (f figures) cpuPerRow() float64 { return f.CPU / f.Rows * 1e6 }

// runBare sends a recording with nothing but the driver and a fixed number of goroutines, and prints its figures.
func runBare(ctx context.Context, file string, spec bareSpec) error {
	recorded, err := recording.Open(file, spec.rowByRow)
	if err != nil {
		return err
	}
	cluster := gocql.NewCluster(spec.host)
	cluster.Consistency = gocql.LocalQuorum
	cluster.Timeout = 10 * time.Second
	cluster.DefaultTimestamp = false
	cluster.RetryPolicy = nil
	cluster.Metadata.CacheMode = gocql.KeyspaceOnly
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy("dc1"), gocql.ShuffleReplicas())
	session, err := cluster.CreateSession()
	if err != nil {
		return err
	}
	defer session.Close()

	var next, rows atomic.Int64
	middle := newMiddle(recorded.Rows, os.Getpid())
	if spec.atMost > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, spec.atMost)
		defer cancel()
		middle = newMiddle(0, os.Getpid())
	}
	failed := make(chan error, spec.concurrency)
	var sending sync.WaitGroup
	for range spec.concurrency {
		sending.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(recorded.Len()) || ctx.Err() != nil {
					return
				}
				r := recorded.Request(int(i))
				if err := send(ctx, session, r); err != nil {
					if ctx.Err() == nil {
						failed <- err
					}
					return
				}
				middle.at(int(rows.Add(int64(len(r.Statements)))))
			}
		})
	}
	sending.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("send: %w", err)
	default:
	}
	return json.NewEncoder(os.Stdout).Encode(middle.end(int(rows.Load())))
}

func send(ctx context.Context, session *gocql.Session, r recording.Request) error {
	if len(r.Statements) == 1 {
		return session.Query(r.Statements[0], r.Values[0]...).ExecContext(ctx)
	}
	batch := session.Batch(gocql.UnloggedBatch).DefaultTimestamp(false)
	for i, s := range r.Statements {
		batch.Query(s, r.Values[i]...)
	}
	return batch.ExecContext(ctx)
}
