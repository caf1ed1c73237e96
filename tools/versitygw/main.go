// Command versitygw serves S3 from a folder: Versity's gateway, another implementation of S3 than the one in memory, for the
// suite of package objects. It is a module of its own, since nothing else needs what it needs.
//
//	versitygw ADDRESS FOLDER
//
// It prints "listening" when it can be asked, and ends when its standard input does, so that it never outlives the test that
// started it. The key's id is test, its secret test-secret.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: versitygw ADDRESS FOLDER")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "versitygw:", err)
		os.Exit(1)
	}
}

func serve(address, folder string) error {
	data, sidecar := filepath.Join(folder, "data"), filepath.Join(folder, "meta") // not every file system has attributes
	for _, dir := range []string{data, sidecar} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	attributes, err := meta.NewSideCar(sidecar)
	if err != nil {
		return err
	}
	backend, err := posix.New(data, attributes, posix.PosixOpts{SideCarDir: sidecar})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess: "test", RootUserSecret: "test-secret", Region: "us-east-1", Ports: []string{address}, Quiet: true, KeepAlive: true,
		MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10000,
		S3Options: []s3api.Option{s3api.WithOnListen(func() { fmt.Println("listening") })},
	})
}
