package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/config"
	"penstock/sink"
	"penstock/sink/cassandra"
	"penstock/view"
)

func setupCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "setup",
		Short: "Create what is Penstock's own: lease and state tables, keyspace, tables, view state",
		Long: `Setup creates what Penstock owns and is missing: the lease table and the state table in DynamoDB,
the keyspace, types and tables of the view's generation in Cassandra, and the generation's entry in
view_state. It changes nothing that stands already, and says so when that does not fit.

The stream and the bucket are yours: setup never creates them.`,
		Example: "  projector setup --config penstock.yaml\n  projector setup --config penstock.yaml --generation 2",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := s.load(c)
			if err != nil {
				return err
			}
			v, err := chooseView(conf)
			if err != nil {
				return err
			}
			done, err := setup(c.Context(), conf, v)
			if err != nil {
				return err
			}
			return s.print(c, strings.Join(done, "\n"), map[string]any{"ready": done})
		},
	}
	s.bind(c)
	return c
}

// setupTimeout bounds a setup: a table of DynamoDB takes up to a minute, a schema change on a busy cluster seconds.
const setupTimeout = 5 * time.Minute

// setup returns a line for each thing that is ready.
func setup(ctx context.Context, conf *config.Config, v view.View) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	log, err := newLogger("warn")
	if err != nil {
		return nil, err
	}
	awsConf, err := loadAWS(ctx, log)
	if err != nil {
		return nil, err
	}
	leases, state := tables(leasetable.NewClient(awsConf), conf)
	var done []string
	for _, table := range []struct {
		what   string
		create func(context.Context) (bool, error)
	}{{"lease table", leases.Create}, {"state table", state.Create}} {
		created, err := table.create(ctx)
		if err != nil {
			return nil, unreachableUnless(hopeless(err), fmt.Errorf("create the %s: %w", table.what, err))
		}
		done = append(done, fmt.Sprintf("%s: %s", table.what, map[bool]string{true: "created", false: "was there"}[created]))
	}
	session, err := cassandra.Connect(cassandraConfig(conf, log))
	if err != nil {
		return nil, unreachableUnless(sink.DispositionOf(err) == sink.Fatal, err)
	}
	defer session.Close()
	generation := view.Generation(conf.View.Generation)
	if err := session.Setup(ctx, conf.Cassandra.Datacenter, conf.Cassandra.ReplicationFactor, v, generation); err != nil {
		return nil, unreachableUnless(sink.DispositionOf(err) == sink.Fatal, err)
	}
	for _, t := range v.Tables() {
		done = append(done, fmt.Sprintf("table %s.%s%s: ready", conf.Cassandra.Keyspace, t.Name, generation.Suffix()))
	}
	return append(done, fmt.Sprintf("view %s, generation %d: holds revision %s", v.Name(), generation, v.Revision())), nil
}

// hopeless tells whether an error of the lease or state table is an operator's matter.
func hopeless(err error) bool {
	return errors.Is(err, checkpoint.ErrTableMissing) || errors.Is(err, checkpoint.ErrDenied)
}

// unreachableUnless marks an error that would pass by itself: its system does not answer.
func unreachableUnless(fatal bool, err error) error {
	if fatal {
		return err
	}
	return &exitError{exitUnreachable, err}
}
