package projector

import (
	"context"
	"fmt"
	"time"

	"penstock/checkpoint"
)

// Seek is an operator's setting of a shard's position, which is the one way in which a checkpoint may move back. It is
// kept in the state table, the last one of each shard, so that others can see who did it and why.
type Seek struct {
	By     string // who did it, such as "ann@host"
	Reason string // for other people
	At     time.Time
	From   checkpoint.Sequence // the checkpoint before; empty for none
	To     checkpoint.Sequence // and after
}

// Attributes of a seek's item besides a pause's. Its kind is the role and seekKind, its name the shard's id.
const (
	seekKind      = "#seek"
	fromAttribute = "from"
	toAttribute   = "to"
)

// ReadSeek returns the last seek of a shard; ok is false if there was none.
func ReadSeek(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role, shard string) (s Seek, ok bool, err error) {
	items, err := state.Query(ctx, role+seekKind)
	if err != nil {
		return Seek{}, false, fmt.Errorf("read the seek of %s: %w", shard, err)
	}
	values, ok := items[shard]
	return Seek{
		By: values[byAttribute], Reason: values[whyAttribute], At: parseTime(values[atAttribute]),
		From: checkpoint.Sequence(values[fromAttribute]), To: checkpoint.Sequence(values[toAttribute]),
	}, ok, nil
}

// WriteSeek keeps a seek in place of an earlier one of the shard.
func WriteSeek(ctx context.Context, state interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
}, role, shard string, s Seek) error {
	err := state.Put(ctx, role+seekKind, shard, map[string]string{
		byAttribute: s.By, whyAttribute: s.Reason, atAttribute: s.At.UTC().Format(time.RFC3339Nano),
		fromAttribute: string(s.From), toAttribute: string(s.To),
	})
	if err != nil {
		return fmt.Errorf("write the seek of %s: %w", shard, err)
	}
	return nil
}
