package viewfile

import (
	"encoding/json"
	"slices"
	"strings"
)

func isText(values []any) (as string, ok bool) {
	cql, as, ok := inferScalar(values)
	return as, ok && !slices.Contains(values, nil) && (cql == "text" || cql == "uuid")
}

func isVersion(values []any) (as string, ok bool) {
	if slices.Contains(values, nil) {
		return "", false
	}
	for _, v := range values {
		switch v := v.(type) {
		case json.Number:
			if _, err := v.Int64(); err != nil {
				return "", false
			}
		case string:
			if !isInteger(v) || len(v) > 18 {
				return "", false
			}
			as = "string"
		default:
			return "", false
		}
	}
	return as, true
}

func isTime(values []any) (as string, ok bool) {
	if slices.Contains(values, nil) {
		return "", false
	}
	cql, as, ok := inferScalar(values)
	if ok && cql == "timestamp" {
		return as, true
	}
	if as = epochOf(values); as != "" {
		return as, true
	}
	return "", false
}

// epochOf tells the unit of integers that are times of this century, empty for none.
func epochOf(values []any) string {
	unit := ""
	for _, v := range values {
		if v == nil {
			continue
		}
		number, ok := v.(json.Number)
		if !ok {
			return ""
		}
		i, err := number.Int64()
		if err != nil {
			return ""
		}
		const year2000, year2100 = 946_684_800, 4_102_444_800
		now := ""
		switch {
		case i >= year2000 && i < year2100:
			now = "epoch_s"
		case i >= year2000*1_000 && i < year2100*1_000:
			now = "epoch_ms"
		case i >= year2000*1_000_000 && i < year2100*1_000_000:
			now = "epoch_us"
		}
		if now == "" || unit != "" && unit != now {
			return ""
		}
		unit = now
	}
	return unit
}

// inferScalar returns the CQL type that all values fit, leaving out those that are not there.
func inferScalar(values []any) (cql, as string, ok bool) {
	for _, v := range values {
		one := ""
		switch v := v.(type) {
		case nil:
			continue
		case bool:
			one = "boolean"
		case json.Number:
			one = "bigint"
			if _, err := v.Int64(); err != nil {
				one = "decimal"
			}
		case string:
			one = "text"
			var b [16]byte
			if _, isTime := parseTime(v); isTime {
				one = "timestamp"
			} else if parseUUID(v, &b) {
				one = "uuid"
			}
		default:
			return "", "", false
		}
		switch {
		case cql == "" || cql == one:
			cql = one
		case cql == "bigint" && one == "decimal" || cql == "decimal" && one == "bigint":
			cql = "decimal"
		case isString(cql) && isString(one):
			cql = "text"
		default:
			return "", "", false
		}
	}
	return cql, "", cql != ""
}

func isString(cql string) bool { return cql == "text" || cql == "uuid" || cql == "timestamp" }

// snake turns camelCase into snake_case.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 && name[i-1] != '_' && (name[i-1] < 'A' || name[i-1] > 'Z') {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// identifierOf makes a name that Cassandra takes.
func identifierOf(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
			b.WriteByte(c)
		} else if c < 0x80 {
			b.WriteByte('_')
		}
	}
	out := strings.Trim(b.String(), "_")
	if out == "" || out[0] >= '0' && out[0] <= '9' {
		out = "x_" + out
	}
	return strings.TrimRight(out[:min(len(out), 30)], "_") // room for what is put behind it
}
