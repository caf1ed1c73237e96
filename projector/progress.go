package projector

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/stream"
)

// ProgressStore is where readers of the view learn how far each shard is settled: penstock/sink/cassandra.Progress.
// What is published never goes back, whatever the order in which it arrives, and whoever sends it.
type ProgressStore interface {
	// Through returns up to where the shard was said to be settled; the zero time if nothing was said.
	Through(ctx context.Context, shard string) (time.Time, error)
	// Publish says of each shard up to where it is settled: every record that arrived before has its outcome.
	Publish(ctx context.Context, through map[string]time.Time) error
	// PublishEnd says that the shard is closed and every record of it has its outcome.
	PublishEnd(ctx context.Context, shard string) error
}

const (
	// publishEvery is the pause between two publications.
	publishEvery = time.Second
	// publishTimeout bounds one publication.
	publishTimeout = 2 * time.Second
	// endTries bounds the attempts to publish the end of a shard before its lease is finished. Whoever lists the shard
	// as finished publishes it again.
	endTries = 3
	// visibleWithin is how long a record may have been in the stream before an answer that says there is nothing more
	// fails to bring it: in Kinesis a record can be read "typically less than 1 second" after it was put.
	visibleWithin = time.Second
	// polledWithin is how old an answer that says there is nothing more may be before that is no longer believed. A
	// subscription brings one about every five seconds.
	polledWithin = 7 * time.Second
	// freshWithin is the age of the oldest record without outcome up to which a shard counts as fresh.
	freshWithin = 10 * time.Second
)

// unsettled is what is published for a shard of which nothing is known yet, so that nobody takes the view for fresh
// because a shard is missing.
var unsettled = time.UnixMilli(1)

// progress is how far one shard is settled, for readers of the view and for operators.
//
// What it claims rests on the stream's arrival times. Kinesis promises neither that they are exact nor that they
// increase along a shard, so a record may come with an arrival before what was claimed; that is as near as it gets.
type progress struct {
	tracker *checkpoint.Tracker
	records atomic.Int64 // read
	bytes   atomic.Int64 // of these
	busy    atomic.Int64 // nanoseconds in the view's function

	mu        sync.Mutex
	through   time.Time     // every record that arrived before it was read, and is in the tracker or settled
	arrived   time.Time     // the latest arrival of all records read
	heard     bool          // there was an answer
	answered  time.Time     // when the last one came, or when this began
	behind    time.Duration // of that answer
	marks     []handed      // watermarks that were handed out to be committed, oldest first
	committed handed
}

// handed is a watermark at the time it was to be committed.
type handed struct {
	watermark checkpoint.Sequence
	settled   int64 // records up to it
	at        time.Time
}

// newProgress returns the progress of a shard whose tracker is new.
func newProgress(t *checkpoint.Tracker, now time.Time) *progress {
	return &progress{tracker: t, answered: now, committed: handed{t.Watermark(), 0, now}}
}

// read takes note of a batch, whose records were added to the tracker before: what is claimed in between is less.
func (p *progress) read(b stream.Batch, now time.Time) {
	var arrived time.Time
	size := 0
	for _, r := range b.Records {
		size += len(r.Data) + len(r.PartitionKey)
		arrived = later(arrived, r.Arrival)
	}
	p.records.Add(int64(len(b.Records)))
	p.bytes.Add(int64(size))
	through := arrived
	if b.Known && b.Behind == 0 && !b.At.IsZero() {
		through = later(through, b.At.Add(-visibleWithin))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.through, p.arrived = later(p.through, through), later(p.arrived, arrived)
	if b.Failed == nil {
		p.heard, p.answered = true, now
	}
	if b.Known {
		p.behind = b.Behind
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// settledThrough returns the arrival time before which every record has its outcome; the zero time while that is not
// known.
func (p *progress) settledThrough() time.Time {
	p.mu.Lock()
	through := p.through // before the tracker is asked: a record that was read since can only make it ask for less
	p.mu.Unlock()
	if now := p.tracker.Progress(); now.Unsettled > 0 && now.Oldest.Before(through) {
		return now.Oldest
	}
	return through
}

// last returns the latest arrival of all records read; the zero time if there were none.
func (p *progress) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrived
}

// age returns how old the oldest record without outcome is, read or not; 0 when there is none.
func (p *progress) age(now time.Time) time.Duration {
	p.mu.Lock()
	unread := p.behind + now.Sub(p.answered)
	if p.heard && p.behind == 0 && unread < polledWithin {
		unread = 0
	}
	p.mu.Unlock()
	if held := p.tracker.Progress(); held.Unsettled > 0 {
		return max(unread, now.Sub(held.Oldest))
	}
	return unread
}

// awaits takes note of the arrival of a record that nobody has settled, where nothing was read of the shard yet.
func (p *progress) awaits(arrival, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.heard {
		p.behind, p.answered = now.Sub(arrival), now
	}
}

// Watermark implements watermarker: what it returns is about to be committed.
func (p *progress) Watermark() checkpoint.Sequence {
	now := p.tracker.Progress()
	p.mu.Lock()
	defer p.mu.Unlock()
	newest := p.committed
	if n := len(p.marks); n > 0 {
		newest = p.marks[n-1]
	}
	if now.Watermark != newest.watermark {
		p.marks = append(p.marks, handed{now.Watermark, now.Settled, time.Now()})
	}
	return now.Watermark
}

// commit takes note of what the lease table holds.
func (p *progress) commit(written checkpoint.Sequence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.marks, func(h handed) bool { return h.watermark == written })
	if i < 0 {
		return
	}
	p.committed = p.marks[i]
	p.marks = p.marks[i+1:]
}

// uncommitted returns how many settled records the checkpoint has not passed, and for how long it stands still.
func (p *progress) uncommitted(now time.Time) (records int64, stands time.Duration) {
	settled := p.tracker.Progress().Settled
	p.mu.Lock()
	defer p.mu.Unlock()
	if records = settled - p.committed.settled; records <= 0 {
		return 0, 0
	}
	return records, now.Sub(p.committed.at)
}

// publisher tells readers of the view again and again how far this worker's shards are settled, all in one call. What
// cannot be published now is published with the next; nothing else waits for it.
type publisher struct {
	store  ProgressStore // nil: progress is not published
	failed func()
	log    *zap.Logger

	mu        sync.Mutex
	following map[string]*progress

	// Owned by run.
	published map[string]time.Time
	failing   bool
}

func newPublisher(store ProgressStore, failed func(), log *zap.Logger) *publisher {
	return &publisher{store: store, failed: failed, log: log, following: map[string]*progress{}, published: map[string]time.Time{}}
}

// follow and leave say which shards this worker follows.
func (p *publisher) follow(shard string, progress *progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.following[shard] = progress
}

func (p *publisher) leave(shard string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.following, shard)
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) {
	if p.store == nil {
		return
	}
	turn := time.NewTicker(publishEvery)
	defer turn.Stop()
	for {
		select {
		case <-turn.C:
			p.publish(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// publish tells what is new.
func (p *publisher) publish(ctx context.Context) {
	news := p.news()
	if len(news) == 0 {
		return
	}
	err := publishing(ctx, func(ctx context.Context) error { return p.store.Publish(ctx, news) })
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		maps.Copy(p.published, news)
		if p.failing {
			p.log.Info("progress is published again")
		}
	default:
		p.failed()
		if !p.failing {
			p.log.Warn("progress cannot be published, repeating", zap.Error(err))
		}
	}
	p.failing = err != nil
}

// news returns how far the shards are settled that are further than was published.
func (p *publisher) news() map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.published, func(shard string, _ time.Time) bool { return p.following[shard] == nil })
	news := map[string]time.Time{}
	for shard, progress := range p.following {
		if through := progress.settledThrough().Truncate(time.Millisecond); through.After(p.published[shard]) {
			news[shard] = through
		}
	}
	return news
}

// publishing bounds one call of the store.
func publishing(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	return call(ctx)
}

// publishEnd tells readers of the view that the shard is settled to its end, after the first word on those that follow
// on it: else the view would look fresh while nobody has begun with them.
func (s *shard) publishEnd(ctx context.Context, children []string) {
	if s.store == nil {
		return
	}
	// Every record of the children arrived after the last of ours. When the service says that there is nothing more here,
	// there may be more in them.
	through := cmp.Or(s.progress.last().Truncate(time.Millisecond), unsettled)
	for try := 1; ; try++ {
		err := publishing(ctx, func(ctx context.Context) error {
			first := map[string]time.Time{}
			for _, child := range children {
				first[child] = through
			}
			if err := s.store.Publish(ctx, first); err != nil {
				return err
			}
			return s.store.PublishEnd(ctx, s.id)
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		s.metrics.progressFailed()
		if try == endTries {
			s.log.Warn("the end of the shard cannot be published", zap.Error(err))
			return
		}
	}
}

// announcer tells readers of the view of shards that this worker may have nothing to do with. Without a first word on
// every shard the view would look fresh while nobody has begun with one; and a worker that dies between the end of a
// shard and its publication leaves that to the others.
type announcer struct {
	store  ProgressStore
	failed func()
	log    *zap.Logger

	// Owned by discovery.
	told    map[string]bool // shards of which the first word is published
	ended   map[string]bool // and the end
	failing bool
}

// announce publishes what of the listed shards was not yet. What fails is tried again with the next listing.
func (a *announcer) announce(ctx context.Context, shards []stream.Shard, finished map[string]bool) {
	if a.store == nil {
		return
	}
	err := publishing(ctx, func(ctx context.Context) error {
		first := map[string]time.Time{}
		for _, s := range shards {
			if !a.told[s.ID] {
				first[s.ID] = unsettled
			}
		}
		if err := a.store.Publish(ctx, first); err != nil {
			return err
		}
		for id := range first {
			a.told[id] = true
		}
		for _, s := range shards {
			if !finished[s.ID] || a.ended[s.ID] {
				continue
			}
			if err := a.store.PublishEnd(ctx, s.ID); err != nil {
				return err
			}
			a.ended[s.ID] = true
		}
		return nil
	})
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		a.failed()
		if !a.failing {
			a.log.Warn("shards cannot be announced to readers of the view, repeating", zap.Error(err))
		}
	}
	a.failing = err != nil
}
