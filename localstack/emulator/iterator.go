package emulator

import (
	"context"
	"time"
)

func (s *Server) getShardIterator(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		ShardId                string
		ShardIteratorType      string
		StartingSequenceNumber string
		Timestamp              *float64
		DryRun                 bool
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	st, err := s.findReadable(ctx, q, in.streamRef, in.ShardId)
	if err != nil {
		return err
	}
	now := time.Now()
	sh, index, err := s.position(st, now, in.ShardId, startingPosition{in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp})
	if err != nil {
		return err
	}
	if err := refuseDryRun(in.DryRun); err != nil {
		return err
	}
	if !sh.admitIterator(now, s.config.ReadQuota) {
		return s.throughputExceeded(st, sh)
	}
	t := token{kind: iteratorToken, issued: now.UnixMilli(), epoch: st.epoch, shard: sh.index, index: index}
	return q.reply(struct{ ShardIterator string }{t.sealed(s.seed)})
}

// startingPosition is where in a shard reading begins.
type startingPosition struct {
	Type           string
	SequenceNumber string
	Timestamp      *float64
}

// position returns a shard and the index of the record that a position in it names.
func (s *Server) position(st *stream, now time.Time, id string, p startingPosition) (*shard, uint64, error) {
	current := st.current.Load()
	sh := current.shard(id, now)
	if sh == nil {
		return nil, 0, apiErrorf(ResourceNotFound, "Shard %s in stream %s under account %s does not exist", id, st.name, s.config.Account)
	}
	switch p.Type {
	case "TRIM_HORIZON":
		return sh, 0, nil
	case "LATEST":
		return sh, sh.end(), nil
	case "AT_TIMESTAMP":
		if p.Timestamp == nil {
			return nil, 0, apiErrorf(InvalidArgument, "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP.")
		}
		at := fromEpochSeconds(*p.Timestamp)
		if at.After(now) {
			return nil, 0, apiErrorf(InvalidArgument, "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "+
				"timestampInMillis: %d, currentTimestampInMillis: %d", at.UnixMilli(), now.UnixMilli())
		}
		return sh, sh.arrivedSince(now, current.retention, at), nil
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		at, after, err := s.locate(st, sh, now, p.SequenceNumber)
		if p.Type == "AFTER_SEQUENCE_NUMBER" {
			at = after
		}
		return sh, at, err
	default:
		return nil, 0, apiErrorf(ValidationFailed, "1 validation error detected: Value '%s' at 'shardIteratorType' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]", p.Type)
	}
}

// locate returns the indices of what comes at a sequence number and after it. It refuses a number that this shard has not given.
func (s *Server) locate(st *stream, sh *shard, now time.Time, number string) (at, after uint64, err error) {
	seq, ok := parseSequence(number)
	if !ok {
		return 0, 0, apiErrorf(InvalidArgument, "StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s under account %s is invalid.",
			number, sh.id, st.name, s.config.Account)
	}
	if at, after, ok = sh.locate(seq, now); !ok {
		return 0, 0, apiErrorf(InvalidArgument, "StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s under account %s "+
			"is invalid because it did not come from this stream.", number, sh.id, st.name, s.config.Account)
	}
	return at, after, nil
}

func (s *Server) throughputExceeded(st *stream, sh *shard) *APIError {
	return apiErrorf(ThroughputExceeded, "Rate exceeded for shard %s in stream %s under account %s.", sh.id, st.name, s.config.Account)
}
