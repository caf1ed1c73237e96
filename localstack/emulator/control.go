package emulator

import (
	"context"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// streamRef names a stream in a request.
type streamRef struct {
	StreamName string
	StreamARN  string
}

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// name returns the stream's name, from whichever the request gave.
func (ref streamRef) name(s *Server) (string, error) {
	name := ref.StreamName
	if ref.StreamARN != "" {
		_, fromARN, ok := strings.Cut(ref.StreamARN, ":stream/")
		switch {
		case !ok:
			return "", apiErrorf(InvalidArgument, "StreamARN %q is not the ARN of a stream", ref.StreamARN)
		case name != "" && name != fromARN:
			return "", apiErrorf(InvalidArgument, "StreamName %q and StreamARN %q name different streams", name, ref.StreamARN)
		case ref.StreamARN != s.arn(fromARN):
			return "", apiErrorf(ResourceNotFound, "Stream %s not found.", ref.StreamARN)
		}
		name = fromARN
	}
	if name == "" {
		return "", apiErrorf(InvalidArgument, "either StreamName or StreamARN is required")
	}
	if !streamName.MatchString(name) {
		return "", apiErrorf(ValidationFailed, "1 validation error detected: Value '%s' at 'streamName' failed to satisfy constraint: "+
			"Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have length between 1 and 128", name)
	}
	return name, nil
}

// find returns the stream that a request names, past the hook.
func (s *Server) find(ctx context.Context, q *request, ref streamRef, shard string) (*stream, error) {
	name, err := ref.name(s)
	if err != nil {
		return nil, err
	}
	if err := s.admit(ctx, q, Call{Stream: name, Shard: shard}); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.streams[name]
	if st == nil {
		return nil, apiErrorf(ResourceNotFound, "Stream %s under account %s not found.", name, s.config.Account)
	}
	return st, nil
}

func decode(q *request, into any) error {
	if err := json.Unmarshal(q.body, into); err != nil {
		return apiErrorf(Serialization, "%s: %v", q.action, err)
	}
	return nil
}

func (q *request) reply(answer any) error {
	raw, err := json.Marshal(answer)
	if err != nil {
		return apiErrorf(InternalFailure, "%s: %v", q.action, err)
	}
	q.out = append(q.out, raw...)
	return nil
}

// refuseDryRun is the answer to a data action that would have gone well had it been meant.
func refuseDryRun(dryRun bool) error {
	if !dryRun {
		return nil
	}
	return apiErrorf(DryRunOperation, "Request would have succeeded, but DryRun flag is set.")
}

// epochSeconds is a time as awsJson carries it, to the millisecond.
func epochSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// fromEpochSeconds rounds to the millisecond; what lies beyond the years of a time.Time comes out at their ends.
func fromEpochSeconds(seconds float64) time.Time {
	const farthest = float64(1 << 52)
	return time.UnixMilli(int64(max(-farthest, min(farthest, math.Round(seconds*1000)))))
}

const (
	minRecordKiB     = 1024
	maxRecordKiB     = 10240
	onDemandShards   = 4
	provisionedMode  = "PROVISIONED"
	onDemandMode     = "ON_DEMAND"
	listStreamsLimit = 100
	describeLimit    = 100
)

type modeDetails struct {
	StreamMode string
}

func (st *stream) mode() modeDetails {
	if st.onDemand {
		return modeDetails{onDemandMode}
	}
	return modeDetails{provisionedMode}
}

func (s *Server) createStream(ctx context.Context, q *request) error {
	var in struct {
		StreamName                 string
		ShardCount                 *int
		MaxRecordSizeInKiB         *int
		RecordDistributionStrategy string
		StreamModeDetails          modeDetails
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	name, err := streamRef{StreamName: in.StreamName}.name(s)
	if err != nil {
		return err
	}
	st := &stream{name: name, arn: s.arn(name), retention: s.config.Retention, maxRecord: minRecordKiB << 10}
	var shards int
	switch {
	case in.StreamModeDetails.StreamMode == onDemandMode && in.ShardCount == nil:
		st.onDemand, shards = true, onDemandShards
	case in.StreamModeDetails.StreamMode == onDemandMode:
		return apiErrorf(ValidationFailed, "ShardCount is not allowed for a stream in on-demand mode")
	case in.StreamModeDetails.StreamMode != "" && in.StreamModeDetails.StreamMode != provisionedMode:
		return apiErrorf(ValidationFailed, "stream mode %q does not exist", in.StreamModeDetails.StreamMode)
	case in.ShardCount == nil || *in.ShardCount < 1:
		return apiErrorf(ValidationFailed, "ShardCount must be at least 1 for a stream in provisioned mode")
	default:
		shards = *in.ShardCount
	}
	if in.RecordDistributionStrategy == "AUTO" {
		return apiErrorf(InvalidArgument, "record distribution AUTO is not emulated")
	}
	if kib := in.MaxRecordSizeInKiB; kib != nil {
		if *kib < minRecordKiB || *kib > maxRecordKiB {
			return apiErrorf(InvalidArgument, "MaxRecordSizeInKiB %d is outside %d to %d", *kib, minRecordKiB, maxRecordKiB)
		}
		st.maxRecord = *kib << 10
	}
	if err := s.admit(ctx, q, Call{Stream: name}); err != nil {
		return err
	}
	return s.add(st, shards)
}

// add makes a stream known, with a number of shards.
func (s *Server) add(st *stream, shards int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.name] != nil {
		return apiErrorf(ResourceInUse, "Stream %s under account %s already exists.", st.name, s.config.Account)
	}
	if shards > s.config.ShardLimit-s.shards {
		return apiErrorf(LimitExceeded, "This request would exceed the shard limit for the account %s in %s. "+
			"Current shard count for the account: %d. Limit: %d. Number of additional shards that would have resulted from this request: %d.",
			s.config.Account, s.config.Region, s.shards, s.config.ShardLimit, shards)
	}
	st.created = time.Now()
	// Sequence numbers begin with the epoch, so it is never given twice, not even to two streams created in one second.
	s.lastEpoch = max(s.lastEpoch+1, uint64(max(0, st.created.Unix())))
	st.epoch = s.lastEpoch
	st.shards = divide(shards, st.epoch)
	s.streams[st.name] = st
	s.byEpoch[st.epoch] = st
	s.shards += shards
	return nil
}

func (s *Server) deleteStream(ctx context.Context, q *request) error {
	var in streamRef
	if err := decode(q, &in); err != nil {
		return err
	}
	st, err := s.find(ctx, q, in, "")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byEpoch[st.epoch] != st {
		return apiErrorf(ResourceNotFound, "Stream %s under account %s not found.", st.name, s.config.Account)
	}
	delete(s.streams, st.name)
	delete(s.byEpoch, st.epoch)
	s.shards -= len(st.shards)
	return nil
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

func (st *stream) describe() description {
	return description{
		StreamName:              st.name,
		StreamARN:               st.arn,
		StreamStatus:            "ACTIVE",
		StreamModeDetails:       st.mode(),
		StreamCreationTimestamp: epochSeconds(st.created),
		RetentionPeriodHours:    int((st.retention + time.Hour - 1) / time.Hour),
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
	from, err := st.after(in.ExclusiveStartShardId)
	if err != nil {
		return err
	}
	page := st.shards[from:min(from+limit, len(st.shards))]
	type streamDescription struct {
		description
		Shards        []shardDescription
		HasMoreShards bool
	}
	return q.reply(struct{ StreamDescription streamDescription }{
		streamDescription{st.describe(), describeShards(page), from+len(page) < len(st.shards)},
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
	type summary struct {
		description
		OpenShardCount     int
		ConsumerCount      int
		MaxRecordSizeInKiB int
	}
	return q.reply(struct{ StreamDescriptionSummary summary }{
		summary{description: st.describe(), OpenShardCount: len(st.shards), MaxRecordSizeInKiB: st.maxRecord >> 10},
	})
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
	for _, st := range s.streamsAfter(after) {
		if len(out.StreamNames) == limit {
			out.HasMoreStreams = true
			t := token{kind: streamsToken, issued: time.Now().UnixMilli(), name: out.StreamNames[limit-1]}
			out.NextToken = t.sealed(s.seed)
			break
		}
		out.StreamNames = append(out.StreamNames, st.name)
		out.StreamSummaries = append(out.StreamSummaries,
			summary{st.name, st.arn, "ACTIVE", st.mode(), epochSeconds(st.created)})
	}
	return q.reply(out)
}

// streamsAfter returns the streams whose names follow after, by name.
func (s *Server) streamsAfter(after string) []*stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []*stream
	for name, st := range s.streams {
		if name > after {
			found = append(found, st)
		}
	}
	slices.SortFunc(found, func(a, b *stream) int { return strings.Compare(a.name, b.name) })
	return found
}
