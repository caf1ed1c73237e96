package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/projector"
	"penstock/sink"
	"penstock/sink/cassandra"
	"penstock/stream"
	"penstock/view"
)

func setupCommand() *cobra.Command {
	var s cli.Settings
	var print bool
	c := &cobra.Command{
		Use:   "setup",
		Short: "Create what is Penstock's own: lease and state tables, keyspace, tables, view state",
		Long: `Setup creates what Penstock owns and is missing: the lease table and the state table in DynamoDB,
the keyspace, types and tables of the view's generation in Cassandra, and the generation's entry in
view_state; with kinesis.reader: fanout also the consumer that it subscribes as. It changes nothing that
stands already, and says so when that does not fit.

A view from a file may have grown by columns since its generation was registered. Setup adds them to the
tables and to the generation's entry, and from then on daemons may start that write them. Daemons with
the file as it was before go on. Any other difference is refused, told, and needs a new generation.

Several setups of one application may be started at once: one works, the others wait for it, by an item
in the state table. Setups of different applications for one keyspace must not run together.

The stream and the bucket are yours: setup never creates them.`,
		Example: "  projector setup --config penstock.yaml\n  projector setup --config penstock.yaml --generation 2\n  projector setup --print",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, v, err := s.LoadView(c)
			if err != nil {
				return err
			}
			if print {
				return printSetup(c, &s, conf, v)
			}
			done, err := setup(c.Context(), conf, v)
			if err != nil {
				return err
			}
			return s.Print(c, strings.Join(done, "\n"), map[string]any{"ready": done})
		},
	}
	s.Bind(c)
	c.Flags().BoolVar(&print, "print", false, "print what would be created, ready to paste, and connect to nothing")
	return c
}

// setupTimeout bounds a setup: a table of DynamoDB takes up to a minute, a schema change on a busy cluster seconds.
const setupTimeout = 5 * time.Minute

// schemaTimeout bounds a schema change, or cassandra.timeout where that is longer. An answer that comes later than we wait would
// look like an outage.
const schemaTimeout = 30 * time.Second

// lockLife is how long a setup that died keeps others from beginning.
const lockLife = 30 * time.Second

// setup returns a line for each thing that is ready.
func setup(ctx context.Context, conf *config.Config, v view.View) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	log, _, err := cli.NewLogger("warn")
	if err != nil {
		return nil, err
	}
	awsConf, err := cli.LoadAWS(ctx, log)
	if err != nil {
		return nil, err
	}
	if err := cassandra.CheckHosts(conf.Cassandra.Hosts); err != nil {
		return nil, err
	}
	leases, state := tables(leasetable.NewClient(awsConf), conf)
	stateCreated, err := state.Create(ctx) // first: it holds the lock
	if err != nil {
		return nil, cli.UnreachableUnless(hopeless(err), fmt.Errorf("create the state table: %w", err))
	}
	var done []string
	var holds string
	lock := leasetable.Lock{
		State: state, Kind: "setup", Name: "lock", Owner: projector.NewWorkerID(conf.Leases.Worker), Life: lockLife,
		Waiting: func(owner string, until time.Time) {
			log.Warn("waiting for another setup", zap.String("owner", owner), zap.Time("until", until))
		},
	}
	err = lock.Do(ctx, func(ctx context.Context) error {
		leasesCreated, err := leases.Create(ctx)
		if err != nil {
			return cli.UnreachableUnless(hopeless(err), fmt.Errorf("create the lease table: %w", err))
		}
		done = append(done, "lease table: "+made(leasesCreated), "state table: "+made(stateCreated))
		registered, err := setupConsumer(ctx, awsConf, conf, log)
		if err != nil {
			return err
		}
		done = append(done, registered...)
		holds, err = setupCassandra(ctx, conf, v, log)
		return err
	})
	if err != nil {
		return nil, cli.UnreachableUnless(!errors.Is(err, leasetable.ErrLockLost), err)
	}
	generation := view.Generation(conf.View.Generation)
	for _, t := range v.Tables() {
		done = append(done, fmt.Sprintf("table %s.%s%s: ready", conf.Cassandra.Keyspace, t.Name, generation.Suffix()))
	}
	done = append(done, fmt.Sprintf("keyspace %s, types of the view, view_state and view_progress: ready", conf.Cassandra.Keyspace))
	return append(done, fmt.Sprintf("view %s, generation %d: holds %s", v.Name(), generation, holds)), nil
}

func made(created bool) string {
	if created {
		return "created"
	}
	return "was there"
}

// setupConsumer registers the consumer that fan-out subscribes as, and returns a line about it, or none where shards are
// polled.
func setupConsumer(ctx context.Context, awsConf aws.Config, conf *config.Config, log *zap.Logger) ([]string, error) {
	if conf.Kinesis.Reader != config.ReaderFanOut {
		return nil, nil
	}
	if err := conf.CheckRegion(awsConf.Region); err != nil {
		return nil, err
	}
	source := stream.New(awsConf, conf.Kinesis.StreamName(), log)
	found, err := source.Describe(ctx)
	if err != nil {
		return nil, cli.UnreachableUnless(refusedByKinesis(err), err)
	}
	if err := conf.CheckStream(found.ARN); err != nil {
		return nil, err
	}
	created, err := source.Register(ctx, found.ARN, conf.ConsumerName())
	if err != nil {
		return nil, cli.UnreachableUnless(refusedByKinesis(err), err)
	}
	return []string{fmt.Sprintf("consumer %s of stream %s: %s", conf.ConsumerName(), source.Name(), made(created))}, nil
}

// setupCassandra runs the statements and returns what the generation holds then, in words. The caller holds the lock.
func setupCassandra(ctx context.Context, conf *config.Config, v view.View, log *zap.Logger) (holds string, err error) {
	defer func() { err = cli.UnreachableUnless(err == nil || sink.DispositionOf(err) == sink.Fatal, err) }()
	patient := cli.CassandraConfig(conf, log)
	patient.Timeout = max(patient.Timeout, schemaTimeout)
	session, err := cassandra.Connect(patient)
	if err != nil {
		return "", err
	}
	defer session.Close()
	if err := session.CheckService(ctx); err != nil {
		return "", err
	}
	generation := view.Generation(conf.View.Generation)
	if err := session.Setup(ctx, conf.Cassandra.Datacenter, conf.Cassandra.ReplicationFactor, v, generation); err != nil {
		return "", err
	}
	revision, added, err := session.Registered(ctx, v, generation)
	holds = "revision " + revision
	for i, c := range added {
		holds += map[bool]string{true: ", and since then ", false: ", "}[i == 0] + c.String()
	}
	return holds, err
}

// hopeless tells whether an error of the lease or state table is an operator's matter.
func hopeless(err error) bool {
	return errors.Is(err, checkpoint.ErrTableMissing) || errors.Is(err, checkpoint.ErrDenied)
}
