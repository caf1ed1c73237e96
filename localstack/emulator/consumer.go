package emulator

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxCreatingConsumers = 5
	listConsumersLimit   = 100
	consumerInfix        = "/consumer/"
)

// consumer is one that is registered with a stream for enhanced fan-out. Its fields are guarded by Server.mu.
type consumer struct {
	name    string
	arn     string
	created time.Time
	ready   time.Time // CREATING before
	deleted bool
	gone    time.Time                // of a deleted consumer: DELETING before, unknown from then on
	latest  map[uint32]*subscription // the last to each shard, which may be over
}

func (c *consumer) status(now time.Time) string {
	switch {
	case c.deleted:
		return statusDeleting
	case now.Before(c.ready):
		return statusCreating
	default:
		return statusActive
	}
}

// end ends the consumer's subscriptions; Server.mu is held.
func (c *consumer) end(reason *APIError) {
	for _, sub := range c.latest {
		sub.end(reason)
	}
}

// consumersAt returns the stream's consumers by name; Server.mu is held.
func (st *stream) consumersAt(now time.Time) []*consumer {
	var known []*consumer
	for _, c := range st.consumers {
		if !c.deleted || now.Before(c.gone) {
			known = append(known, c)
		}
	}
	slices.SortFunc(known, func(a, b *consumer) int { return cmp.Compare(a.name, b.name) })
	return known
}

// consumerDescription is what the API says of a consumer; StreamARN only in DescribeStreamConsumer.
type consumerDescription struct {
	ConsumerName              string
	ConsumerARN               string
	ConsumerStatus            string
	ConsumerCreationTimestamp float64
	StreamARN                 string `json:",omitempty"`
}

func (c *consumer) describe(now time.Time) consumerDescription {
	return consumerDescription{ConsumerName: c.name, ConsumerARN: c.arn, ConsumerStatus: c.status(now), ConsumerCreationTimestamp: epochSeconds(c.created)}
}

func (s *Server) registerConsumer(ctx context.Context, q *request) error {
	var in struct {
		StreamARN    string
		ConsumerName string
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	if err := checkConsumerName(in.ConsumerName); err != nil {
		return err
	}
	st, err := s.find(ctx, q, streamRef{StreamARN: in.StreamARN}, "")
	if err != nil {
		return err
	}
	c, err := s.addConsumer(st, in.ConsumerName)
	if err != nil {
		return err
	}
	return q.reply(struct{ Consumer consumerDescription }{c})
}

func checkConsumerName(name string) error {
	if streamName.MatchString(name) {
		return nil
	}
	return apiErrorf(ValidationFailed, "1 validation error detected: Value '%s' at 'consumerName' failed to satisfy constraint: "+
		"Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have length between 1 and 128", name)
}

// addConsumer registers a consumer and returns its description.
func (s *Server) addConsumer(st *stream, name string) (consumerDescription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var none consumerDescription
	if status := st.status(now); status == statusCreating || status == statusDeleting {
		return none, apiErrorf(ResourceInUse, "Stream %s under account %s not ACTIVE, instead in state %s", st.name, s.config.Account, status)
	}
	maps.DeleteFunc(st.consumers, func(_ string, c *consumer) bool { return c.deleted && !now.Before(c.gone) })
	if st.consumers[name] != nil {
		return none, apiErrorf(ResourceInUse, "Consumer %s of stream %s under account %s already exists.", name, st.name, s.config.Account)
	}
	if len(st.consumers) >= s.config.ConsumerLimit {
		return none, apiErrorf(LimitExceeded, "Stream %s under account %s has %d consumers, as many as it may have", st.name, s.config.Account, len(st.consumers))
	}
	creating := 0
	for _, other := range s.streams {
		for _, c := range other.consumers {
			if c.status(now) == statusCreating {
				creating++
			}
		}
	}
	if creating >= maxCreatingConsumers {
		return none, apiErrorf(LimitExceeded, "%d consumers are being created under account %s; %d may be at once", creating, s.config.Account, maxCreatingConsumers)
	}
	// The ARN tells a consumer from an earlier one of its name, also from one of the same second.
	st.lastConsumer = max(st.lastConsumer+1, now.Unix())
	c := &consumer{
		name:    name,
		arn:     st.arn + consumerInfix + name + ":" + strconv.FormatInt(st.lastConsumer, 10),
		created: now,
		ready:   now.Add(s.config.UpdateTime),
		latest:  map[uint32]*subscription{},
	}
	st.consumers[name] = c
	return c.describe(now), nil
}

// consumerRef names a consumer in a request: by its ARN, by its stream's ARN and its name, or by all three.
type consumerRef struct {
	ConsumerARN  string
	ConsumerName string
	StreamARN    string
}

// complete returns the consumer's stream and fills in the name.
func (ref *consumerRef) complete() (streamRef, error) {
	if ref.ConsumerARN == "" {
		if ref.StreamARN == "" || ref.ConsumerName == "" {
			return streamRef{}, apiErrorf(InvalidArgument, "either ConsumerARN or both StreamARN and ConsumerName are required")
		}
		return streamRef{StreamARN: ref.StreamARN}, nil
	}
	streamARN, rest, ok := strings.Cut(ref.ConsumerARN, consumerInfix)
	name, _, stamped := strings.Cut(rest, ":")
	switch {
	case !ok || !stamped:
		return streamRef{}, apiErrorf(InvalidArgument, "ConsumerARN %q is not the ARN of a consumer", ref.ConsumerARN)
	case ref.StreamARN != "" && ref.StreamARN != streamARN:
		return streamRef{}, apiErrorf(InvalidArgument, "ConsumerARN %q and StreamARN %q name different streams", ref.ConsumerARN, ref.StreamARN)
	case ref.ConsumerName != "" && ref.ConsumerName != name:
		return streamRef{}, apiErrorf(InvalidArgument, "ConsumerARN %q and ConsumerName %q name different consumers", ref.ConsumerARN, ref.ConsumerName)
	}
	ref.ConsumerName = name
	return streamRef{StreamARN: streamARN}, nil
}

// findConsumer returns the consumer that a completed ref names; s.mu is held.
func (s *Server) findConsumer(st *stream, ref consumerRef, now time.Time) (*consumer, error) {
	c := st.consumers[ref.ConsumerName]
	if c == nil || ref.ConsumerARN != "" && ref.ConsumerARN != c.arn || c.deleted && !now.Before(c.gone) {
		return nil, apiErrorf(ResourceNotFound, "Consumer %s of stream %s under account %s not found.",
			cmp.Or(ref.ConsumerARN, ref.ConsumerName), st.name, s.config.Account)
	}
	return c, nil
}

func (s *Server) describeConsumer(ctx context.Context, q *request) error {
	var out struct{ ConsumerDescription consumerDescription }
	err := s.withConsumer(ctx, q, func(st *stream, c *consumer, now time.Time) {
		out.ConsumerDescription = c.describe(now)
		out.ConsumerDescription.StreamARN = st.arn
	})
	if err != nil {
		return err
	}
	return q.reply(out)
}

func (s *Server) deregisterConsumer(ctx context.Context, q *request) error {
	return s.withConsumer(ctx, q, func(st *stream, c *consumer, now time.Time) {
		if c.deleted {
			return
		}
		c.deleted, c.gone = true, now.Add(s.config.UpdateTime)
		c.end(apiErrorf(ResourceNotFound, "Consumer %s of stream %s under account %s is deregistered.", c.arn, st.name, s.config.Account))
	})
}

// withConsumer finds the consumer that a request names, past the hook, and calls do with s.mu held for writing.
func (s *Server) withConsumer(ctx context.Context, q *request, do func(*stream, *consumer, time.Time)) error {
	var ref consumerRef
	if err := decode(q, &ref); err != nil {
		return err
	}
	inStream, err := ref.complete()
	if err != nil {
		return err
	}
	st, err := s.find(ctx, q, inStream, "")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	c, err := s.findConsumer(st, ref, now)
	if err != nil {
		return err
	}
	do(st, c, now)
	return nil
}

func (s *Server) listConsumers(ctx context.Context, q *request) error {
	var in struct {
		StreamARN               string
		MaxResults              *int
		NextToken               string
		StreamCreationTimestamp *float64
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	limit, err := pageSize("MaxResults", in.MaxResults, listConsumersLimit)
	if err != nil {
		return err
	}
	var last token
	if in.NextToken != "" {
		if in.StreamCreationTimestamp != nil {
			return apiErrorf(InvalidArgument, "NextToken does not go with StreamCreationTimestamp")
		}
		if last, err = s.openListing(in.NextToken, consumersToken); err != nil {
			return err
		}
	}
	st, err := s.find(ctx, q, streamRef{StreamARN: in.StreamARN}, "")
	if err != nil {
		return err
	}
	if in.NextToken != "" && last.epoch != st.epoch {
		return apiErrorf(InvalidArgument, "NextToken is not of stream %s", in.StreamARN)
	}
	if err := s.checkIncarnation(st, in.StreamCreationTimestamp); err != nil {
		return err
	}
	var out struct {
		Consumers []consumerDescription
		NextToken string `json:",omitempty"`
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := time.Now()
	for _, c := range st.consumersAt(now) {
		if c.name <= last.name {
			continue
		}
		if len(out.Consumers) == limit {
			t := token{kind: consumersToken, issued: now.UnixMilli(), epoch: st.epoch, name: out.Consumers[limit-1].ConsumerName}
			out.NextToken = t.sealed(s.seed)
			break
		}
		out.Consumers = append(out.Consumers, c.describe(now))
	}
	return q.reply(out)
}
