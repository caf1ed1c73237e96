package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/checkpoint/leasetable"
	"penstock/config"
	"penstock/sink/cassandra"
	"penstock/view"
)

// settings is what the flags of every command say.
type settings struct {
	file       string
	output     string
	generation int
}

func (s *settings) bind(c *cobra.Command) {
	c.Flags().StringVar(&s.file, "config", "", "YAML file; the environment (PENSTOCK_...) goes before it")
	c.Flags().StringVarP(&s.output, "output", "o", "text", "what is printed to standard output: text or json")
	c.Flags().IntVar(&s.generation, "generation", 0, "generation of the view's tables; goes before view.generation")
}

// load reads the configuration.
func (s *settings) load(c *cobra.Command) (*config.Config, error) {
	conf, _, err := s.read(c)
	return conf, err
}

// loadView reads the configuration and returns the view that it names. Standard error gets what there is to warn of.
func (s *settings) loadView(c *cobra.Command) (*config.Config, view.View, error) {
	conf, found, err := s.read(c)
	if err != nil {
		return nil, nil, err
	}
	if conf.View.File == "" {
		v, err := chooseView(conf)
		return conf, v, err
	}
	log, _, err := newLogger(conf.Telemetry.LogLevel)
	if err != nil {
		return nil, nil, err
	}
	found.warn(log)
	return conf, found, nil
}

// read reads the configuration, and the view if it is in a file.
func (s *settings) read(c *cobra.Command) (conf *config.Config, found fileView, err error) {
	if s.output != "text" && s.output != "json" {
		return nil, found, &exitError{exitUsage, fmt.Errorf("output %q: must be text or json", s.output)}
	}
	flags := map[string]string{}
	if c.Flags().Changed("generation") {
		flags["view.generation"] = strconv.Itoa(s.generation)
	}
	conf, err = config.Load(config.Sources{
		File: s.file, Env: os.Environ(), Flags: flags, Views: slices.Sorted(maps.Keys(views)),
		ReadView: func(file string, text []byte) (name, revision string, err error) {
			if found, err = readView(file, text); err != nil {
				return "", "", err
			}
			return found.Name(), found.Revision(), nil
		},
	})
	return conf, found, err
}

// print writes a result to standard output, as text or as JSON.
func (s *settings) print(c *cobra.Command, text string, value any) error {
	if s.output == "json" {
		return json.NewEncoder(c.OutOrStdout()).Encode(value)
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), text)
	return err
}

// tables returns the lease table of the generation and the state table of the application.
func tables(client *leasetable.Client, c *config.Config) (*leasetable.Table, *leasetable.State) {
	return client.Leases(leaseTable(c.Application, c.View.Generation)), client.State(c.Application + "-state")
}

// leaseTable returns the name of a generation's lease table.
func leaseTable(application string, generation int) string {
	if generation == 1 {
		return application
	}
	return application + "-g" + strconv.Itoa(generation)
}

func cassandraConfig(c *config.Config, log *zap.Logger) cassandra.Config {
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
