package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const minimal = `
application: shop
kinesis:
  stream: orders
cassandra:
  hosts: [cassandra-1, "cassandra-2:9043"]
  datacenter: dc1
dead_letters:
  bucket: letters
`

// write puts a configuration file into the test's folder and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "penstock.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mistakesOf(t *testing.T, err error) []Mistake {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	return e.Mistakes
}

func TestDefaultsFillWhatIsNotGiven(t *testing.T) {
	c, err := Load(Sources{File: write(t, minimal)})
	if err != nil {
		t.Fatal(err)
	}
	c.settings = nil
	want := &Config{
		Application: "shop",
		View:        View{Name: "order", Generation: 1},
		Kinesis:     Kinesis{Stream: "orders", Reader: ReaderPolling, OnLoss: OnLossStop},
		Leases:      Leases{Failover: 10 * time.Second},
		Cassandra: Cassandra{
			Hosts: []string{"cassandra-1", "cassandra-2:9043"}, Keyspace: "orders", Datacenter: "dc1",
			Consistency: "LOCAL_QUORUM", ReplicationFactor: 3, Timeout: 3 * time.Second,
			TLS: TLS{Mode: TLSDisabled},
		},
		Pressure: Pressure{
			InFlight: 64 * MiB, TargetLatency: 100 * time.Millisecond, MinRequestsPerHost: 1, MaxRequestsPerHost: 1024,
			DebtBudget: 600 * MiB, DebtFloorPercent: 50,
		},
		DeadLetters:  DeadLetters{Bucket: "letters", Prefix: "dead-letters", BreakerPercent: 5, BreakerRecords: 1000, BreakerInARow: 100},
		Telemetry:    Telemetry{Listen: ":9464", Admin: "127.0.0.1:9465", LogLevel: "info"},
		DrainTimeout: 20 * time.Second,
	}
	same := cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() })
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(Config{}), same); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLaterSourcesGoFirstAndOriginsAreKept(t *testing.T) {
	path := write(t, minimal+"view:\n  generation: 2\nleases:\n  failover: 20s\n  worker: file\ndrain_timeout: 30s\n")
	c, err := Load(Sources{
		File:  path,
		Env:   []string{"PENSTOCK_LEASES_FAILOVER=40s", "PENSTOCK_VIEW_GENERATION=3", "PENSTOCK_CASSANDRA_HOSTS=a, b:9042", "PENSTOCK_DRAIN_TIMEOUT="},
		Flags: map[string]string{"view.generation": "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.View.Generation != 4 || c.Leases.Failover != 40*time.Second || c.Leases.Worker != "file" || c.DrainTimeout != 30*time.Second ||
		!slices.Equal(c.Cassandra.Hosts, []string{"a", "b:9042"}) {
		t.Errorf("got %+v", c)
	}
	for key, want := range map[string]string{
		"view.generation":    "flag view.generation",
		"leases.failover":    "PENSTOCK_LEASES_FAILOVER",
		"leases.worker":      path + ":14",
		"drain_timeout":      path + ":15",
		"cassandra.hosts":    "PENSTOCK_CASSANDRA_HOSTS",
		"cassandra.keyspace": "default",
	} {
		if got := c.Origin(key).String(); got != want {
			t.Errorf("%s comes from %s, want %s", key, got, want)
		}
	}
}

func TestEachMistakeNamesKeyValueRuleAndSource(t *testing.T) {
	for _, test := range []struct {
		name, yaml string
		want       string // of the only mistake, after the file's path
	}{
		{"unknown key", "cassandra:\n  keyspce: a\n", ":2: cassandra.keyspce: is no key of ours, did you mean cassandra.keyspace?"},
		{"unknown section", "casandra:\n  keyspace: a\n", ":1: casandra: is no key of ours, did you mean cassandra?"},
		{"key of another section", "kinesis:\n  keyspace: a\n", ":2: kinesis.keyspace: is no key of ours, did you mean cassandra.keyspace?"},
		{"longer key", "leases:\n  failover_time: 5s\n", ":2: leases.failover_time: is no key of ours, did you mean leases.failover?"},
		{"camel case", "drainTimeout: 5s\n", ":1: drainTimeout: is no key of ours, did you mean drain_timeout?"},
		{"nothing like it", "colour: red\n", ":1: colour: is no key of ours"},
		{"merge key", "view:\n  <<: {name: a}\n", ":2: view.<<: is no key of ours"},
		{"dotted key", "view.name: order\n", ":1: view.name: must be nested: name below view"},
		{"twice", "drain_timeout: 5s\ndrain_timeout: 6s\n", ":2: drain_timeout: stands twice, first in line 1"},
		{"section of one value", "view: order\n", `:1: view = "order": must hold keys with values`},
		{"no value", "drain_timeout:\n", ":1: drain_timeout: has no value: give one, or leave the key out"},
		{"list for a value", "drain_timeout: [5s, a: [b]]\n", `:1: drain_timeout = "[5s, {a: [b]}]": must be a single value of type duration`},
		{"mapping for a value", "drain_timeout: {a: 5s}\n", `:1: drain_timeout = "{a: 5s}": must be a single value of type duration`},
		{"value that holds itself", "drain_timeout: &a [*a]\n", `:1: drain_timeout = "[*a]": must be a single value of type duration`},
		{"list of lists", "cassandra:\n  hosts: [a, [b]]\n", `:2: cassandra.hosts = "[a, [b]]": must be a list of texts`},
		{"no unit", "drain_timeout: 20\n", `:1: drain_timeout = "20": must be a duration with its unit, such as 10s, 1s to 10m`},
		{"too short", "leases:\n  failover: 2s\n", `:2: leases.failover = "2s": must be 3s to 5m`},
		{"too long", "leases:\n  failover: 6m\n", `:2: leases.failover = "6m": must be 3s to 5m`},
		{"not a number", "view:\n  generation: one\n", `:2: view.generation = "one": must be a whole number, 1 to 9999`},
		{"fraction", "view:\n  generation: 1.0\n", `:2: view.generation = "1.0": must be a whole number, 1 to 9999`},
		{"zero", "view:\n  generation: 0\n", `:2: view.generation = "0": must be 1 to 9999`},
		{"decimal size", "pressure:\n  in_flight: 64MB\n",
			`:2: pressure.in_flight = "64MB": must be a whole number of B, KiB, MiB or GiB, such as 64MiB, 16MiB to 4GiB`},
		{"lowest above highest", "pressure:\n  min_requests_per_host: 9\n  max_requests_per_host: 8\n",
			`:2: pressure.min_requests_per_host = "9": contradicts pressure.max_requests_per_host, which is 8: must be at most that`},
		{"highest below the default", "pressure:\n  min_requests_per_host: 2000\n",
			`:2: pressure.min_requests_per_host = "2000": contradicts pressure.max_requests_per_host, which is 1024: must be at most that`},
		{"small size", "pressure:\n  in_flight: 1MiB\n", `:2: pressure.in_flight = "1MiB": must be 16MiB to 4GiB`},
		{"low consistency", "cassandra:\n  consistency: ONE\n", `:2: cassandra.consistency = "ONE": must be LOCAL_QUORUM, QUORUM, EACH_QUORUM or ALL: ` +
			`below LOCAL_QUORUM an acknowledged write may be on no replica that a reader asks`},
		{"impatient client", "cassandra:\n  timeout: 2s\n", `:2: cassandra.timeout = "2s": must be 2.1s to 1m: ` +
			`a client that gives up before the server's own write timeout of 2 s repeats writes that are still at work`},
		{"latest", "kinesis:\n  start: LATEST\n", `:2: kinesis.start = "LATEST": must be trim_horizon or a time: ` +
			`after a crash before the first checkpoint, latest would skip every record that came in between`},
		{"no time", "kinesis:\n  start: yesterday\n", `:2: kinesis.start = "yesterday": must be trim_horizon or a time such as 2026-11-21T10:00:00Z`},
		{"log level", "telemetry:\n  log_level: loud\n", `:2: telemetry.log_level = "loud": must be debug, info, warn or error`},
		{"address", "telemetry:\n  listen: \"9464\"\n", `:2: telemetry.listen = "9464": must be host:port or :port`},
		{"same address", "telemetry:\n  listen: 127.0.0.1:9465\n", `:2: telemetry.listen = "127.0.0.1:9465": ` +
			`contradicts telemetry.admin, which is 127.0.0.1:9465: they cannot share a port`},
		{"address of all hosts", "telemetry:\n  listen: :9000\n  admin: 127.0.0.1:9000\n", `:3: telemetry.admin = "127.0.0.1:9000": ` +
			`contradicts telemetry.listen, which is :9000: they cannot share a port`},
		{"prefix", "dead_letters:\n  prefix: a/\n", `:2: dead_letters.prefix = "a/": must be a key prefix without slashes at its ends`},
		{"secret in the file", "cassandra:\n  password: hunter2\n",
			":2: cassandra.password: must not stand in this file: name a file by cassandra.password_file, or set PENSTOCK_CASSANDRA_PASSWORD"},
		{"user without password", "cassandra:\n  username: me\n",
			`:2: cassandra.username = "me": needs a password: give cassandra.password_file or PENSTOCK_CASSANDRA_PASSWORD`},
		{"secret file missing", "cassandra:\n  username: me\n  password_file: /nowhere/secret\n",
			`:3: cassandra.password_file = "/nowhere/secret": must be a readable file: no such file or directory`},
		{"secret file is a folder", "cassandra:\n  username: me\n  password_file: /\n",
			`:3: cassandra.password_file = "/": must be a readable file: is a directory`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.yaml)
			_, err := Load(Sources{File: path, Env: requiredByEnvironment})
			mistakes := mistakesOf(t, err)
			want := path + test.want
			if len(mistakes) != 1 || mistakes[0].String() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

var requiredByEnvironment = []string{
	"PENSTOCK_APPLICATION=shop", "PENSTOCK_KINESIS_STREAM=orders", "PENSTOCK_CASSANDRA_HOSTS=a",
	"PENSTOCK_CASSANDRA_DATACENTER=dc1", "PENSTOCK_DEAD_LETTERS_BUCKET=letters",
}

func TestEnvironmentSuffices(t *testing.T) {
	if _, err := Load(Sources{Env: requiredByEnvironment}); err != nil {
		t.Error(err)
	}
}

func TestFiveMistakesAreToldAtOnce(t *testing.T) {
	path := write(t, `application: shop
kinesis:
  strem: orders
leases:
  failover: soon
cassandra:
  hosts: cassandra-1
  datacenter: dc1
`)
	_, err := Load(Sources{File: path, Env: []string{"PENSTOCK_CASSANDRA_CONSISTENCY=ANY"}})
	want := "configuration invalid: 5 mistakes\n" +
		"  " + path + ":3: kinesis.strem: is no key of ours, did you mean kinesis.stream?\n" +
		"  " + path + ":5: leases.failover = \"soon\": must be a duration with its unit, such as 10s, 3s to 5m\n" +
		"  " + path + ":7: cassandra.hosts = \"cassandra-1\": must be a list, such as [a, b]\n" +
		"  PENSTOCK_CASSANDRA_CONSISTENCY: cassandra.consistency = \"ANY\": must be LOCAL_QUORUM, QUORUM, EACH_QUORUM or ALL: " +
		"below LOCAL_QUORUM an acknowledged write may be on no replica that a reader asks\n" +
		"  dead_letters.bucket: is required: give it in the file or as PENSTOCK_DEAD_LETTERS_BUCKET"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestMistakesDoNotHideOneAnother is about those that are found only after all values are parsed.
func TestMistakesDoNotHideOneAnother(t *testing.T) {
	path := write(t, minimal+`  prefix: /a
view:
  name: oder
leases: {failover: 1}
pressure: {in_flight: [a]}
telemetry: {listen: ":9465"}
`+"drain_timeout: 0s\n")
	s := Sources{File: path, Views: []string{"order", "stock"},
		Env: []string{"PENSTOCK_CASSANDRA_USERNAME= ", "PENSTOCK_CASSANDRA_PASSWORD_FILE=/nowhere/secret"}}
	_, err := Load(s)
	want := []string{
		path + `:10: dead_letters.prefix = "/a": must be a key prefix without slashes at its ends`,
		path + `:12: view.name = "oder": must be a view of this program: order, stock, did you mean order?`,
		path + `:13: leases.failover = "1": must be a duration with its unit, such as 10s, 3s to 5m`,
		path + `:14: pressure.in_flight = "[a]": must be a single value of type size`,
		path + `:15: telemetry.listen = ":9465": contradicts telemetry.admin, which is 127.0.0.1:9465: they cannot share a port`,
		path + `:16: drain_timeout = "0s": must be 1s to 10m`,
		`PENSTOCK_CASSANDRA_PASSWORD_FILE: cassandra.password_file = "/nowhere/secret": must be a readable file: no such file or directory`,
		`PENSTOCK_CASSANDRA_USERNAME: cassandra.username = " ": must be a name without blanks around it`,
	}
	var got []string
	for _, m := range mistakesOf(t, err) {
		got = append(got, m.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestViewsAreKnownOnlyIfTheyAreTold(t *testing.T) {
	env := append(slices.Clone(requiredByEnvironment), "PENSTOCK_VIEW_NAME=stock")
	for _, views := range [][]string{nil, {"order", "stock"}} {
		if _, err := Load(Sources{Env: env, Views: views}); err != nil {
			t.Error(err)
		}
	}
}

func TestListenersOnOnePort(t *testing.T) {
	for addresses, meet := range map[[2]string]bool{
		{":9", ":9"}: true, {":9", "a:9"}: true, {"0.0.0.0:9", "127.0.0.1:9"}: true, {"[::]:9", "127.0.0.1:9"}: true, {"a:9", "a:9"}: true,
		{":9", ":8"}: false, {":0", ":0"}: false, {"a:9", "b:9"}: false, {"127.0.0.1:9", "127.0.0.2:9"}: false,
	} {
		if overlap(addresses[0], addresses[1]) != meet || overlap(addresses[1], addresses[0]) != meet {
			t.Errorf("%v: want %t", addresses, meet)
		}
	}
}

func TestNothingGivenNamesAllThatIsRequired(t *testing.T) {
	_, err := Load(Sources{})
	var got []string
	for _, m := range mistakesOf(t, err) {
		got = append(got, m.Key)
	}
	want := []string{"application", "cassandra.datacenter", "cassandra.hosts", "dead_letters.bucket", "kinesis.stream"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFilesThatCannotBeReadAreOneMistake(t *testing.T) {
	for name, text := range map[string]string{
		"must be valid YAML":         "a: b: c\n",
		"must hold keys with values": "- a\n",
		"must hold one YAML":         "application: a\n---\napplication: b\n",
	} {
		_, err := Load(Sources{File: write(t, text)})
		if m := mistakesOf(t, err); len(m) != 1 || !strings.HasPrefix(m[0].Rule, name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := Load(Sources{File: filepath.Join(t.TempDir(), "absent.yaml")})
	if m := mistakesOf(t, err); len(m) != 1 || m[0].Rule != "cannot be read: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

func TestEmptyFilesAndSectionsAreNoMistakes(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "null\n", "leases:\n  # failover: 10s\n"} {
		if _, err := Load(Sources{File: write(t, text), Env: requiredByEnvironment}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestScalarsAreTakenAsWritten(t *testing.T) {
	c, err := Load(Sources{Env: requiredByEnvironment, File: write(t, "kinesis:\n  stream: 0123\n  start: 2026-11-21T10:00:00Z\nleases: {worker: 1e3}\n")})
	if err != nil {
		t.Fatal(err)
	}
	// YAML would make these 83, a time of its own and 1000.
	if c.Leases.Worker != "1e3" || c.Kinesis.Start.At != time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) {
		t.Errorf("got %+v", c)
	}
	if s := c.Kinesis.Start.String(); s != "2026-11-21T10:00:00Z" {
		t.Errorf("start %s", s)
	}
	if s := (Start{}).String(); s != "trim_horizon" {
		t.Errorf("start %s", s)
	}
}

func TestAliasesAreFollowed(t *testing.T) {
	c, err := Load(Sources{File: write(t, strings.Replace(minimal, "stream: orders", "stream: &o orders", 1)+"leases:\n  worker: *o\n")})
	if err != nil || c.Leases.Worker != "orders" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestHosts(t *testing.T) {
	for hosts, ok := range map[string]bool{
		"a": true, "a.b-c.example": true, "10.0.0.1": true, "10.0.0.1:9042": true, "::1": true, "[::1]:9042": true, "a:9042,b": true,
		"a:0": false, "a:65536": false, "a:b": false, "a b": false, "a,,b": false, ":9042": false, "http://a": false, "-a": false,
	} {
		_, err := Load(Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_CASSANDRA_HOSTS="+hosts)})
		if (err == nil) != ok {
			t.Errorf("%s: %v", hosts, err)
		}
	}
	_, err := Load(Sources{File: write(t, strings.Replace(minimal, `[cassandra-1, "cassandra-2:9043"]`, "[]", 1))})
	if m := mistakesOf(t, err); len(m) != 1 || m[0].Rule != "must name at least one host" || m[0].Value != "[]" {
		t.Errorf("empty list: %v", err)
	}
}

func TestUnknownVariablesAreMistakesButNotThoseOfKubernetes(t *testing.T) {
	_, err := Load(Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_CASSANDRA_USRNAME=me", "PATH=/bin",
		"PENSTOCK_SERVICE_HOST=10.0.0.1", "PENSTOCK_SERVICE_PORT_METRICS=9464", "PENSTOCK_PORT=tcp://10.0.0.1:9464",
		"PENSTOCK_METRICS_PORT_9464_TCP_ADDR=10.0.0.1")})
	want := "PENSTOCK_CASSANDRA_USRNAME: is no variable of ours, did you mean PENSTOCK_CASSANDRA_USERNAME?"
	if m := mistakesOf(t, err); len(m) != 1 || m[0].String() != want {
		t.Errorf("got %v", err)
	}
}

func TestUnknownFlagsAndSecretsInFlagsAreMistakes(t *testing.T) {
	_, err := Load(Sources{Env: requiredByEnvironment, Flags: map[string]string{"view.generatio": "1", "cassandra.password": "hunter2", "drain_timeout": "1h"}})
	want := "configuration invalid: 3 mistakes\n" +
		"  flag cassandra.password: must not be given on a command line, where every process can read it\n" +
		"  flag drain_timeout = \"1h\": must be 1s to 10m\n" +
		"  flag view.generatio: is no key of ours, did you mean view.generation?"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestTableIsConsistent(t *testing.T) {
	names := map[string]bool{}
	for _, k := range Keys() {
		for _, n := range []string{k.Name, k.Variable()} {
			if names[n] {
				t.Errorf("%s stands twice", n)
			}
			names[n] = true
		}
		if !regexp.MustCompile(`^([a-z]+(_[a-z]+)*\.)?[a-z]+(_[a-z]+)*$`).MatchString(k.Name) {
			t.Errorf("%s is no name for a key", k.Name)
		}
		if serviceLink.MatchString(k.Variable()) {
			t.Errorf("%s would be taken for a variable of Kubernetes", k.Variable())
		}
		if k.Required && k.Default != "" || !strings.HasSuffix(k.Doc, ".") || k.set == nil {
			t.Errorf("%s: incomplete or contradictory: %+v", k.Name, k)
		}
		if k.Default != "" {
			if err := k.set(&Config{}, []string{k.Default}); err != nil {
				t.Errorf("%s: default %s: %v", k.Name, k.Default, err)
			}
		}
		if k.Type != Hidden && k.Rule.String() == "" {
			t.Errorf("%s has no rule", k.Name)
		}
	}
	if v := keys[len(keys)-1].Variable(); v != "PENSTOCK_DRAIN_TIMEOUT" {
		t.Errorf("variable %s", v)
	}
}

func TestSettingsAreInTheTablesOrder(t *testing.T) {
	c, err := Load(Sources{Env: requiredByEnvironment})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Settings()
	if len(s) != 31 || s[0].Key.Name != "application" || s[0].Value != "shop" || s[0].Origin.Layer != Environment ||
		s[len(s)-1].Value != "20s" {
		t.Errorf("got %d: %+v", len(s), s)
	}
}
