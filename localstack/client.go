package localstack

import (
	"context"
	"fmt"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/localstack/emulator"
)

// KinesisClient returns a client for the Kinesis that the environment names, as every AWS client reads it.
func KinesisClient(ctx context.Context) (*kinesis.Client, error) {
	c, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	return kinesis.NewFromConfig(c, func(o *kinesis.Options) { o.HTTPClient = emulator.HTTPClient() }), nil
}
