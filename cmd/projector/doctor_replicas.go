package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/projector"
	"penstock/sink/cassandra"
	"penstock/view"
)

// stateOfRepairs is where daemons note what replicas need a repair for.
type stateOfRepairs interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
	Delete(ctx context.Context, kind, name string) error
}

// replicas tells which replicas need a repair. With repaired, a host id, it first takes note that this one had it.
func replicas(ctx context.Context, state stateOfRepairs, role, repaired string) (replicasReport, error) {
	report := replicasReport{Version: replicasReportVersion, Repaired: repaired}
	if repaired != "" {
		n, err := cassandra.ForgetRepairs(ctx, state, role, repaired)
		if err != nil {
			return report, cli.UnreachableUnless(hopeless(err), err)
		}
		if n == 0 {
			return report, cli.Exit(cli.ExitRefused, fmt.Errorf("nothing is noted of a replica %s: projector doctor --replicas names those of which there is", repaired))
		}
	}
	repairs, err := cassandra.ReadRepairs(ctx, state, role)
	if err != nil {
		return report, cli.UnreachableUnless(hopeless(err), err)
	}
	for _, r := range repairs {
		report.Replicas = append(report.Replicas, replicaToRepair{r.Replica, r.Address, r.Worker, r.From, r.Until, r.Written})
	}
	return report, nil
}

func openState(ctx context.Context, conf *config.Config) (state *leasetable.State, role string, err error) {
	awsConf, err := cli.LoadAWS(ctx, zap.NewNop())
	if err != nil {
		return nil, "", err
	}
	if err := conf.CheckRegion(awsConf.Region); err != nil {
		return nil, "", err
	}
	_, state = tables(leasetable.NewClient(awsConf), conf)
	return state, projector.Role(view.Generation(conf.View.Generation)), nil
}

// replicasReport is what doctor --replicas prints as JSON. Scripts read it: a field may be added, and what changes the
// meaning of one changes Version.
type replicasReport struct {
	Version  int               `json:"version"`
	Repaired string            `json:"repaired"` // what was taken note of; empty for nothing
	Replicas []replicaToRepair `json:"replicas"` // once for each daemon that wrote to it
}

const replicasReportVersion = 1

type replicaToRepair struct {
	Replica string    `json:"replica"` // host id
	Address string    `json:"address"`
	Worker  string    `json:"worker"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Run     []string  `json:"run"` // on that node
}

func (r replicasReport) text() string {
	var lines []string
	if r.Repaired != "" {
		lines = append(lines, r.Repaired+": noted as repaired")
	}
	if len(r.Replicas) == 0 {
		return strings.Join(append(lines, "no replica needs a repair"), "\n")
	}
	for _, one := range r.Replicas {
		lines = append(lines, fmt.Sprintf("%s at %s has to be repaired for what %s wrote from %s until %s. Once it is back, run there:",
			one.Replica, one.Address, one.Worker, one.From.UTC().Format(time.RFC3339), one.Until.UTC().Format(time.RFC3339)))
		for _, line := range one.Run {
			lines = append(lines, "  "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// verdict is the error of a command that ends with this report.
func (r replicasReport) verdict() error {
	if len(r.Replicas) > 0 {
		return cli.Exit(cli.ExitDifferent, fmt.Errorf("%d repairs are to be made: tell of each replica with --repaired", len(r.Replicas)))
	}
	return nil
}
