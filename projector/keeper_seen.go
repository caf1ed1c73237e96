package projector

import "time"

// fleetSeen is what the keeper saw of the fleet when it last told the others of itself.
type fleetSeen struct {
	shards   int             // that can be worked on
	unowned  int             // of these, those that nobody holds who gives signs of life
	needed   int             // leases that this worker lacks to an even share
	workers  int             // that take part, this one included
	finished map[string]bool // listed shards that were read to their end
	begun    map[string]bool // shards whose row says that there is more to read, listed or not
	read     map[string]bool // shards whose row has a checkpoint
}

// look takes note of the fleet for those who ask from other goroutines.
func (k *keeper) look(now time.Time) {
	f := k.fleet(now)
	seen := fleetSeen{
		shards: f.shards, unowned: f.shards, workers: len(f.live),
		needed: max(0, f.share()-f.load[k.config.Worker]), finished: map[string]bool{}, begun: map[string]bool{}, read: map[string]bool{},
	}
	for _, n := range f.load {
		seen.unowned -= n
	}
	for id, s := range k.slots {
		row, ok := s.sighting.Row()
		if ok && row.Checkpoint != "" {
			seen.read[id] = true
		}
		switch {
		case ok && !row.Finished():
			seen.begun[id] = true
		case ok && s.listed:
			seen.finished[id] = true
		}
	}
	k.seen.Store(&seen)
}

// Read is closed when the lease table was read for the first time.
func (k *keeper) Read() <-chan struct{} { return k.read }

// Seen returns what the keeper last saw of the fleet. It is safe for concurrent use.
func (k *keeper) Seen() fleetSeen {
	if seen := k.seen.Load(); seen != nil {
		return *seen
	}
	return fleetSeen{}
}
