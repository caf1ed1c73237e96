package cassandra

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// Every node tells only of itself what it could not send to the others, and which hints it keeps. Virtual tables have
// other columns in other releases, so a node is asked first which it has (4.0 has no pending_hints, and sizes came with
// 6.0).
const (
	virtualColumnsCQL = `SELECT table_name, column_name FROM system_virtual_schema.columns WHERE keyspace_name = 'system_views'`
	peersCQL          = `SELECT peer FROM system.peers`

	outboundTable = "internode_outbound"
	hintsTable    = "pending_hints"
)

// What is read, where it is there.
var (
	outboundColumns = []string{"address", "expired_count", "error_count", "overload_count", "sent_count",
		"active_connections", "successful_connection_attempts"}
	hintsColumns = []string{"host_id", "oldest", "total_size"}
)

// report is what a node answered.
type report struct {
	peers map[netip.Addr]link
	hints map[string]hints // by the id of the host that they are for; nil if the node does not tell
}

// link is what a node has counted of its messages to another since it started.
type link struct {
	troubled   int64 // messages that expired, failed or found no room
	sent       int64
	active     int64 // connections; -1 if it does not tell
	successful int64 // connections made
}

// hints are a node's closed files for one other.
type hints struct {
	oldest time.Time
	bytes  int64 // -1 if it does not tell
}

// broken reports whether a node did not reach another between two of its answers: most of what it had to send came to
// nothing, or it has no connection and made none.
func broken(before, after link) bool {
	if after.troubled < before.troubled || after.sent < before.sent { // it started again
		return false
	}
	troubled, sent := after.troubled-before.troubled, after.sent-before.sent
	return troubled > 0 && troubled >= sent || after.active == 0 && after.successful == before.successful
}

// unreached returns what the others say of a host, of those that said something lately: how many they are, and how many did
// not reach it.
func unreached(h *host, links map[*host]map[*host]bool) (not, asked int) {
	for reporter, broken := range links {
		if b, known := broken[h]; known && reporter != h {
			asked++
			if b {
				not++
			}
		}
	}
	return not, asked
}

// serverTables asks nodes. One statement at a time goes to a node, and it fails when ctx ends.
type serverTables struct{ session *Session }

// columns returns the columns of a node's own tables that are of use, by table.
func (s serverTables) columns(ctx context.Context, h *host) (map[string][]string, error) {
	rows, err := s.rows(ctx, h, virtualColumnsCQL)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, row := range rows {
		table, _ := row["table_name"].(string)
		column, _ := row["column_name"].(string)
		if table == outboundTable && slices.Contains(outboundColumns, column) || table == hintsTable && slices.Contains(hintsColumns, column) {
			found[table] = append(found[table], column)
		}
	}
	return found, nil
}

// report asks a node which others it reaches, and for which it keeps hints.
func (s serverTables) report(ctx context.Context, h *host, columns map[string][]string) (report, error) {
	r := report{peers: map[netip.Addr]link{}}
	if names := columns[outboundTable]; slices.Contains(names, "address") {
		rows, err := s.rows(ctx, h, selectVirtual(outboundTable, names))
		if err != nil {
			return report{}, err
		}
		for _, row := range rows {
			if a, ok := addrOf(row["address"]); ok {
				l := link{active: -1}
				l.troubled = number(row["expired_count"], 0) + number(row["error_count"], 0) + number(row["overload_count"], 0)
				l.sent, l.active = number(row["sent_count"], 0), number(row["active_connections"], -1)
				l.successful = number(row["successful_connection_attempts"], 0)
				r.peers[a] = l
			}
		}
	}
	if names := columns[hintsTable]; slices.Contains(names, "host_id") {
		rows, err := s.rows(ctx, h, selectVirtual(hintsTable, names))
		if err != nil {
			return report{}, err
		}
		r.hints = map[string]hints{}
		for _, row := range rows {
			oldest, _ := row["oldest"].(time.Time)
			if id, ok := row["host_id"].(gocql.UUID); ok {
				r.hints[id.String()] = hints{oldest, number(row["total_size"], -1)}
			}
		}
		if !slices.Contains(names, "total_size") {
			for id, one := range r.hints {
				r.hints[id] = hints{one.oldest, -1}
			}
		}
	}
	return r, nil
}

func selectVirtual(table string, columns []string) string {
	return fmt.Sprintf("SELECT %s FROM system_views.%s", strings.Join(columns, ", "), table)
}

func (s serverTables) rows(ctx context.Context, h *host, cql string) ([]map[string]any, error) {
	rows, err := s.session.driver.Query(cql).Consistency(gocql.One).IterContext(pin(ctx, h)).SliceMap()
	return rows, wrap("ask "+h.address, err)
}

// settings asks a node for how long it keeps hints, and how fast it gives them back to one other.
func (s serverTables) settings(ctx context.Context, h *host) (hintSettings, error) {
	settings, err := s.session.settings(ctx, h.Info())
	if err != nil {
		return hintSettings{}, err
	}
	peers, err := s.rows(ctx, h, peersCQL)
	if err != nil {
		return hintSettings{}, err
	}
	return hintSettingsOf(settings, len(peers)), nil
}

// unthrottled stands for no bound on the giving back of hints.
const unthrottled = 1 << 30 // bytes a second

// hintSettingsOf reads a node's settings. It divides its throttle by the number of other nodes
// (org.apache.cassandra.hints.HintsDispatchExecutor 5.0). The names are those of 4.1 on and those before.
func hintSettingsOf(settings map[string]string, peers int) hintSettings {
	var s hintSettings
	for _, name := range []string{"max_hint_window", "max_hint_window_in_ms"} {
		if d, ok := duration(settings[name]); ok && d > 0 && s.window == 0 {
			s.window = min(max(d, time.Minute), 7*24*time.Hour)
		}
	}
	if settings["hinted_handoff_enabled"] == "false" {
		s.window = time.Minute // the least there is: what comes after it needs a repair
	}
	for _, name := range []string{"hinted_handoff_throttle", "hinted_handoff_throttle_in_kb"} {
		if bytes, ok := dataSize(settings[name]); ok && s.replay == 0 {
			if s.replay = bytes / int64(max(1, peers)); bytes == 0 {
				s.replay = unthrottled
			}
		}
	}
	return s
}

// dataSize reads a size as Cassandra prints it: 1024KiB, 1MiB, or KiB without a unit.
func dataSize(value string) (bytes int64, ok bool) {
	if !isSet(value) {
		return 0, false
	}
	unit := int64(1 << 10)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if digits, found := strings.CutSuffix(value, suffix); found {
			value, unit = digits, factor
			break
		}
	}
	if digits, found := strings.CutSuffix(value, "B"); found {
		value, unit = digits, 1
	}
	n, err := strconv.ParseInt(value, 10, 32)
	return n * unit, err == nil && n >= 0
}

// together is the settings of so many nodes by what some of them say: the shortest window, and what all but one give that one.
func together(settings []hintSettings, nodes int) hintSettings {
	var all hintSettings
	var sum int64
	for _, s := range settings {
		if s.window > 0 && (all.window == 0 || s.window < all.window) {
			all.window = s.window
		}
		sum += s.replay
	}
	if n := int64(len(settings)); sum > 0 {
		all.replay = max(1<<10, sum/n*int64(max(1, nodes-1)))
	}
	return all
}

// addresses returns those by which other nodes may know a host.
func (h *host) addresses() (all []netip.Addr) {
	info := h.Info()
	if info == nil {
		return nil
	}
	for _, ip := range []net.IP{info.BroadcastAddress(), info.Peer(), info.PreferredIP(), info.ListenAddress(), info.RPCAddress()} {
		if a, ok := addrOf(ip); ok && !a.IsUnspecified() && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// hostsByAddress leaves out addresses that several hosts have.
func hostsByAddress(hosts []*host, addresses func(*host) []netip.Addr) map[netip.Addr]*host {
	found := map[netip.Addr]*host{}
	for _, h := range hosts {
		for _, a := range addresses(h) {
			if _, twice := found[a]; twice {
				found[a] = nil
			} else {
				found[a] = h
			}
		}
	}
	return found
}

func addrOf(v any) (netip.Addr, bool) {
	switch v := v.(type) {
	case net.IP:
		a, ok := netip.AddrFromSlice(v)
		return a.Unmap(), ok
	case string:
		a, err := netip.ParseAddr(v)
		return a.Unmap(), err == nil
	}
	return netip.Addr{}, false
}

func number(v any, otherwise int64) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int:
		return int64(n)
	}
	return otherwise
}
