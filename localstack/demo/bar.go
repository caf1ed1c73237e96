package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"penstock/localstack/e2e"
)

// bar shows progress on standard error: a line that is drawn again on a terminal, now and then a line elsewhere.
type bar struct {
	total int // records

	shown time.Time
	at    time.Time
	done  int
	rate  float64 // records a second, smoothed
}

const barWidth = 30

// draw shows that done records have an outcome; repetitions after a crash count again.
func (b *bar) draw(done, parked int, scrapes []e2e.Scrape) {
	now := time.Now()
	if !b.at.IsZero() {
		b.rate = 0.7*b.rate + 0.3*float64(max(0, done-b.done))/now.Sub(b.at).Seconds()
	}
	b.at, b.done = now, done
	share := min(1, float64(done)/float64(b.total))
	lag := time.Duration(0)
	for _, s := range scrapes {
		lag = max(lag, s.Behind())
	}
	full := int(share * barWidth)
	line := fmt.Sprintf("[%s%s] %3.0f %%  %d of %d records  %4.0f/s  lag %.1f s  parked %d",
		strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*share, done, b.total, b.rate, lag.Seconds(), parked)
	if terminal() {
		fmt.Fprintf(os.Stderr, "\r%-100s", line)
	} else if now.Sub(b.shown) > 3*time.Second {
		b.shown = now
		fmt.Fprintln(os.Stderr, line)
	}
}

// end ends the line that is being drawn.
func (b *bar) end() {
	if terminal() && !b.at.IsZero() {
		fmt.Fprintln(os.Stderr)
	}
}

func terminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
