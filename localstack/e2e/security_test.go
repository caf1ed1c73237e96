package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"penstock/localstack"
	"penstock/localstack/shop"
	"penstock/localstack/stacktest"
	"penstock/sink"
	"penstock/sink/cassandra"
)

// No output may hold one of these.
const (
	setupPassword = "hunter-setup-2f81"
	runPassword   = "hunter-run-77c0"
	newPassword   = "hunter-new-a51e"
	wrongPassword = "hunter-wrong-09bd"
)

// guarded is a stack whose Cassandra knows its clients by password and certificate, and is known by its certificate.
type guarded struct {
	stack   *localstack.Stack
	ca      *stacktest.Authority // of hosts and clients
	foreign *stacktest.Authority // trusted by nobody
	server  string               // file of the host's certificate
	client  string               // file of ours
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	dir := t.TempDir()
	g := &guarded{
		ca: stacktest.NewAuthority(t, "orders CA"), foreign: stacktest.NewAuthority(t, "foreign CA"),
		server: filepath.Join(dir, "server.pem"), client: filepath.Join(dir, "client.pem"),
	}
	g.ca.Issue(t, g.server, g.host())
	g.ca.Issue(t, g.client, stacktest.Leaf{Name: "projector"})
	config := localstack.Everything()
	config.Security = localstack.CassandraSecurity{Login: true, ServerFile: g.server, AuthorityFile: g.ca.File, ClientFile: g.client}
	g.stack = stacktest.Start(t, config)
	return g
}

func (*guarded) host() stacktest.Leaf {
	return stacktest.Leaf{Name: "cassandra-1", Addresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
}

// settings are those of a site for one role.
func (g *guarded) settings(user, password string) []string {
	return []string{
		"PENSTOCK_CASSANDRA_USERNAME=" + user,
		"PENSTOCK_CASSANDRA_PASSWORD=" + password,
		"PENSTOCK_CASSANDRA_PASSWORD_FILE=",
		"PENSTOCK_CASSANDRA_TLS=required",
		"PENSTOCK_CASSANDRA_TLS_CA_FILE=" + g.ca.File,
		"PENSTOCK_CASSANDRA_TLS_CERT_FILE=" + g.client,
		"PENSTOCK_CASSANDRA_TLS_KEY_FILE=" + g.client,
	}
}

// administer runs statements as the superuser.
func (g *guarded) administer(t *testing.T, s *Site, statements ...string) {
	t.Helper()
	s.Set(g.settings(localstack.Superuser, localstack.SuperuserPassword)...)
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, statement := range statements {
		if err := session.Query(statement).ExecContext(t.Context()); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// One real server, with TLS, client certificates, passwords and rights, for all that follows: each start costs half a minute.
func TestCassandraWithPasswordsRightsAndTLS(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	s := site(t, 2, g.stack.Env())
	grants := documented(t, s)
	g.administer(t, s, grants[0]...)

	t.Run("least privilege", func(t *testing.T) { g.leastPrivilege(t, s, grants[1]) })
	t.Run("refusals", g.refusals)
	t.Run("rotation while running", func(t *testing.T) { g.rotation(t, s) })
	t.Run("expired host", func(t *testing.T) {
		g.ca.Issue(t, g.server, stacktest.Leaf{Name: "cassandra-1", Addresses: g.host().Addresses, Expired: true})
		if err := g.stack.Cassandra()[0].Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.refused(t, "(CN=cassandra-1) that expired at 20", func(*cassandra.Config) {})
		g.ca.Issue(t, g.server, g.host())
		if err := g.stack.Cassandra()[0].Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	// The last: nobody can log in after it.
	t.Run("users that cannot be read", func(t *testing.T) {
		g.loseUsers(t, s)
		_, err := g.connect(t, func(c *cassandra.Config) { c.Username, c.Password = "penstock_setup", is(setupPassword) })
		if sink.DispositionOf(err) != sink.Transient {
			t.Errorf("an outage of system_auth is %s: %v", sink.DispositionOf(err), err)
		}
		t.Log(err)
	})
}

// documented returns the statements of docs/security.md, block by block, for a site on one node.
func documented(t *testing.T, s *Site) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	fit := strings.NewReplacer("'dc1': 3", "'dc1': 1", "KEYSPACE orders", "KEYSPACE "+s.Name, "TABLE orders.", "TABLE "+s.Name+".",
		"'password of setup'", "'"+setupPassword+"'", "'password of run'", "'"+runPassword+"'")
	var blocks [][]string
	for _, block := range strings.Split(string(text), "```cql\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		var statements []string
		for statement := range strings.SplitSeq(fit.Replace(block), ";") {
			if statement = strings.TrimSpace(statement); statement != "" {
				statements = append(statements, statement)
			}
		}
		blocks = append(blocks, statements)
	}
	if len(blocks) != 2 {
		t.Fatalf("docs/security.md has %d blocks of CQL, want 2", len(blocks))
	}
	return blocks
}

func (g *guarded) leastPrivilege(t *testing.T, s *Site, afterSetup []string) {
	s.Set(g.settings("penstock_run", runPassword)...)
	_, err := s.Projector(t.Context(), "setup")
	if err == nil || !strings.Contains(err.Error(), "User penstock_run has no CREATE permission") {
		t.Errorf("setup with the rights of run: %v", err)
	}
	quiet(t, fmt.Sprint(err))
	s.Set(g.settings("penstock_setup", setupPassword)...)
	for range 2 { // the second time everything is there
		if _, err := s.Projector(t.Context(), "setup"); err != nil {
			t.Fatal(err)
		}
	}
	g.administer(t, s, afterSetup...)
	for role, password := range map[string]string{"penstock_setup": setupPassword, "penstock_run": runPassword} {
		s.Set(g.settings(role, password)...)
		wantTroubles(t, runCheck(t, s), 0)
	}
	s.Set(g.settings("penstock_run", wrongPassword)...)
	wantTroubles(t, runCheck(t, s), 7, "denied cassandra cluster "+g.stack.Cassandra()[0].Addr().String())
	_, err = s.Projector(t.Context(), "run") // ends by itself
	if err == nil || !strings.Contains(err.Error(), "refuses user or password") {
		t.Errorf("run with a wrong password: %v", err)
	}
	quiet(t, fmt.Sprint(err))
}

// connect opens a session as run would, changed by change. Nothing that is said may hold a password.
func (g *guarded) connect(t *testing.T, change func(*cassandra.Config)) (*cassandra.Session, error) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	c := cassandra.Config{
		Hosts: []string{g.stack.Cassandra()[0].Addr().String()}, Datacenter: "dc1", Keyspace: "any", Consistency: "LOCAL_QUORUM",
		Timeout: 10 * time.Second, Username: "penstock_run", Password: is(runPassword),
		TLS: &cassandra.TLS{CAFile: g.ca.File, CertFile: g.client, KeyFile: g.client}, Log: zap.New(core),
	}
	change(&c)
	session, err := cassandra.Connect(c)
	if err == nil {
		t.Cleanup(session.Close)
	}
	for _, entry := range logs.All() {
		quiet(t, fmt.Sprint(entry.Message, entry.ContextMap()))
	}
	quiet(t, fmt.Sprintf("%v %+v %#v %+v %#v", err, err, err, c, c))
	return session, err
}

// refused wants a fatal error that says what keeps the host and us apart.
func (g *guarded) refused(t *testing.T, want string, change func(*cassandra.Config)) {
	t.Helper()
	_, err := g.connect(t, change)
	_, is := errors.AsType[*cassandra.ConnectError](err)
	if !is || sink.DispositionOf(err) != sink.Fatal || !strings.Contains(err.Error(), want) {
		t.Errorf("disposition %s: %v\nwant %s", sink.DispositionOf(err), err, want)
		return
	}
	t.Log(err)
}

// loseUsers makes the table of users one of which two of three replicas are down.
func (g *guarded) loseUsers(t *testing.T, s *Site) {
	t.Helper()
	s.Set(g.settings(localstack.Superuser, localstack.SuperuserPassword)...)
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	// The driver waits for agreement on the schema, for which it may not ask any more.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_ = session.Query(`ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}`).ExecContext(ctx)
}

func is(password string) func() (string, error) {
	return func() (string, error) { return password, nil }
}

// quiet finds passwords in what is said.
func quiet(t *testing.T, text string) {
	t.Helper()
	for _, password := range []string{setupPassword, runPassword, newPassword, wrongPassword} {
		if strings.Contains(text, password) {
			t.Errorf("the password %s is told: %s", password, text)
		}
	}
}

func (g *guarded) refusals(t *testing.T) {
	if _, err := g.connect(t, func(*cassandra.Config) {}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	expired, stranger := filepath.Join(dir, "expired.pem"), filepath.Join(dir, "stranger.pem")
	g.ca.Issue(t, expired, stacktest.Leaf{Name: "late projector", Expired: true})
	g.foreign.Issue(t, stranger, stacktest.Leaf{Name: "stranger"})
	for _, test := range []struct {
		name, want string
		change     func(*cassandra.Config)
	}{
		{"wrong password", "refuses user or password: Provided username penstock_run and/or password are incorrect",
			func(c *cassandra.Config) { c.Password = is(wrongPassword) }},
		{"unknown user", "refuses user or password", func(c *cassandra.Config) { c.Username = "nobody" }},
		{"no user", "asks for a user (cassandra.username)", func(c *cassandra.Config) { c.Username = "" }},
		{"password file gone", "no such file", func(c *cassandra.Config) {
			c.Password = func() (string, error) {
				b, err := os.ReadFile(filepath.Join(dir, "absent"))
				return string(b), err
			}
		}},
		{"wrong authority", "(CN=cassandra-1) of an authority (CN=orders CA) that is not in " + g.foreign.File,
			func(c *cassandra.Config) { c.TLS.CAFile = g.foreign.File }},
		{"wrong name", "for other names (127.0.0.1), not for cassandra.example",
			func(c *cassandra.Config) { c.TLS.ServerName = "cassandra.example" }},
		{"no client certificate", "requires a client certificate (cassandra.tls_cert_file)",
			func(c *cassandra.Config) { c.TLS.CertFile, c.TLS.KeyFile = "", "" }},
		{"expired client certificate", "refuses our certificate " + expired + " (CN=late projector), which expired at 20",
			func(c *cassandra.Config) { c.TLS.CertFile, c.TLS.KeyFile = expired, expired }},
		{"client certificate of another authority", "refuses our certificate " + stranger + " (CN=stranger), which is valid until 20",
			func(c *cassandra.Config) { c.TLS.CertFile, c.TLS.KeyFile = stranger, stranger }},
	} {
		t.Run(test.name, func(t *testing.T) { g.refused(t, test.want, test.change) })
	}
	t.Run("no TLS", func(t *testing.T) {
		_, err := g.connect(t, func(c *cassandra.Config) { c.TLS = nil })
		if sink.DispositionOf(err) != sink.Transient {
			t.Errorf("a connection that the host closes without a word is %s: %v", sink.DispositionOf(err), err)
		}
		t.Log(err)
	})
}

// A daemon lives through a new password, a new authority, and new certificates on both sides.
func (g *guarded) rotation(t *testing.T, s *Site) {
	ctx := within(t, 4*time.Minute, "rotation")
	passwordFile := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(passwordFile, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(runPassword)
	s.Set(append(g.settings("penstock_run", ""), "PENSTOCK_CASSANDRA_PASSWORD_FILE="+passwordFile)...)
	fleet := &Fleet{Site: s, Shards: 2}
	defer fleet.Kill()
	d, err := fleet.Start(ctx, "only")
	if err != nil {
		t.Fatal(err)
	}
	generator := orders(t, 120, 31, 0.02)
	total := 0
	for range generator.Events() {
		total++
	}
	sent := make(chan error, 1)
	var seeded shop.Seeded
	go func() { // ends with the last event or ctx
		var err error
		seeded, err = shop.Seed(ctx, s.Kinesis(), s.Name, generator.Events(), shop.Options{Rate: float64(total) / 20})
		sent <- err
	}()
	if err := fleet.Watch(ctx, func([]Scrape) bool { return applied(ctx, d) > 0 }); err != nil {
		t.Fatal(err)
	}

	// The connections that stand outlive the password they were opened with.
	g.changePassword(t, ctx, s)
	changed := applied(ctx, d)
	if err := fleet.Watch(ctx, func([]Scrape) bool { return applied(ctx, d) > changed+10 }); err != nil {
		t.Fatal(err)
	}

	// All of them are cut, and nothing that was good before is good now.
	next := stacktest.NewAuthority(t, "next CA")
	next.Issue(t, g.server, g.host())
	text, err := os.ReadFile(next.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.ca.File, text, 0o600); err != nil {
		t.Fatal(err)
	}
	next.File = g.ca.File
	g.ca = next
	restarted := make(chan error, 1)
	cut := applied(ctx, d)
	// The stack's own client needs the new certificate to see that the node is ready, and shares its file with the daemon.
	next.Issue(t, g.client, stacktest.Leaf{Name: "projector"})
	go func() { restarted <- g.stack.Cassandra()[0].Restart(ctx) }()
	if _, err := d.Await(ctx, func(e Entry) bool {
		return e.Message == "cassandra host cannot be used" && strings.Contains(e.Error, "refuses user or password")
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	write(newPassword)
	if _, err := d.Await(ctx, func(e Entry) bool { return e.Message == "cassandra host accepts connections again" }); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func([]Scrape) bool { return applied(ctx, d) > cut }); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for _, entry := range d.Entries() {
		quiet(t, entry.Raw)
	}
	s.Set(g.settings(localstack.Superuser, localstack.SuperuserPassword)...)
	check(t, s, shop.NewOracle(generator.Events(), seeded.Acknowledged))
}

func (g *guarded) changePassword(t *testing.T, ctx context.Context, s *Site) {
	t.Helper()
	s.Set(g.settings(localstack.Superuser, localstack.SuperuserPassword)...)
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for {
		err := session.Query("ALTER ROLE penstock_run WITH PASSWORD = '" + newPassword + "'").ExecContext(ctx)
		if err == nil {
			return
		}
		if pause(ctx, poll) != nil { // Cassandra allows a change every 5 s
			t.Fatal(err)
		}
	}
}

func applied(ctx context.Context, d *Daemon) int64 {
	scrape, _ := d.Scrape(ctx)
	return scrape.Applied
}
