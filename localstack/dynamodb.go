package localstack

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// dynamoDBLocal is what DynamoDBLocal is started with.
type dynamoDBLocal struct {
	dir      string
	lib      string // folder of the jars and of sqlite4java's native library
	javaHome string
	addr     netip.AddrPort
	volatile bool // tables in memory
}

func (d dynamoDBLocal) prepare() error {
	for _, dir := range []string{filepath.Join(d.dir, "data"), filepath.Join(d.dir, "tmp")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("configure dynamodb: %w", err)
		}
	}
	return nil
}

// command keeps the tables in files, unless they are to be volatile, so that they are there again after Kill and Restart.
func (d dynamoDBLocal) command() *exec.Cmd {
	tables := []string{"-dbPath", filepath.Join(d.dir, "data")}
	if d.volatile {
		tables = []string{"-inMemory"}
	}
	cmd := exec.Command(javaCommand(d.javaHome), append([]string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:+PerfDisableSharedMem",
		"-Djava.io.tmpdir=" + filepath.Join(d.dir, "tmp"),
		"-Djava.library.path=" + d.lib,
		"-cp", filepath.Join(d.lib, "*"),
		"com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
		"-port", strconv.Itoa(int(d.addr.Port())),
		"-sharedDb", "-disableTelemetry",
	}, tables...)...)
	cmd.Dir = d.dir
	return cmd
}

func (d dynamoDBLocal) ready(ctx context.Context) error {
	client := dynamodb.New(dynamodb.Options{
		Region:           region,
		BaseEndpoint:     aws.String("http://" + d.addr.String()),
		Credentials:      credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		RetryMaxAttempts: 1,
	})
	return await(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		_, err := client.ListTables(ctx, &dynamodb.ListTablesInput{})
		return err
	})
}
