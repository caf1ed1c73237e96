package cassandra

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/diagnosis"
)

// Settings are a virtual table, which every host answers for itself. Its columns are found by name in the answer: the
// virtual tables have changed between releases.
const settingsCQL = `SELECT * FROM system_views.settings`

// furthestAhead is how far beyond the service's time a stamp may be: an order may be placed five minutes ahead.
const furthestAhead = 5 * time.Minute

// inspectSettings asks every host of the datacenter for what it is set to, and tells each setting that hurts once.
func (i *inspection) inspectSettings(ctx context.Context, hosts []*gocql.HostInfo) {
	seen := map[string]string{} // verdict by setting, name and level, to the hosts that have it
	var verdicts []verdict
	asked := 0
	for _, h := range hosts {
		settings, err := i.settings(ctx, h)
		if err != nil {
			i.settingsUnread(h, err)
			continue
		}
		asked++
		for _, v := range judge(settings, i.config) {
			key := v.name + string(v.level) + v.found
			if seen[key] == "" {
				verdicts = append(verdicts, v)
			}
			seen[key] = strings.TrimPrefix(seen[key]+", "+h.ConnectAddressAndPort(), ", ")
		}
	}
	if asked > 0 && len(verdicts) == 0 {
		i.found("settings", i.config.Datacenter, diagnosis.OK, "nothing that hurts on "+count(asked, "host"), "")
	}
	for _, v := range verdicts {
		i.found("setting", v.name, v.level, fmt.Sprintf("%s, on %s", v.found, seen[v.name+string(v.level)+v.found]), v.do)
	}
}

// settingsUnread warns only: the daemon itself does not read them.
func (i *inspection) settingsUnread(h *gocql.HostInfo, err error) {
	do := "see whether the host answers"
	if failed("", "", err).Level == diagnosis.Denied {
		do = "GRANT SELECT ON system_views.settings TO " + i.config.Username
	}
	i.found("settings", h.ConnectAddressAndPort(), diagnosis.Warn, "could not be read: "+err.Error(), do)
}

// settings returns what a host is set to, by name.
func (s *Session) settings(ctx context.Context, h *gocql.HostInfo) (map[string]string, error) {
	rows, err := s.driver.Query(settingsCQL).SetHostID(h.HostID()).Consistency(gocql.One).IterContext(ctx).SliceMap()
	if err != nil {
		return nil, wrap("read the settings", err)
	}
	settings := map[string]string{}
	for _, row := range rows {
		name, named := row["name"].(string)
		value, valued := row["value"].(string)
		if !named || !valued {
			return nil, fmt.Errorf("system_views.settings has the columns %s, not name and value", strings.Join(slices.Sorted(maps.Keys(row)), ", "))
		}
		settings[name] = value
	}
	return settings, nil
}

// verdict is a setting that hurts.
type verdict struct {
	name  string
	level diagnosis.Level
	found string
	do    string
}

// judge holds a host's settings against what the writer does. Settings that a release does not have are not judged.
func judge(settings map[string]string, c Config) []verdict {
	var out []verdict
	add := func(name string, level diagnosis.Level, found, do string) {
		out = append(out, verdict{name, level, found, do})
	}
	const (
		least, leastWarned = "minimum_timestamp_fail_threshold", "minimum_timestamp_warn_threshold"
		most               = "maximum_timestamp_fail_threshold"
		allowed            = "user_timestamps_enabled"
		refusedLevels      = "write_consistency_levels_disallowed"
		warnedLevels       = "write_consistency_levels_warned"
	)
	if v := settings[least]; isSet(v) {
		add(least, diagnosis.Refused, fmt.Sprintf("is %s: Cassandra refuses cells with older stamps, and every cell carries the time of its order", v),
			"take it out of cassandra.yaml: late events, redrives and rebuilds of old orders could not be written")
	}
	if v := settings[leastWarned]; isSet(v) {
		add(leastWarned, diagnosis.Warn, fmt.Sprintf("is %s: Cassandra warns of every older order", v), "take it out of cassandra.yaml")
	}
	if d, ok := duration(settings[most]); ok && d < furthestAhead {
		add(most, diagnosis.Refused, fmt.Sprintf("is %s: orders placed up to %s ahead are accepted and could not be written", settings[most], furthestAhead),
			fmt.Sprintf("raise it above %s or take it out of cassandra.yaml", furthestAhead))
	}
	if settings[allowed] == "false" {
		add(allowed, diagnosis.Refused, "is false: Cassandra refuses USING TIMESTAMP, which every write has", "set it to true")
	}
	if slices.Contains(levels(settings[refusedLevels]), c.Consistency) {
		add(refusedLevels, diagnosis.Refused, fmt.Sprintf("is %s: every write of ours is %s", settings[refusedLevels], c.Consistency),
			"take the level out of the setting, or choose another for cassandra.consistency")
	}
	if slices.Contains(levels(settings[warnedLevels]), c.Consistency) {
		add(warnedLevels, diagnosis.Warn, fmt.Sprintf("is %s: every write of ours is %s", settings[warnedLevels], c.Consistency),
			"take the level out of the setting, or choose another for cassandra.consistency")
	}
	for _, name := range []string{"write_request_timeout", "write_request_timeout_in_ms"} { // 4.1 on, and before
		d, ok := duration(settings[name])
		if !ok {
			continue
		}
		if d >= c.Timeout {
			add(name, diagnosis.Warn, fmt.Sprintf("is %s and cassandra.timeout %s: we give up on writes that are still at work and send them again", d, c.Timeout),
				fmt.Sprintf("set cassandra.timeout above %s", d))
		}
		break
	}
	return out
}

// isSet tells whether an optional setting has a value.
func isSet(value string) bool { return value != "" && value != "null" }

// levels reads a set of consistency levels as Java prints it: [ANY, ONE].
func levels(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune("[], ", r) })
}

// duration reads a duration as Cassandra prints it: 2000ms, 12s, 30d, or milliseconds without a unit. A value with a
// unit that is not known is not judged.
func duration(value string) (time.Duration, bool) {
	if !isSet(value) {
		return 0, false
	}
	if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(ms) * time.Millisecond, true
	}
	if days, ok := strings.CutSuffix(value, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	d, err := time.ParseDuration(value)
	return d, err == nil
}
