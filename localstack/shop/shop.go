// Package shop is a make-believe shop: it generates the order events of any number of orders, writes them to a
// Kinesis stream, and knows which rows have to stand in Cassandra afterwards.
//
// It is the independent check on the engine, so it shares no code with the packages that decode, project or write:
// the rules of the order event and of the two tables are stated here a second time, as a plain fold over plain
// structs ([Oracle]), and the payloads are made by encoding/json. A mistake would have to be made twice, in the same
// way, to go unseen.
//
// Everything is a pure function of [Config]: the same configuration yields the same events, byte for byte, in the
// same order, on any machine. A failed run is repeated from its seed, and the oracle needs no copy of what was sent.
//
// The stream is as unkind as the ground rules of Kinesis allow: many orders are open at once and their events
// interleave, some events arrive after later ones of their own order, some arrive twice, and a given share is damaged
// on the way, each in one of the ways that [Damages] lists. A damaged event stands *in place of* the real one, whose
// payload is kept in [Event.Original] and never sent. The shop may notice, and send the corrected event under a new id
// ([Shop.Corrections]). What the generator does not do is contradict itself: versions
// are dense and never used twice in an order, and the ids of lines, payments, parcels, refunds and cancellations are
// unique in their order.
package shop

import (
	"errors"
	"fmt"
	"iter"
	"time"
)

// DefaultSpan is the [Config.Span] of a configuration that names none.
const DefaultSpan = 48 * time.Hour

// Config says what a shop sells during a run. Zero values mean what each field says.
type Config struct {
	// Seed picks the run among all runs of the same configuration.
	Seed uint64
	// Orders is the number of orders placed, at least 1. An order has about four events on average.
	Orders int
	// Customers is the number of customers; their orders follow Zipf's law, so a few customers have very many. 0 means
	// a fifth of Orders.
	Customers int
	// DamagedShare of all distinct events are damaged, 0 to 1. The damaged ones are spread evenly, so that their number
	// is the share times the number of events to within one.
	DamagedShare float64
	// DuplicateShare of the sound events are sent a second time, 0 to 1.
	DuplicateShare float64
	// DisplacedShare of all distinct events arrive after one, two or three later events of their own order, 0 to 0.5.
	DisplacedShare float64
	// PlacedV2Share of the orders are placed in the second schema version of order.placed, 0 to 1. It changes the payload of
	// these events and nothing else of a run.
	PlacedV2Share float64
	// MeanGap is the mean distance between two events of one order, in orders placed meanwhile, at least 2: it decides
	// how many orders are open at one time. 0 means a twentieth of Orders, but no less than 2 and no more than 100.
	MeanGap float64
	// Now is the run's own present: no time in any event is later, save those damaged on purpose. It must not be more
	// than five minutes ahead of the arrival of the first record, or the events would rightly be refused. Required, and
	// not before 2010, since some orders are years old.
	Now time.Time
	// Span is the time before Now in which the orders live. A few orders are older, by up to two years, so that a
	// customer's orders lie in several years. 0 means DefaultSpan.
	Span time.Duration
}

// Shop is a run: the events of one configuration. It holds no events, and may be used by any number of goroutines.
type Shop struct {
	cfg Config
}

// New returns the run that cfg describes. The error names every field that is out of its range.
func New(cfg Config) (*Shop, error) {
	if cfg.Customers == 0 {
		cfg.Customers = max(1, cfg.Orders/5)
	}
	if cfg.MeanGap == 0 {
		cfg.MeanGap = min(max(float64(cfg.Orders)/20, minGap), 100)
	}
	if cfg.Span == 0 {
		cfg.Span = DefaultSpan
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("shop configuration: %w", err)
	}
	cfg.Now = cfg.Now.UTC().Truncate(time.Microsecond)
	return &Shop{cfg: cfg}, nil
}

func (c Config) validate() error {
	var wrong []error
	if c.Orders < 1 {
		wrong = append(wrong, fmt.Errorf("orders is %d, want at least 1", c.Orders))
	}
	if c.Customers < 1 {
		wrong = append(wrong, fmt.Errorf("customers is %d, want at least 1", c.Customers))
	}
	for _, share := range []struct {
		name       string
		value, top float64
	}{
		{"damaged share", c.DamagedShare, 1},
		{"duplicate share", c.DuplicateShare, 1},
		{"displaced share", c.DisplacedShare, 0.5},
		{"share of placed v2", c.PlacedV2Share, 1},
	} {
		if !(share.value >= 0 && share.value <= share.top) {
			wrong = append(wrong, fmt.Errorf("%s is %v, want 0 to %v", share.name, share.value, share.top))
		}
	}
	if !(c.MeanGap >= minGap && c.MeanGap <= maxGap) {
		wrong = append(wrong, fmt.Errorf("mean gap is %v, want %v to %v", c.MeanGap, minGap, maxGap))
	}
	if c.Now.Year() < 2010 {
		wrong = append(wrong, fmt.Errorf("now is %v, want 2010 or later", c.Now))
	}
	if c.Span < time.Minute {
		wrong = append(wrong, fmt.Errorf("span is %v, want at least a minute", c.Span))
	}
	return errors.Join(wrong...)
}

// Events yields every event of the run in the order in which it is to be sent. Each call starts from the beginning and
// yields the same events. Only the events of orders that are open at one time are held in memory.
func (s *Shop) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		traffic := newTraffic(s.cfg)
		for {
			event, more := traffic.next()
			if !more || !yield(event) {
				return
			}
		}
	}
}

// Corrections yields the corrected event of every damaged one, in the order in which these were sent: what the shop sends
// when it has mended its producer. See [Event.Corrected].
func (s *Shop) Corrections() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for event := range s.Events() {
			if event.Damage != "" && !yield(event.Corrected()) {
				return
			}
		}
	}
}
