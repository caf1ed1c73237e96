// Package leasetable keeps leases and small notes in DynamoDB: the lease table in the row format of vmware-go-kcl-v2,
// and the state table for everything else. It is the only importer of the DynamoDB client.
//
// Every write of a lease is a conditional UpdateItem that touches the attributes it means to change and no others, and
// a refused one shows the row that refused it. Reads are consistent and go through all pages. No call retries for long
// by itself: the caller knows how long a lease is still worth trying for, and gives each call that deadline.
package leasetable

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/middleware"

	"penstock/checkpoint"
)

const (
	attempts   = 2                      // one repetition inside the client, for a stale connection; the rest is the caller's
	maxBackoff = 100 * time.Millisecond // before that repetition
	idleConns  = 64                     // renewals of many shards fall due together
)

// Client is a connection to DynamoDB. It is safe for concurrent use and holds nothing that must be closed.
type Client struct {
	api    *dynamodb.Client
	offset atomic.Pointer[time.Duration] // how far the service's clock is ahead; nil until a response told
}

// NewClient returns a client with the region, credentials and endpoint of an AWS configuration. Its retries are set
// here, whatever the configuration says.
func NewClient(c aws.Config) *Client {
	client := &Client{}
	client.api = dynamodb.NewFromConfig(c, func(o *dynamodb.Options) {
		o.Retryer = retry.NewStandard(func(so *retry.StandardOptions) {
			so.MaxAttempts = attempts
			so.MaxBackoff = maxBackoff
			so.RateLimiter = ratelimit.None // the keeper paces itself; a client that falls silent would let leases lapse
		})
		if b, ok := o.HTTPClient.(*awshttp.BuildableClient); ok {
			o.HTTPClient = b.WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = idleConns })
		}
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
			return s.Initialize.Add(middleware.InitializeMiddlewareFunc("ClockOffset", client.measure), middleware.Before)
		})
	})
	return client
}

// Clock returns what the last response said about the local wall clock. The Date header has whole seconds, so the
// offset is right to about a second; a response that took longer than that is not used.
func (c *Client) Clock() checkpoint.Clock {
	offset := c.offset.Load()
	if offset == nil {
		return checkpoint.Clock{}
	}
	return checkpoint.Clock{Known: true, Ahead: *offset}
}

func (c *Client) measure(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	middleware.InitializeOutput, middleware.Metadata, error) {
	asked := time.Now()
	out, metadata, err := next.HandleInitialize(ctx, in)
	took := time.Since(asked)
	if date, ok := awsmiddleware.GetServerTime(metadata); ok && err == nil && took < time.Second {
		// The service's clock read date + 0..1 s at some moment of the call; the middles of both are compared.
		offset := date.Add(time.Second / 2).Sub(asked.Add(took / 2).Round(0))
		c.offset.Store(&offset)
	}
	return out, metadata, err
}
