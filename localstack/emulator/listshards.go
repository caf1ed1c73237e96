package emulator

import (
	"context"
	"time"
)

const (
	listShardsLimit    = 1000
	listShardsMaxLimit = 10000
)

// pageSize returns how many results a listing gives: what was asked for, but not more than most.
func pageSize(member string, asked *int, most int) (int, error) {
	if asked == nil {
		return most, nil
	}
	if *asked < 1 || *asked > listShardsMaxLimit {
		return 0, apiErrorf(InvalidArgument, "%s %d is outside 1 to %d", member, *asked, listShardsMaxLimit)
	}
	return min(*asked, most), nil
}

// openListing reads the token of a listing and refuses one that is not ours or too old.
func (s *Server) openListing(text string, kind tokenKind) (token, error) {
	t, ok := openToken(text, kind, s.seed)
	if !ok {
		return t, apiErrorf(InvalidArgument, "NextToken is invalid")
	}
	if t.expired(time.Now(), listingLife) {
		return t, apiErrorf(ExpiredNextToken, "NextToken was created at %s and is older than %s",
			time.UnixMilli(t.issued).UTC().Format(time.RFC3339), listingLife)
	}
	return t, nil
}

type shardDescription struct {
	ShardId             string
	HashKeyRange        hashKeyRange
	SequenceNumberRange sequenceNumberRange
}

type hashKeyRange struct {
	StartingHashKey string
	EndingHashKey   string
}

type sequenceNumberRange struct {
	StartingSequenceNumber string
}

func describeShards(shards []*shard) []shardDescription {
	described := make([]shardDescription, 0, len(shards))
	for _, sh := range shards {
		described = append(described, shardDescription{
			ShardId:             sh.id,
			HashKeyRange:        hashKeyRange{sh.from.String(), sh.to.String()},
			SequenceNumberRange: sequenceNumberRange{sh.startingSequence().String()},
		})
	}
	return described
}

// after returns the position in st.shards that follows a shard id; 0 for none.
func (st *stream) after(id string) (int, error) {
	if id == "" {
		return 0, nil
	}
	index, ok := parseShardID(id)
	if !ok {
		return 0, apiErrorf(InvalidArgument, "shard id %q is malformed", id)
	}
	return min(int(index)+1, len(st.shards)), nil
}

// shardFilter is which shards a listing shows.
type shardFilter struct {
	kind filterKind
	ms   int64 // of filterAtTime
}

type filterKind byte

const (
	// filterNone also stands for the filters that can leave nothing out while no shard ever closes: AT_LATEST,
	// AT_TRIM_HORIZON, FROM_TRIM_HORIZON and FROM_TIMESTAMP.
	filterNone filterKind = iota

	// filterAtTime leaves out shards created after a time.
	filterAtTime
)

func (f shardFilter) shows(st *stream) bool {
	return f.kind != filterAtTime || st.created.UnixMilli() <= f.ms
}

type shardFilterInput struct {
	Type      string
	ShardId   string
	Timestamp *float64
}

// read returns the filter and the id of the shard that the listing starts after.
func (in shardFilterInput) read() (f shardFilter, after string, err error) {
	if in.ShardId != "" && in.Type != "AFTER_SHARD_ID" {
		return f, "", apiErrorf(InvalidArgument, "ShardFilter %s takes no ShardId", in.Type)
	}
	if in.Timestamp != nil && in.Type != "AT_TIMESTAMP" && in.Type != "FROM_TIMESTAMP" {
		return f, "", apiErrorf(InvalidArgument, "ShardFilter %s takes no Timestamp", in.Type)
	}
	switch in.Type {
	case "AT_LATEST", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON":
		return shardFilter{kind: filterNone}, "", nil
	case "AFTER_SHARD_ID":
		if in.ShardId == "" {
			return f, "", apiErrorf(InvalidArgument, "ShardFilter AFTER_SHARD_ID needs a ShardId")
		}
		return shardFilter{kind: filterNone}, in.ShardId, nil
	case "AT_TIMESTAMP", "FROM_TIMESTAMP":
		if in.Timestamp == nil {
			return f, "", apiErrorf(InvalidArgument, "ShardFilter %s needs a Timestamp", in.Type)
		}
		if in.Type == "AT_TIMESTAMP" {
			f = shardFilter{filterAtTime, fromEpochSeconds(*in.Timestamp).UnixMilli()}
		}
		return f, "", nil
	default:
		return f, "", apiErrorf(InvalidArgument, "ShardFilter type %q does not exist", in.Type)
	}
}

func (s *Server) listShards(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		ExclusiveStartShardId   string
		MaxResults              *int
		NextToken               string
		ShardFilter             *shardFilterInput
		StreamCreationTimestamp *float64
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	limit, err := pageSize("MaxResults", in.MaxResults, listShardsLimit)
	if err != nil {
		return err
	}
	var (
		st     *stream
		from   int
		filter shardFilter
	)
	if in.NextToken != "" {
		if in.StreamName != "" || in.ExclusiveStartShardId != "" || in.StreamCreationTimestamp != nil {
			return apiErrorf(InvalidArgument, "NextToken goes with neither StreamName nor ExclusiveStartShardId nor StreamCreationTimestamp")
		}
		t, err := s.openListing(in.NextToken, shardsToken)
		if err != nil {
			return err
		}
		if st, err = s.findIncarnation(ctx, q, t, ""); err != nil {
			return err
		}
		from, filter = int(t.index), t.filter
	} else {
		after := in.ExclusiveStartShardId
		if in.ShardFilter != nil {
			var filterAfter string
			if filter, filterAfter, err = in.ShardFilter.read(); err != nil {
				return err
			}
			if after != "" && filterAfter != "" {
				return apiErrorf(InvalidArgument, "ExclusiveStartShardId and ShardFilter AFTER_SHARD_ID exclude each other")
			}
			after += filterAfter
		}
		if st, err = s.find(ctx, q, in.streamRef, ""); err != nil {
			return err
		}
		if at := in.StreamCreationTimestamp; at != nil && fromEpochSeconds(*at).UnixMilli() != st.created.UnixMilli() {
			return apiErrorf(ResourceNotFound, "Stream %s created at %f under account %s not found.", st.name, *at, s.config.Account)
		}
		if from, err = st.after(after); err != nil {
			return err
		}
	}
	var out struct {
		Shards    []shardDescription
		NextToken string `json:",omitempty"`
	}
	if !filter.shows(st) {
		return q.reply(out)
	}
	page := st.shards[from:min(from+limit, len(st.shards))]
	out.Shards = describeShards(page)
	if next := from + len(page); next < len(st.shards) {
		t := token{kind: shardsToken, issued: time.Now().UnixMilli(), epoch: st.epoch, index: uint64(next), filter: filter}
		out.NextToken = t.sealed(s.seed)
	}
	return q.reply(out)
}

// findIncarnation returns the very stream that a token was given for, past the hook.
func (s *Server) findIncarnation(ctx context.Context, q *request, t token, shard string) (*stream, error) {
	s.mu.RLock()
	st := s.byEpoch[t.epoch]
	s.mu.RUnlock()
	if st == nil {
		return nil, apiErrorf(ResourceNotFound, "the stream that the token was given for is deleted")
	}
	if err := s.admit(ctx, q, Call{Stream: st.name, Shard: shard}); err != nil {
		return nil, err
	}
	return st, nil
}
