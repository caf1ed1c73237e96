package projector

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Word is what a worker tells operators of the shards it follows, in an item of its own in the state table, about every
// two seconds. The fleet itself does not read it. The word of a worker that died stays until the others bury it, so it
// is as old as its time says.
type Word struct {
	At     time.Time // by the service's clock, as far as the worker knows it
	Shards map[string]ShardWord
}

// ShardWord is how one shard stands.
type ShardWord struct {
	Lag    time.Duration // MillisBehindLatest of the last reply that told it
	Read   time.Time     // when that reply came; the zero time if none did yet
	Paused bool          // its owner has taken notice of a pause
}

// Attributes of a word's item. Its kind is the role and wordKind, its name the worker's id.
const (
	wordKind        = "#shards"
	atAttribute     = "at"
	shardsAttribute = "shards" // an object of JSON: by shard id, shardNote

	// wordLimit keeps a word well below the 400 KB that an item may have: more shards than one process could follow.
	wordLimit = 2000
)

// shardNote is a [ShardWord] as it is kept.
type shardNote struct {
	LagMillis int64     `json:"lag,omitzero"`
	Read      time.Time `json:"read,omitzero"`
	Paused    bool      `json:"paused,omitzero"`
}

func (w Word) attributes() (map[string]string, error) {
	notes := make(map[string]shardNote, len(w.Shards))
	for id, s := range w.Shards {
		if len(notes) == wordLimit {
			break
		}
		n := shardNote{LagMillis: s.Lag.Milliseconds(), Paused: s.Paused}
		if !s.Read.IsZero() {
			n.Read = s.Read.UTC().Truncate(time.Millisecond)
		}
		notes[id] = n
	}
	text, err := json.Marshal(notes)
	if err != nil {
		return nil, fmt.Errorf("word of %d shards: %w", len(notes), err)
	}
	return map[string]string{atAttribute: w.At.UTC().Format(time.RFC3339Nano), shardsAttribute: string(text)}, nil
}

// ReadWords returns the last word of every worker of a role, by worker id. What cannot be read of a word is left out.
func ReadWords(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role string) (map[string]Word, error) {
	items, err := state.Query(ctx, role+wordKind)
	if err != nil {
		return nil, fmt.Errorf("read what the workers tell of their shards: %w", err)
	}
	words := make(map[string]Word, len(items))
	for worker, values := range items {
		var notes map[string]shardNote
		_ = json.Unmarshal([]byte(values[shardsAttribute]), &notes) // a release to come may write what this one cannot read
		w := Word{At: parseTime(values[atAttribute]), Shards: make(map[string]ShardWord, len(notes))}
		for id, n := range notes {
			w.Shards[id] = ShardWord{Lag: time.Duration(n.LagMillis) * time.Millisecond, Read: n.Read, Paused: n.Paused}
		}
		words[worker] = w
	}
	return words, nil
}
