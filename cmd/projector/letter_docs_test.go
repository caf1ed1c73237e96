package main

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"penstock/order"
	"penstock/sink/deadletter"
	"penstock/view"
)

var updateLetter = flag.Bool("update-letter", false, "write the letter in docs/dead-letters.md anew")

// The letter on the page is what the order view makes of its event, as the daemon would write it.
func TestTheLetterOnThePageIsReal(t *testing.T) {
	const payload = `{"specversion":"1.0","id":"5f0c-2","source":"/shop/orders","type":"order.paid.v1","time":"2026-11-21T10:01:07.5Z",` +
		`"data":{"order_id":"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70","customer_id":"c-81723","placed_at":"2026-11-21T10:00:00.12Z","version":2,` +
		`"payment_id":"p-1","amount_minor":"19.98","method":"card"}}`
	l := deadletter.Letter{
		Target: deadletter.Target{View: order.View{}.Name(), Revision: order.View{}.Revision(), Generation: 1},
		Source: deadletter.Source{
			Stream: "orders", ARN: "arn:aws:kinesis:eu-central-1:123456789012:stream/orders", Epoch: "1795082400", Shard: "shardId-000000000002",
			Sequence: "49671246667567228643283430150187087032206582658", PartitionKey: "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70",
			Arrival: time.Date(2026, 11, 21, 10, 1, 8, 212_000_000, time.UTC),
		},
		Context: deadletter.Context{
			Version: "v0.9.0", Commit: "3071d23f9e0c5a1b7d64c2a8e5f60b1c9d8e7f6a", Config: "9c41d0a27be35f18", Host: "orders-7", Worker: "orders-7-k3x9",
		},
		ParkedAt: time.Date(2026, 11, 21, 10, 1, 8, 490_000_000, time.UTC),
		Payload:  []byte(payload),
	}
	_, err := order.View{}.Project(view.Record{Data: l.Payload, Arrival: l.Source.Arrival})
	poison, ok := view.AsPoison(err)
	if !ok {
		t.Fatalf("the event is no poison: %v", err)
	}
	l.Event, l.Failure = deadletter.Event(poison.Event), deadletter.NewFailure(poison)
	if v, ok := any(order.View{}).(interface{ Types() []string }); ok {
		l.Context.Schemas = v.Types()
	}
	encoded, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const page = "../../docs/dead-letters.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "```json\n")
	shown, after, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no letter")
	}
	if *updateLetter {
		if err := os.WriteFile(page, []byte(before+"```json\n"+string(encoded)+"```"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shown != string(encoded) {
		t.Errorf("the page shows another letter: go test ./cmd/projector -run %s -update-letter. The daemon writes\n%s", t.Name(), encoded)
	}
}
