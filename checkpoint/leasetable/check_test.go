package leasetable_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"penstock/checkpoint/leasetable"
	"penstock/diagnosis"
	"penstock/localstack/stacktest"
)

// through returns a client whose calls pass a proxy: denied actions are answered with AccessDenied, and the clock of
// the answers is ahead of the service's.
func through(t *testing.T, stack stacktest.Stack, ahead time.Duration, denied ...string) *leasetable.Client {
	t.Helper()
	target, err := url.Parse(stack.DynamoDB)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			return nil
		},
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, action := range denied {
			if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+action) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized"}`)
				return
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	c := configOf(stack)
	c.BaseEndpoint = &proxy.URL
	return leasetable.NewClient(c)
}

// levels returns the findings as "level item name", without the tables' prefix.
func levels(findings []diagnosis.Finding, prefix string) string {
	var out []string
	for _, f := range findings {
		out = append(out, string(f.Level)+" "+f.Item+" "+strings.ReplaceAll(f.Name, prefix, ""))
	}
	return strings.Join(out, ", ")
}

func TestDiagnoseFindsTablesAndRights(t *testing.T) {
	stack := stacktest.Require(t)
	prefix := stack.TablePrefix(t)
	client := leasetable.NewClient(configOf(stack))
	leases, state := client.Leases(prefix+"leases"), client.State(prefix+"state")
	both := func() []diagnosis.Finding {
		return append(leases.Diagnose(t.Context()), state.Diagnose(t.Context())...)
	}

	if got, want := levels(both(), prefix), "missing lease_table leases, ok right dynamodb:DescribeTable on leases, "+
		"missing state_table state, ok right dynamodb:DescribeTable on state"; got != want {
		t.Errorf("before: %s\nwant: %s", got, want)
	}
	if _, err := leases.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := levels(both(), prefix), "ok lease_table leases, ok right dynamodb:DescribeTable on leases, "+
		"ok right dynamodb:Scan on leases, ok right dynamodb:UpdateItem on leases, "+
		"ok state_table state, ok right dynamodb:DescribeTable on state, ok right dynamodb:Query on state, "+
		"ok right dynamodb:PutItem on state, ok right dynamodb:DeleteItem on state"; got != want {
		t.Errorf("after: %s\nwant: %s", got, want)
	}
	for _, table := range []string{"leases", "state"} {
		out, err := stack.DynamoDBClient().Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String(prefix + table)})
		if err != nil || out.Count != 0 {
			t.Errorf("%s: asking left %d items, %v", table, out.Count, err)
		}
	}
}

func TestDiagnoseNamesTheActionThatIsDenied(t *testing.T) {
	stack := stacktest.Require(t)
	prefix := stack.TablePrefix(t)
	plain := leasetable.NewClient(configOf(stack))
	if _, err := plain.Leases(prefix + "leases").Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.State(prefix + "state").Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	for table, actions := range map[string][]string{
		"leases": {"DescribeTable", "Scan", "UpdateItem"},
		"state":  {"DescribeTable", "Query", "PutItem", "DeleteItem"},
	} {
		for _, action := range actions {
			client := through(t, stack, 0, action)
			findings := client.Leases(prefix + table).Diagnose(t.Context())
			if table == "state" {
				findings = client.State(prefix + table).Diagnose(t.Context())
			}
			var denied []diagnosis.Finding
			for _, f := range findings {
				if f.Level != diagnosis.OK {
					denied = append(denied, f)
				}
			}
			if len(denied) != 1 || denied[0].Level != diagnosis.Denied || !strings.Contains(denied[0].Found, "dynamodb:"+action+" is not allowed: not authorized") ||
				denied[0].Do != "allow dynamodb:"+action+" on table "+prefix+table+" to this identity" {
				t.Errorf("%s on %s: %+v", action, table, denied)
			}
		}
	}
	// Of tables that are not there too, so that all rights can be granted at once.
	denied := through(t, stack, 0, "Scan").Leases(prefix + "absent").Diagnose(t.Context())
	if got := levels(denied, prefix); !strings.Contains(got, "missing lease_table absent") || !strings.Contains(got, "denied right dynamodb:Scan on absent") {
		t.Error(got)
	}
}

func TestDiagnoseTellsATableOfAnotherKind(t *testing.T) {
	stack := stacktest.Require(t)
	prefix := stack.TablePrefix(t)
	_, err := stack.DynamoDBClient().CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String(prefix + "leases"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	findings := leasetable.NewClient(configOf(stack)).Leases(prefix + "leases").Diagnose(t.Context())
	if !strings.HasPrefix(levels(findings, prefix), "different lease_table leases") {
		t.Error(levels(findings, prefix))
	}
}

func TestDiagnoseFindsAWrongClock(t *testing.T) {
	stack := stacktest.Require(t)
	absent := stack.TablePrefix(t) + "absent" // the clock needs no table
	for ahead, want := range map[time.Duration]diagnosis.Level{
		0:                        diagnosis.OK,
		500 * time.Millisecond:   diagnosis.OK,
		-500 * time.Millisecond:  diagnosis.OK,
		1600 * time.Millisecond:  diagnosis.Warn,
		-1600 * time.Millisecond: diagnosis.Warn,
		-90 * 24 * time.Hour:     diagnosis.Warn,
		90 * 24 * time.Hour:      diagnosis.Warn,
	} {
		f := through(t, stack, ahead).Leases(absent).DiagnoseClock(t.Context())
		if f.Level != want || (want == diagnosis.Warn) != strings.Contains(f.Found, "off DynamoDB's clock") {
			t.Errorf("%s ahead: %+v", ahead, f)
		}
	}
}
