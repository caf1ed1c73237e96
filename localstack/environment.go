package localstack

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Names of the variables that are not the AWS clients' own.
const (
	envDir = "DEVSTACK_DIR"
	envPID = "DEVSTACK_PID"
)

// Env returns what a program needs to use the stack, each as NAME=VALUE: the AWS clients' standard variables, the projector's own, and
// where the stack and its supervisor are.
func (s *Stack) Env() []string {
	env := []string{
		"AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + accessKey,
		"AWS_SECRET_ACCESS_KEY=" + secretKey,
		// Without this a client that misses a credential asks an address that no local machine has.
		"AWS_EC2_METADATA_DISABLED=true",
		"PENSTOCK_APPLICATION=orders",
	}
	if s.kinesis != nil {
		env = append(env, "AWS_ENDPOINT_URL_KINESIS="+s.kinesis.URL())
		if s.stream != "" {
			env = append(env, "PENSTOCK_KINESIS_STREAM="+s.stream)
		}
	}
	if s.dynamoDB != nil {
		env = append(env, "AWS_ENDPOINT_URL_DYNAMODB=http://"+s.dynamoDB.Addr().String())
	}
	if s.s3 != nil {
		env = append(env, "AWS_ENDPOINT_URL_S3="+s.s3.URL())
		if s.bucket != "" {
			env = append(env, "PENSTOCK_DEAD_LETTERS_BUCKET="+s.bucket)
		}
	}
	if len(s.nodes) > 0 {
		var hosts []string
		for _, node := range s.nodes {
			hosts = append(hosts, node.Addr().String())
		}
		env = append(env,
			"PENSTOCK_CASSANDRA_HOSTS="+strings.Join(hosts, ","),
			"PENSTOCK_CASSANDRA_DATACENTER="+datacenter,
			"PENSTOCK_CASSANDRA_REPLICATION_FACTOR="+strconv.Itoa(len(s.nodes)))
	}
	return append(env, envDir+"="+s.dir, envPID+"="+strconv.Itoa(os.Getpid()))
}

// WriteEnv writes Env to a file that a shell can source. The file is there whole or not at all.
func (s *Stack) WriteEnv(name string) error {
	var file bytes.Buffer
	for _, pair := range s.Env() {
		key, value, _ := strings.Cut(pair, "=")
		fmt.Fprintf(&file, "export %s=%s\n", key, shellQuote(value))
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(file.Bytes()); err != nil {
		_ = temporary.Close()
		return fmt.Errorf("write the environment: %w", err)
	}
	if err := temporary.Close(); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	if err := os.Rename(temporary.Name(), name); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	return nil
}

// DirOfEnv reads which folder the stack of an environment file is in.
func DirOfEnv(name string) (string, error) {
	env, err := readEnv(name)
	if err != nil {
		return "", err
	}
	if env[envDir] == "" {
		return "", fmt.Errorf("read the environment of %s: it does not name %s", name, envDir)
	}
	return env[envDir], nil
}

// readEnv reads a file that WriteEnv wrote.
func readEnv(name string) (map[string]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	defer file.Close()
	env := make(map[string]string)
	scanner := bufio.NewScanner(file)
	for line := 1; scanner.Scan(); line++ {
		pair, ok := strings.CutPrefix(scanner.Text(), "export ")
		key, value, separated := strings.Cut(pair, "=")
		if !ok || !separated {
			return nil, fmt.Errorf("read the environment of %s: line %d is no export", name, line)
		}
		env[key] = shellUnquote(value)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read the environment of %s: %w", name, err)
	}
	return env, nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:,@%+-]+$`)

// shellQuote leaves words alone that no shell would change, and puts all others in single quotes.
func shellQuote(value string) string {
	if plainWord.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// shellUnquote undoes shellQuote.
func shellUnquote(value string) string {
	inner, ok := strings.CutPrefix(value, "'")
	if !ok {
		return value
	}
	return strings.ReplaceAll(strings.TrimSuffix(inner, "'"), `'\''`, "'")
}
