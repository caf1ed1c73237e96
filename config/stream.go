package config

import (
	"fmt"
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
