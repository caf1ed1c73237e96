package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"penstock/checkpoint"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/diagnosis"
	"penstock/stream"
)

// oneOfEach is a finding of every level.
var oneOfEach = []diagnosis.Finding{
	{System: "kinesis", Item: "stream", Name: "orders", Level: diagnosis.OK, Found: "is there: arn:aws:kinesis:eu-west-1:123456789012:stream/orders"},
	{System: "kinesis", Item: "retention", Name: "orders", Level: diagnosis.Warn, Found: "keeps records for 24 h", Do: "raise it"},
	{System: "dynamodb", Item: "lease_table", Name: "orders", Level: diagnosis.Missing, Found: "does not exist in this account and region", Do: "run projector setup"},
	{System: "dynamodb", Item: "state_table", Name: "orders-state", Level: diagnosis.Different, Found: "has another key: it belongs to something else", Do: "choose another application name"},
	{System: "dynamodb", Item: "right", Name: "dynamodb:Scan on orders", Level: diagnosis.Denied, Found: "dynamodb:Scan is not allowed: <no> & never", Do: "allow it"},
	{System: "s3", Item: "bucket", Name: "letters", Level: diagnosis.Unreachable, Found: "check s3://letters/: transient:\nconnection refused", Do: "see whether S3 answers"},
	{System: "cassandra", Item: "rows", Name: "orders.order_by_id_g1", Level: diagnosis.Refused, Found: "3 of the first 3 rows have no events", Do: "choose another keyspace"},
}

func reportOf(t *testing.T, findings ...diagnosis.Finding) checkReport {
	t.Helper()
	conf := &config.Config{Application: "orders", View: config.View{Name: "order", Generation: 1}}
	return newCheckReport(conf, cli.Views["order"], findings)
}

func TestCheckIsPrintedAsTableAndAsJSON(t *testing.T) {
	for output, name := range map[string]string{"text": "check.txt", "json": "check.json"} {
		var b bytes.Buffer
		if err := reportOf(t, oneOfEach...).print(&b, output); err != nil {
			t.Fatal(err)
		}
		got := b.String()
		if output == "json" {
			got = indented(t, got)
		}
		golden(t, filepath.Join("testdata", "check", name), got)
	}
}

func TestTheSmallerExitCodeCounts(t *testing.T) {
	at := map[diagnosis.Level]diagnosis.Finding{}
	for _, f := range oneOfEach {
		at[f.Level] = f
	}
	for _, c := range []struct {
		levels []diagnosis.Level
		code   int
		said   string
	}{
		{nil, 0, ""},
		{[]diagnosis.Level{diagnosis.OK, diagnosis.Warn}, 0, ""},
		{[]diagnosis.Level{diagnosis.Missing, diagnosis.Missing}, 7, "not ready: 2 missing"},
		{[]diagnosis.Level{diagnosis.Different}, 7, "not ready: 1 different"},
		{[]diagnosis.Level{diagnosis.Denied, diagnosis.OK}, 7, "not ready: 1 denied"},
		{[]diagnosis.Level{diagnosis.Missing, diagnosis.Refused}, 6, "not ready: 1 refused, 1 missing"},
		{[]diagnosis.Level{diagnosis.Refused, diagnosis.Missing, diagnosis.Unreachable}, 4, "not ready: 1 unreachable, 1 refused, 1 missing"},
	} {
		var findings []diagnosis.Finding
		for _, level := range c.levels {
			findings = append(findings, at[level])
		}
		report := reportOf(t, findings...)
		err := report.err()
		if report.ExitCode != c.code || report.Ready != (c.code == 0) || exitCode(err) != c.code || err != nil && err.Error() != c.said {
			t.Errorf("%v: %d, ready %t, %v", c.levels, report.ExitCode, report.Ready, err)
		}
	}
}

func TestLeasesOfAnotherStreamAreTold(t *testing.T) {
	shards := []stream.Shard{
		{ID: "shardId-000000000001", Start: "100"},
		{ID: "shardId-000000000002", Start: "200", Parents: []string{"shardId-000000000001"}},
		{ID: "shardId-000000000003", Start: "200", Parents: []string{"shardId-000000000001"}},
	}
	row := func(shard string, at checkpoint.Sequence) checkpoint.Row {
		return checkpoint.Row{Shard: "shardId-00000000000" + shard, Checkpoint: at}
	}
	for name, c := range map[string]struct {
		rows []checkpoint.Row
		want diagnosis.Level
		says string
	}{
		"none":                             {nil, diagnosis.OK, "none yet"},
		"ours":                             {[]checkpoint.Row{row("1", "150"), row("2", "200"), row("3", "")}, diagnosis.OK, "3, all of this stream"},
		"an expired shard that was read":   {[]checkpoint.Row{row("0", checkpoint.ShardEnd), row("2", "201")}, diagnosis.OK, "2, all of this stream"},
		"a finished shard":                 {[]checkpoint.Row{row("1", checkpoint.ShardEnd), row("2", "201")}, diagnosis.OK, "all of this stream"},
		"an unknown shard not read to end": {[]checkpoint.Row{row("9", "5"), row("2", "201")}, diagnosis.Warn, "1 of 2"},
		"unknown shards only":              {[]checkpoint.Row{row("8", "5"), row("9", "")}, diagnosis.Refused, "none of 2"},
		"unknown shards only, all read":    {[]checkpoint.Row{row("9", checkpoint.ShardEnd)}, diagnosis.Refused, "none of 1"},
		"an open shard read to its end":    {[]checkpoint.Row{row("2", checkpoint.ShardEnd), row("3", "201")}, diagnosis.Refused, "shardId-000000000002"},
		"a position before the shard":      {[]checkpoint.Row{row("2", "99"), row("3", "201")}, diagnosis.Refused, "shardId-000000000002"},
	} {
		f := foreignLeases("orders", c.rows, shards)
		if f.Level != c.want || !strings.Contains(f.Found, c.says) || (f.Do == "") != (c.want == diagnosis.OK) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if open := openShards(shards); len(open) != 2 {
		t.Errorf("open shards: %v", open)
	}
}

func TestSetupPrintsWithoutConnecting(t *testing.T) {
	for output, name := range map[string]string{"text": "plan.txt", "json": "plan.json"} {
		t.Run(output, func(t *testing.T) {
			for key, value := range map[string]string{
				"APPLICATION": "orders", "KINESIS_STREAM": "events", "CASSANDRA_HOSTS": "nosuchhost.invalid", "CASSANDRA_KEYSPACE": "shop",
				"CASSANDRA_DATACENTER": "dc1", "CASSANDRA_REPLICATION_FACTOR": "3", "CASSANDRA_CONSISTENCY": "", "DEAD_LETTERS_BUCKET": "letters",
			} {
				t.Setenv("PENSTOCK_"+key, value)
			}
			t.Setenv("AWS_REGION", "") // nor does it need what connecting would
			c := setupCommand()
			var out bytes.Buffer
			c.SetArgs([]string{"--print", "--generation", "2", "-o", output})
			c.SetOut(&out)
			if err := c.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := out.String()
			if output == "json" {
				got = indented(t, got)
			}
			golden(t, filepath.Join("testdata", "check", name), got)
		})
	}
}

func TestCheckNeedsARegion(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	_, err := check(t.Context(), &config.Config{}, cli.Views["order"])
	if failed, ok := errors.AsType[*cli.ExitError](err); !ok || failed.Code != cli.ExitConfig {
		t.Error(err)
	}
}
