package cassandra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/view"
)

// The table of progress tells readers how far each shard of a generation is settled. It is outside the rule that
// stamps come from events alone: each cell's stamp is the time it holds, so that what is published never goes back.
const (
	createProgressCQL = `CREATE TABLE IF NOT EXISTS %s.view_progress (name text, generation int, shard text, ` +
		`settled_through timestamp, PRIMARY KEY ((name, generation), shard))`

	publishProgressCQL = `UPDATE %s.view_progress USING TIMESTAMP ? SET settled_through = ? WHERE name = ? AND generation = ? AND shard = ?`
	shardProgressCQL   = `SELECT settled_through FROM %s.view_progress WHERE name = ? AND generation = ? AND shard = ?`
	progressCQL        = `SELECT shard, settled_through FROM %s.view_progress WHERE name = ? AND generation = ?`
)

// shardEnd is what settled_through holds for a shard that is closed and settled to its end: nothing comes after it.
var shardEnd = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// Progress publishes how far the shards of one generation of a view are settled. It is safe for concurrent use.
type Progress struct {
	session    *Session
	view       string
	generation view.Generation
	publishCQL string
	throughCQL string
}

// NewProgress returns the progress of a generation of v.
func NewProgress(s *Session, v view.View, g view.Generation) *Progress {
	return &Progress{s, v.Name(), g, fmt.Sprintf(publishProgressCQL, s.keyspace), fmt.Sprintf(shardProgressCQL, s.keyspace)}
}

// Through returns up to where a shard was published to be settled, and the zero time if nothing was. One that was read
// to its end is settled for all time.
func (p *Progress) Through(ctx context.Context, shard string) (time.Time, error) {
	var through time.Time
	err := p.session.driver.Query(p.throughCQL, p.view, int(p.generation), shard).ScanContext(ctx, &through)
	if errors.Is(err, gocql.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, wrap("read the progress of shard "+shard, err)
	}
	return through, nil
}

// publishAtOnce bounds the shards in one statement batch.
const publishAtOnce = 100

// Publish says of each shard up to where it is settled: every record that arrived before has its outcome. An earlier time
// than was published changes nothing. Times count to the millisecond, and below one they are cut off.
//
// All shards of a generation are in one partition, so what goes in one batch is one mutation to Cassandra.
func (p *Progress) Publish(ctx context.Context, through map[string]time.Time) error {
	for shards := range slices.Chunk(slices.Collect(maps.Keys(through)), publishAtOnce) {
		batch := p.session.driver.Batch(gocql.UnloggedBatch).DefaultTimestamp(false)
		for _, shard := range shards {
			at := time.UnixMilli(through[shard].UnixMilli())
			batch.Query(p.publishCQL, at.UnixMicro(), at, p.view, int(p.generation), shard)
		}
		if err := batch.ExecContext(ctx); err != nil {
			return wrap("publish the view's progress", err)
		}
	}
	return nil
}

// PublishEnd says that the shard is closed and every record of it has its outcome.
func (p *Progress) PublishEnd(ctx context.Context, shard string) error {
	return p.Publish(ctx, map[string]time.Time{shard: shardEnd})
}

// Watermark is what can be said of a whole generation.
type Watermark struct {
	Through time.Time // every record that arrived before it has its outcome; zero if no shard is open
	Shard   string    // the open shard that holds it back
	Open    int       // shards that are not settled to their end
}

// Watermark returns the least progress of the shards of a generation, without those settled to their end.
func (s *Session) Watermark(ctx context.Context, v view.View, g view.Generation) (Watermark, error) {
	var w Watermark
	var shard string
	var through time.Time
	iter := s.driver.Query(fmt.Sprintf(progressCQL, s.keyspace), v.Name(), int(g)).IterContext(ctx)
	for iter.Scan(&shard, &through) {
		if !through.Before(shardEnd) {
			continue
		}
		if w.Open++; w.Open == 1 || through.Before(w.Through) {
			w.Through, w.Shard = through, shard
		}
	}
	if err := iter.Close(); err != nil {
		return Watermark{}, wrap("read the view's progress", err)
	}
	return w, nil
}
