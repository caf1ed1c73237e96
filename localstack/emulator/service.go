package emulator

import (
	"fmt"
	"time"
)

// Scale does what the service does to a stream in on-demand mode when its traffic changes: from now on it has n open shards that
// share the hash keys evenly. It knows no limits, works in both modes and while the stream is UPDATING, and does not make it so. It
// returns an error for fewer shards than one and for a stream that does not exist.
func (s *Server) Scale(stream string, n int) error {
	if n < 1 {
		return fmt.Errorf("scale stream %s: %d shards are fewer than 1", stream, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	st, err := s.lookup(stream, now)
	if err != nil {
		return fmt.Errorf("scale stream: %w", err)
	}
	s.reshape(st, now, func(r *reshape) { r.spread(n) })
	return nil
}

// Retain changes how long a stream keeps its records to any time, where the API knows 24 h and more: records older than d are gone
// now. It returns an error for a d of 0 or less and for a stream that does not exist.
func (s *Server) Retain(stream string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("retain records of stream %s: %s is not above 0", stream, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	st, err := s.lookup(stream, now)
	if err != nil {
		return fmt.Errorf("retain records: %w", err)
	}
	st.retain(now, d)
	return nil
}
