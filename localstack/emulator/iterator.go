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
	st, err := s.find(ctx, q, in.streamRef, in.ShardId)
	if err != nil {
		return err
	}
	sh := st.shard(in.ShardId)
	if sh == nil {
		return apiErrorf(ResourceNotFound, "Shard %s in stream %s under account %s does not exist", in.ShardId, st.name, s.config.Account)
	}
	now := time.Now()
	var index uint64
	switch in.ShardIteratorType {
	case "TRIM_HORIZON":
		index = 0
	case "LATEST":
		index = sh.end()
	case "AT_TIMESTAMP":
		if in.Timestamp == nil {
			return apiErrorf(InvalidArgument, "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP.")
		}
		at := fromEpochSeconds(*in.Timestamp)
		if at.After(now) {
			return apiErrorf(InvalidArgument, "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "+
				"timestampInMillis: %d, currentTimestampInMillis: %d", at.UnixMilli(), now.UnixMilli())
		}
		index = sh.arrivedSince(now, st.retention, at)
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		if index, err = s.indexOf(st, sh, in.StartingSequenceNumber); err != nil {
			return err
		}
		if in.ShardIteratorType == "AFTER_SEQUENCE_NUMBER" {
			index++
		}
	default:
		return apiErrorf(ValidationFailed, "1 validation error detected: Value '%s' at 'shardIteratorType' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]",
			in.ShardIteratorType)
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

// indexOf returns the index of the record with a sequence number: 0 for the shard's StartingSequenceNumber. It refuses a number
// that this shard has not given.
func (s *Server) indexOf(st *stream, sh *shard, number string) (uint64, error) {
	seq, ok := parseSequence(number)
	if !ok {
		return 0, apiErrorf(InvalidArgument, "StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s under account %s is invalid.",
			number, sh.id, st.name, s.config.Account)
	}
	if !sh.gave(seq) {
		return 0, apiErrorf(InvalidArgument, "StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s under account %s "+
			"is invalid because it did not come from this stream.", number, sh.id, st.name, s.config.Account)
	}
	return seq.index, nil
}

func (s *Server) throughputExceeded(st *stream, sh *shard) *APIError {
	return apiErrorf(ThroughputExceeded, "Rate exceeded for shard %s in stream %s under account %s.", sh.id, st.name, s.config.Account)
}
