package shop

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// maxDifferences is how many differences a report puts into words; the others are only counted.
const maxDifferences = 20

// Report is the comparison of a whole table with what it has to hold.
type Report struct {
	Table       Table
	Rows        int      // read
	Missing     int      // expected and not read
	Extra       int      // read and not expected, or read twice
	Mismatched  int      // read, expected, and different
	Differences []string // the first few of all of these in words

	// AppliedEventIDs are the ids found in the events column of the rows, rightly or not.
	AppliedEventIDs map[string]struct{}
}

// Wrong is the number of rows that are missing, extra or mismatched: 0 if the table is as it has to be.
func (r Report) Wrong() int { return r.Missing + r.Extra + r.Mismatched }

func (r *Report) note(difference string) {
	if len(r.Differences) < maxDifferences {
		r.Differences = append(r.Differences, difference)
	}
}

// Check compares every row of a table, each as SELECT JSON * returns it, with what it has to be at a stage. The error
// is the first one that rows yields, or says which row is no row of that table; what is found is in the report and is
// never an error.
func (o *Oracle) Check(table Table, stage Stage, rows iter.Seq2[[]byte, error]) (Report, error) {
	report := Report{Table: table, AppliedEventIDs: make(map[string]struct{})}
	due := make(map[string]string) // order id by key, of the rows not read yet
	for key, row := range o.Expected(table, stage) {
		due[key] = row["order_id"].(string)
	}
	for answer, err := range rows {
		if err != nil {
			return report, fmt.Errorf("read row %d of %s: %w", report.Rows+1, table, err)
		}
		key, got, err := Canonical(table, answer)
		if err != nil {
			return report, fmt.Errorf("row %d: %w", report.Rows+1, err)
		}
		report.Rows++
		got.eachEventID(func(id string) { report.AppliedEventIDs[id] = struct{}{} })

		orderID, isDue := due[key]
		if !isDue {
			report.Extra++
			report.note(fmt.Sprintf("%s %s: row not expected, or read before", table, key))
			continue
		}
		delete(due, key)
		want, err := o.ExpectedRow(table, stage, orderID)
		if err != nil {
			return report, err
		}
		lines := Diff(want, got)
		if len(lines) > 0 {
			report.Mismatched++
		}
		for _, line := range lines {
			report.note(fmt.Sprintf("%s %s: %s", table, key, line))
		}
	}
	report.Missing = len(due)
	for _, key := range slices.Sorted(maps.Keys(due)) {
		report.note(fmt.Sprintf("%s %s: row missing", table, key))
	}
	return report, nil
}

// eachEventID calls found with each id in the row's set of events.
func (r Row) eachEventID(found func(id string)) {
	events, _ := r["events"].([]any)
	for _, element := range events {
		event, _ := element.(map[string]any)
		if id, ok := event["id"].(string); ok {
			found(id)
		}
	}
}

// Account is the sum of a run: what became of each distinct acknowledged event.
type Account struct {
	Events     int      // distinct and acknowledged
	Applied    int      // of them found in both tables
	Parked     int      // of them found as the payload of a letter
	Both       int      // of them applied and parked: harmless for the rows, but one of the two is wrong, unless it was redriven
	Corrected  int      // of the parked: the corrected event is found in both tables
	Lost       int      // of them neither applied nor parked
	LostIDs    []string // the first few of the lost ones
	Strangers  int      // letters whose payload nobody sent
	Rows       int      // read from both tables
	Mismatched int      // missing, extra or different, in both tables
}

// Account brings together the reports on both tables and the payloads of all letters, the same payload any number of
// times. The error is the first one that letters yields.
func (o *Oracle) Account(byID, byCustomer Report, letters iter.Seq2[[]byte, error]) (Account, error) {
	a := Account{
		Events: o.events, Rows: byID.Rows + byCustomer.Rows, Mismatched: byID.Wrong() + byCustomer.Wrong(),
	}
	parked := make(map[string]struct{})
	for payload, err := range letters {
		if err != nil {
			return a, fmt.Errorf("read letters: %w", err)
		}
		id, ok := o.EventOf(payload)
		if !ok {
			a.Strangers++
			continue
		}
		parked[id] = struct{}{}
	}
	for _, orderID := range slices.Sorted(maps.Keys(o.orders)) {
		inBoth := func(id string) bool {
			_, inFirst := byID.AppliedEventIDs[id]
			_, inSecond := byCustomer.AppliedEventIDs[id]
			return inFirst && inSecond
		}
		for id, e := range o.orders[orderID] {
			_, isParked := parked[id]
			applied := inBoth(id)
			if isParked && e.Damage != "" && inBoth(e.correctedID()) {
				a.Corrected++
			}
			switch {
			case applied && isParked:
				a.Applied, a.Parked, a.Both = a.Applied+1, a.Parked+1, a.Both+1
			case applied:
				a.Applied++
			case isParked:
				a.Parked++
			default:
				a.Lost++
				if len(a.LostIDs) < maxDifferences {
					a.LostIDs = append(a.LostIDs, id)
				}
			}
		}
	}
	return a, nil
}
