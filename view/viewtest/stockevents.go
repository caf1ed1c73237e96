package viewtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StockRecord is the data of one record and the partition key to put it under.
type StockRecord struct {
	ID           string // of the event
	PartitionKey string
	Data         []byte
}

// StockRow is a row as Cassandra's SELECT JSON spells it: column names to strings, booleans, json.Number, nil, and
// lists and maps of these. Decode what Cassandra returns with [DecodeStockRow] to compare it.
type StockRow map[string]any

// Key is warehouse and SKU, unique for a row.
func (r StockRow) Key() string { return fmt.Sprint(r["warehouse"], "/", r["sku"]) }

// DecodeStockRow reads a row from the text that SELECT JSON returns, numbers as they are written.
func DecodeStockRow(text string) (StockRow, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var row StockRow
	if err := d.Decode(&row); err != nil {
		return nil, fmt.Errorf("decode stock row: %w", err)
	}
	return row, nil
}

// StockEvents makes n events of stock, out of order and some of them twice, and the rows they must end in, sorted by
// warehouse and SKU. The same seed and n give the same. Events of one row have distinct sequences; some are near the
// largest that a stamp can hold, so that arithmetic in fewer than 63 bits shows.
func StockEvents(seed uint64, n int) ([]StockRecord, []StockRow) {
	random := rand.New(rand.NewPCG(seed, 1))
	start := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	records := make([]StockRecord, 0, n+n/16)
	shelves := map[string]*stockLevel{}
	for i := range n {
		warehouse := "W" + strconv.Itoa(1+random.IntN(5))
		sku := "SKU-" + strconv.Itoa(random.IntN(1+n/20))
		level := shelves[warehouse+"/"+sku]
		if level == nil {
			first := random.Int64N(1 << 40)
			if random.IntN(4) == 0 {
				first += 1<<63 - 1<<45
			}
			level = &stockLevel{warehouse: warehouse, sku: sku, sequence: first}
			shelves[warehouse+"/"+sku] = level
		}
		id := fmt.Sprintf("stock-%d-%d", seed, i)
		data := level.change(random, id, start.Add(time.Duration(i)*1234567*time.Microsecond))
		records = append(records, StockRecord{ID: id, PartitionKey: warehouse + "/" + sku, Data: data})
		if random.IntN(16) == 0 {
			records = append(records, records[random.IntN(len(records))])
		}
	}
	random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })

	rows := make([]StockRow, 0, len(shelves))
	for _, key := range slices.Sorted(maps.Keys(shelves)) {
		rows = append(rows, shelves[key].row())
	}
	slices.SortFunc(rows, func(a, b StockRow) int { return strings.Compare(a.Key(), b.Key()) })
	return records, rows
}

// stockLevel is the oracle: it lives through the events in their order, so that what was said last stands.
type stockLevel struct {
	warehouse, sku string
	sequence       int64
	said           map[string]any // of the last line of an event, what was said last
	lastID         string
	lastAt         time.Time
}

// change makes the next event and takes it into account. Each event says something of what it may say.
func (l *stockLevel) change(random *rand.Rand, id string, at time.Time) []byte {
	l.sequence += 1 + random.Int64N(1000)
	l.lastID, l.lastAt = id, at
	if l.said == nil {
		l.said = map[string]any{}
	}
	event := map[string]any{
		"id": id, "type": "stock.changed", "warehouse": l.warehouse, "sku": l.sku, "sequence": l.sequence,
		"at": at.Format(time.RFC3339Nano),
	}
	say := func(name string, value any) { event[name], l.said[name] = value, value }
	if random.IntN(3) > 0 {
		say("on_hand", random.IntN(2000)-100)
	}
	if random.IntN(3) > 0 {
		say("reserved", random.IntN(1<<31))
	}
	if random.IntN(4) == 0 {
		say("aisle", []string{"A", "B", "Ø", "", "通路"}[random.IntN(5)])
		say("shelf", random.IntN(10)-1)
	}
	if random.IntN(4) == 0 {
		say("discontinued", random.IntN(2) == 0)
	}
	data, err := json.Marshal(event)
	if err != nil {
		panic(err) // strings, integers and booleans only
	}
	return data
}

func (l *stockLevel) row() StockRow {
	row := StockRow{
		"warehouse": l.warehouse, "sku": l.sku, "location": nil,
		"on_hand": nil, "reserved": nil, "discontinued": l.said["discontinued"],
		"last_event": map[string]any{
			"version": json.Number(strconv.FormatInt(l.sequence, 10)),
			"type":    "stock.changed",
			"time":    l.lastAt.UTC().Format("2006-01-02 15:04:05.000") + "Z",
			"id":      l.lastID,
		},
	}
	number := func(name string) json.Number { return json.Number(strconv.Itoa(l.said[name].(int))) }
	for _, name := range []string{"on_hand", "reserved"} {
		if l.said[name] != nil {
			row[name] = number(name)
		}
	}
	if aisle := l.said["aisle"]; aisle != nil {
		row["location"] = map[string]any{"aisle": aisle, "shelf": number("shelf")}
	}
	return row
}
