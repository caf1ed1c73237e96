package order

import (
	"bytes"
	"encoding/json"
	"testing"

	"penstock/view"
)

func BenchmarkProject(b *testing.B) {
	events := goldenEvents(b)
	for _, name := range []string{"placed", "placed_v2", "paid", "shipped", "delivered"} {
		b.Run(name, func(b *testing.B) {
			var compact bytes.Buffer
			if err := json.Compact(&compact, events[name]); err != nil {
				b.Fatal(err)
			}
			record := view.Record{Data: compact.Bytes(), Arrival: goldenArrival}
			b.SetBytes(int64(len(record.Data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (View{}).Project(record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
