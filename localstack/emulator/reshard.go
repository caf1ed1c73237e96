package emulator

import (
	"context"
	"slices"
	"time"
)

const (
	maxStreamShards = 10_000
	maxRescales     = 10
	rescalesPeriod  = 24 * time.Hour
)

func (s *Server) splitShard(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		ShardToSplit       string
		NewStartingHashKey string
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	return s.change(ctx, q, in.streamRef, func(st *stream, now time.Time) error {
		i, err := s.reshardable(st, now, in.ShardToSplit)
		if err != nil {
			return err
		}
		sh := st.current.Load().open[i]
		at, ok := parseDecimal(in.NewStartingHashKey)
		// Observed of the service, and stricter than its documentation: neither child may be of a single hash key.
		if !ok || at.compare(sh.from.plus(uint192{1})) <= 0 || at.compare(sh.to) >= 0 {
			return apiErrorf(InvalidArgument, "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both "+
				"greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
				in.NewStartingHashKey, sh.id, st.name, s.config.Account, sh.from, sh.to)
		}
		if err := s.roomForShards(1); err != nil {
			return err
		}
		s.reshape(st, now, func(r *reshape) { r.split(i, at) })
		return nil
	})
}

func (s *Server) mergeShards(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		ShardToMerge         string
		AdjacentShardToMerge string
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	return s.change(ctx, q, in.streamRef, func(st *stream, now time.Time) error {
		i, err := s.reshardable(st, now, in.ShardToMerge)
		if err != nil {
			return err
		}
		j, err := s.reshardable(st, now, in.AdjacentShardToMerge)
		if err != nil {
			return err
		}
		if i-j != 1 && j-i != 1 {
			return apiErrorf(InvalidArgument, "Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging",
				in.ShardToMerge, in.AdjacentShardToMerge, st.name, s.config.Account)
		}
		open := st.current.Load().open
		s.reshape(st, now, func(r *reshape) { r.mergeInto(min(i, j), open[i], open[j]) })
		return nil
	})
}

// reshardable returns the position among the open shards of one that may be split or merged; s.mu is held.
func (s *Server) reshardable(st *stream, now time.Time, id string) (int, error) {
	c := st.current.Load()
	if c.onDemand {
		return 0, s.onDemandRefusal(st)
	}
	sh := c.shard(id, now)
	if sh == nil {
		return 0, apiErrorf(ResourceNotFound, "Could not find shard %s in stream %s under account %s.", id, st.name, s.config.Account)
	}
	i := slices.Index(c.open, sh)
	if i < 0 {
		return 0, apiErrorf(InvalidArgument, "Shard %s in stream %s under account %s has already been merged or split, and thus is not eligible for merging or splitting.",
			id, st.name, s.config.Account)
	}
	return i, nil
}

func (s *Server) onDemandRefusal(st *stream) *APIError {
	return apiErrorf(ValidationFailed, "Stream %s under account %s is in mode %s, in which the service alone changes shards", st.name, s.config.Account, onDemandMode)
}

func (s *Server) updateShardCount(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		TargetShardCount *int
		ScalingType      string
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	switch {
	case in.ScalingType != "UNIFORM_SCALING":
		return apiErrorf(ValidationFailed, "ScalingType %q is not UNIFORM_SCALING", in.ScalingType)
	case in.TargetShardCount == nil || *in.TargetShardCount < 1:
		return apiErrorf(ValidationFailed, "TargetShardCount is required and at least 1")
	}
	var out struct {
		StreamName        string
		StreamARN         string
		CurrentShardCount int
		TargetShardCount  int
	}
	err := s.change(ctx, q, in.streamRef, func(st *stream, now time.Time) error {
		present, target := len(st.current.Load().open), *in.TargetShardCount
		if err := s.scalable(st, present, target); err != nil {
			return err
		}
		if s.limited() && !within(&st.rescales, now, rescalesPeriod, maxRescales) {
			return apiErrorf(LimitExceeded, "Stream %s under account %s was scaled %d times within %s", st.name, s.config.Account, maxRescales, rescalesPeriod)
		}
		s.reshape(st, now, func(r *reshape) { r.spread(target) })
		out.StreamName, out.StreamARN, out.CurrentShardCount, out.TargetShardCount = st.name, st.arn, present, target
		return nil
	})
	if err != nil {
		return err
	}
	return q.reply(out)
}

// scalable refuses a number of shards that UpdateShardCount does not bring about; s.mu is held.
func (s *Server) scalable(st *stream, present, target int) error {
	switch {
	case st.current.Load().onDemand:
		return s.onDemandRefusal(st)
	case target > 2*present:
		return apiErrorf(InvalidArgument, "UpdateShardCount cannot scale up over double your current open shard count. "+
			"Current open shard count: %d Target shard count: %d", present, target)
	case 2*target < present:
		return apiErrorf(InvalidArgument, "UpdateShardCount cannot scale down below half your current open shard count. "+
			"Current open shard count: %d Target shard count: %d", present, target)
	case target > maxStreamShards:
		return apiErrorf(LimitExceeded, "TargetShardCount %d of stream %s under account %s is more than %d", target, st.name, s.config.Account, maxStreamShards)
	default:
		return s.roomForShards(target - present)
	}
}
