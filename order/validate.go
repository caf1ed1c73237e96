package order

import (
	"fmt"
	"time"

	"penstock/view"
)

// maxVersion is the highest version an order may reach.
const maxVersion = 1_000_000

// earliestPlacedAt bounds how old an order may be. A time before it is a unit mixed up or a clock never set, and would
// spread rows over years that nobody reads.
var earliestPlacedAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// maxAhead is how far placed_at may lie ahead of the record's arrival in the stream: clocks differ, but a stamp from
// the far future could never be overtaken.
const maxAhead = 5 * time.Minute

// validate holds an event against its rules and derives its stamps. It is given the record's arrival in the stream and
// never asks a clock, so that the same record is judged alike whenever it is read.
func validate(e *event, arrival time.Time) (view.Stamps, *fault) {
	refuse := func(code view.Code, format string, args ...any) (view.Stamps, *fault) {
		return view.Stamps{}, &fault{view.StageValidate, code, fmt.Errorf(format, args...)}
	}
	if e.version < 1 || e.version > maxVersion {
		return refuse(view.CodeVersionOutOfRange, "/data/version: %d: must be between 1 and %d", e.version, maxVersion)
	}
	if e.placedAt.Before(earliestPlacedAt) {
		return refuse(view.CodePlacedAtOutOfRange, "/data/placed_at: %s: must not be before %s",
			e.placedAt.Format(time.RFC3339Nano), earliestPlacedAt.Format(time.DateOnly))
	}
	if latest := arrival.Add(maxAhead); e.placedAt.After(latest) {
		return refuse(view.CodePlacedAtOutOfRange, "/data/placed_at: %s: must not be after %s, %s after the record arrived",
			e.placedAt.Format(time.RFC3339Nano), latest.UTC().Format(time.RFC3339Nano), maxAhead)
	}
	stamps, err := view.NewStamps(e.placedAt.UnixMicro(), e.version)
	if err != nil {
		return refuse(view.CodeStampOutOfRange, "/data/placed_at, /data/version: %w", err)
	}
	return stamps, nil
}
