package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"penstock/localstack/emulator"
)

// wire is how one process reaches Kinesis.
type wire struct{ *process }

// Do implements [aws.HTTPClient].
func (c wire) Do(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := c.linger(ctx, "request", 20*time.Millisecond); err != nil {
		return nil, err
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if action == "GetShardIterator" {
		c.world.count("iterators")
		if err := c.rewriteRequest(r); err != nil {
			return nil, err
		}
	}
	answer, err := c.world.server.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	if err := c.pass(ctx); err != nil {
		return nil, closing(answer, err)
	}
	switch {
	case answer.StatusCode != http.StatusOK:
	case action == "ListShards":
		return rewrite(answer, c.changeListing)
	case action == "GetRecords" && c.world.plant.spoils():
		return rewrite(answer, c.spoil)
	}
	return answer, nil
}

func closing(answer *http.Response, err error) error {
	_ = answer.Body.Close() // nobody reads it
	return err
}

// rewriteRequest plants a reader's faults.
func (c wire) rewriteRequest(r *http.Request) error {
	old := c.world.plant.latest()
	if old == "" {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if in["ShardIteratorType"] == old {
		in = map[string]any{"StreamName": in["StreamName"], "ShardId": in["ShardId"], "ShardIteratorType": "LATEST"}
	}
	if body, err = json.Marshal(in); err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// rewrite changes what is in an answer.
func rewrite(answer *http.Response, change func(out map[string]any)) (*http.Response, error) {
	defer answer.Body.Close()
	var out map[string]any
	in := json.NewDecoder(answer.Body)
	in.UseNumber()
	if err := in.Decode(&out); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	change(out)
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Del("Content-Length")
	return answer, nil
}

// changeListing leaves a shard out of a listing, or plants a fault in it. What three listings in a row of one process
// lack is gone from the stream, so none is left out so often.
func (c wire) changeListing(out map[string]any) {
	lacks := c.world.during(lacking, "") && c.world.draw(c.name+"lacking", 4) > 0
	shards, _ := out["Shards"].([]any)
	lacked := map[any]int{}
	if i := c.world.draw(c.name+"left out", max(1, len(shards))); lacks && c.lacked[id(shards[i])] < 2 {
		c.world.count("shards left out of listings")
		lacked[id(shards[i])] = c.lacked[id(shards[i])] + 1
		shards = slices.Delete(shards, i, i+1)
	}
	c.lacked = lacked
	switch c.world.plant {
	case oneParent:
		for _, s := range shards {
			delete(s.(map[string]any), "AdjacentParentShardId")
		}
	case lastNeverListed:
		shards = shards[:len(shards)-1]
	}
	out["Shards"] = shards
}

func id(s any) any { return s.(map[string]any)["ShardId"] }

// intercept makes calls of the service fail. Those of the world itself are of other actions.
func (w *world) intercept(ctx context.Context, c emulator.Call) error {
	switch c.Action {
	case "GetRecords", "GetShardIterator", "ListShards", "DescribeStreamSummary":
	default:
		return nil
	}
	hits := func(a act) bool { return w.during(a, "") && w.draw(c.Action+c.Shard, 2) == 0 }
	switch {
	case c.Action == "GetRecords" && hits(expired):
		w.count("iterators expired")
		return &emulator.APIError{Type: emulator.ExpiredIterator, Message: "Iterator expired."}
	case hits(throttled):
		w.count("kinesis calls throttled")
		return emulator.Throttle(ctx, c)
	case hits(faulty):
		w.count("kinesis calls failed")
		switch w.draw(c.Action+c.Shard+"fault", 3) {
		case 0:
			return &emulator.APIError{Type: emulator.InternalFailure, Message: "Internal."}
		case 1:
			return emulator.ErrCut
		default:
			return emulator.ErrLoseAnswer
		}
	}
	return nil
}
