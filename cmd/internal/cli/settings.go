package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/config"
	"penstock/sink/adaptive"
	"penstock/sink/cassandra"
	"penstock/view"
)

// Settings is what the flags of every command say.
type Settings struct {
	File       string
	Output     string
	Generation int
	Formats    []string // that output may name beside text and json
}

// Bind declares the flags.
func (s *Settings) Bind(c *cobra.Command) {
	c.Flags().StringVar(&s.File, "config", "", "YAML file; the environment (PENSTOCK_...) goes before it")
	c.Flags().StringVarP(&s.Output, "output", "o", "text", "what is printed to standard output: "+s.formats())
	c.Flags().IntVar(&s.Generation, "generation", 0, "generation of the view's tables; goes before view.generation")
}

// formats names what output may be.
func (s *Settings) formats() string {
	all := append([]string{"text", "json"}, s.Formats...)
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// Load reads the configuration.
func (s *Settings) Load(c *cobra.Command) (*config.Config, error) {
	conf, _, err := s.read(c)
	return conf, err
}

// LoadView reads the configuration and returns the view that it names. Standard error gets what there is to warn of.
func (s *Settings) LoadView(c *cobra.Command) (*config.Config, view.View, error) {
	conf, found, err := s.read(c)
	if err != nil {
		return nil, nil, err
	}
	if conf.View.File == "" {
		v, err := chooseView(conf)
		return conf, v, err
	}
	log, _, err := NewLogger(conf.Telemetry.LogLevel)
	if err != nil {
		return nil, nil, err
	}
	found.Warn(log)
	return conf, found, nil
}

// read reads the configuration, and the view if it is in a file.
func (s *Settings) read(c *cobra.Command) (conf *config.Config, found FileView, err error) {
	if s.Output != "text" && s.Output != "json" && !slices.Contains(s.Formats, s.Output) {
		return nil, found, Exit(ExitUsage, fmt.Errorf("output %q: must be %s", s.Output, s.formats()))
	}
	flags := map[string]string{}
	if c.Flags().Changed("generation") {
		flags["view.generation"] = strconv.Itoa(s.Generation)
	}
	conf, err = config.Load(config.Sources{
		File: s.File, Env: os.Environ(), Flags: flags, Views: slices.Sorted(maps.Keys(Views)),
		ReadView: func(file string, text []byte) (name, revision string, err error) {
			if found, err = ReadView(file, text); err != nil {
				return "", "", err
			}
			return found.Name(), found.Revision(), nil
		},
	})
	return conf, found, err
}

// Print writes a result to standard output, as text or as JSON.
func (s *Settings) Print(c *cobra.Command, text string, value any) error {
	if s.Output == "json" {
		return json.NewEncoder(c.OutOrStdout()).Encode(value)
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), text)
	return err
}

// CassandraConfig says how to reach the cluster of the configuration.
func CassandraConfig(c *config.Config, log *zap.Logger) cassandra.Config {
	conf := cassandra.Config{
		Hosts:       c.Cassandra.Hosts,
		Datacenter:  c.Cassandra.Datacenter,
		Keyspace:    c.Cassandra.Keyspace,
		Consistency: c.Cassandra.Consistency,
		Timeout:     c.Cassandra.Timeout,
		Username:    c.Cassandra.Username,
		Password: func() (string, error) {
			password, err := c.Cassandra.CurrentPassword()
			return password.Reveal(), err
		},
		Log: log,
	}
	if t := c.Cassandra.TLS; t.Mode == config.TLSRequired {
		conf.TLS = &cassandra.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	}
	return conf
}

// WriterLimits are the bounds within which the writer finds its pace.
func WriterLimits(conf *config.Config) (adaptive.Config, adaptive.GovernorConfig) {
	p := conf.Pressure
	return adaptive.Config{Target: p.TargetLatency, Min: p.MinRequestsPerHost, Max: p.MaxRequestsPerHost},
		adaptive.GovernorConfig{Budget: int64(p.DebtBudget), Floor: float64(p.DebtFloorPercent) / 100}
}
