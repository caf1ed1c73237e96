package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// policies is where the policies are, and their README, which explains the placeholders in them.
const policies = "../../deploy/iam"

// roles have a policy each: the command that runs under it, of the projector by polling or with fan-out, or replay.
var roles = []string{"check", "run", "setup", "shards", "replay", "check-fanout", "run-fanout", "setup-fanout"}

// additions are attached beside a role's policy where dead_letters.kms_key is set. No local server has such keys, so nothing
// shows here that they are used.
var additions = []string{"check-kms", "run-kms"}

// policy is an identity's policy, as far as those of this repository go: it allows named actions on named resources.
type policy struct {
	Version   string
	Statement []struct {
		Sid      string
		Effect   string
		Action   []string
		Resource []string
	}
}

// grant is an action on a resource, which may end in an asterisk.
type grant struct{ action, resource string }

func (g grant) covers(c grant) bool {
	if prefix, open := strings.CutSuffix(g.resource, "*"); open {
		return g.action == c.action && strings.HasPrefix(c.resource, prefix)
	}
	return g == c
}

func (p policy) grants() (grants []grant) {
	for _, s := range p.Statement {
		for _, action := range s.Action {
			for _, resource := range s.Resource {
				grants = append(grants, grant{action, resource})
			}
		}
	}
	return grants
}

// faults holds calls that were made against what is granted. What is unused is a fault too, unless needed says why it
// is there, by action.
func faults(granted, made []grant, needed map[string]string) (faults []string) {
	for _, call := range made {
		if !slices.ContainsFunc(granted, func(g grant) bool { return g.covers(call) }) {
			faults = append(faults, fmt.Sprintf("%s on %s is used and not allowed", call.action, call.resource))
		}
	}
	for _, g := range granted {
		if needed[g.action] == "" && !slices.ContainsFunc(made, g.covers) {
			faults = append(faults, fmt.Sprintf("%s on %s is allowed and not used", g.action, g.resource))
		}
	}
	return faults
}

// readPolicy reads a role's policy and puts values in place of its placeholders.
func readPolicy(t *testing.T, role string, values map[string]string) policy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(policies, role+".json"))
	if err != nil {
		t.Fatal(err)
	}
	filled := placeholder.ReplaceAllStringFunc(string(text), func(found string) string {
		return values[strings.Trim(found, "${}")]
	})
	var p policy
	decoder := json.NewDecoder(bytes.NewReader([]byte(filled)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%s.json: %v", role, err)
	}
	return p
}

var placeholder = regexp.MustCompile(`\$\{[a-z_]+\}`)

// open is all that may be left open, by the end of the resource: objects below the prefix, and the moment at which a
// consumer was registered, which is a part of its ARN.
var open = []grant{{"s3:GetObject", "BUCKET/PREFIX/*"}, {"s3:PutObject", "BUCKET/PREFIX/*"}, {"s3:AbortMultipartUpload", "BUCKET/PREFIX/*"},
	{"kinesis:DescribeStreamConsumer", "/consumer/CONSUMER:*"}, {"kinesis:SubscribeToShard", "/consumer/CONSUMER:*"}}

func TestPoliciesAllowNothingAtLarge(t *testing.T) {
	for _, role := range slices.Concat(roles, additions) {
		p := readPolicy(t, role, map[string]string{"bucket": "BUCKET", "prefix": "PREFIX", "consumer": "CONSUMER"})
		if p.Version != "2012-10-17" || len(p.Statement) == 0 {
			t.Errorf("%s: version %q, %d statements", role, p.Version, len(p.Statement))
		}
		sids := map[string]bool{}
		for _, s := range p.Statement {
			if s.Effect != "Allow" || s.Sid == "" || sids[s.Sid] || len(s.Action) == 0 || len(s.Resource) == 0 {
				t.Errorf("%s: statement %+v", role, s)
			}
			sids[s.Sid] = true
		}
		for _, g := range p.grants() {
			if strings.Contains(g.action, "*") {
				t.Errorf("%s: %s allows what nobody has thought of", role, g.action)
			}
			if strings.Contains(g.resource, "*") && !slices.ContainsFunc(open, func(o grant) bool {
				return o.action == g.action && strings.HasSuffix(g.resource, o.resource) && strings.Count(g.resource, "*") == 1
			}) {
				t.Errorf("%s: %s on %s is open", role, g.action, g.resource)
			}
		}
	}
}

func TestPlaceholdersOfPoliciesAreExplained(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(policies, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for line := range strings.Lines(string(readme)) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			if name := placeholder.FindString(cell); name != "" {
				explained[name] = false
			}
		}
	}
	for _, role := range slices.Concat(roles, additions) {
		text, err := os.ReadFile(filepath.Join(policies, role+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), "${") != len(placeholder.FindAll(text, -1)) {
			t.Errorf("%s.json has a placeholder of another form", role)
		}
		for _, name := range placeholder.FindAllString(string(text), -1) {
			if _, ok := explained[name]; !ok {
				t.Errorf("%s of %s.json is not in README.md's table", name, role)
			}
			explained[name] = true
		}
	}
	for name, used := range explained {
		if !used {
			t.Errorf("README.md explains %s, which no policy holds", name)
		}
	}
}

func TestFaultsOfPoliciesAreReported(t *testing.T) {
	granted := []grant{{"s3:PutObject", "arn:aws:s3:::b/letters/*"}, {"dynamodb:Scan", "arn:aws:dynamodb:::table/orders"}}
	put, scan := grant{"s3:PutObject", "arn:aws:s3:::b/letters/v1/x"}, grant{"dynamodb:Scan", "arn:aws:dynamodb:::table/orders"}
	for name, c := range map[string]struct {
		made   []grant
		needed map[string]string
		want   []string
	}{
		"right":                 {[]grant{put, scan}, nil, nil},
		"unused":                {[]grant{scan}, nil, []string{"s3:PutObject on arn:aws:s3:::b/letters/* is allowed and not used"}},
		"unused, with a reason": {[]grant{scan}, map[string]string{"s3:PutObject": "a reason"}, nil},
		"another action": {[]grant{put, scan, {"s3:DeleteObject", put.resource}}, nil,
			[]string{"s3:DeleteObject on arn:aws:s3:::b/letters/v1/x is used and not allowed"}},
		"outside the prefix": {[]grant{put, scan, {put.action, "arn:aws:s3:::b/other/x"}}, nil,
			[]string{"s3:PutObject on arn:aws:s3:::b/other/x is used and not allowed"}},
		"another table": {[]grant{put, scan, {scan.action, scan.resource + "2"}}, nil,
			[]string{"dynamodb:Scan on arn:aws:dynamodb:::table/orders2 is used and not allowed"}},
	} {
		if got := faults(granted, c.made, c.needed); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
