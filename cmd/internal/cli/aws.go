package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"go.uber.org/zap"

	"penstock/stream"
)

// idleConnections is how many connections to one service are kept: the leases of many shards are renewed together.
const idleConnections = 64

// unreadBytes is how much of an answer over HTTP/2 may have come and not be read, which is memory. Subscriptions are many
// and leave their events unread while there is no room for them; over a way of 100 ms it is still 5 MB a second.
const unreadBytes = 512 << 10

// LoadAWS reads region, credentials and endpoints as every AWS SDK does.
func LoadAWS(ctx context.Context, log *zap.Logger) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = idleConnections
		t.HTTP2 = &http.HTTP2Config{
			MaxReceiveBufferPerStream: unreadBytes,
			SendPingTimeout:           stream.MaxSilence / 2,
			PingTimeout:               stream.MaxSilence / 2,
		}
	})
	c, err := awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithHTTPClient(client),
		awsconfig.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			log.Debug("aws sdk", zap.String("message", fmt.Sprintf(format, v...)))
		})))
	if err != nil {
		return aws.Config{}, Exit(ExitConfig, fmt.Errorf("load the AWS configuration: %w", err))
	}
	if c.Region == "" {
		return aws.Config{}, Exit(ExitConfig, errors.New("AWS region is not set: set AWS_REGION, or a profile that names one"))
	}
	if _, err := c.Credentials.Retrieve(ctx); err != nil {
		return aws.Config{}, Exit(ExitUnreachable, fmt.Errorf("AWS credentials cannot be had: %w", err))
	}
	c.HTTPClient = plainBodies{c.HTTPClient} // only now: until here the SDK puts AWS_CA_BUNDLE into the client
	return c, nil
}

// plainBodies shows net/http nothing of a request's body but io.Reader and io.Closer. The SDK (smithy-go v1.28.8) closes
// a body as soon as the answer begins; a body that is closed by then answers net/http's last look through io.WriterTo
// with an error, upon which the connection is closed under the answer. It takes a server within a millisecond to see it.
type plainBodies struct{ client aws.HTTPClient }

// Do implements the SDK's HTTPClient.
func (c plainBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.client.Do(r)
}
