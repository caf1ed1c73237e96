package config

import (
	"slices"
	"strings"
	"testing"
)

const streamARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"

func withStream(s string) Sources {
	return Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_KINESIS_STREAM="+s)}
}

func TestStreamsAreNamesOrARNs(t *testing.T) {
	for given, name := range map[string]string{
		"orders":                 "orders",
		"arn":                    "arn",
		"Orders_1.a-b":           "Orders_1.a-b",
		strings.Repeat("a", 128): strings.Repeat("a", 128),
		streamARN:                "orders",
		"arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a.b":        "a.b",
		"arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/a_b": "a_b",
	} {
		k := load(t, withStream(given)).Kinesis
		arn := ""
		if strings.HasPrefix(given, "arn:") {
			arn = given
		}
		if k.StreamName() != name || k.ARN() != arn {
			t.Errorf("%s: name %q, ARN %q", given, k.StreamName(), k.ARN())
		}
	}
	for _, given := range []string{
		"a b", "a/b", strings.Repeat("a", 129), "arn:",
		"arn:aws:sqs:eu-west-1:123456789012:orders",
		"arn:aws:kinesis::123456789012:stream/orders",
		"arn:aws:kinesis:eu-west-1::stream/orders",
		"arn:aws:kinesis:eu-west-1:12345678901:stream/orders",
		"arn:aws:kinesis:eu-west-1:123456789012:orders",
		"arn:aws:kinesis:eu-west-1:123456789012:stream/",
		"arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/c:1",
		" " + streamARN,
	} {
		_, err := Load(withStream(given))
		if m := mistakesOf(t, err); len(m) != 1 || m[0].Key != "kinesis.stream" || m[0].Rule != "must be the name of a stream, up to 128 letters, "+
			"digits, dots, hyphens and underscores, or its ARN, such as "+streamARN {
			t.Errorf("%q: got %v", given, err)
		}
	}
}

func TestAStreamOfAnotherRegionIsRefused(t *testing.T) {
	path := write(t, strings.Replace(minimal, "stream: orders", "stream: "+streamARN, 1))
	c := load(t, Sources{File: path})
	if err := c.CheckRegion("eu-west-1"); err != nil {
		t.Error(err)
	}
	want := path + ":4: kinesis.stream = \"" + streamARN + "\": is in eu-west-1, but the AWS SDK is set to us-east-1: " +
		"set AWS_REGION=eu-west-1, or give a stream of us-east-1"
	if m := mistakesOf(t, c.CheckRegion("us-east-1")); len(m) != 1 || m[0].String() != want {
		t.Errorf("got %v, want %s", m, want)
	}
	if err := load(t, withStream("orders")).CheckRegion("us-east-1"); err != nil {
		t.Errorf("a name is of any region: %v", err)
	}
}

func TestANamesakeOfAnotherAccountIsRefused(t *testing.T) {
	c := load(t, withStream(streamARN))
	if err := c.CheckStream(streamARN); err != nil {
		t.Error(err)
	}
	other := strings.Replace(streamARN, "123456789012", "210987654321", 1)
	if m := mistakesOf(t, c.CheckStream(other)); len(m) != 1 || !strings.Contains(m[0].Rule, other) {
		t.Errorf("got %v", m)
	}
	if err := load(t, withStream("orders")).CheckStream(other); err != nil {
		t.Errorf("a name is of any account: %v", err)
	}
}

func TestEachGenerationHasAConsumerOfItsOwn(t *testing.T) {
	long := strings.Repeat("a", 150)
	for _, c := range []struct{ application, consumer, generation, reader, want, mistake string }{
		{"shop", "", "1", "fanout", "shop", ""},
		{"shop", "", "2", "fanout", "shop-g2", ""},
		{"shop", "view", "1", "fanout", "view", ""},
		{"shop", "view", "12", "fanout", "view-g12", ""},
		{long, "", "1", "polling", long, ""},
		{long, "view", "1", "fanout", "view", ""},
		{long, "", "1", "fanout", "", "has 150 characters"},
		{"shop", long[:126], "2", "fanout", "", "has 129 characters"},
		{"shop", long[:128], "1", "fanout", long[:128], ""},
		{"shop", "a/b", "1", "fanout", "", "up to 128 letters"},
	} {
		env := slices.Concat(requiredByEnvironment, []string{"PENSTOCK_APPLICATION=" + c.application, "PENSTOCK_KINESIS_CONSUMER=" + c.consumer,
			"PENSTOCK_VIEW_GENERATION=" + c.generation, "PENSTOCK_KINESIS_READER=" + c.reader})
		got, err := Load(Sources{Env: env})
		if c.mistake != "" {
			if m := mistakesOf(t, err); len(m) != 1 || m[0].Key != "kinesis.consumer" || !strings.Contains(m[0].Rule, c.mistake) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || got.ConsumerName() != c.want {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
