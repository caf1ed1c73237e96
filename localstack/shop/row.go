package shop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Table names one of the two tables of the order view, without the generation at its end.
type Table string

// The tables of the order view.
const (
	// OrderByID has one partition for each order.
	OrderByID Table = "order_by_id"
	// OrdersByCustomer has one partition for each customer and UTC year of placed_at, the newest order first.
	OrdersByCustomer Table = "orders_by_customer"
)

// keyColumns are the ones that name a row. All are text in the canonical form but the year.
func (t Table) keyColumns() []string {
	switch t {
	case OrderByID:
		return []string{"order_id"}
	case OrdersByCustomer:
		return []string{"customer_id", "year", "placed_at", "order_id"}
	default:
		panic("shop: unknown table " + strconv.Quote(string(t)))
	}
}

// Row is a row in the one form in which rows are compared: what decoding the answer to SELECT JSON * yields, with
// numbers as json.Number, collections without an element as nil (Cassandra stores none), and sets, which are arrays
// there, in the order of their elements' JSON text.
type Row map[string]any

// Canonical parses one answer to SELECT JSON * and returns the row and the text of its key, which is equal for two rows
// of a table only if their keys are.
func Canonical(table Table, answer []byte) (key string, row Row, err error) {
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.UseNumber()
	if err := decoder.Decode(&row); err != nil {
		return "", nil, fmt.Errorf("decode row of %s: %w", table, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return "", nil, fmt.Errorf("decode row of %s: more than one value", table)
	}
	for column, value := range row {
		row[column] = canonicalValue(value)
	}
	key, err = row.key(table)
	if err != nil {
		return "", nil, err
	}
	return key, row, nil
}

func (r Row) key(table Table) (string, error) {
	var parts []string
	for _, column := range table.keyColumns() {
		if r[column] == nil {
			return "", fmt.Errorf("row of %s without its key column %s", table, column)
		}
		parts = append(parts, text(r[column]))
	}
	return strings.Join(parts, " "), nil
}

// canonicalValue sorts what has no order. The view has no lists, so every array is a set.
func canonicalValue(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			return nil
		}
		for name, inner := range v {
			v[name] = canonicalValue(inner)
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i, inner := range v {
			v[i] = canonicalValue(inner)
		}
		slices.SortFunc(v, func(a, b any) int { return cmp.Compare(text(a), text(b)) })
	}
	return value
}

// text is the JSON text of a canonical value: equal for equal values and only for them.
func text(value any) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("shop: encode value of a row: %v", err)) // it came from JSON, or from plain strings and maps
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// timestamp is how Cassandra 5 writes a timestamp in JSON: UTC, milliseconds, a space where RFC 3339 has a T.
func timestamp(t time.Time) string {
	return t.UTC().Truncate(time.Millisecond).Format("2006-01-02 15:04:05.000Z")
}

func number(n int64) json.Number {
	return json.Number(strconv.FormatInt(n, 10))
}

// Diff says in words in which columns two canonical rows of one table differ, a line for each difference, in the order
// of the columns' names. It is empty if and only if the rows are equal. A column that is absent is not the same as one
// that is null, unless nothing is expected of it at all.
func Diff(want, got Row) []string {
	var lines []string
	for _, column := range names(want, got) {
		wanted, isWanted := want[column]
		value, isThere := got[column]
		switch {
		case !isThere:
			lines = append(lines, fmt.Sprintf("%s: no such column, want %s", column, text(wanted)))
		case !isWanted && value != nil:
			lines = append(lines, fmt.Sprintf("%s: column nobody asked for holds %s", column, text(value)))
		default:
			lines = append(lines, diffValue(column, wanted, value)...)
		}
	}
	return lines
}

// diffValue goes down to the entry of a map, the field of a value or the element of a set.
func diffValue(at string, want, got any) []string {
	if text(want) == text(got) {
		return nil
	}
	wantMap, isMap := want.(map[string]any)
	gotMap, areMaps := got.(map[string]any)
	if isMap && areMaps {
		var lines []string
		for _, name := range names(wantMap, gotMap) {
			inner := at + "." + name
			wanted, isWanted := wantMap[name]
			value, isThere := gotMap[name]
			switch {
			case !isThere:
				lines = append(lines, fmt.Sprintf("%s: missing, want %s", inner, text(wanted)))
			case !isWanted:
				lines = append(lines, fmt.Sprintf("%s: not expected, is %s", inner, text(value)))
			default:
				lines = append(lines, diffValue(inner, wanted, value)...)
			}
		}
		return lines
	}
	wantSet, isSet := want.([]any)
	gotSet, areSets := got.([]any)
	if isSet && areSets {
		var lines []string
		for _, element := range without(wantSet, gotSet) {
			lines = append(lines, fmt.Sprintf("%s: missing %s", at, element))
		}
		for _, element := range without(gotSet, wantSet) {
			lines = append(lines, fmt.Sprintf("%s: not expected %s", at, element))
		}
		return lines
	}
	return []string{fmt.Sprintf("%s: is %s, want %s", at, text(got), text(want))}
}

// names returns the names in either map, sorted.
func names(a, b map[string]any) []string {
	all := make(map[string]any)
	maps.Copy(all, a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// without returns the text of each element of a that has no counterpart in b.
func without(a, b []any) []string {
	counterparts := make(map[string]int)
	for _, element := range b {
		counterparts[text(element)]++
	}
	var rest []string
	for _, element := range a {
		t := text(element)
		if counterparts[t] == 0 {
			rest = append(rest, t)
			continue
		}
		counterparts[t]--
	}
	return rest
}
