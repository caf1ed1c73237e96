package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/diagnosis"
	"penstock/objects"
	"penstock/projector"
	"penstock/sink/cassandra"
	"penstock/stream"
	"penstock/view"
)

func checkCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:   "check",
		Short: "Tell what is there for the daemon and what is not, and what to do about it",
		Long: `Check connects to Kinesis, DynamoDB, S3 and Cassandra with the configured identity and looks at all that
the daemon needs: the stream, the tables, the bucket, the view's keyspace and tables, the rights to use
them, and settings of the servers that would hurt. It changes nothing: rights are asked for by calls
that read, that cannot apply, or that are taken back (an upload to S3, where a key of KMS is to be used).

The exit code is 0 when a daemon can start, with warnings or without; 4 when a system does not answer;
6 when something would lose or mix data; 7 when something is missing, different or not allowed. Where
two apply, the smaller.`,
		Example: "  projector check --config penstock.yaml\n  projector check -o json | jq '.findings[] | select(.level != \"ok\")'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, v, err := s.LoadView(c)
			if err != nil {
				return err
			}
			findings, err := check(c.Context(), conf, v)
			if err != nil {
				return err
			}
			report := newCheckReport(conf, v, findings)
			if err := report.print(c.OutOrStdout(), s.Output); err != nil {
				return fmt.Errorf("print the findings: %w", err)
			}
			return report.err()
		},
	}
	s.Bind(c)
	return c
}

// answerTimeout bounds what is asked of one system. All are asked at once.
const answerTimeout = 10 * time.Second

// check examines the systems around the daemon. The error is one of the configuration.
func check(ctx context.Context, conf *config.Config, v view.View) ([]diagnosis.Finding, error) {
	log := zap.NewNop() // findings say what the drivers would warn of
	awsConf, err := cli.LoadAWS(ctx, log)
	if err != nil {
		return nil, err
	}
	if err := conf.CheckRegion(awsConf.Region); err != nil {
		return nil, err
	}
	source := stream.New(awsConf, conf.Kinesis.StreamName(), log)
	bucket, err := objects.New(awsConf, objects.Config{Bucket: conf.DeadLetters.Bucket, Prefix: conf.DeadLetters.Prefix, KMSKey: conf.DeadLetters.KMSKey, Attempts: 1})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()

	var kinesis, dynamodb, s3, cql []diagnosis.Finding
	var described stream.Description
	var shards []stream.Shard
	var leases leaseTables
	var asking sync.WaitGroup
	asking.Go(func() {
		cql = cassandra.Diagnose(ctx, cli.CassandraConfig(conf, log), v, view.Generation(conf.View.Generation))
	})
	identity := credentials(ctx, awsConf)
	if identity.Level == diagnosis.OK {
		asking.Go(func() { kinesis, described, shards = checkStream(ctx, source, conf) })
		asking.Go(func() { dynamodb, leases = checkTables(ctx, leasetable.NewClient(awsConf), conf) })
		asking.Go(func() { s3 = bucket.Diagnose(ctx) })
	}
	asking.Wait()

	if err := conf.CheckStream(described.ARN); described.ARN != "" && err != nil {
		return nil, err
	}
	findings := append([]diagnosis.Finding{identity}, kinesis...)
	if shards != nil {
		findings = append(findings, readBudget(source.Name(), conf.Kinesis.Reader, shards, leases.others))
	}
	findings = append(findings, dynamodb...)
	if shards != nil && leases.read {
		findings = append(findings, foreignLeases(leases.name, leases.rows, shards))
		if f, told := sameStream(leases, described); told {
			findings = append(findings, f)
		}
	}
	return append(append(findings, s3...), cql...), nil
}

// checkStream examines the stream, and the rights to read it in the configured way.
func checkStream(ctx context.Context, source *stream.Stream, conf *config.Config) ([]diagnosis.Finding, stream.Description, []stream.Shard) {
	if conf.Kinesis.Reader == config.ReaderPolling {
		return source.Diagnose(ctx)
	}
	return source.DiagnoseFanOut(ctx, conf.ConsumerName())
}

// credentials finds out whether there are any, which every call of AWS would otherwise say in its own way.
func credentials(ctx context.Context, c aws.Config) diagnosis.Finding {
	f := diagnosis.Finding{System: "aws", Item: "credentials", Name: c.Region, Level: diagnosis.OK}
	if c.Credentials == nil {
		f.Level, f.Found, f.Do = diagnosis.Missing, "none are configured", "set AWS_PROFILE, or give this workload a role"
		return f
	}
	got, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		f.Level, f.Found, f.Do = diagnosis.Missing, "none could be had: "+err.Error(), "set AWS_PROFILE, or give this workload a role"
		return f
	}
	f.Found = "come from " + got.Source
	return f
}

// leaseTables is what was read of the lease tables.
type leaseTables struct {
	name   string
	rows   []checkpoint.Row
	read   bool               // rows are those of the table
	noted  stream.Description // what the fleet noted of its stream, if known
	known  bool
	others []string // roles of this application that read the stream at present, besides the checked one
}

// checkTables examines lease and state table.
func checkTables(ctx context.Context, client *leasetable.Client, conf *config.Config) ([]diagnosis.Finding, leaseTables) {
	leases, state := tables(client, conf)
	findings := leases.Diagnose(ctx)
	found := leaseTables{name: leases.Name()}
	if findings[0].Level == diagnosis.Unreachable { // nor will the other answers come
		return findings, found
	}
	findings = append(ofOurs(findings), ofOurs(state.Diagnose(ctx))...)
	findings = append(findings, leases.DiagnoseClock(ctx))
	if findings[0].Level == diagnosis.OK {
		var err error
		found.rows, err = leases.Rows(ctx)
		found.read = err == nil // if not, the right to it was found to be missing
	}
	if noted, known, err := projector.NotedStream(ctx, state, projector.Role(view.Generation(conf.View.Generation)), conf.Kinesis.StreamName()); err == nil {
		found.noted, found.known = noted, known
	}
	// Without the state table nobody has told of himself.
	found.others, _ = otherReaders(ctx, state, conf)
	return findings, found
}

// ofOurs leaves out the rights to a table that belongs to something else: they were asked for with our key, which it
// does not have, and would look like a DynamoDB that does not answer.
func ofOurs(findings []diagnosis.Finding) []diagnosis.Finding {
	if findings[0].Level == diagnosis.Different {
		return findings[:1]
	}
	return findings
}

// checkReport is what check prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type checkReport struct {
	Version     int                 `json:"version"`
	Application string              `json:"application"`
	View        string              `json:"view"`
	Generation  int                 `json:"generation"`
	Revision    string              `json:"revision"`
	Ready       bool                `json:"ready"`
	ExitCode    int                 `json:"exit_code"`
	Findings    []diagnosis.Finding `json:"findings"`
}

const checkReportVersion = 1

func newCheckReport(conf *config.Config, v view.View, findings []diagnosis.Finding) checkReport {
	code := cli.ExitOK
	for _, f := range findings {
		if c := levelCodes[f.Level]; c != cli.ExitOK && (code == cli.ExitOK || c < code) {
			code = c
		}
	}
	return checkReport{
		Version: checkReportVersion, Application: conf.Application, View: v.Name(), Generation: conf.View.Generation, Revision: v.Revision(),
		Ready: code == cli.ExitOK, ExitCode: code, Findings: findings,
	}
}

// levelCodes are the exit codes that findings ask for.
var levelCodes = map[diagnosis.Level]int{
	diagnosis.OK:          cli.ExitOK,
	diagnosis.Warn:        cli.ExitOK,
	diagnosis.Unreachable: cli.ExitUnreachable,
	diagnosis.Refused:     cli.ExitRefused,
	diagnosis.Missing:     cli.ExitDifferent,
	diagnosis.Different:   cli.ExitDifferent,
	diagnosis.Denied:      cli.ExitDifferent,
}

func (r checkReport) print(w io.Writer, output string) error {
	if output == "json" {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		return out.Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LEVEL\tSYSTEM\tWHAT\tFOUND")
	for _, f := range r.Findings {
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%s\n", f.Level, f.System, strings.ReplaceAll(f.Item, "_", " "), f.Name, oneLine(f.Found))
		if f.Do != "" {
			fmt.Fprintf(t, "\t\t\t→ %s\n", f.Do)
		}
	}
	return t.Flush()
}

// oneLine keeps a table a table: errors joined by somebody else come in lines.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// err is nil when a daemon can start.
func (r checkReport) err() error {
	if r.Ready {
		return nil
	}
	var counts []string
	for _, level := range []diagnosis.Level{diagnosis.Unreachable, diagnosis.Refused, diagnosis.Denied, diagnosis.Missing, diagnosis.Different} {
		n := 0
		for _, f := range r.Findings {
			if f.Level == level {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, level))
		}
	}
	return cli.Exit(r.ExitCode, errors.New("not ready: "+strings.Join(counts, ", ")))
}
