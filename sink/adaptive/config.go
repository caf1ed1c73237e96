package adaptive

import (
	"fmt"
	"math"
	"time"
)

// Config bounds a [Limiter]. The zero value of a field means its default.
type Config struct {
	// Target is what the 99th percentile of an attempt's latency shall stay below: 5 ms to 1 s, 100 ms by default. It
	// must lie well below the server's time-out of writes (2 s), so that the server never begins to drop mutations.
	Target time.Duration
	// Start is the first limit, in attempts in flight: Min to Max, 8 by default.
	Start int
	// Min is the lowest limit: 1 to Max, 1 by default.
	Min int
	// Max is the highest: Min to 16384, 4096 by default; far below the 32768 streams of a connection.
	Max int
	// Variant changes the law itself, for experiments that show what each part is worth. Zero is the law.
	Variant Variant
}

// Variant leaves parts of the law out, or changes them. It is there for ablations; nobody should run one.
type Variant struct {
	Gamma         float64 // the exponent, 0.05 to 1; 0 means 0.5, and less for small errors
	Percentile    float64 // what is steered by, 0.5 to 0.99; 0 means 0.75
	Queue         float64 // what the queue may add to the idle latency, as a multiple of the law's: 0.1 to 10; 0 means 1
	SteepQueue    bool    // a large limit may queue for as long as a small one
	OnlySurvivors bool    // failures do not count as latencies
	NoCensored    bool    // attempts without an answer do not count
	NoEpochs      bool    // attempts sent before a cut count too
	NoMemory      bool    // each window is taken for itself
	NoDrain       bool    // the idle latency is never measured
	LonelyDrain   bool    // each host is drained at a time of its own
	LonelyAlarm   bool    // a host is drained early on its own suspicion
	LoadedBase    bool    // the idle latency is an average of loaded ones
}

const (
	defaultTarget = 100 * time.Millisecond
	defaultStart  = 8
	defaultMin    = 1
	defaultMax    = 4096
	highestMax    = 16384
)

func (c Config) withDefaults() Config {
	if c.Target == 0 {
		c.Target = defaultTarget
	}
	if c.Min == 0 {
		c.Min = defaultMin
	}
	if c.Max == 0 {
		c.Max = max(defaultMax, c.Min)
	}
	if c.Start == 0 {
		c.Start = min(max(defaultStart, c.Min), c.Max)
	}
	return c
}

// Validate says which field breaks which rule, with its value. Defaults stand in for zero values.
func (c Config) Validate() error {
	c = c.withDefaults()
	v := c.Variant
	switch {
	case c.Target < 5*time.Millisecond || c.Target > time.Second:
		return fmt.Errorf("target %s: must be 5ms to 1s", c.Target)
	case c.Min < 1 || c.Min > highestMax:
		return fmt.Errorf("min %d: must be 1 to %d attempts", c.Min, highestMax)
	case c.Max < c.Min || c.Max > highestMax:
		return fmt.Errorf("max %d: must be min (%d) to %d attempts", c.Max, c.Min, highestMax)
	case c.Start < c.Min || c.Start > c.Max:
		return fmt.Errorf("start %d: must be min (%d) to max (%d)", c.Start, c.Min, c.Max)
	case v.Gamma != 0 && !(v.Gamma >= 0.05 && v.Gamma <= 1):
		return fmt.Errorf("variant gamma %g: must be 0.05 to 1, or 0 for the default", v.Gamma)
	case v.Percentile != 0 && !(v.Percentile >= 0.5 && v.Percentile <= 0.99):
		return fmt.Errorf("variant percentile %g: must be 0.5 to 0.99, or 0 for the default", v.Percentile)
	case v.Queue != 0 && !(v.Queue >= 0.1 && v.Queue <= 10):
		return fmt.Errorf("variant queue %g: must be 0.1 to 10, or 0 for the default", v.Queue)
	}
	return nil
}

func clamp(v, low, high float64) float64 { return math.Min(math.Max(v, low), high) }
