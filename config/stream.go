package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// The parts of a stream's ARN (https://docs.aws.amazon.com/service-authorization/latest/reference/list_kinesis.html):
// arn:aws:kinesis:eu-west-1:123456789012:stream/orders.
const (
	arnRegion   = 3
	arnResource = 5
	arnParts    = 6
)

// ARN returns the stream's ARN, empty if it is given by its name.
func (k Kinesis) ARN() string {
	if strings.Contains(k.Stream, ":") { // which no name does
		return k.Stream
	}
	return ""
}

// StreamName returns the stream's name, also if it is given by its ARN.
func (k Kinesis) StreamName() string {
	parts := strings.SplitN(k.Stream, ":", arnParts)
	if len(parts) < arnParts {
		return k.Stream
	}
	return strings.TrimPrefix(parts[arnResource], "stream/")
}

// ConsumerName returns the name that the generation's fleet subscribes under with fan-out. Each generation has its own, as
// it has its own leases: readers under one name take each other's subscriptions.
func (c *Config) ConsumerName() string {
	name := cmp.Or(c.Kinesis.Consumer, c.Application)
	if c.View.Generation > 1 {
		name += "-g" + strconv.Itoa(c.View.Generation)
	}
	return name
}

// maxConsumerName is the length of the longest name of a consumer
// (https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RegisterStreamConsumer.html).
const maxConsumerName = 128

// consumer refuses a name that no consumer can have: an application's may be longer.
func (l *loader) consumer(c *Config) {
	name := c.ConsumerName()
	if c.Kinesis.Reader != ReaderFanOut || l.wrong[consumerKey] || len(name) <= maxConsumerName {
		return
	}
	l.mistake(Mistake{Key: consumerKey, Value: name, Origin: c.Origin(consumerKey),
		Rule: fmt.Sprintf("has %d characters: give a name that has at most %d with the generation's ending", len(name), maxConsumerName)})
}

// CheckRegion refuses a stream given by the ARN of another region than the one the AWS SDK is set to: its calls would
// go to that one, and find no stream or a namesake. The error is an [*Error].
func (c *Config) CheckRegion(region string) error {
	if c.Kinesis.ARN() == "" {
		return nil
	}
	if own := strings.SplitN(c.Kinesis.Stream, ":", arnParts)[arnRegion]; own != region {
		return c.streamMistake(fmt.Sprintf("is in %s, but the AWS SDK is set to %s: set AWS_REGION=%s, or give a stream of %s",
			own, region, own, region))
	}
	return nil
}

// CheckStream refuses the stream that was found, by its ARN, if another ARN is configured: a namesake of another account,
// whose events are other events. The error is an [*Error].
func (c *Config) CheckStream(found string) error {
	if own := c.Kinesis.ARN(); own != "" && own != found {
		return c.streamMistake(fmt.Sprintf("is not the stream that was found, %s: give that one, or credentials that reach this one", found))
	}
	return nil
}

func (c *Config) streamMistake(rule string) error {
	return &Error{Mistakes: []Mistake{{Key: streamKey, Value: c.Kinesis.Stream, Rule: rule, Origin: c.Origin(streamKey)}}}
}
