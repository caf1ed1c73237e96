package stream

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"

	"penstock/diagnosis"
	"penstock/localstack/emulator"
)

// levels returns the findings as "level item name".
func levels(findings []diagnosis.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, strings.Join([]string{string(f.Level), f.Item, f.Name}, " "))
	}
	return out
}

func TestDiagnoseFindsStreamAndRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota}, 2)
		findings, description, shards := r.Diagnose(t.Context())
		want := "ok stream orders, warn retention orders, ok right kinesis:DescribeStreamSummary, ok right kinesis:ListShards, " +
			"ok right kinesis:GetShardIterator, ok right kinesis:GetRecords"
		if got := strings.Join(levels(findings), ", "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if len(shards) != 2 || !strings.HasSuffix(description.ARN, ":stream/orders") {
			t.Errorf("%+v with shards %v", description, shards)
		}
		long := start(t, emulator.Config{Retention: outlasts}, 1)
		if findings, _, _ := long.Diagnose(t.Context()); findings[1].Level != diagnosis.OK {
			t.Errorf("%+v", findings[1])
		}
	})
}

func TestDiagnoseNamesTheActionThatIsDenied(t *testing.T) {
	for action, want := range map[string]string{
		"DescribeStreamSummary": "denied stream orders",
		"ListShards":            "denied right kinesis:ListShards",
		"GetShardIterator":      "denied right kinesis:GetShardIterator",
		"GetRecords":            "denied right kinesis:GetRecords",
	} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, emulator.Config{}, 1)
				r.server.Intercept(emulator.Script(emulator.Fault{Action: action, Effect: emulator.Deny}))
				findings, _, _ := r.Diagnose(t.Context())
				var denied []diagnosis.Finding
				for _, f := range findings {
					if f.Level == diagnosis.Denied {
						denied = append(denied, f)
					}
				}
				if len(denied) != 1 || levels(denied)[0] != want || !strings.Contains(denied[0].Found, "kinesis:"+action+" is not allowed") ||
					!strings.Contains(denied[0].Do, "allow kinesis:"+action+" on stream orders") {
					t.Errorf("denied %+v among %v", denied, levels(findings))
				}
			})
		})
	}
}

func TestDiagnoseTellsAnAbsentStreamFromASilentService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		findings, _, shards := New(r.server.AWS(), "nosuch", zap.NewNop()).Diagnose(t.Context())
		if got := strings.Join(levels(findings), ", "); got != "missing stream nosuch" || shards != nil || findings[0].Do == "" {
			t.Errorf("got %s: %+v", got, findings)
		}
		for _, fault := range []error{emulator.ErrCut, &emulator.APIError{Type: emulator.InternalFailure}, &emulator.APIError{Type: emulator.LimitExceeded}} {
			r.server.Intercept(func(context.Context, emulator.Call) error { return fault })
			findings, _, shards := r.Diagnose(t.Context())
			if got := strings.Join(levels(findings), ", "); got != "unreachable stream orders" || shards != nil {
				t.Errorf("%v: got %s", fault, got)
			}
		}
	})
}
