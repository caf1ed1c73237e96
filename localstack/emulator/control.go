package emulator

import (
	"context"
	"math"
	"regexp"
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
	return s.lookup(name, time.Now())
}

// findReadable is find for the actions on records, which know no stream that is still CREATING.
func (s *Server) findReadable(ctx context.Context, q *request, ref streamRef, shard string) (*stream, error) {
	st, err := s.find(ctx, q, ref, shard)
	if err == nil && st.creating(time.Now()) {
		return nil, s.noStream(st.name)
	}
	return st, err
}

// lookup returns the stream with a name; s.mu is held.
func (s *Server) lookup(name string, now time.Time) (*stream, error) {
	st := s.streams[name]
	if st == nil || st.isGone(now) {
		return nil, s.noStream(name)
	}
	return st, nil
}

func (s *Server) noStream(name string) *APIError {
	return apiErrorf(ResourceNotFound, "Stream %s under account %s not found.", name, s.config.Account)
}

// change carries out what changes a stream, past the hook and only while the stream is ACTIVE. With s.mu held for writing it calls
// do, which checks the rest first: after an error nothing has changed. Then the stream is UPDATING for a while.
func (s *Server) change(ctx context.Context, q *request, ref streamRef, do func(st *stream, now time.Time) error) error {
	name, err := ref.name(s)
	if err != nil {
		return err
	}
	if err := s.admit(ctx, q, Call{Stream: name}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	st, err := s.lookup(name, now)
	if err != nil {
		return err
	}
	if status := st.status(now); status != statusActive {
		return apiErrorf(ResourceInUse, "Stream %s under account %s not ACTIVE, instead in state %s", name, s.config.Account, status)
	}
	if err := do(st, now); err != nil {
		return err
	}
	st.updated = now.Add(s.config.UpdateTime)
	return nil
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
	minRecordKiB       = 1024
	maxRecordKiB       = 10240
	onDemandShards     = 4
	maxCreatingStreams = 5
)

const (
	provisionedMode  = "PROVISIONED"
	onDemandMode     = "ON_DEMAND"
	autoDistribution = "AUTO"
	keyDistribution  = "USER_PARTITION_KEY"
)

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
	first := &state{retention: s.config.Retention, maxRecord: minRecordKiB << 10}
	var shards int
	switch {
	case in.StreamModeDetails.StreamMode == onDemandMode && in.ShardCount == nil:
		first.onDemand, shards = true, onDemandShards
	case in.StreamModeDetails.StreamMode == onDemandMode:
		return apiErrorf(ValidationFailed, "ShardCount is not allowed for a stream in on-demand mode")
	case in.StreamModeDetails.StreamMode != "" && in.StreamModeDetails.StreamMode != provisionedMode:
		return apiErrorf(ValidationFailed, "stream mode %q does not exist", in.StreamModeDetails.StreamMode)
	case in.ShardCount == nil || *in.ShardCount < 1:
		return apiErrorf(ValidationFailed, "ShardCount must be at least 1 for a stream in provisioned mode")
	default:
		shards = *in.ShardCount
	}
	if in.RecordDistributionStrategy != "" {
		if err := first.distribute(in.RecordDistributionStrategy); err != nil {
			return err
		}
	}
	if in.MaxRecordSizeInKiB != nil {
		if *in.MaxRecordSizeInKiB < minRecordKiB || *in.MaxRecordSizeInKiB > maxRecordKiB {
			return apiErrorf(InvalidArgument, "MaxRecordSizeInKiB %d is outside %d to %d", *in.MaxRecordSizeInKiB, minRecordKiB, maxRecordKiB)
		}
		first.maxRecord = *in.MaxRecordSizeInKiB << 10
	}
	if err := s.admit(ctx, q, Call{Stream: name}); err != nil {
		return err
	}
	return s.add(name, first, shards)
}

// add makes a stream known, with a number of shards.
func (s *Server) add(name string, first *state, shards int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.forget(now)
	if s.streams[name] != nil {
		return apiErrorf(ResourceInUse, "Stream %s under account %s already exists.", name, s.config.Account)
	}
	if err := s.roomForShards(shards); err != nil {
		return err
	}
	if creating := s.countStreams(statusCreating, now); creating >= maxCreatingStreams {
		return apiErrorf(LimitExceeded, "%d streams are being created under account %s; %d may be at once", creating, s.config.Account, maxCreatingStreams)
	}
	// Sequence numbers begin with the epoch, so it is never given twice, not even to two streams created in one second.
	s.lastEpoch = max(s.lastEpoch+1, uint64(max(0, now.Unix())))
	st := &stream{name: name, arn: s.arn(name), epoch: s.lastEpoch, created: now, ready: now.Add(s.config.CreateTime), consumers: map[string]*consumer{}}
	first.shards = divide(shards, st.epoch, now)
	first.open = first.shards
	st.current.Store(first)
	s.streams[st.name] = st
	s.byEpoch[st.epoch] = st
	s.shards += shards
	return nil
}

// roomForShards refuses more shards than the account may have; s.mu is held.
func (s *Server) roomForShards(more int) error {
	if more <= s.config.ShardLimit-s.shards {
		return nil
	}
	return apiErrorf(LimitExceeded, "This request would exceed the shard limit for the account %s in %s. "+
		"Current shard count for the account: %d. Limit: %d. Number of additional shards that would have resulted from this request: %d.",
		s.config.Account, s.config.Region, s.shards, s.config.ShardLimit, more)
}

// countStreams returns how many streams have a status; s.mu is held.
func (s *Server) countStreams(status string, now time.Time) int {
	n := 0
	for _, st := range s.streams {
		if st.status(now) == status {
			n++
		}
	}
	return n
}

// forget drops the streams that are gone; s.mu is held for writing.
func (s *Server) forget(now time.Time) {
	for name, st := range s.streams {
		if st.isGone(now) {
			delete(s.streams, name)
			delete(s.byEpoch, st.epoch)
		}
	}
}

func (s *Server) deleteStream(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		EnforceConsumerDeletion bool
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	return s.change(ctx, q, in.streamRef, func(st *stream, now time.Time) error {
		for _, c := range st.consumersAt(now) {
			if !in.EnforceConsumerDeletion {
				return apiErrorf(ResourceInUse, "Stream %s under account %s has consumers, %s among them, and EnforceConsumerDeletion is not set",
					st.name, s.config.Account, c.name)
			}
			c.end(apiErrorf(ResourceNotFound, "Stream %s under account %s is deleted.", st.name, s.config.Account))
		}
		st.deleted, st.gone = true, now.Add(s.config.CreateTime)
		s.shards -= len(st.current.Load().open)
		s.forget(now)
		return nil
	})
}
