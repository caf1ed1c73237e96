package projector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/stream"
)

// ErrOtherStream: the stream is not the one that the fleet's leases are of, though it has the name. Shards of all
// streams are named alike, so positions of one would be taken for those of another.
var ErrOtherStream = errors.New("another stream of the same name")

// The note of a stream in the state table. Its kind is the role and streamKind, its name the stream's.
const (
	streamKind       = "#stream"
	arnAttribute     = "arn"
	createdAttribute = "created" // RFC 3339, to the second
)

// NotedStream returns what the fleet of a role noted of the stream that its leases are of; ok is false if there is no
// note, or none that can be read.
func NotedStream(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role, name string) (noted stream.Description, ok bool, err error) {
	items, err := state.Query(ctx, role+streamKind)
	if err != nil {
		return stream.Description{}, false, fmt.Errorf("read the note of the stream: %w", err)
	}
	noted = stream.Description{ARN: items[name][arnAttribute], Created: parseTime(items[name][createdAttribute])}
	return noted, noted.ARN != "" && !noted.Created.IsZero(), nil
}

// NoteStream notes of which stream the leases of a role are.
func NoteStream(ctx context.Context, state interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
}, role, name string, d stream.Description) error {
	err := state.Put(ctx, role+streamKind, name, map[string]string{
		arnAttribute: d.ARN, createdAttribute: d.Created.UTC().Truncate(time.Second).Format(time.RFC3339),
	})
	if err != nil {
		return fmt.Errorf("write the note of the stream: %w", err)
	}
	return nil
}

// SameStream returns nil if found is the stream that was known, and else an error that wraps [ErrOtherStream] and says
// what an operator does.
func SameStream(known, found stream.Description) error {
	if known.ARN == found.ARN && known.Created.Truncate(time.Second).Equal(found.Created.Truncate(time.Second)) {
		return nil
	}
	return fmt.Errorf("%w: the leases are of %s of %s, and what answers is %s of %s: choose another application name, "+
		"or delete the lease table and run projector setup, to read the new stream from its beginning",
		ErrOtherStream, known.ARN, known.Created.UTC().Format(time.RFC3339), found.ARN, found.Created.UTC().Format(time.RFC3339))
}
