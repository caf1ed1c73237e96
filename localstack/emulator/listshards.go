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
	ShardId               string
	ParentShardId         string `json:",omitempty"`
	AdjacentParentShardId string `json:",omitempty"`
	HashKeyRange          hashKeyRange
	SequenceNumberRange   sequenceNumberRange
}

type hashKeyRange struct {
	StartingHashKey string
	EndingHashKey   string
}

func (s *shard) hashKeys() hashKeyRange { return hashKeyRange{s.from.String(), s.to.String()} }

type sequenceNumberRange struct {
	StartingSequenceNumber string
	EndingSequenceNumber   string `json:",omitempty"`
}

func (s *shard) describe(life lifetime) shardDescription {
	d := shardDescription{
		ShardId:             s.id,
		HashKeyRange:        s.hashKeys(),
		SequenceNumberRange: sequenceNumberRange{StartingSequenceNumber: s.startingSequence().String()},
	}
	if len(s.parents) > 0 {
		d.ParentShardId = s.parents[0].id
	}
	if len(s.parents) > 1 {
		d.AdjacentParentShardId = s.parents[1].id
	}
	if !life.open {
		d.SequenceNumberRange.EndingSequenceNumber = s.endingSequence(life.closed).String()
	}
	return d
}

// after returns the position in shards that follows a shard id; 0 for none.
func (c *state) after(id string) (int, error) {
	if id == "" {
		return 0, nil
	}
	index, ok := parseShardID(id)
	if !ok {
		return 0, apiErrorf(InvalidArgument, "shard id %q is malformed", id)
	}
	return min(int(index)+1, len(c.shards)), nil
}

// list describes up to limit shards from a position on, those whose retention is over and those that the filter leaves out passed
// over. next is the position of the first shard for another page, 0 where there is none.
func (c *state) list(now time.Time, filter shardFilter, from, limit int) (page []shardDescription, next int) {
	page = []shardDescription{}
	for i := from; i < len(c.shards); i++ {
		life := c.shards[i].life(now, c.retention)
		if life.expired || !filter.shows(life) {
			continue
		}
		if len(page) == limit {
			return page, i
		}
		page = append(page, c.shards[i].describe(life))
	}
	return page, 0
}

// shardFilter is which shards a listing shows.
type shardFilter struct {
	kind filterKind
	ms   int64 // of filterAtTime and filterFromTime
}

type filterKind byte

const (
	// filterNone also stands for FROM_TRIM_HORIZON, the default.
	filterNone filterKind = iota

	// filterOpen shows the shards that are open.
	filterOpen

	// filterAtTime shows the shards that were open at a time.
	filterAtTime

	// filterFromTime shows the shards that were open at a time or later.
	filterFromTime

	// filterAtHorizon becomes filterAtTime as soon as the retention is known.
	filterAtHorizon
)

func (f shardFilter) shows(life lifetime) bool {
	switch f.kind {
	case filterOpen:
		return life.open
	case filterAtTime:
		return life.opened <= f.ms && (life.open || life.closed >= f.ms)
	case filterFromTime:
		return life.open || life.closed >= f.ms
	default:
		return true
	}
}

// at puts a time in the place of the trim horizon: the stream's creation, until its retention has passed since.
func (f shardFilter) at(st *stream, now time.Time) shardFilter {
	if f.kind != filterAtHorizon {
		return f
	}
	horizon := now.Add(-st.current.Load().retention)
	return shardFilter{filterAtTime, max(horizon.UnixMilli(), st.created.UnixMilli())}
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
	case "AT_LATEST":
		return shardFilter{kind: filterOpen}, "", nil
	case "AT_TRIM_HORIZON":
		return shardFilter{kind: filterAtHorizon}, "", nil
	case "FROM_TRIM_HORIZON":
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
		f = shardFilter{filterFromTime, fromEpochSeconds(*in.Timestamp).UnixMilli()}
		if in.Type == "AT_TIMESTAMP" {
			f.kind = filterAtTime
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
		now    = time.Now()
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
		if err := s.checkIncarnation(st, in.StreamCreationTimestamp); err != nil {
			return err
		}
		if st.creating(now) {
			return apiErrorf(ResourceInUse, "Stream %s under account %s not ACTIVE, instead in state %s", st.name, s.config.Account, statusCreating)
		}
		if from, err = st.current.Load().after(after); err != nil {
			return err
		}
		filter = filter.at(st, now)
	}
	var out struct {
		Shards    []shardDescription
		NextToken string `json:",omitempty"`
	}
	var next int
	if out.Shards, next = st.current.Load().list(now, filter, from, limit); next > 0 {
		t := token{kind: shardsToken, issued: now.UnixMilli(), epoch: st.epoch, index: uint64(next), filter: filter}
		out.NextToken = t.sealed(s.seed)
	}
	return q.reply(out)
}

// checkIncarnation refuses a stream that was created at another time than a request says.
func (s *Server) checkIncarnation(st *stream, created *float64) error {
	if created == nil || fromEpochSeconds(*created).UnixMilli() == st.created.UnixMilli() {
		return nil
	}
	return apiErrorf(ResourceNotFound, "Stream %s created at %f under account %s not found.", st.name, *created, s.config.Account)
}

// findIncarnation returns the very stream that a token was given for, past the hook.
func (s *Server) findIncarnation(ctx context.Context, q *request, t token, shard string) (*stream, error) {
	s.mu.RLock()
	st := s.byEpoch[t.epoch]
	gone := st == nil || st.isGone(time.Now())
	s.mu.RUnlock()
	if gone {
		return nil, apiErrorf(ResourceNotFound, "the stream that the token was given for is deleted")
	}
	if err := s.admit(ctx, q, Call{Stream: st.name, Shard: shard}); err != nil {
		return nil, err
	}
	return st, nil
}
