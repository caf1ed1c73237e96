package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/projector"
	"penstock/sink/cassandra"
)

func TestPressureIsToldInTheFormAskedFor(t *testing.T) {
	var told telemetry
	ask := func(target, accept string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, target, nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		w := httptest.NewRecorder()
		told.admin().ServeHTTP(w, r)
		return w
	}
	if w := ask("/debug/pressure", ""); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "no writer yet") {
		t.Errorf("before there is a writer: %d %s", w.Code, w.Body)
	}
	asked := func(now time.Time) pressure {
		return pressure{
			Sentence: "az-b is slow", View: standing{Behind: cassandra.Seconds(41 * time.Second)},
			Writer: cassandra.Pressure{
				At: now, Waiting: 7, Sources: 1, Longest: []cassandra.SourcePressure{{Name: "shard-3", Waiting: 7, Behind: cassandra.Seconds(41 * time.Second)}},
				Hosts: []cassandra.HostPressure{{
					Address: "10.0.0.2:9042", Rack: "az-b", Up: true, State: "normal", Limit: 9, Highest: 64, P75: cassandra.Seconds(4200 * time.Microsecond),
					Decisions: []cassandra.TakenDecision{{At: now, From: 12, To: 9, Reason: "latency is above its target"}},
				}},
				Tokens: 499, Attempts: 11, Successes: 10, Capped: true, Cap: 120,
				Debts: []cassandra.DebtPressure{{Address: "10.0.0.3:9042", Rack: "az-c", Owed: 5 << 20, Absent: true, Since: now, RefusedIn: cassandra.Seconds(time.Hour)}},
			},
		}
	}
	told.pressure.Store(&asked)

	text := ask("/debug/pressure", "*/*").Body.String()
	if !strings.HasPrefix(text, "az-b is slow\n") {
		t.Errorf("the sentence is not the first line of:\n%s", text)
	}
	for _, want := range []string{
		"az-b  10.0.0.2:9042  normal  9      64", "4.2ms", "12.0 → 9.0", "latency is above its target", "7 of shard-3, 41s behind",
		"1.100 for each success", "499 of 500", "120 requests a second", "az-c 10.0.0.3:9042: 5.0 MiB owed, absent since ", "hints are refused in 1h0m0s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	for _, w := range []*httptest.ResponseRecorder{ask("/debug/pressure?format=json", ""), ask("/debug/pressure", "application/json")} {
		var got struct {
			Sentence string
			View     struct {
				Behind float64 `json:"behind_seconds"`
			}
			Writer struct {
				Hosts []struct {
					Limit int
					P75   float64 `json:"p75_seconds"`
				}
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if got.Sentence != "az-b is slow" || got.View.Behind != 41 || len(got.Writer.Hosts) != 1 || got.Writer.Hosts[0].Limit != 9 || got.Writer.Hosts[0].P75 != 0.0042 {
			t.Errorf("as JSON: %+v", got)
		}
	}
	if w := ask("/debug/pressure?format=xml", ""); w.Code != http.StatusBadRequest {
		t.Errorf("of an unknown format: %d", w.Code)
	}
}

// What metrics tell is what the writer stands under, with states that metrics have.
func TestMetricsTellOfTheWriterAsItIs(t *testing.T) {
	load := loadOf(cassandra.Pressure{
		Waiting: 1, BackOff: 2, Tokens: 3, Attempts: 4, Successes: 5, Capped: true, Cap: 6,
		Hosts: []cassandra.HostPressure{
			{Address: "a", Rack: "r", Up: true, State: "quarantined", Limit: 7, InFlight: 8, P75: 9, Base: 10, Target: 11,
				Taken: []cassandra.DecisionCount{{Action: "grow", Cause: "latency", N: 12}}},
			{Address: "b", State: "normal"},
		},
		Debts: []cassandra.DebtPressure{{Address: "b", Rack: "s", Owed: 13, Absent: true, RefusedIn: 14}},
	})
	if load.Queued != 1 || load.BackOff != 2 || load.Tokens != 3 || load.Attempts != 4 || load.Successes != 5 || load.Cap != 6 || !load.Capped {
		t.Errorf("%+v", load)
	}
	h := load.Hosts[0]
	if h.Address != "a" || h.Rack != "r" || h.State != "quarantined" || h.Limit != 7 || h.InFlight != 8 || h.Latency != 9 || h.Idle != 10 || h.Target != 11 ||
		!slices.Equal(h.Decisions, []projector.DecisionLoad{{Action: "grow", Cause: "latency", N: 12}}) {
		t.Errorf("%+v", h)
	}
	if load.Hosts[1].State != "down" || load.Debts[0] != (projector.DebtLoad{Address: "b", Rack: "s", Owed: 13, Absent: true, RefusedIn: 14}) {
		t.Errorf("%+v", load)
	}
	for _, h := range load.Hosts {
		if !slices.Contains(projector.HostStates(), h.State) {
			t.Errorf("%s is no state of a host", h.State)
		}
	}
}
