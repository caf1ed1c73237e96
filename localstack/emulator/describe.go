package emulator

import (
	"context"
	"slices"
	"strings"
	"time"
)

const (
	listStreamsLimit = 100
	describeLimit    = 100
)

type modeDetails struct {
	StreamMode string
}

func (c *state) mode() modeDetails {
	if c.onDemand {
		return modeDetails{onDemandMode}
	}
	return modeDetails{provisionedMode}
}

// distribution returns the record distribution strategy; only streams in on-demand mode have one.
func (c *state) distribution() string {
	switch {
	case !c.onDemand:
		return ""
	case c.auto:
		return autoDistribution
	default:
		return keyDistribution
	}
}

// retentionHours returns the retention as the API reports it, rounded up.
func (c *state) retentionHours() int { return int((c.retention + time.Hour - 1) / time.Hour) }

// shown returns the stream's state as descriptions show it: without shards while the stream is CREATING.
func (st *stream) shown(now time.Time) *state {
	c := st.current.Load()
	if !st.creating(now) {
		return c
	}
	bare := *c
	bare.shards, bare.open = nil, nil
	return &bare
}

// statusOf returns a stream's status at now.
func (s *Server) statusOf(st *stream, now time.Time) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return st.status(now)
}

// description is what DescribeStream and DescribeStreamSummary have in common.
type description struct {
	StreamName              string
	StreamARN               string
	StreamStatus            string
	StreamModeDetails       modeDetails
	StreamCreationTimestamp float64
	RetentionPeriodHours    int
	EncryptionType          string
	EnhancedMonitoring      []enhancedMetrics
}

type enhancedMetrics struct {
	ShardLevelMetrics []string
}

func (s *Server) describe(st *stream, c *state, now time.Time) description {
	return description{
		StreamName:              st.name,
		StreamARN:               st.arn,
		StreamStatus:            s.statusOf(st, now),
		StreamModeDetails:       c.mode(),
		StreamCreationTimestamp: epochSeconds(st.created),
		RetentionPeriodHours:    c.retentionHours(),
		EncryptionType:          "NONE",
		EnhancedMonitoring:      []enhancedMetrics{{}},
	}
}

func (s *Server) describeStream(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		ExclusiveStartShardId string
		Limit                 *int
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	limit, err := pageSize("Limit", in.Limit, describeLimit)
	if err != nil {
		return err
	}
	st, err := s.find(ctx, q, in.streamRef, "")
	if err != nil {
		return err
	}
	now := time.Now()
	c := st.shown(now)
	from, err := c.after(in.ExclusiveStartShardId)
	if err != nil {
		return err
	}
	shards, next := c.list(now, shardFilter{}, from, limit)
	type streamDescription struct {
		description
		Shards        []shardDescription
		HasMoreShards bool
	}
	return q.reply(struct{ StreamDescription streamDescription }{
		streamDescription{s.describe(st, c, now), shards, next > 0},
	})
}

func (s *Server) describeStreamSummary(ctx context.Context, q *request) error {
	var in streamRef
	if err := decode(q, &in); err != nil {
		return err
	}
	st, err := s.find(ctx, q, in, "")
	if err != nil {
		return err
	}
	now := time.Now()
	c := st.shown(now)
	s.mu.RLock()
	consumers := len(st.consumersAt(now))
	s.mu.RUnlock()
	type summary struct {
		description
		OpenShardCount             int
		ConsumerCount              int
		MaxRecordSizeInKiB         int
		RecordDistributionStrategy string `json:",omitempty"`
	}
	return q.reply(struct{ StreamDescriptionSummary summary }{summary{
		description:                s.describe(st, c, now),
		OpenShardCount:             len(c.open),
		ConsumerCount:              consumers,
		MaxRecordSizeInKiB:         c.maxRecord >> 10,
		RecordDistributionStrategy: c.distribution(),
	}})
}

func (s *Server) listStreams(ctx context.Context, q *request) error {
	var in struct {
		ExclusiveStartStreamName string
		NextToken                string
		Limit                    *int
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	limit, err := pageSize("Limit", in.Limit, listStreamsLimit)
	if err != nil {
		return err
	}
	after := in.ExclusiveStartStreamName
	if in.NextToken != "" {
		t, err := s.openListing(in.NextToken, streamsToken)
		if err != nil {
			return err
		}
		after = t.name
	}
	if err := s.admit(ctx, q, Call{}); err != nil {
		return err
	}
	type summary struct {
		StreamName              string
		StreamARN               string
		StreamStatus            string
		StreamModeDetails       modeDetails
		StreamCreationTimestamp float64
	}
	var out struct {
		StreamNames     []string
		StreamSummaries []summary
		HasMoreStreams  bool
		NextToken       string `json:",omitempty"`
	}
	now := time.Now()
	for _, st := range s.streamsAfter(after, now) {
		if len(out.StreamNames) == limit {
			out.HasMoreStreams = true
			t := token{kind: streamsToken, issued: now.UnixMilli(), name: out.StreamNames[limit-1]}
			out.NextToken = t.sealed(s.seed)
			break
		}
		out.StreamNames = append(out.StreamNames, st.name)
		out.StreamSummaries = append(out.StreamSummaries,
			summary{st.name, st.arn, s.statusOf(st, now), st.current.Load().mode(), epochSeconds(st.created)})
	}
	return q.reply(out)
}

// streamsAfter returns the streams whose names follow after, by name.
func (s *Server) streamsAfter(after string, now time.Time) []*stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []*stream
	for name, st := range s.streams {
		if name > after && !st.isGone(now) {
			found = append(found, st)
		}
	}
	slices.SortFunc(found, func(a, b *stream) int { return strings.Compare(a.name, b.name) })
	return found
}
