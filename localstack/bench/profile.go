package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/google/pprof/profile"

	"penstock/localstack/e2e"
)

// profiles are the files that the last pipeline run is profiled to; empty for none.
type profiles struct {
	cpu      string // and beside it, in a file that ends in .allocs, where memory was allocated
	compiler string // the same without names of files, for the compiler
}

// take profiles some seconds of a daemon.
func (p profiles) take(ctx context.Context, d *e2e.Daemon) error {
	if p == (profiles{}) {
		return nil
	}
	admin, err := d.Await(ctx, func(e e2e.Entry) bool { return e.Message == "listening" && e.For == "telemetry.admin" })
	if err != nil {
		return err
	}
	if _, err := d.Await(ctx, func(e e2e.Entry) bool { return e.Message == "shard starts" }); err != nil {
		return err
	}
	taken, err := download(ctx, "http://"+admin.Address+"/debug/pprof/profile?seconds=12")
	if err != nil {
		return err
	}
	if p.compiler != "" {
		err = errors.Join(err, writeForCompiler(p.compiler, taken))
	}
	if p.cpu != "" {
		allocs, failed := download(ctx, "http://"+admin.Address+"/debug/pprof/allocs")
		err = errors.Join(err, failed, os.WriteFile(p.cpu, taken, 0o644), os.WriteFile(p.cpu+".allocs", allocs, 0o644))
	}
	return err
}

func download(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return body, nil
}

// writeForCompiler writes a profile as the compiler takes it. It knows places by function and line, so the files' names,
// which say on what machine the profile was taken, are left out.
func writeForCompiler(file string, taken []byte) error {
	p, err := profile.Parse(bytes.NewReader(taken))
	if err != nil {
		return fmt.Errorf("read the profile: %w", err)
	}
	for _, f := range p.Function {
		f.Filename = ""
	}
	for _, m := range p.Mapping {
		m.File, m.BuildID = "", ""
	}
	p.Comments = nil
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}
