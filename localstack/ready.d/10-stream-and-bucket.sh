#!/bin/sh
# Creates what is the user's and not Penstock's: the stream and the bucket. LocalStack runs it each time it is ready; what is there stays.
set -eu

if ! awslocal kinesis describe-stream-summary --stream-name "$PENSTOCK_KINESIS_STREAM" >/dev/null 2>&1; then
	awslocal kinesis create-stream --stream-name "$PENSTOCK_KINESIS_STREAM" --shard-count 4
fi
awslocal kinesis wait stream-exists --stream-name "$PENSTOCK_KINESIS_STREAM"

if ! awslocal s3api head-bucket --bucket "$PENSTOCK_DEAD_LETTERS_BUCKET" >/dev/null 2>&1; then
	awslocal s3 mb "s3://$PENSTOCK_DEAD_LETTERS_BUCKET"
fi
