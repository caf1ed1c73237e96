package report

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Names of the daemon's metrics, as docs/metrics.md has them.
const (
	appliedMetric  = "penstock_records_applied_total"
	attemptsMetric = "db_client_operation_duration_seconds"
	errorLabel     = "error_type"
	behindMetric   = "aws_kinesis_client_consumer_lag_duration_milliseconds"
	// debtMetric is absent in a projector that does not count what replicas are owed.
	debtMetric = "penstock_replica_debt_bytes"
)

// Sample is what a daemon's metrics said at one moment, as far as a game day wants to know it.
type Sample struct {
	At       time.Time
	Applied  float64
	Attempts map[string]Histogram // by class of error; "" for those that succeeded
	Debt     float64              // of all replicas
	HasDebt  bool
	Behind   time.Duration // of the shard that is furthest behind, by Kinesis's own word
}

// Histogram counts attempts by their duration, as Prometheus does: Counts[i] took at most Bounds[i] seconds.
type Histogram struct {
	Bounds []float64
	Counts []float64 // cumulative
	Total  float64
}

// ParseSample reads the text of /metrics.
func ParseSample(text []byte, at time.Time) (Sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return Sample{}, fmt.Errorf("parse metrics: %w", err)
	}
	s := Sample{At: at, Attempts: map[string]Histogram{}}
	for _, m := range families[appliedMetric].GetMetric() {
		s.Applied += m.GetCounter().GetValue()
	}
	for _, m := range families[attemptsMetric].GetMetric() {
		class := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == errorLabel {
				class = l.GetValue()
			}
		}
		s.Attempts[class] = s.Attempts[class].plus(histogramOf(m.GetHistogram()))
	}
	for _, m := range families[debtMetric].GetMetric() {
		s.Debt += m.GetGauge().GetValue()
		s.HasDebt = true
	}
	for _, m := range families[behindMetric].GetMetric() {
		s.Behind = max(s.Behind, time.Duration(m.GetGauge().GetValue())*time.Millisecond)
	}
	return s, nil
}

func histogramOf(h *dto.Histogram) Histogram {
	out := Histogram{Total: float64(h.GetSampleCount())}
	for _, b := range h.GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			out.Bounds = append(out.Bounds, b.GetUpperBound())
			out.Counts = append(out.Counts, float64(b.GetCumulativeCount()))
		}
	}
	return out
}

func (h Histogram) plus(other Histogram) Histogram { return h.combine(other, 1) }

// Since returns what came on top of an earlier state.
func (h Histogram) Since(earlier Histogram) Histogram { return h.combine(earlier, -1) }

// combine expects both to have the same bounds, or one of them none.
func (h Histogram) combine(other Histogram, sign float64) Histogram {
	out := Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Total: h.Total + sign*other.Total}
	if len(h.Bounds) == 0 {
		out.Bounds, out.Counts = other.Bounds, make([]float64, len(other.Counts))
	}
	for i, c := range other.Counts {
		out.Counts[i] += sign * c
	}
	return out
}

// Quantile returns the duration that share of the attempts did not exceed, by linear interpolation within a bucket: 0 of none, and the
// last bound for what is beyond it.
func (h Histogram) Quantile(share float64) float64 {
	if h.Total == 0 || len(h.Bounds) == 0 {
		return 0
	}
	rank := share * h.Total
	below, from := 0.0, 0.0
	for i, bound := range h.Bounds {
		if h.Counts[i] >= rank && h.Counts[i] > below {
			return from + (bound-from)*(rank-below)/(h.Counts[i]-below)
		}
		below, from = h.Counts[i], bound
	}
	return h.Bounds[len(h.Bounds)-1]
}

// AttemptsBetween returns all attempts between two samples, those that succeeded, and the others by class.
func AttemptsBetween(from, to Sample) (attempts, successes float64, errors map[string]float64) {
	errors = map[string]float64{}
	for class, h := range to.Attempts {
		n := h.Total - from.Attempts[class].Total
		attempts += n
		switch {
		case class == "":
			successes = n
		case n > 0:
			errors[class] = n
		}
	}
	return attempts, successes, errors
}

// BySecond turns samples into series whose n-th value is of the n-th second after the first sample. A second without a sample of its
// own gets the mean of those around it.
func BySecond(samples []Sample, rowsPerEvent float64) (rows, p99, debt []float64) {
	for i := 1; i < len(samples); i++ {
		before, now := samples[i-1], samples[i]
		took := now.At.Sub(before.At).Seconds()
		if took <= 0 {
			continue
		}
		rate := (now.Applied - before.Applied) * rowsPerEvent / took
		var all Histogram
		for class, h := range now.Attempts {
			all = all.plus(h.Since(before.Attempts[class]))
		}
		until := int(math.Round(now.At.Sub(samples[0].At).Seconds()))
		for len(rows) < until {
			rows = append(rows, rate)
			p99 = append(p99, 1000*all.Quantile(0.99))
			if now.HasDebt {
				debt = append(debt, now.Debt)
			}
		}
	}
	return rows, p99, debt
}

// SampleAt is the first sample at or after a moment, or the last of all.
func SampleAt(samples []Sample, moment time.Time) Sample {
	for _, s := range samples {
		if !s.At.Before(moment) {
			return s
		}
	}
	if len(samples) == 0 {
		return Sample{}
	}
	return samples[len(samples)-1]
}

// DrainedAt is in which second after the first sample the backlog was read to its end, 0 if it never was.
func DrainedAt(samples []Sample) int {
	const caughtUp = 2 * time.Second
	behind := false
	for _, s := range samples {
		switch {
		case s.Behind > caughtUp:
			behind = true
		case behind:
			return int(math.Round(s.At.Sub(samples[0].At).Seconds()))
		}
	}
	return 0
}
