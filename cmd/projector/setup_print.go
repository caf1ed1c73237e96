package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/sink/cassandra"
	"penstock/view"
)

// setupPlan is what setup would create, in its order. Each statement leaves what stands already as it is.
type setupPlan struct {
	Version  int                     `json:"version"`
	DynamoDB []leasetable.Definition `json:"dynamodb"`
	Consumer *consumerPlan           `json:"consumer,omitzero"` // for fan-out
	CQL      []string                `json:"cql"`
}

// consumerPlan is a consumer to register. Who registers it knows the ARN of a stream that is given by its name.
type consumerPlan struct {
	Stream string `json:"stream"` // name or ARN
	Name   string `json:"name"`
}

const setupPlanVersion = 1

// printSetup prints what setup would create. It connects to nothing, so it cannot know what is there: of a view from a file
// it adds every column to tables that may stand already.
func printSetup(c *cobra.Command, s *cli.Settings, conf *config.Config, v view.View) error {
	leases, state := tables(leasetable.NewClient(aws.Config{}), conf)
	plan := setupPlan{
		Version:  setupPlanVersion,
		DynamoDB: []leasetable.Definition{state.Definition(), leases.Definition()},
		CQL: cassandra.Script(conf.Cassandra.Keyspace, conf.Cassandra.Datacenter, conf.Cassandra.ReplicationFactor,
			v, view.Generation(conf.View.Generation)),
	}
	if conf.Kinesis.Reader == config.ReaderFanOut {
		plan.Consumer = &consumerPlan{conf.Kinesis.Stream, conf.ConsumerName()}
	}
	text, err := plan.text()
	if err != nil {
		return err
	}
	if conf.View.File != "" {
		text += "\n-- Columns that were added to a registered generation are recorded by projector setup."
	}
	return s.Print(c, text, plan)
}

func (p setupPlan) text() (string, error) {
	lines := []string{"# DynamoDB, with the AWS CLI"}
	for _, d := range p.DynamoDB {
		input, err := json.Marshal(d)
		if err != nil {
			return "", fmt.Errorf("print table %s: %w", d.TableName, err)
		}
		lines = append(lines, fmt.Sprintf("aws dynamodb create-table --cli-input-json '%s'", input))
	}
	if c := p.Consumer; c != nil {
		arn := c.Stream
		if !strings.Contains(arn, ":") {
			arn = fmt.Sprintf("$(aws kinesis describe-stream-summary --stream-name %s --query StreamDescriptionSummary.StreamARN --output text)", c.Stream)
		}
		lines = append(lines, "", "# Kinesis, with the AWS CLI", fmt.Sprintf(`aws kinesis register-stream-consumer --stream-arn "%s" --consumer-name %s`, arn, c.Name))
	}
	lines = append(lines, "", "-- Cassandra, with cqlsh: one session, one statement after another")
	for _, cql := range p.CQL {
		lines = append(lines, cql+";")
	}
	return strings.Join(lines, "\n"), nil
}
