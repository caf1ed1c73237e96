package cassandra

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"penstock/diagnosis"
	"penstock/localstack"
	"penstock/localstack/stacktest"
	"penstock/sink"
	"penstock/view"
	"penstock/view/viewtest"
)

func TestSettingsThatHurtAreJudged(t *testing.T) {
	ours := Config{Consistency: "LOCAL_QUORUM", Timeout: 3 * time.Second}
	harmless := map[string]string{ // as a node of 5.0 tells them unless it is set otherwise
		"minimum_timestamp_fail_threshold": "", "minimum_timestamp_warn_threshold": "", "maximum_timestamp_fail_threshold": "",
		"user_timestamps_enabled": "true", "write_consistency_levels_disallowed": "[]", "write_consistency_levels_warned": "[]",
		"write_request_timeout": "2000ms",
	}
	for _, c := range []struct {
		setting, value string
		want           string // level and setting; empty for nothing
	}{
		{"minimum_timestamp_fail_threshold", "30d", "refused minimum_timestamp_fail_threshold"},
		{"minimum_timestamp_fail_threshold", "null", ""},
		{"minimum_timestamp_warn_threshold", "1d", "warn minimum_timestamp_warn_threshold"},
		{"maximum_timestamp_fail_threshold", "60s", "refused maximum_timestamp_fail_threshold"},
		{"maximum_timestamp_fail_threshold", "1d", ""},
		{"user_timestamps_enabled", "false", "refused user_timestamps_enabled"},
		{"write_consistency_levels_disallowed", "[ANY, ONE, LOCAL_ONE]", ""},
		{"write_consistency_levels_disallowed", "[LOCAL_QUORUM]", "refused write_consistency_levels_disallowed"},
		{"write_consistency_levels_warned", "[QUORUM, LOCAL_QUORUM]", "warn write_consistency_levels_warned"},
		{"write_request_timeout", "5000ms", "warn write_request_timeout"},
		{"write_request_timeout", "3s", "warn write_request_timeout"},
		{"write_request_timeout", "later", ""},
	} {
		settings := map[string]string{}
		maps.Copy(settings, harmless)
		settings[c.setting] = c.value
		var got []string
		for _, v := range judge(settings, ours) {
			got = append(got, string(v.level)+" "+v.name)
			if v.do == "" || !strings.Contains(v.found, strings.TrimSuffix(c.value, "000ms")) {
				t.Errorf("%+v", v)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s = %q: %q, want %q", c.setting, c.value, got, c.want)
		}
	}
	if got := judge(harmless, ours); len(got) != 0 {
		t.Errorf("harmless settings: %+v", got)
	}
	before41 := map[string]string{"write_request_timeout_in_ms": "4000"}
	if got := judge(before41, ours); len(got) != 1 || got[0].name != "write_request_timeout_in_ms" {
		t.Errorf("4.0: %+v", got)
	}
}

func TestReplicationIsJudged(t *testing.T) {
	const network, simple = "org.apache.cassandra.locator.NetworkTopologyStrategy", "SimpleStrategy"
	for _, c := range []struct {
		options map[string]string
		hosts   int
		want    diagnosis.Level
		do      string
	}{
		{map[string]string{"class": network, "dc1": "3"}, 3, diagnosis.OK, ""},
		{map[string]string{"class": network, "dc1": "3/1"}, 9, diagnosis.OK, ""},
		{map[string]string{"class": network, "dc1": "3"}, 2, diagnosis.Warn, "add hosts"},
		{map[string]string{"class": network, "dc1": "3"}, 1, diagnosis.Different, "add hosts"},
		{map[string]string{"class": network, "dc1": "2"}, 3, diagnosis.Warn, "'dc1': 3}"},
		{map[string]string{"class": network, "dc1": "1", "dc2": "3"}, 3, diagnosis.Warn, "'dc1': 3, 'dc2': 3}"},
		{map[string]string{"class": network, "dc2": "3"}, 3, diagnosis.Different, "'dc1': 3, 'dc2': 3}"},
		{map[string]string{"class": simple, "replication_factor": "3"}, 3, diagnosis.Warn, "'NetworkTopologyStrategy', 'dc1': 3}"},
		{map[string]string{"class": simple, "replication_factor": "1"}, 1, diagnosis.Warn, "'dc1': 3}"},
	} {
		level, found, do := replicationOf(c.options, "dc1").judge("orders", "dc1", c.hosts)
		if level != c.want || found == "" || !strings.Contains(do, c.do) || (do == "") != (c.do == "") {
			t.Errorf("%v on %d hosts: %s, %s, %s", c.options, c.hosts, level, found, do)
		}
	}
	for consistency, want := range map[string][2]diagnosis.Level{
		"LOCAL_QUORUM": {diagnosis.OK, diagnosis.OK},
		"QUORUM":       {diagnosis.OK, diagnosis.Warn},
		"EACH_QUORUM":  {diagnosis.OK, diagnosis.Warn},
		"ALL":          {diagnosis.Warn, diagnosis.Warn},
	} {
		for i, datacenters := range []int{1, 2} {
			if level, _, _ := judgeConsistency(consistency, datacenters); level != want[i] {
				t.Errorf("%s with %d datacenters: %s", consistency, datacenters, level)
			}
		}
	}
}

func TestHostsOfAmazonKeyspacesAreRefused(t *testing.T) {
	for host, want := range map[string]bool{
		"cassandra.eu-west-1.amazonaws.com:9142":                     true,
		"cassandra.us-east-1.amazonaws.com":                          true,
		"cassandra-fips.us-east-1.amazonaws.com:9142":                true,
		"cassandra.cn-north-1.amazonaws.com.cn:9142":                 true,
		"cassandra.us-east-1.api.aws":                                true,
		"vpce-0123-ab12.cassandra.us-east-1.vpce.amazonaws.com:9142": true,
		"10.0.0.7:9042":           false,
		"cassandra.internal:9042": false,
		"ec2-1-2-3-4.eu-west-1.compute.amazonaws.com:9042":   false,
		"cassandra.eu-west-1.amazonaws.com.example.org:9042": false,
		"mycassandra.eu-west-1.amazonaws.com":                false,
		"[2001:db8::1]:9042":                                 false,
	} {
		err := CheckHosts([]string{"127.0.0.1", host})
		_, refused := errors.AsType[*UnsupportedError](err)
		if refused != want || refused && sink.DispositionOf(err) != sink.Fatal {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestAScriptHasNoMarkersLeft(t *testing.T) {
	script := Script("orders", "dc1", 3, kitchenView{"rev'1"}, 4)
	for _, cql := range script {
		if strings.Contains(cql, "?") || strings.Contains(cql, "%") {
			t.Error(cql)
		}
	}
	last := script[len(script)-2:]
	want := []string{
		`INSERT INTO orders.view_state (name, active_generation, revisions, epoch, effective_at) VALUES ('kitchen', 4, {4: 'rev''1'}, 1, toTimestamp(now())) IF NOT EXISTS`,
		`UPDATE orders.view_state SET revisions[4] = 'rev''1' WHERE name = 'kitchen' IF revisions[4] = null`,
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Error(diff)
	}
}

// troubles returns what is neither ok nor a warning as "level item name", without the keyspace.
func troubles(findings []diagnosis.Finding, keyspace string) []string {
	var out []string
	for _, f := range findings {
		if f.Level != diagnosis.OK && f.Level != diagnosis.Warn {
			out = append(out, string(f.Level)+" "+f.Item+" "+strings.ReplaceAll(f.Name, keyspace+".", ""))
		}
	}
	return out
}

func inspectConfig(s stacktest.Stack, keyspace string) Config {
	return Config{Hosts: s.CassandraHosts, Datacenter: s.Datacenter, Keyspace: keyspace, Consistency: "LOCAL_QUORUM",
		Timeout: 10 * time.Second, Log: zap.NewNop()}
}

// What Script prints makes what Diagnose looks for, for keys and columns of every kind, and looking leaves no row.
func TestAPastedScriptMakesAllThatIsLookedFor(t *testing.T) {
	stack := stacktest.Require(t)
	keyspace := stack.KeyspaceName(t)
	session := stack.Session(t)
	for _, v := range []view.View{kitchenView{"1"}, viewtest.Stock{}} {
		before := troubles(Diagnose(t.Context(), inspectConfig(stack, keyspace), v, 1), keyspace)
		if len(before) == 0 || !slices.Contains(before, fmt.Sprintf("missing revision view %s, generation 1", v.Name())) {
			t.Errorf("before: %v", before)
		}
		for _, cql := range Script(keyspace, stack.Datacenter, stack.ReplicationFactor, v, 1) {
			if err := session.Query(cql).ExecContext(t.Context()); err != nil {
				t.Fatalf("%s: %v", cql, err)
			}
		}
		after := Diagnose(t.Context(), inspectConfig(stack, keyspace), v, 1)
		if got := troubles(after, keyspace); got != nil {
			t.Errorf("after: %v", got)
		}
		for _, table := range v.Tables() {
			name := keyspace + "." + table.Name + view.Generation(1).Suffix()
			if !slices.ContainsFunc(after, func(f diagnosis.Finding) bool {
				return f.Name == "MODIFY on "+name && f.Level == diagnosis.OK
			}) {
				t.Errorf("nobody asked for the right to write %s", name)
			}
			var rows int
			if err := session.Query("SELECT count(*) FROM "+name).ScanContext(t.Context(), &rows); err != nil || rows != 0 {
				t.Errorf("%s has %d rows, %v", name, rows, err)
			}
		}
	}
}

func TestDiagnoseTellsWhatIsDifferent(t *testing.T) {
	stack := stacktest.Require(t)
	keyspace := stack.Keyspace(t)
	session := stack.Session(t)
	for _, cql := range Script(keyspace, stack.Datacenter, stack.ReplicationFactor, viewtest.Stock{}, 1) {
		cql = strings.Replace(cql, `"version" bigint`, `"version" int`, 1)
		if err := session.Query(cql).ExecContext(t.Context()); err != nil {
			t.Fatalf("%s: %v", cql, err)
		}
	}
	got := troubles(Diagnose(t.Context(), inspectConfig(stack, keyspace), viewtest.Stock{}, 1), keyspace)
	if diff := cmp.Diff([]string{"different type event_ref"}, got); diff != "" {
		t.Error(diff)
	}
}

// A server with logins, settings that hurt, and the mark of Amazon Keyspaces. It is this test's own: it takes half a
// minute to start.
func TestDiagnoseFindsSettingsAndRightsOfAGuardedServer(t *testing.T) {
	running := stacktest.Start(t, localstack.Config{
		CassandraNodes: 1, Security: localstack.CassandraSecurity{Login: true},
		CassandraSettings: map[string]string{
			"minimum_timestamp_fail_threshold":    "30d",
			"write_consistency_levels_disallowed": "[QUORUM]",
			"write_request_timeout":               "4s",
		},
	})
	stack := stacktest.Stack{CassandraHosts: hostsOf(running), Datacenter: "dc1", ReplicationFactor: 1}
	login := func(user, password string) Config {
		c := inspectConfig(stack, "orders")
		c.Timeout = 3 * time.Second
		c.Username, c.Password = user, func() (string, error) { return password, nil }
		return c
	}
	root, err := Connect(login(localstack.Superuser, localstack.SuperuserPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Setup(t.Context(), "dc1", 1, viewtest.Stock{}, 1); err != nil {
		t.Fatal(err)
	}
	root.cql(t, "CREATE ROLE reader WITH PASSWORD = 'r' AND LOGIN = true")
	root.cql(t, "GRANT SELECT ON KEYSPACE orders TO reader")
	root.cql(t, "CREATE ROLE writer WITH PASSWORD = 'w' AND LOGIN = true")
	root.cql(t, "GRANT SELECT ON KEYSPACE orders TO writer")
	root.cql(t, "GRANT MODIFY ON KEYSPACE orders TO writer")
	root.cql(t, "GRANT SELECT ON system_views.settings TO writer")

	diagnose := func(c Config) []diagnosis.Finding { return Diagnose(t.Context(), c, viewtest.Stock{}, 1) }
	guardrail := "refused setting minimum_timestamp_fail_threshold"
	for _, c := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"the superuser, whom guardrails let pass", login(localstack.Superuser, localstack.SuperuserPassword), []string{guardrail}},
		{"one who may neither write nor see settings", login("reader", "r"), []string{"denied right MODIFY on stock_g1"}},
		{"one who may, but no old stamps", login("writer", "w"), []string{guardrail, "refused right MODIFY on stock_g1"}},
		{"a level that is disallowed", func() Config { c := login("writer", "w"); c.Consistency = "QUORUM"; return c }(),
			[]string{guardrail, "refused setting write_consistency_levels_disallowed", "refused right MODIFY on stock_g1"}},
		{"a wrong password", login("writer", "x"), []string{"denied cluster " + strings.Join(stack.CassandraHosts, ",")}},
	} {
		findings := diagnose(c.config)
		if diff := cmp.Diff(c.want, troubles(findings, "orders")); diff != "" {
			t.Errorf("%s: want - and got +:\n%s\n%+v", c.name, diff, findings)
		}
		slow := slices.ContainsFunc(findings, func(f diagnosis.Finding) bool {
			return f.Level == diagnosis.Warn && f.Name == "write_request_timeout" && strings.Contains(f.Do, "4s")
		})
		unseen := slices.ContainsFunc(findings, func(f diagnosis.Finding) bool {
			return f.Item == "settings" && f.Level == diagnosis.Warn && f.Do == "GRANT SELECT ON system_views.settings TO reader"
		})
		if len(findings) > 1 && slow == (c.config.Username == "reader") || unseen != (c.config.Username == "reader") {
			t.Errorf("%s: write_request_timeout told %t, settings unseen %t", c.name, slow, unseen)
		}
	}
	// As the daemon's own role may be: it reads no orders.
	root.cql(t, "REVOKE SELECT ON KEYSPACE orders FROM reader")
	root.cql(t, "GRANT SELECT ON orders.view_state TO reader")
	root.cql(t, "GRANT MODIFY ON KEYSPACE orders TO reader")
	blind := diagnose(login("reader", "r"))
	if !slices.ContainsFunc(blind, func(f diagnosis.Finding) bool { return f.Item == "rows" && f.Level == diagnosis.Warn }) {
		t.Errorf("one who may not read: %+v", blind)
	}
	root.cql(t, "CREATE KEYSPACE system_schema_mcs WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	if diff := cmp.Diff([]string{"refused service Amazon Keyspaces"}, troubles(diagnose(login("writer", "w")), "orders")); diff != "" {
		t.Error(diff)
	}
}

func (s *Session) cql(t *testing.T, statement string) {
	t.Helper()
	if err := s.driver.Query(statement).Consistency(gocql.One).ExecContext(t.Context()); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func hostsOf(running *localstack.Stack) []string {
	for _, pair := range running.Env() {
		if hosts, ok := strings.CutPrefix(pair, "PENSTOCK_CASSANDRA_HOSTS="); ok {
			return strings.Split(hosts, ",")
		}
	}
	return nil
}
