package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.yaml.in/yaml/v3"
)

const hunter2 = "hunter2"

func withPassword(t *testing.T) *Config {
	t.Helper()
	c, err := Load(Sources{Env: append(slices.Clone(requiredByEnvironment),
		"PENSTOCK_CASSANDRA_USERNAME=me", "PENSTOCK_CASSANDRA_PASSWORD="+hunter2)})
	if err != nil {
		t.Fatal(err)
	}
	if c.Cassandra.Password.Reveal() != hunter2 {
		t.Fatal("the password cannot be had at all")
	}
	return c
}

func TestSecretsCannotBePrinted(t *testing.T) {
	c := withPassword(t)
	hidden := struct{ password Secret }{c.Cassandra.Password} // fmt cannot call methods of unexported fields
	var printed []string
	for _, v := range []any{c.Cassandra.Password, &c.Cassandra.Password, c, *c, c.Cassandra, hidden, &hidden, c.Settings(),
		[]Secret{c.Cassandra.Password}, map[string]Secret{"a": c.Cassandra.Password}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %[1]v", "% x", "%10.3s", "%p", "%t", "%c", "%U"} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			printed = append(printed, string(b))
		}
		if b, err := xml.Marshal(v); err == nil {
			printed = append(printed, string(b))
		}
	}
	for _, v := range []any{c.Cassandra.Password, c.Cassandra} {
		b, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed = append(printed, string(b))
	}
	var logs bytes.Buffer
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "a", c.Cassandra.Password, "b", c)
	slog.New(slog.NewTextHandler(&logs, nil)).Info("x", "a", c.Cassandra.Password, "b", c)
	z := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&logs), zap.InfoLevel))
	z.Info("x", zap.Any("a", c.Cassandra.Password), zap.Reflect("b", c), zap.Stringer("c", c.Cassandra.Password))
	z.Sugar().Infow("x", "a", c.Cassandra)
	printed = append(printed, logs.String(), fmt.Errorf("wrapped: %v", c.Cassandra.Password).Error())

	for _, p := range printed {
		if strings.Contains(p, hunter2) || strings.Contains(p, fmt.Sprintf("%x", hunter2)) {
			t.Errorf("printed: %s", p)
		}
	}
	if !strings.Contains(logs.String(), redacted) || fmt.Sprint(c.Cassandra.Password) != redacted || fmt.Sprint(Secret{}) != "" {
		t.Error("it does not show that a secret is set")
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for content, want := range map[string]string{hunter2: hunter2, hunter2 + "\n": hunter2, hunter2 + "\r\n": hunter2, " 0123\n\n": " 0123\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Sources{Env: requiredByEnvironment, File: write(t, "cassandra:\n  username: me\n  password_file: "+path+"\n")})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Cassandra.Password.Reveal(); got != want {
			t.Errorf("%q: got %q", content, got)
		}
		if o := c.Origin("cassandra.password"); o.Layer != File || o.Line != 3 || c.Cassandra.PasswordFile != path {
			t.Errorf("origin %+v, file %s", o, c.Cassandra.PasswordFile)
		}
	}
	if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_CASSANDRA_USERNAME=me", "PENSTOCK_CASSANDRA_PASSWORD_FILE="+path)})
	if m := mistakesOf(t, err); len(m) != 1 || m[0].Rule != "must be a file that is not empty" {
		t.Errorf("empty file: %v", err)
	}
}

func TestOfTextAndFileTheLaterSourceGoesFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("of the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	byText := append(slices.Clone(requiredByEnvironment), "PENSTOCK_CASSANDRA_USERNAME=me", "PENSTOCK_CASSANDRA_PASSWORD="+hunter2)
	c, err := Load(Sources{Env: byText, File: write(t, "cassandra:\n  password_file: "+path+"\n")})
	if err != nil || c.Cassandra.Password.Reveal() != hunter2 || c.Cassandra.PasswordFile != "" {
		t.Errorf("environment over file: %+v, %v", c, err)
	}
	c, err = Load(Sources{Env: byText, Flags: map[string]string{"cassandra.password_file": path}})
	if err != nil || c.Cassandra.Password.Reveal() != "of the file" || c.Origin("cassandra.password").Layer != Flag {
		t.Errorf("flag over environment: %+v, %v", c, err)
	}
	_, err = Load(Sources{Env: append(byText, "PENSTOCK_CASSANDRA_PASSWORD_FILE="+path)})
	if m := mistakesOf(t, err); len(m) != 1 || !strings.HasPrefix(m[0].Rule, "contradicts") || strings.Contains(err.Error(), hunter2) {
		t.Errorf("both in one source: %v", err)
	}
}

func TestPasswordWithoutUserIsAMistake(t *testing.T) {
	_, err := Load(Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_CASSANDRA_PASSWORD="+hunter2)})
	if m := mistakesOf(t, err); len(m) != 1 || m[0].Rule != "needs cassandra.username" || strings.Contains(err.Error(), hunter2) {
		t.Errorf("got %v", err)
	}
}
