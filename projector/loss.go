package projector

import (
	"context"
	"time"

	"go.uber.org/zap"

	"penstock/sink"
	"penstock/stream"
)

// A record that is not read within the stream's retention is gone. The service does not say so: it goes on with the
// oldest record it has. What shows it is that a shard was read up to some time of arrival, and that at the next answer
// the retention reaches back to a later one. A quiet shard is read up to the present with every answer that says there
// is nothing more, so that nothing but a real pause of reading is called a loss. How far the shard was read by those who
// had it before is what they published of it for the readers of the view.

// OnLoss is what a shard does when records left the stream unread.
type OnLoss uint8

// The closed set of decisions.
const (
	StopOnLoss        OnLoss = iota // it stands still until an operator has decided
	ContinueAfterLoss               // it goes on with the oldest record there is
)

// lossRules is what a shard must know to recognise a loss, and what it does then.
type lossRules struct {
	retention func() time.Duration                                // of the stream, at present
	decision  func() OnLoss                                       // at present
	sought    func(ctx context.Context) (at time.Time, err error) // when an operator last set the shard's position
}

// span is a stretch of arrival times whose records, if there were any, left the stream unread.
type span struct{ from, to time.Time }

// lostBefore returns what was lost unread when a batch came, from a stream that keeps records for retention; ok is false
// if nothing was, or if it is not known how far the shard was read.
func (p *progress) lostBefore(b stream.Batch, retention time.Duration) (lost span, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.At.IsZero() || p.through.IsZero() || retention <= 0 {
		return span{}, false
	}
	oldest := b.At.Add(-retention)
	return span{p.through, oldest}, p.through.Before(oldest)
}

// resume takes note of up to when the shard was read before it came to this worker.
func (p *progress) resume(through time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if through.After(unsettled) {
		p.through = later(p.through, through)
	}
}

// recall finds out how far the shard was read before, while that can still be told: what this worker publishes hides it.
// It waits as long as the store of progress does not answer, which is where the rows are; where it may not be read, a
// loss of before is not recognised, and the log says so. The error is the cause of fetch's end.
func (s *shard) recall(fetch context.Context) error {
	if s.store == nil {
		return nil
	}
	for said := false; ; said = true {
		var through time.Time
		err := publishing(fetch, func(ctx context.Context) (err error) {
			through, err = s.store.Through(ctx, s.id)
			return err
		})
		if fetch.Err() != nil {
			return context.Cause(fetch)
		}
		if err == nil {
			s.progress.resume(through)
			return nil
		}
		if sink.DispositionOf(err) == sink.Fatal {
			s.log.Warn("how far the shard was read before cannot be known, so a loss since then is not told: allow SELECT on view_progress", zap.Error(err))
			return nil
		}
		if !said {
			s.log.Warn("how far the shard was read before cannot be found out, repeating", zap.Error(err))
		}
		if err := pause(fetch, around(publishEvery)); err != nil {
			return err
		}
	}
}

// mourn says what is lost when a batch shows it, and stands still until an operator has decided: by setting the shard's
// position, which ends the lease, or by kinesis.on_loss. The error is the cause of fetch's end.
func (s *shard) mourn(fetch context.Context, b stream.Batch) error {
	lost, ok := s.progress.lostBefore(b, s.losses.retention())
	if !ok || s.decided(fetch, lost) {
		return nil
	}
	s.metrics.lost()
	log := s.log.With(zap.Time("from", lost.from), zap.Time("to", lost.to), zap.String("checkpoint", string(s.tracker.Watermark())))
	log.Error("records that arrived in this span left the stream before they were read")
	for s.losses.decision() == StopOnLoss {
		log.Error("the shard stands still until projector shards seek, or kinesis.on_loss: continue")
		if err := pause(fetch, standstill); err != nil {
			return err
		}
	}
	log.Warn("the shard goes on after the loss")
	return nil
}

// decided reports whether an operator has set the shard's position since it was read last. Then he knew what was gone.
func (s *shard) decided(ctx context.Context, lost span) bool {
	ctx, cancel := context.WithTimeout(ctx, boardCall)
	defer cancel()
	at, err := s.losses.sought(ctx)
	if err != nil {
		s.log.Warn("whether an operator has set the shard's position cannot be found out", zap.Error(err))
	}
	return err == nil && at.After(lost.from)
}

// pause waits for d. The error is the cause of ctx's end.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Projector) lossRules(shard string) lossRules {
	return lossRules{
		retention: p.kept,
		decision:  func() OnLoss { return OnLoss(p.onLoss.Load()) },
		sought: func(ctx context.Context) (time.Time, error) {
			sought, _, err := ReadSeek(ctx, p.deps.State, Role(p.config.Generation), shard)
			return sought.At, err
		},
	}
}
