package main

import (
	"context"
	"maps"
	"strings"
	"testing"

	"penstock/cmd/internal/cli"
)

// notes is a state table with what two daemons noted.
type notes map[string]map[string]string

func (n notes) Query(context.Context, string) (map[string]map[string]string, error) {
	return maps.Clone(n), nil
}

func (n notes) Delete(_ context.Context, _, name string) error {
	delete(n, name)
	return nil
}

func TestDoctorTellsOfReplicasUntilTheyAreRepaired(t *testing.T) {
	item := map[string]string{"address": "10.0.0.3:9042", "from": "2026-11-21T10:00:00Z", "until": "2026-11-21T11:00:00Z", "ranges": "all",
		"run": "nodetool repair --full orders order_by_id_g1"}
	state := notes{"c/one": item, "c/two": item, "d/one": item}
	report, err := replicas(t.Context(), state, "projector_g1", "")
	if err != nil || len(report.Replicas) != 3 || exitCode(report.verdict()) != cli.ExitDifferent {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, want := range []string{"c at 10.0.0.3:9042 has to be repaired for what one wrote from 2026-11-21T10:00:00Z", "\n  nodetool repair --full orders order_by_id_g1"} {
		if !strings.Contains(report.text(), want) {
			t.Errorf("%q is not in\n%s", want, report.text())
		}
	}
	if _, err := replicas(t.Context(), state, "projector_g1", "x"); exitCode(err) != cli.ExitRefused || len(state) != 3 {
		t.Errorf("of a replica that nobody noted: %v", err)
	}
	if report, err = replicas(t.Context(), state, "projector_g1", "c"); err != nil || len(report.Replicas) != 1 || report.Replicas[0].Replica != "d" {
		t.Errorf("after a repair: %+v, %v", report, err)
	}
	report, err = replicas(t.Context(), state, "projector_g1", "d")
	if err != nil || report.verdict() != nil || report.text() != "d: noted as repaired\nno replica needs a repair" {
		t.Errorf("after the last: %q, %v", report.text(), err)
	}
}
