package emulator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// ControlQuota bounds the calls per second of actions of the control plane by the API's names: over all of the account's streams,
// or for each stream, as the service does for each action; SubscribeToShard for each consumer and shard. An action that is not
// named is unbounded. In a [Config] nil stands for [ServiceControlQuota]. Wherever there is a ControlQuota, a stream's shard count
// may be updated ten times and its mode switched twice in any 24 hours.
type ControlQuota map[string]int

// ServiceControlQuota returns what the service grants.
func ServiceControlQuota() ControlQuota {
	return ControlQuota{
		"CreateStream":                  5,
		"DecreaseStreamRetentionPeriod": 5,
		"DeleteStream":                  5,
		"DeregisterStreamConsumer":      5,
		"DescribeStream":                10,
		"DescribeStreamConsumer":        20,
		"DescribeStreamSummary":         20,
		"IncreaseStreamRetentionPeriod": 5,
		"ListShards":                    1000,
		"ListStreamConsumers":           5,
		"ListStreams":                   5,
		"MergeShards":                   5,
		"RegisterStreamConsumer":        5,
		"SplitShard":                    5,
		"SubscribeToShard":              1,
		"UpdateShardCount":              10,
	}
}

// perAccount lists the actions whose quota is for all streams together.
var perAccount = map[string]bool{
	"CreateStream":          true,
	"DeleteStream":          true,
	"DescribeStream":        true,
	"DescribeStreamSummary": true,
	"ListStreams":           true,
}

// recordActions lists the actions that ReadQuota and WriteQuota bound.
var recordActions = map[string]bool{"GetRecords": true, "GetShardIterator": true, "PutRecord": true, "PutRecords": true}

// check refuses a quota that could never bound anything.
func (c ControlQuota) check() error {
	for _, action := range slices.Sorted(maps.Keys(c)) {
		switch {
		case actions[action] == nil || recordActions[action]:
			return fmt.Errorf("control quota: action %q is not one of the control plane", action)
		case c[action] < 1:
			return fmt.Errorf("control quota: %d calls per second of %s are fewer than 1", c[action], action)
		}
	}
	return nil
}

// controlUse is what was used of a ControlQuota.
type controlUse struct {
	mu      sync.Mutex
	windows map[string]*callWindow // by action and what its quota is for
}

// admit says whether a call at now is within perSecond, and counts it if so. The quota is for what scope names.
func (u *controlUse) admit(now time.Time, perSecond int, scope ...string) bool {
	key := strings.Join(scope, "/")
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.windows == nil {
		u.windows = map[string]*callWindow{}
	}
	w := u.windows[key]
	if w == nil {
		w = &callWindow{}
		u.windows[key] = w
	}
	return w.admit(now, perSecond)
}

// limited says whether the server holds the control plane to quotas.
func (s *Server) limited() bool { return s.config.ControlQuota != nil }

// admitControl refuses a call beyond the quota of its action. SubscribeToShard is held to its quota where its consumer is known.
func (s *Server) admitControl(call Call) error {
	perSecond := s.config.ControlQuota[call.Action]
	if perSecond == 0 || call.Action == subscribeAction {
		return nil
	}
	scope := []string{call.Action}
	if !perAccount[call.Action] {
		scope = append(scope, call.Stream)
	}
	if s.control.admit(time.Now(), perSecond, scope...) {
		return nil
	}
	return rateExceeded(call.Action)
}

func rateExceeded(action string) *APIError {
	return apiErrorf(LimitExceeded, "Rate exceeded for %s.", action)
}
