package cassandra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/diagnosis"
	"penstock/sink"
	"penstock/view"
)

// inspectionTimeout bounds one request of an inspection; the daemon's own may take longer.
const inspectionTimeout = 4 * time.Second

// Diagnose finds out whether the cluster can be written as the view's generation g needs: whether it can be connected to
// with this configuration, what its servers are set to, whether keyspace, types, tables and rights are there, and
// whether what stands in the tables is ours. It writes nothing. It may return with the driver still trying to connect,
// which ends with the driver's own time-outs.
func Diagnose(ctx context.Context, c Config, v view.View, g view.Generation) []diagnosis.Finding {
	if err := CheckHosts(c.Hosts); err != nil {
		return []diagnosis.Finding{serviceRefused(err)}
	}
	s, err := connectWithin(ctx, c)
	if err != nil {
		return []diagnosis.Finding{notConnected(c, err)}
	}
	defer s.Close()
	i := &inspection{Session: s, config: c, view: v, generation: g}
	i.inspect(ctx)
	return i.findings
}

// inspection collects findings.
type inspection struct {
	*Session
	config     Config
	view       view.View
	generation view.Generation
	additive   []view.ColumnRef // that the view's definition has grown by, and setup adds
	refused    bool             // the generation belongs to another revision, and setup makes nothing
	findings   []diagnosis.Finding
}

// found adds a finding.
func (i *inspection) found(item, name string, level diagnosis.Level, found, do string) {
	i.findings = append(i.findings, diagnosis.Finding{System: system, Item: item, Name: name, Level: level, Found: found, Do: do})
}

// failed adds the finding about something that could not be looked at.
func (i *inspection) failed(item, name string, err error) {
	i.findings = append(i.findings, failed(item, name, err))
}

func (i *inspection) inspect(ctx context.Context) {
	if err := i.CheckService(ctx); err != nil {
		if _, ok := errors.AsType[*UnsupportedError](err); ok {
			i.findings = append(i.findings, serviceRefused(err))
		} else {
			i.failed("cluster", strings.Join(i.config.Hosts, ","), err)
		}
		return
	}
	datacenters, release, err := i.datacenters(ctx)
	if err != nil {
		i.failed("cluster", strings.Join(i.config.Hosts, ","), err)
		return
	}
	hosts := i.localHosts()
	i.found("cluster", strings.Join(i.config.Hosts, ","), diagnosis.OK, "answers: Cassandra "+release, "")
	i.found("datacenter", i.config.Datacenter, diagnosis.OK, fmt.Sprintf("is there, with %s; the cluster has %s",
		count(len(hosts), "host"), strings.Join(datacenters, ", ")), "")
	i.inspectSettings(ctx, hosts)
	if !i.inspectKeyspace(ctx, len(hosts), len(datacenters)) {
		return
	}
	i.inspectRevision(ctx)
	i.inspectTables(ctx)
}

const system = "cassandra"

// connectWithin is Connect that is not waited for longer than ctx. The driver cannot be interrupted; a session that
// opens too late is closed at once.
func connectWithin(ctx context.Context, c Config) (*Session, error) {
	c.Timeout = min(c.Timeout, inspectionTimeout)
	type result struct {
		session *Session
		err     error
	}
	connected := make(chan result, 1)
	go func() {
		s, err := Connect(c)
		connected <- result{s, err}
	}()
	select {
	case r := <-connected:
		return r.session, r.err
	case <-ctx.Done():
		go func() {
			if r := <-connected; r.session != nil {
				r.session.Close()
			}
		}()
		return nil, &sink.Error{Disposition: sink.Transient, Op: "connect to cassandra", Err: context.Cause(ctx)}
	}
}

// notConnected says what a failure to connect means.
func notConnected(c Config, err error) diagnosis.Finding {
	if refused, ok := errors.AsType[*ConnectError](err); ok {
		return diagnosis.Finding{System: system, Item: "cluster", Name: strings.Join(c.Hosts, ","), Level: diagnosis.Denied,
			Found: refused.Error(), Do: "correct user, password or certificates (cassandra.username, cassandra.password_file, cassandra.tls)"}
	}
	if absent, ok := errors.AsType[*DatacenterError](err); ok {
		return diagnosis.Finding{System: system, Item: "datacenter", Name: absent.Named, Level: diagnosis.Missing,
			Found: "does not exist; there are: " + strings.Join(absent.There, ", "), Do: "set cassandra.datacenter to one of them"}
	}
	return failed("cluster", strings.Join(c.Hosts, ","), err)
}

// failed is the finding about something that an error kept from being looked at.
func failed(item, name string, err error) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: item, Name: name, Level: diagnosis.Unreachable, Found: err.Error(),
		Do: "see whether Cassandra answers at cassandra.hosts from here, and check again"}
	if refused, ok := errors.AsType[gocql.RequestError](err); ok && !isUndecided(refused) &&
		(refused.Code() == gocql.ErrCodeUnauthorized || refused.Code() == gocql.ErrCodeCredentials) {
		f.Level, f.Found, f.Do = diagnosis.Denied, refused.Message(), "grant it to the user of cassandra.username"
	}
	return f
}

func serviceRefused(err error) diagnosis.Finding {
	return diagnosis.Finding{System: system, Item: "service", Name: "Amazon Keyspaces", Level: diagnosis.Refused,
		Found: "is not supported: " + keyspacesReason, Do: "use Apache Cassandra 4.1 or later"}
}

// localHosts returns the hosts of the configured datacenter that the driver knows.
func (i *inspection) localHosts() []*gocql.HostInfo {
	return slices.DeleteFunc(i.driver.GetHosts(), func(h *gocql.HostInfo) bool { return h.DataCenter() != i.config.Datacenter })
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
