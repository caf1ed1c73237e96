package main

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"penstock/config"
	"penstock/projector"
	"penstock/sink/adaptive"
)

// reconfiguredTo keeps what it was told to be from now on.
type reconfiguredTo struct {
	limits adaptive.Config
	debt   adaptive.GovernorConfig
	most   int
	onLoss projector.OnLoss
	times  int
}

func (r *reconfiguredTo) Reconfigure(limits adaptive.Config, debt adaptive.GovernorConfig) error {
	r.limits, r.debt = limits, debt
	r.times++
	return nil
}
func (r *reconfiguredTo) SetMaxRecords(perSecond int)  { r.most = perSecond }
func (r *reconfiguredTo) SetOnLoss(o projector.OnLoss) { r.onLoss = o }

// Target, bounds, budget and floor change at SIGHUP, each to its own new value; a configuration with a mistake changes none.
func TestSIGHUPChangesWhatTheWriterKeepsTo(t *testing.T) {
	before := &config.Config{}
	after := &config.Config{}
	after.Telemetry.LogLevel = "warn"
	after.Kinesis.OnLoss = config.OnLossContinue
	after.Pressure.MaxRecordsPerSecond = 77
	after.Pressure.TargetLatency = 55 * time.Millisecond
	after.Pressure.MinRequestsPerHost = 3
	after.Pressure.MaxRequestsPerHost = 99
	after.Pressure.DebtBudget = 123 << 20
	after.Pressure.DebtFloorPercent = 25
	var got reconfiguredTo
	var mistake error
	r := &reloader{
		running: before, applied: before, level: zap.NewAtomicLevel(), writer: &got, reader: &got, log: zap.NewNop(),
		load: func() (*config.Config, error) { return after, mistake },
	}
	mistake = errors.New("no such key")
	r.reload()
	if got.times != 0 {
		t.Error("a configuration with a mistake was applied")
	}
	mistake = nil
	r.reload()
	want := reconfiguredTo{
		limits: adaptive.Config{Target: 55 * time.Millisecond, Min: 3, Max: 99},
		debt:   adaptive.GovernorConfig{Budget: 123 << 20, Floor: 0.25},
		most:   77, onLoss: projector.ContinueAfterLoss, times: 1,
	}
	if got != want {
		t.Errorf("after SIGHUP: %+v, want %+v", got, want)
	}
	if r.level.Level() != zap.WarnLevel || r.applied != after {
		t.Errorf("level %s", r.level.Level())
	}
}
