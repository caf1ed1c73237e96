package emulator

import (
	"context"
	"slices"
	"time"
)

const (
	minRetentionHours  = 24
	maxRetentionHours  = 8760
	maxModeSwitches    = 2
	modeSwitchesPeriod = 24 * time.Hour
)

func (s *Server) increaseRetention(ctx context.Context, q *request) error {
	return s.changeRetention(ctx, q, func(asked, current int) bool { return asked > current }, "more")
}

func (s *Server) decreaseRetention(ctx context.Context, q *request) error {
	return s.changeRetention(ctx, q, func(asked, current int) bool { return asked < current }, "less")
}

func (s *Server) changeRetention(ctx context.Context, q *request, fits func(asked, current int) bool, want string) error {
	var in struct {
		streamRef
		RetentionPeriodHours *int
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	if in.RetentionPeriodHours == nil {
		return apiErrorf(ValidationFailed, "RetentionPeriodHours is required")
	}
	hours := *in.RetentionPeriodHours
	if hours < minRetentionHours || hours > maxRetentionHours {
		return apiErrorf(InvalidArgument, "RetentionPeriodHours %d is outside %d to %d", hours, minRetentionHours, maxRetentionHours)
	}
	return s.change(ctx, q, in.streamRef, func(st *stream, now time.Time) error {
		if current := st.current.Load().retentionHours(); !fits(hours, current) {
			return apiErrorf(InvalidArgument, "RetentionPeriodHours %d of stream %s under account %s must be %s than the present %d",
				hours, st.name, s.config.Account, want, current)
		}
		st.retain(now, time.Duration(hours)*time.Hour)
		return nil
	})
}

// retain changes the retention. What is past the shorter of the two is gone now; Server.mu is held for writing.
func (st *stream) retain(now time.Time, retention time.Duration) {
	is := *st.current.Load()
	for _, sh := range is.shards {
		sh.life(now, min(is.retention, retention))
	}
	is.retention = retention
	st.current.Store(&is)
}

// distribute sets the record distribution strategy.
func (c *state) distribute(strategy string) error {
	switch {
	case strategy != autoDistribution && strategy != keyDistribution:
		return apiErrorf(InvalidArgument, "RecordDistributionStrategy %q is neither %s nor %s", strategy, autoDistribution, keyDistribution)
	case !c.onDemand:
		return apiErrorf(InvalidArgument, "RecordDistributionStrategy %s needs a stream in on-demand mode", strategy)
	}
	c.auto = strategy == autoDistribution
	return nil
}

func (s *Server) updateDistribution(ctx context.Context, q *request) error {
	var in struct {
		StreamARN                  string
		RecordDistributionStrategy string
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	return s.change(ctx, q, streamRef{StreamARN: in.StreamARN}, func(st *stream, _ time.Time) error {
		is := *st.current.Load()
		if err := is.distribute(in.RecordDistributionStrategy); err != nil {
			return err
		}
		st.current.Store(&is)
		return nil
	})
}

func (s *Server) updateMode(ctx context.Context, q *request) error {
	var in struct {
		StreamARN         string
		StreamModeDetails modeDetails
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	mode := in.StreamModeDetails.StreamMode
	if mode != onDemandMode && mode != provisionedMode {
		return apiErrorf(ValidationFailed, "stream mode %q does not exist", mode)
	}
	return s.change(ctx, q, streamRef{StreamARN: in.StreamARN}, func(st *stream, now time.Time) error {
		is := *st.current.Load()
		if is.mode().StreamMode == mode {
			return apiErrorf(InvalidArgument, "Stream %s under account %s is in mode %s already", st.name, s.config.Account, mode)
		}
		if is.auto {
			return apiErrorf(InvalidArgument, "Stream %s under account %s has the record distribution AUTO, which mode %s does not know",
				st.name, s.config.Account, mode)
		}
		if s.limited() && !within(&st.modeSwitches, now, modeSwitchesPeriod, maxModeSwitches) {
			return apiErrorf(LimitExceeded, "Stream %s under account %s was switched %d times within %s", st.name, s.config.Account, maxModeSwitches, modeSwitchesPeriod)
		}
		is.onDemand = mode == onDemandMode
		st.current.Store(&is)
		return nil
	})
}

// within says whether one more event at now keeps to most within a period, and counts it if so.
func within(past *[]time.Time, now time.Time, period time.Duration, most int) bool {
	*past = slices.DeleteFunc(*past, func(t time.Time) bool { return now.Sub(t) >= period })
	if len(*past) >= most {
		return false
	}
	*past = append(*past, now)
	return true
}

func (s *Server) updateMaxRecordSize(ctx context.Context, q *request) error {
	var in struct {
		StreamARN          string
		MaxRecordSizeInKiB *int
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	kib := in.MaxRecordSizeInKiB
	if kib == nil || *kib < minRecordKiB || *kib > maxRecordKiB {
		return apiErrorf(ValidationFailed, "MaxRecordSizeInKiB is required and from %d to %d", minRecordKiB, maxRecordKiB)
	}
	return s.change(ctx, q, streamRef{StreamARN: in.StreamARN}, func(st *stream, _ time.Time) error {
		is := *st.current.Load()
		is.maxRecord = *kib << 10
		st.current.Store(&is)
		return nil
	})
}
