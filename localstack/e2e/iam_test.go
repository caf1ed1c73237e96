package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/localstack/stacktest"
)

// What stands in the ARNs of the test's policies and calls: the local servers know none of it.
const (
	account   = "123456789012"
	partition = "aws"
)

// needed says why a policy allows what the test below does not make a role use.
var needed = map[string]map[string]string{
	"setup": {"dynamodb:GetItem": "looks at the lock while another setup holds it"},
}

// No role calls what its policy lacks, and no policy allows what its role does not call: through proxies that record
// every call of the real binary from set-up over the life of its leases, with two daemons that share shards, to a letter that
// is there already.
func TestNoRoleCallsWhatItsPolicyLacks(t *testing.T) {
	t.Parallel()
	rolesKeepToTheirPolicies(t, map[string]string{"check": "check", "run": "run", "setup": "setup", "shards": "shards", "replay": "replay"})
}

func TestNoRoleCallsWhatItsPolicyLacksWithFanOut(t *testing.T) {
	t.Parallel()
	rolesKeepToTheirPolicies(t, map[string]string{"check": "check-fanout", "run": "run-fanout", "setup": "setup-fanout", "shards": "shards", "replay": "replay"}, byFanOut)
}

func rolesKeepToTheirPolicies(t *testing.T, policyOf map[string]string, settings ...string) {
	stack := stacktest.Require(t)
	const shards = 2
	s := site(t, shards, nil, append(settings, "PENSTOCK_LEASES_FAILOVER="+failover.String())...)
	feeder := s.Kinesis() // goes past the proxies, which only what is started from now on meets
	values := map[string]string{
		"partition": partition, "region": s.env["AWS_REGION"], "account": account, "stream": s.Name,
		"application": s.Name, "lease_table": s.Name, "consumer": s.Name,
		"bucket": s.env["PENSTOCK_DEAD_LETTERS_BUCKET"], "prefix": s.env["PENSTOCK_DEAD_LETTERS_PREFIX"],
	}
	records := map[string]*record{}
	for role := range policyOf {
		records[role] = newRecord(t, stack, values)
	}
	ctx := within(t, 3*time.Minute, "the calls of every role")

	s.Set(records["setup"].endpoints...)
	for range 2 { // once it creates, once it finds
		setup(t, s)
	}
	s.Set(records["check"].endpoints...)
	if _, err := s.Projector(ctx, "check"); err != nil {
		t.Log(err) // what it finds is not the matter here
	}

	follow := func(daemons ...string) {
		t.Helper()
		s.Set(records["run"].endpoints...)
		fleet := &Fleet{Site: s, Shards: shards}
		defer fleet.Kill()
		for _, name := range daemons {
			if _, err := fleet.Start(ctx, name); err != nil {
				t.Fatal(err)
			}
			if err := fleet.AwaitBalance(ctx); err != nil {
				t.Fatal(err)
			}
		}
		parked := func(s Scrape) bool { return s.Parked == 1 }
		if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return slices.ContainsFunc(scrapes, parked) }); err != nil {
			t.Fatal(err)
		}
		if err := fleet.Watch(ctx, fleet.Idle()); err != nil { // long enough for leases to be renewed
			t.Fatal(err)
		}
		if err := fleet.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := feeder.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &s.Name, PartitionKey: aws.String("k"), Data: []byte("poison")}); err != nil {
		t.Fatal(err)
	}
	follow("first", "second")
	// Without its checkpoint the letter's record is read again.
	if _, err := stack.DynamoDBClient().DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String(values["lease_table"])}); err != nil {
		t.Fatal(err)
	}
	s.Set(records["setup"].endpoints...)
	setup(t, s)
	follow("third")

	s.Set(records["shards"].endpoints...)
	for _, args := range [][]string{{"list"}, {"pause", "--all", "--for", "1m", "--reason", "a test"}, {"resume", "--all"}} {
		if _, err := s.Projector(ctx, append([]string{"shards"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}

	s.Set(records["replay"].endpoints...)
	for _, args := range [][]string{{"list"}, {"discard", "--since", "1h", "--reason", "a test", "--run"}, {"list", "--letters", "--state", "all"}} {
		if _, err := s.Replay(ctx, append([]string{"dlq"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}

	for role, policy := range policyOf {
		t.Run(role, func(t *testing.T) {
			made := records[role].grants()
			for _, call := range made {
				t.Log(call.action, call.resource)
			}
			for _, fault := range faults(readPolicy(t, policy, values).grants(), made, needed[role]) {
				t.Error(fault)
			}
		})
	}
}

// record keeps which calls went to the services.
type record struct {
	endpoints []string // settings that send a process's calls here
	values    map[string]string

	mu    sync.Mutex
	calls map[grant]bool
}

// newRecord starts a proxy before each of the stack's services.
func newRecord(t *testing.T, stack stacktest.Stack, values map[string]string) *record {
	t.Helper()
	r := &record{values: values, calls: map[grant]bool{}}
	for name, service := range map[string]struct {
		target string
		read   func(*http.Request) (grant, error)
	}{
		"KINESIS":  {stack.Kinesis, r.kinesis},
		"DYNAMODB": {stack.DynamoDB, r.dynamoDB},
		"S3":       {stack.S3, r.s3},
	} {
		target, err := url.Parse(service.target)
		if err != nil {
			t.Fatal(err)
		}
		forward := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			call, err := service.read(request)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.mu.Lock()
			r.calls[call] = true
			r.mu.Unlock()
			forward.ServeHTTP(w, request)
		}))
		t.Cleanup(proxy.Close)
		r.endpoints = append(r.endpoints, "AWS_ENDPOINT_URL_"+name+"="+proxy.URL)
	}
	return r
}

func (r *record) grants() []grant {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Keys(r.calls), func(a, b grant) int {
		return cmp.Or(strings.Compare(a.action, b.action), strings.Compare(a.resource, b.resource))
	})
}

// subject is what a call of the JSON protocols is about.
type subject struct{ StreamName, StreamARN, ConsumerName, ConsumerARN, TableName string }

// operation reads the name of a call of the JSON protocols, and what it is about. The body can be read again.
func operation(request *http.Request) (name string, about subject, err error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return "", about, err
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	_, name, ok := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	if !ok {
		return "", about, fmt.Errorf("%s %s names no operation", request.Method, request.URL)
	}
	return name, about, json.Unmarshal(body, &about)
}

func (r *record) arn(service, resource string) string {
	return strings.Join([]string{"arn", partition, service, r.values["region"], account, resource}, ":")
}

// An iterator and a token of ListShards stand for the stream they were made for, of which there is one here. The local
// server's ARNs are of an account of its own.
func (r *record) kinesis(request *http.Request) (grant, error) {
	name, about, err := operation(request)
	resource := "stream/" + cmp.Or(about.StreamName, r.values["stream"])
	if arn := cmp.Or(about.ConsumerARN, about.StreamARN); arn != "" {
		resource = arn[strings.Index(arn, ":stream/")+1:]
	}
	if name == "DescribeStreamConsumer" && about.ConsumerARN == "" {
		resource += "/consumer/" + about.ConsumerName + ":1"
	}
	return grant{"kinesis:" + name, r.arn("kinesis", resource)}, err
}

func (r *record) dynamoDB(request *http.Request) (grant, error) {
	name, about, err := operation(request)
	return grant{"dynamodb:" + name, r.arn("dynamodb", "table/"+about.TableName)}, err
}

// The rights of an S3 call follow from its method, path and query
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html). A call that is not known here
// keeps its own words, which no policy allows.
func (r *record) s3(request *http.Request) (grant, error) {
	path := strings.TrimPrefix(request.URL.Path, "/")
	bucket, key, _ := strings.Cut(path, "/")
	query := request.URL.Query()
	query.Del("x-id") // the SDK's own name for the call
	action := request.Method + " " + request.URL.RequestURI()
	switch {
	case bucket == "" || request.Header.Get("X-Amz-Tagging") != "" || request.Header.Get("X-Amz-Acl") != "":
	case key == "" && request.Method == http.MethodHead && len(query) == 0, key == "" && request.Method == http.MethodGet && query.Get("list-type") == "2":
		action = "s3:ListBucket"
	case key == "" || len(query) > 0:
	case request.Method == http.MethodPut:
		action = "s3:PutObject"
	case request.Method == http.MethodGet, request.Method == http.MethodHead:
		action = "s3:GetObject"
	}
	return grant{action, "arn:" + partition + ":s3:::" + strings.TrimSuffix(path, "/")}, nil
}

// What a proxy does not know must not look like what is allowed.
func TestCallsOfS3AreToldApart(t *testing.T) {
	r := &record{values: map[string]string{}}
	for _, c := range []struct{ method, target, header, want string }{
		{"HEAD", "/b", "", "s3:ListBucket"},
		{"GET", "/b/?list-type=2&prefix=letters%2F", "", "s3:ListBucket"},
		{"PUT", "/b/letters/x?x-id=PutObject", "", "s3:PutObject"},
		{"GET", "/b/letters/x?x-id=GetObject", "", "s3:GetObject"},
		{"HEAD", "/b/letters/x", "", "s3:GetObject"},
		{"DELETE", "/b/letters/x?x-id=DeleteObject", "", "DELETE /b/letters/x?x-id=DeleteObject"},
		{"PUT", "/b/letters/x?acl", "", "PUT /b/letters/x?acl"},
		{"PUT", "/b/letters/x", "X-Amz-Tagging", "PUT /b/letters/x"},
		{"PUT", "/b", "", "PUT /b"},
		{"GET", "/b?location", "", "GET /b?location"},
		{"GET", "/", "", "GET /"},
	} {
		request := httptest.NewRequest(c.method, c.target, nil)
		if c.header != "" {
			request.Header.Set(c.header, "a=b")
		}
		if call, err := r.s3(request); err != nil || call.action != c.want {
			t.Errorf("%s %s: got %q, %v, want %q", c.method, c.target, call.action, err, c.want)
		}
	}
}
