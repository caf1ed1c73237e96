package localstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// The Maven files pin the versions of all that is downloaded, the plugin that copies included.
var (
	//go:embed maven/cassandra.xml
	cassandraPOM []byte
	//go:embed maven/dynamodb.xml
	dynamoDBPOM []byte
)

// How often a folder's lock that another process holds is tried.
const lockInterval = 200 * time.Millisecond

// jarSet is a class path that Maven resolves.
type jarSet struct {
	name string
	pom  []byte
}

var (
	cassandraJars = jarSet{name: "cassandra", pom: cassandraPOM}
	dynamoDBJars  = jarSet{name: "dynamodb", pom: dynamoDBPOM}
)

// jarSets lists what the configured processes need.
func (c Config) jarSets() []jarSet {
	var sets []jarSet
	if c.DynamoDB {
		sets = append(sets, dynamoDBJars)
	}
	if c.CassandraNodes > 0 {
		sets = append(sets, cassandraJars)
	}
	return sets
}

// folder names the set's folder below the cache: a changed Maven file is another folder, so a cache never holds a mixture.
func (j jarSet) folder() string {
	sum := sha256.Sum256(j.pom)
	return j.name + "-" + hex.EncodeToString(sum[:6])
}

// jars finds class paths in the cache and fills it.
type jars struct {
	cache    string
	javaHome string
	nursery  *nursery
	progress *lines
}

// needMaven says whether a set is missing from the cache.
func (j jars) needMaven(sets []jarSet) bool {
	for _, set := range sets {
		if !isDir(filepath.Join(j.cache, set.folder())) {
			return true
		}
	}
	return false
}

func findMaven() (string, error) {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", &PrerequisiteError{Missing: "no Maven", Remedy: "install it (Debian: apt-get install maven) or put mvn on the PATH"}
	}
	return mvn, nil
}

// resolve returns the folder with the jars of a set. What the cache lacks is downloaded by one process at a time into a folder beside, which
// takes its final name only when it is complete: a folder of that name is always whole.
func (j jars) resolve(ctx context.Context, set jarSet) (string, error) {
	lib := filepath.Join(j.cache, set.folder())
	if isDir(lib) {
		return lib, nil
	}
	if err := os.MkdirAll(j.cache, 0o755); err != nil {
		return "", fmt.Errorf("resolve the jars of %s: %w", set.name, err)
	}
	unlock, err := lockFile(ctx, lib+".lock")
	if err != nil {
		return "", fmt.Errorf("resolve the jars of %s: %w", set.name, err)
	}
	defer unlock()
	// Another process may have filled it while this one waited.
	if isDir(lib) {
		return lib, nil
	}
	if err := j.download(ctx, set, lib); err != nil {
		return "", err
	}
	return lib, nil
}

func (j jars) download(ctx context.Context, set jarSet, lib string) error {
	mvn, err := findMaven()
	if err != nil {
		return err
	}
	// Whoever was killed in the middle left this behind; the lock says that nobody is at it now.
	staging := lib + ".partial"
	if err := os.RemoveAll(staging); err != nil {
		return fmt.Errorf("resolve the jars of %s: %w", set.name, err)
	}
	jarFolder := filepath.Join(staging, "lib")
	if err := os.MkdirAll(jarFolder, 0o755); err != nil {
		return fmt.Errorf("resolve the jars of %s: %w", set.name, err)
	}
	defer os.RemoveAll(staging)
	pom := filepath.Join(staging, "pom.xml")
	if err := os.WriteFile(pom, set.pom, 0o644); err != nil {
		return fmt.Errorf("resolve the jars of %s: %w", set.name, err)
	}

	j.progress.printf("%s: maven resolves the jars into %s", set.name, lib)
	began := time.Now()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "--file", pom,
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+jarFolder)
	cmd.Env = append(os.Environ(), "JAVA_HOME="+j.javaHome)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = outputGrace
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := j.nursery.start(cmd); err != nil {
		return fmt.Errorf("resolve the jars of %s: %w", set.name, err)
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("resolve the jars of %s: %w", set.name, ctx.Err())
		}
		return &PrerequisiteError{
			Missing: "maven cannot resolve the jars of " + set.name,
			Remedy:  "see to it that Maven reaches its repository (proxy or mirror: ~/.m2/settings.xml)",
			Err:     fmt.Errorf("%w\n%s", err, bytes.TrimSpace(output.Bytes())),
		}
	}
	if err := os.Rename(jarFolder, lib); err != nil {
		return fmt.Errorf("resolve the jars of %s: %w", set.name, err)
	}
	j.progress.printf("%s: jars resolved in %s", set.name, seconds(time.Since(began)))
	return nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// lockFile takes an exclusive lock that ends with the process at the latest, waiting for whoever holds it until ctx ends.
func lockFile(ctx context.Context, name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	retry := time.NewTicker(lockInterval)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, ctx.Err()), file.Close())
		case <-retry.C:
		}
	}
}
