package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/projector"
	"penstock/stream"
	"penstock/view"
)

func doctorCommand() *cobra.Command {
	var s cli.Settings
	var d doctor
	var table, source, repaired string
	var listReplicas bool
	c := &cobra.Command{
		Use:   "doctor [--repair] | --import TABLE | --replicas | --repaired HOST_ID",
		Short: "Find what is wrong with a lease table, and repair it",
		Long: `Doctor holds every row of a lease table against the stream: a table of this application, of a fleet of
vmware-go-kcl-v2, or of any other that writes this format. Where leases are held it watches them for a
failover time. It finds:

  orphan        the stream does not list the row's shard: it expired, or is of another stream
  wedged        what stands in the row cannot be read or taken over by every reader of the format
  finished-open the row says that the shard was read to its end, and the shard takes records
  no-row        a shard has no row yet
  child-ahead   a shard is read, or held, before its parents were read to their end
  skewed-clock  a foreign worker's clock is far off, by the end that it gave its lease
  foreign       a worker of another make holds the lease at present

--repair says first what it would do, and does it with --yes, or when it is asked on a terminal. Every write is
conditional on the row as it was seen, and no live lease is touched. Rows are deleted only if they are past
use, and their shard is missing from two listings.

--import makes rows from a table of the Kinesis Client Library 3, for shards that have none yet, when that
fleet is stopped.

--replicas tells instead which replicas in Cassandra were away for so long that nobody stored hints for them
any more, and what to run there once they are back. --repaired takes note that this was done for one.`,
		Example: "  projector doctor\n  projector doctor --table orders-kcl --repair\n  projector doctor --import orders-java --yes\n  projector doctor --replicas",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case source != "" && d.repair:
				return cli.Exit(cli.ExitUsage, errors.New("--import and --repair are two commands: give one of them"))
			case d.yes && source == "" && !d.repair:
				return cli.Exit(cli.ExitUsage, errors.New("--yes goes with --repair or --import"))
			}
			ofReplicas := listReplicas || repaired != ""
			if ofReplicas && (d.repair || d.yes || source != "" || table != "") {
				return cli.Exit(cli.ExitUsage, errors.New("--replicas and --repaired go with no other flag of doctor"))
			}
			conf, err := s.Load(c)
			if err != nil {
				return err
			}
			if ofReplicas {
				ctx, cancel := context.WithTimeout(c.Context(), doctorTimeout)
				defer cancel()
				state, role, err := openState(ctx, conf)
				if err != nil {
					return err
				}
				report, err := replicas(ctx, state, role, repaired)
				if err != nil {
					return err
				}
				return errors.Join(s.Print(c, report.text(), report), report.verdict())
			}
			ctx, cancel := context.WithTimeout(c.Context(), doctorTimeout+2*conf.Leases.Failover)
			defer cancel()
			if err := d.open(ctx, conf, table); err != nil {
				return err
			}
			d.messages, d.answers = c.ErrOrStderr(), c.InOrStdin()
			d.asks = s.Output == "text" && isTerminal(os.Stdin)
			if source != "" {
				return d.runImport(ctx, c, &s, source)
			}
			report, err := d.examine(ctx)
			if err != nil {
				return err
			}
			if !d.repair {
				return errors.Join(s.Print(c, report.text(), report), report.verdict())
			}
			if s.Output == "text" { // what would be done stands before the question
				if err := s.Print(c, report.text(), report); err != nil {
					return err
				}
			}
			if err := d.treat(ctx, &report); err != nil {
				return err
			}
			text := report.treated()
			if text == "" && s.Output == "text" {
				return report.verdict()
			}
			return errors.Join(s.Print(c, text, report), report.verdict())
		},
	}
	s.Bind(c)
	c.Flags().StringVar(&table, "table", "", "lease table to look at; the one of the generation if not given")
	c.Flags().BoolVar(&d.repair, "repair", false, "repair what can be repaired")
	c.Flags().BoolVar(&d.yes, "yes", false, "do it without asking")
	c.Flags().StringVar(&source, "import", "", "table of the Kinesis Client Library 3 to make rows from")
	c.Flags().BoolVar(&listReplicas, "replicas", false, "tell which replicas in Cassandra need a repair")
	c.Flags().StringVar(&repaired, "repaired", "", "host id of a replica that was repaired")
	return c
}

const doctorTimeout = 5 * time.Minute

// doctor examines one lease table.
type doctor struct {
	table  string
	leases checkpoint.Store
	kcl    kclTable
	stream streamOfDoctor
	now    func() time.Time

	failover    time.Duration
	description stream.Description

	repair, yes bool
	asks        bool // there is somebody to be asked
	messages    io.Writer
	answers     io.Reader
}

// streamOfDoctor is what the doctor asks of the stream.
type streamOfDoctor interface {
	Shards(ctx context.Context) ([]stream.Shard, error)
	PlaceOf(ctx context.Context, shard stream.Shard, sequence checkpoint.Sequence) (stream.Place, error)
	PlacePreceding(ctx context.Context, shard stream.Shard, sequence checkpoint.Sequence) (stream.Place, error)
}

// open connects, and refuses a stream that is not the one whose leases these are.
func (d *doctor) open(ctx context.Context, conf *config.Config, table string) error {
	log := zap.NewNop()
	awsConf, err := cli.LoadAWS(ctx, log)
	if err != nil {
		return err
	}
	if err := conf.CheckRegion(awsConf.Region); err != nil {
		return err
	}
	client := leasetable.NewClient(awsConf)
	leases, state := tables(client, conf)
	d.table, d.failover = leaseTable(conf.Application, conf.View.Generation), conf.Leases.Failover
	own := table == "" || table == d.table
	if !own {
		d.table, leases = table, client.Leases(table)
	}
	d.leases, d.kcl = leases, client
	d.now = func() time.Time { return time.Now().Add(client.Clock().Ahead) }
	if err := leases.Check(ctx); err != nil {
		return cli.UnreachableUnless(hopeless(err), err)
	}
	s := stream.New(awsConf, conf.Kinesis.StreamName(), log)
	d.stream = s
	if d.description, err = s.Describe(ctx); err != nil {
		return d.failed(err)
	}
	if !own {
		return nil
	}
	noted, known, err := projector.NotedStream(ctx, state, projector.Role(view.Generation(conf.View.Generation)), s.Name())
	if errors.Is(err, checkpoint.ErrTableMissing) || err == nil && !known {
		return nil // a table that came from elsewhere
	}
	if err != nil {
		return cli.UnreachableUnless(hopeless(err), err)
	}
	return projector.SameStream(noted, d.description)
}

// failed decides the exit code of an error of stream or table.
func (d *doctor) failed(err error) error {
	failed, ok := errors.AsType[*stream.Error](err)
	return cli.UnreachableUnless(ok && failed.Kind == stream.Fatal || hopeless(err), err)
}

// agreed reports whether what was shown may be done.
func (d *doctor) agreed(question string) bool {
	if d.yes || !d.asks {
		return d.yes
	}
	fmt.Fprintf(d.messages, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(d.answers).ReadString('\n') // no answer is no
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// doctorReport is what doctor prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type doctorReport struct {
	Version  int       `json:"version"`
	Table    string    `json:"table"`
	Rows     int       `json:"rows"`
	Shards   int       `json:"shards"` // that the stream lists
	At       time.Time `json:"at"`     // by DynamoDB's clock
	Findings []finding `json:"findings"`
}

const doctorReportVersion = 1

// finding is one thing that is wrong.
type finding struct {
	Shard    string  `json:"shard"`
	Kind     ailment `json:"kind"`
	Found    string  `json:"found"`
	Remedy   string  `json:"remedy"`   // what --repair would do, or why it does nothing
	Can      bool    `json:"can"`      // --repair does something
	Repaired bool    `json:"repaired"` // it did
	Error    string  `json:"error"`    // why it did not

	change checkpoint.Change
}

func (r doctorReport) text() string {
	if len(r.Findings) == 0 {
		return fmt.Sprintf("%s: %d rows, %d shards: nothing is wrong", r.Table, r.Rows, r.Shards)
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "SHARD\tKIND\tFOUND")
	for _, f := range r.Findings {
		remedy := "→ --repair: " + f.Remedy
		if !f.Can {
			remedy = "→ " + f.Remedy
		}
		fmt.Fprintf(w, "\n%s\t%s\t%s\n\t\t%s", f.Shard, f.Kind, f.Found, remedy)
	}
	_ = w.Flush() // to memory
	return table.String()
}

// treated says what became of the repairs; "" if none was tried.
func (r doctorReport) treated() string {
	var lines []string
	for _, f := range r.Findings {
		switch {
		case f.Repaired:
			lines = append(lines, fmt.Sprintf("%s: %s: repaired", f.Shard, f.Kind))
		case f.Error != "":
			lines = append(lines, fmt.Sprintf("%s: %s: %s", f.Shard, f.Kind, f.Error))
		}
	}
	return strings.Join(lines, "\n")
}

// verdict is the error of a command that ends with this report.
func (r doctorReport) verdict() error {
	left, failed := 0, 0
	for _, f := range r.Findings {
		if !f.Repaired {
			left++
		}
		if f.Error != "" {
			failed++
		}
	}
	switch {
	case failed > 0:
		return cli.Exit(cli.ExitPartly, fmt.Errorf("%d repairs were not made: run it again", failed))
	case left > 0:
		return cli.Exit(cli.ExitDifferent, fmt.Errorf("%d things are wrong", left))
	}
	return nil
}
