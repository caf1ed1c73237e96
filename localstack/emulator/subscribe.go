package emulator

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	subscribeAction = "SubscribeToShard"

	// eventAction is how hooks know an event of a subscription.
	eventAction = "SubscribeToShardEvent"

	subscriptionLife  = 5 * time.Minute
	subscriptionGuard = 5 * time.Second // no other call takes over a subscription younger than this
	maxEventBytes     = 2 << 20
)

const (
	// keepAlive is how often a subscription without news sends an event without records.
	keepAlive = 5 * time.Second

	// gather is how long records that come one by one are waited for, so that they share an event.
	gather = 20 * time.Millisecond
)

// subscription is one call of SubscribeToShard on its way.
type subscription struct {
	server   *Server
	stream   *stream
	shard    *shard
	consumer string // name
	begun    time.Time
	next     uint64 // index of the record to send

	over   chan struct{} // closed when the server ends it
	reason *APIError     // why; set once under Server.mu, before over is closed

	sent time.Time // the last event
	rate budget
}

// end lets the subscription end with an error; Server.mu is held.
func (sub *subscription) end(reason *APIError) {
	if sub.reason == nil {
		sub.reason = reason
		close(sub.over)
	}
}

func (s *Server) subscribeToShard(ctx context.Context, q *request) error {
	var in struct {
		ConsumerARN      string
		ShardId          string
		StartingPosition startingPosition
		DryRun           bool
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	if in.ConsumerARN == "" {
		return apiErrorf(ValidationFailed, "ConsumerARN is required")
	}
	ref := consumerRef{ConsumerARN: in.ConsumerARN}
	inStream, err := ref.complete()
	if err != nil {
		return err
	}
	name, err := inStream.name(s)
	if err != nil {
		return err
	}
	if err := s.admit(ctx, q, Call{Stream: name, Shard: in.ShardId, Consumer: ref.ConsumerName}); err != nil {
		return err
	}
	sub, err := s.subscribe(name, ref, in.ShardId, in.StartingPosition, in.DryRun)
	if err != nil {
		return err
	}
	q.stream = sub.run
	return nil
}

// subscribe begins a consumer's subscription to the shard with an id and ends the one before it.
func (s *Server) subscribe(name string, ref consumerRef, id string, from startingPosition, dryRun bool) (*subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	st, err := s.lookup(name, now)
	if err != nil {
		return nil, err
	}
	c, err := s.findConsumer(st, ref, now)
	if err != nil {
		return nil, err
	}
	if !dryRun {
		if err := s.admitSubscription(c, id, now); err != nil {
			return nil, err
		}
	}
	if status := c.status(now); status != statusActive {
		return nil, apiErrorf(ResourceInUse, "Consumer %s not ACTIVE, instead in state %s", c.arn, status)
	}
	sh, index, err := s.position(st, now, id, from)
	if err != nil {
		return nil, err
	}
	if err := refuseDryRun(dryRun); err != nil {
		return nil, err
	}
	if former := c.latest[sh.index]; former != nil {
		former.end(apiErrorf(ResourceInUse, "Consumer %s subscribed to shard %s again", c.arn, sh.id))
	}
	sub := &subscription{server: s, stream: st, shard: sh, consumer: c.name, begun: now, next: index, over: make(chan struct{})}
	c.latest[sh.index] = sub
	return sub, nil
}

// admitSubscription refuses a call that follows a successful one within the guard, or any one too soon; s.mu is held.
func (s *Server) admitSubscription(c *consumer, id string, now time.Time) error {
	perSecond := s.config.ControlQuota[subscribeAction]
	inTime := perSecond == 0 || s.control.admit(now, perSecond, subscribeAction, c.arn, id)
	if index, ok := parseShardID(id); ok {
		if former := c.latest[index]; former != nil && now.Sub(former.begun) < subscriptionGuard {
			return apiErrorf(ResourceInUse, "Consumer %s subscribed to shard %s %s ago; the subscription cannot be replaced before %s",
				c.arn, id, now.Sub(former.begun), subscriptionGuard)
		}
	}
	if !inTime {
		return rateExceeded(subscribeAction)
	}
	return nil
}

// errOver says that a subscription has come to its end in order.
var errOver = errors.New("subscription over")

// run sends events until the subscription is over, the shard ends or the client is gone. It returns nil where the answer ends in
// order, and otherwise an error after which the connection is to be closed.
func (sub *subscription) run(ctx context.Context, q *request, w http.ResponseWriter) error {
	control := http.NewResponseController(w)
	// A client that does not read must not hold the connection for longer than a subscription lasts. Not every writer has
	// deadlines; over one that has none a write ends with the connection.
	_ = control.SetWriteDeadline(sub.begun.Add(subscriptionLife + keepAlive))
	defer control.SetWriteDeadline(time.Time{})
	send := func() error {
		if _, err := w.Write(q.out); err != nil {
			return err
		}
		return control.Flush()
	}
	w.Header().Set("Content-Type", eventStreamType)
	q.out = appendInitialResponse(q.out[:0])
	if err := send(); err != nil {
		return err
	}
	life := time.NewTimer(time.Until(sub.begun.Add(subscriptionLife)))
	defer life.Stop()
	for {
		x, pause, news := sub.look()
		err := sub.ended(ctx, life.C)
		if err == nil && pause > 0 {
			err = sub.wait(ctx, life.C, pause, news)
		}
		if err != nil {
			return sub.finish(err, q, send)
		}
		if pause > 0 {
			continue // there may be more by now
		}
		ended := sub.appendEvent(q, x)
		if err := sub.ask(ctx); err != nil {
			return sub.spoil(err, q, send)
		}
		if err := send(); err != nil || ended {
			return err
		}
	}
}

// look returns what there is to send, and how long the next event has to wait: for the quota if there is something to send, else
// for news, which end the wait early.
func (sub *subscription) look() (x excerpt, pause time.Duration, news <-chan struct{}) {
	news = sub.shard.changes() // before the look, or what comes in between would not be noticed
	now := time.Now()
	x = sub.shard.read(now, sub.stream.current.Load().retention, sub.next, maxReadRecords)
	if len(x.runs) > 0 || x.ends(0) {
		return x, sub.rate.owed(now), nil
	}
	return x, max(0, keepAlive-now.Sub(sub.sent)), news
}

// ended returns an error once the subscription has to end: errOver after its life, its reason, or the context's error.
func (sub *subscription) ended(ctx context.Context, life <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-sub.over:
		return sub.reason
	case <-life:
		return errOver
	default:
		return nil
	}
}

// wait lets a pause pass, or after news just long enough for more of them to come. It returns an error as ended does, as soon as
// there is one.
func (sub *subscription) wait(ctx context.Context, life <-chan time.Time, pause time.Duration, news <-chan struct{}) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sub.over:
			return sub.reason
		case <-life:
			return errOver
		case <-timer.C:
			return nil
		case <-news:
			timer.Reset(gather)
			news = nil // which stays closed
		}
	}
}

// appendEvent makes q.out the frame of the next event, moves on behind it and says whether it is the shard's last.
func (sub *subscription) appendEvent(q *request, x excerpt) (ended bool) {
	now := time.Now()
	r := records{room: maxEventBytes}
	q.out = openEvent(q.out[:0], "SubscribeToShardEvent")
	q.out = append(q.out, `{"Records":[`...)
	q.out = r.append(q.out, sub.shard, x)
	q.out = append(q.out, `],"MillisBehindLatest":`...)
	q.out = strconv.AppendInt(q.out, r.behind(now, x), 10)
	sub.next = x.start + uint64(r.count)
	if ended = x.ends(r.count); ended {
		q.out = appendChildren(q.out, x.children)
	} else {
		q.out = append(q.out, `,"ContinuationSequenceNumber":"`...)
		q.out = sub.shard.continuation(sub.next-1, now).append(q.out)
		q.out = append(q.out, '"')
	}
	q.out = closeFrame(append(q.out, '}'), 0)
	sub.sent = now
	sub.rate.spend(now, sub.server.config.ReadQuota.FanOutBytesPerSecond, r.bytes)
	return ended
}

// ask asks the hook about an event.
func (sub *subscription) ask(ctx context.Context) error {
	hook := sub.server.hook.Load()
	if hook == nil {
		return nil
	}
	return (*hook)(ctx, Call{Action: eventAction, Stream: sub.stream.name, Shard: sub.shard.id, Consumer: sub.consumer})
}

// finish ends the answer for one of wait's reasons.
func (sub *subscription) finish(err error, q *request, send func() error) error {
	if errors.Is(err, errOver) {
		return nil
	}
	if reason, ok := errors.AsType[*APIError](err); ok {
		q.out = appendErrorFrame(q.out[:0], reason)
		return send()
	}
	return err
}

// spoil does to the event in q.out what a hook asked for.
func (sub *subscription) spoil(err error, q *request, send func() error) error {
	switch {
	case errors.Is(err, ErrEnd):
		return nil
	case errors.Is(err, ErrCut):
		q.out = q.out[:len(q.out)/2]
		return errors.Join(err, send())
	default:
		return sub.finish(err, q, send)
	}
}
