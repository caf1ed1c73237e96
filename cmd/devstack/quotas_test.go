package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack"
	"penstock/localstack/emulator"
)

// refused writes ten times what a shard takes in a second, in one call, and returns how many of the ten records were refused.
func refused(t *testing.T, endpoint string) int {
	t.Helper()
	transport := emulator.HTTPClient()
	defer transport.CloseIdleConnections()
	client := kinesis.New(kinesis.Options{Region: "eu-central-1", BaseEndpoint: &endpoint, HTTPClient: transport,
		Credentials: credentials.NewStaticCredentialsProvider("penstock", "penstock", "")})
	in := &kinesis.PutRecordsInput{StreamName: aws.String(localstack.DefaultStream)}
	for range 10 {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, 1<<20-1)})
	}
	out, err := client.PutRecords(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return int(*out.FailedRecordCount)
}

func TestKinesisHasQuotasUnlessToldOtherwise(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  int
	}{
		{nil, 9},
		{[]string{"--no-quotas"}, 0},
	} {
		f := start(t, append([]string{"kinesis"}, c.flags...)...)
		if n := refused(t, f.line(t)); n != c.want {
			t.Errorf("flags %v: %d of 10 records refused, want %d", c.flags, n, c.want)
		}
		if code := f.end(t, syscall.SIGTERM); code != exitOK {
			t.Errorf("exit %d\n%s", code, f.stderr)
		}
	}
}

func TestUpHasQuotasUnlessToldOtherwise(t *testing.T) {
	needJava(t)
	for _, c := range []struct {
		flags []string
		want  int
	}{
		{nil, 9},
		{[]string{"--no-quotas"}, 0},
	} {
		env := filepath.Join(t.TempDir(), "env")
		f := start(t, append(withFlags("--env", env), c.flags...)...)
		if line := f.line(t); line != ready {
			t.Fatalf("standard output: %q", line)
		}
		if n := refused(t, setting(t, env, "AWS_ENDPOINT_URL_KINESIS")); n != c.want {
			t.Errorf("flags %v: %d of 10 records refused, want %d", c.flags, n, c.want)
		}
		if code := f.end(t, syscall.SIGINT); code != exitOK {
			t.Errorf("exit %d\n%s", code, f.stderr)
		}
	}
}

// setting returns a variable of an environment file, as a shell that sources it sees it.
func setting(t *testing.T, file, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$1"; printenv "$2"`, "sh", file, name).Output()
	if err != nil {
		t.Fatalf("source %s: %v", file, err)
	}
	return strings.TrimSpace(string(out))
}
