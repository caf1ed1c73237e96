package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/projector"
	"penstock/sink/adaptive"
)

// reloader applies, at every SIGHUP, what of the configuration can change without a restart.
type reloader struct {
	running *config.Config                 // what the process was started with
	applied *config.Config                 // what was applied last
	load    func() (*config.Config, error) // reads all sources again
	level   zap.AtomicLevel
	writer  reconfigured
	reader  limited
	log     *zap.Logger
}

// reconfigured and limited are what changes while it runs: [cassandra.Writer] and [projector.Projector].
type reconfigured interface {
	Reconfigure(limits adaptive.Config, debt adaptive.GovernorConfig) error
}

type limited interface {
	SetMaxRecords(perSecond int)
	SetOnLoss(o projector.OnLoss)
}

// watch reloads at every SIGHUP until ctx ends.
func (r *reloader) watch(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
			r.reload()
		case <-ctx.Done():
			return
		}
	}
}

// reload reads the configuration again. One with a mistake changes nothing.
func (r *reloader) reload() {
	next, err := r.load()
	if err != nil {
		r.log.Error("configuration not reloaded: nothing is changed", zap.Error(err))
		return
	}
	level, err := zap.ParseAtomicLevel(next.Telemetry.LogLevel)
	if err != nil {
		r.log.Error("configuration not reloaded: nothing is changed", zap.Error(err))
		return
	}
	safe, _ := config.Changes(r.applied, next)
	_, restart := config.Changes(r.running, next)
	r.log.Info("configuration reloaded", zap.Strings("applied", names(safe)), zap.Strings("needs_restart", names(restart)))
	r.level.SetLevel(level.Level()) // only now: the line above should be seen
	if err := r.writer.Reconfigure(cli.WriterLimits(next)); err != nil {
		r.log.Error("limits of the writer not changed", zap.Error(err))
	}
	r.reader.SetMaxRecords(next.Pressure.MaxRecordsPerSecond)
	r.reader.SetOnLoss(onLoss(next))
	r.applied = next
}

func names(settings []config.Setting) []string {
	out := make([]string, len(settings))
	for i, s := range settings {
		out[i] = s.Key.Name
	}
	return out
}
